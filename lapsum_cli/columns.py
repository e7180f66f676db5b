"""Columns by name and type: those the user named, and what can be a score."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .errors import DataError

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

    def is_number(self, column: str) -> bool:
        """Whether a text format must read this column as numbers."""
        if column in (self.score, self.alpha, self.k) or self._is_wide(column):
            return True
        return self.score is None and self.columns is None and column.lower() in SCORE_NAMES

    def matching(self, columns: list[str]) -> list[str]:
        """The columns that --columns names, by pattern."""
        return [column for column in columns if self._is_wide(column)]

    def _is_wide(self, column: str) -> bool:
        patterns = self.columns.split(",") if self.columns else []
        return any(fnmatch.fnmatchcase(column, pattern.strip()) for pattern in patterns)


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
