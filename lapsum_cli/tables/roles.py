"""Columns by name and type: those the user named, and what can be a score."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import DataError

# Names that items usually have, in lower case.
ITEM_NAMES = ("docid", "doc_id", "docno", "document", "document_id", "item", "items", "item_id", "product_id", "pid")

# Names that scores usually have, in lower case.
SCORE_NAMES = ("score", "scores", "sim", "similarity", "pred", "prediction", "predictions", "logit", "logits")


@dataclass(frozen=True)
class Names:
    """The columns that the user named; None where detection is to find them."""

    group: tuple[str, ...] | None = None
    score: str | None = None
    columns: str | None = None
    alpha: str | None = None
    k: str | None = None
    upstream: str | None = None
    target: str | None = None
    item: str | None = None

    @property
    def beside(self) -> dict[str, str]:
        """What goes with each score: a column of a table, or a file beside an array."""
        given = {"upstream": self.upstream, "target": self.target}
        return {what: name for what, name in given.items() if name is not None}

    def for_array(self) -> Names:
        """The names that arrays read together get as columns."""
        return replace(self, **{what: what for what in self.beside})

    def is_number(self, column: str) -> bool:
        """Whether a text format must read this column as numbers."""
        patterns = (self.columns, self.upstream, self.target)
        named = (self.score, self.alpha, self.k, self.upstream, self.target)
        if column in named or any(matching(given, [column]) for given in patterns):
            return True
        return self.score is None and self.columns is None and column.lower() in SCORE_NAMES


def matching(patterns: str | None, columns: list[str]) -> list[str]:
    """The columns that match one of the patterns, which commas separate."""
    given = [pattern.strip() for pattern in patterns.split(",")] if patterns else []
    return [column for column in columns if any(fnmatch.fnmatchcase(column, pattern) for pattern in given)]


def is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def holds_numbers(kind: pa.DataType) -> bool:
    kind = kind.value_type if is_list(kind) else kind
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)


def score_type(kind: pa.DataType, name: str, source: str) -> pa.DataType:
    """The float type in which scores of this type are returned."""
    if pa.types.is_floating(kind):
        return kind
    if holds_numbers(kind):
        return pa.float64()
    raise DataError(f'{source}: column "{name}" has type {kind}; scores must be numbers')


def floats(array: pa.Array, dtype, where: str) -> np.ndarray:
    """Scores as float32 or float64, null as NaN; an integer that no float64 holds is refused."""
    if not pa.types.is_floating(array.type):
        try:
            array = array.cast(pa.float64())
        except pa.ArrowInvalid as error:
            raise DataError(f"{where}: scores are integers that no float64 holds: {error}") from None
    if array.null_count:
        array = array.cast(pa.float32() if pa.types.is_float16(array.type) else array.type)
        array = pc.fill_null(array, float("nan"))
    return np.asarray(array).astype(dtype, copy=False)
