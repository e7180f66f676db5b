"""Columns by name and type: those the user named, and what can be a score."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

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

    @property
    def numeric(self) -> tuple[str, ...]:
        """Columns that a text format must read as numbers."""
        named = tuple(name for name in (self.score, self.alpha, self.k) if name)
        return named if self.score else named + SCORE_NAMES


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
