"""Flat scores whose rankings are told apart by a column of groups, such as a data frame's, in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.errors import DataError, OptionError
from ..core.rankings import Rankings
from .forms import Form, rankings_of


@dataclass
class Grouped(Form):
    """Rankings in the order in which their groups come first; order (N,): which score each of theirs is."""

    order: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def per_score(self, name: str, values: Any, dtype: Any, on: Any = None) -> Any:
        """As of any form, given in the order of the scores."""
        return super().per_score(name, values, dtype, on)[self.order]


def by_group(x: Any, groups: Any) -> Any:
    """x itself without groups; else its scores, one for each of `groups`, with a ranking for each that differs.

    groups: an array, a list, a column of pandas, Polars or Arrow, or a tuple of these; null and NaN are one group, -0.0
    is 0.0. A number for each ranking is in the order in which groups come first.
    """
    if groups is None:
        return x
    form = rankings_of(x)
    if form.shape != () or form.rankings.is_on_card:
        raise OptionError("groups tell flat scores apart that are in memory: x must have one axis")
    columns = groups if isinstance(groups, tuple) else (groups,)
    codes = _codes([_column(column, len(form.rankings.values)) for column in columns])
    order = np.argsort(codes, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(codes))]).astype(np.int64)

    def scores(flat: np.ndarray) -> Any:
        back = np.empty_like(flat)
        back[order] = flat
        return form.scores(back)

    rankings = Rankings(form.rankings.values[order], offsets)
    return Grouped(rankings, form.dtype, scores, (len(rankings),), takes_flat=True, order=order)


def _column(groups: Any, length: int) -> Any:
    """Groups as an Arrow array in comparable form."""
    import pyarrow as pa

    from ..tables.keys import comparable

    try:
        made = pa.chunked_array(groups) if hasattr(groups, "__arrow_c_stream__") else pa.array(groups)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"groups cannot be told apart: {' '.join(str(error).split())}") from None
    if len(made) != length:
        raise DataError(f"there are {len(made)} groups for {length} scores")
    return comparable(made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made)


def _codes(columns: list[Any]) -> np.ndarray:
    from ..tables.gather import codes_of

    return codes_of(columns)
