"""Rankings of a file in memory: its first ones, up to so many scores, for whoever looks at them more than once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from ..core.errors import DataError, OptionError
from ..core.quantities import K
from ..core.rankings import Array, Rankings
from ..flow.batching import Batch, whole_rankings
from ..flow.process import settle
from ..formats.dialect import Given
from ..operations.topk import TopK
from ..stream import Silent
from ..tables.results import Asked
from ..tables.roles import Names
from .job import Job, Shard


@dataclass(frozen=True)
class Sample:
    """Rankings, with the target beside them where there is one, and what else was read of every score.

    features  (N, d) float64, None where none were asked for; names: the columns that they are of
    is_whole  whether there are no other rankings in the file
    """

    rankings: Rankings
    features: Array | None
    names: list[str]
    is_whole: bool

    @property
    def target(self) -> Array | None:
        """(N,) float64, larger is better."""
        return self.rankings.beside.get("target")


def sample(
    source: str | Sequence[str],
    *,
    group: str | list[str] | None = None,
    score: str | None = None,
    columns: str | None = None,
    target: str | None = None,
    features: str | None = None,
    most: int = 1 << 20,
    memory: str | None = None,
    from_format: str | None = None,
    words: Any = None,
) -> Sample:
    """The first rankings of a source that have at most so many scores together, but one at least.

    features: a pattern of the columns that describe each item, such as "f_*"; with it the score may be missing.
    """
    by = (group,) if isinstance(group, str) else tuple(group) if group else None
    if features is not None and target is None:
        raise OptionError("⟨features⟩ needs a ⟨target⟩, which is to be learned")
    score = target if features is not None and score is None else score
    names, told = Names(by, score, columns, None, None, target=target), words or Silent()
    job = Job(
        TopK(ks=(K(1.0),)), names, Asked("error", None, "none", None), from_format, Given(None, None, None, False),
        None, False, memory, None, "cpu", told, False, None,
    )  # fmt: skip
    with job.opened(Shard([source] if isinstance(source, str) else [*source], None)) as (rows, table, _, budget):
        settle(budget, table.on.batch)
        with contextlib.closing(budget):
            batches = whole_rankings(rows.chunks(), table.layout, table.cost, budget)
            return _taken(batches, table, features, most, budget)


def _taken(batches: Iterator[Batch], table: Any, features: str | None, most: int, budget: Any) -> Sample:
    parts: list[Rankings] = []
    described: list[Array] = []
    names: list[str] = []
    left, is_whole = most, True
    for batch in batches:
        rankings = table.rankings(batch)
        count = int(np.searchsorted(rankings.offsets, left, "right")) - 1
        if features is not None:
            values, names = _features(batch, table, features)
            described.append(values)
        if count < len(rankings):
            count, is_whole = max(count, 0 if parts else 1), False
            rankings = rankings.piece(0, count)
            if described:
                described[-1] = described[-1][: int(rankings.offsets[-1])]
        parts.append(rankings)
        left -= int(rankings.offsets[-1])
        budget.give(batch.cost)
        if not is_whole:
            break
    if not parts or not sum(len(part) for part in parts):
        raise DataError(f"{table.source.first.name}: has no rankings to compare")
    return Sample(_joined(parts), np.concatenate(described) if described else None, names, is_whole)


def _features(batch: Batch, table: Any, pattern: str) -> tuple[Array, list[str]]:
    rows, name = batch.table(), table.source.first.name
    if table.layout.closes_with_row:
        raise OptionError(f"{name}: ⟨features⟩ needs a table with a row for each item")
    names = [column for column in rows.column_names if fnmatchcase(column, pattern)]
    if not names:
        raise OptionError(f"{name}: no column matches ⟨features={pattern}⟩; the columns are {rows.column_names}")
    values = np.stack([rows.column(column).to_numpy().astype(np.float64) for column in names], axis=1)
    if not np.isfinite(values).all():
        column = names[int(np.argmin(np.isfinite(values).all(axis=0)))]
        raise DataError(f'{name}: the feature "{column}" is NaN, null or infinite somewhere; fill it first')
    return values, names


def _joined(parts: list[Rankings]) -> Rankings:
    ends = np.cumsum([0, *(int(part.offsets[-1]) for part in parts)])
    offsets = np.concatenate([[0], *(part.offsets[1:] + end for part, end in zip(parts, ends[:-1], strict=True))])
    beside = {name: np.concatenate([part.beside[name] for part in parts]) for name in parts[0].beside}
    return Rankings(np.concatenate([part.values for part in parts]), offsets, beside)
