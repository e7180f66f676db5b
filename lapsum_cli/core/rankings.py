"""Rankings: many lists of scores in one flat array, the one data type that every part of the program speaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import DataError


def frozen(array: np.ndarray) -> np.ndarray:
    """The array as a read-only, contiguous view: no kernel can modify it, and each compiles for one kind of array."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def has_nan(array: np.ndarray) -> bool:
    """Whether any number is NaN: one pass, and nothing to store, as a maximum with a NaN is NaN."""
    return bool(np.isnan(array.max(initial=-np.inf)))


@dataclass(frozen=True)
class Rankings:
    """Ranking r is `values[offsets[r]:offsets[r + 1]]`, as in Arrow's list layout with 64-bit offsets.

    values   (N,) float32 or float64
    offsets  (m + 1,) int64, non-decreasing, from 0 to N

    The same in a few lines:

    >>> rankings = Rankings.of([[0.1, 0.9], [], [0.5]])
    >>> [list(rankings[r]) for r in range(len(rankings))]
    [[0.1, 0.9], [], [0.5]]
    """

    values: np.ndarray
    offsets: np.ndarray

    def __post_init__(self):
        if self.values.ndim != 1 or self.values.dtype not in (np.float32, np.float64):
            raise DataError(f"scores must be one flat float32 or float64 array, got {self.values.dtype}")
        offsets = self.offsets
        if offsets.dtype != np.int64 or offsets.ndim != 1 or len(offsets) == 0:
            raise DataError(f"offsets must be a flat, non-empty int64 array, got {offsets.dtype}")
        if offsets[0] != 0 or offsets[-1] != len(self.values) or np.any(offsets[1:] < offsets[:-1]):
            raise DataError(f"offsets must rise from 0 to the number of scores, {len(self.values)}")
        for name in ("values", "offsets"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @classmethod
    def of(cls, rows) -> Rankings:
        """Rankings from a list of one-dimensional arrays, which are copied; float32 only when all of them are."""
        rows = [np.asarray(row) for row in rows]
        dtype = np.float32 if rows and all(row.dtype in (np.float16, np.float32) for row in rows) else np.float64
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        values = np.concatenate([np.asarray(row, dtype) for row in rows]) if rows else np.empty(0, dtype)
        return cls(values, offsets)

    @classmethod
    def equal_length(cls, values: np.ndarray, count: int, length: int) -> Rankings:
        """`count` consecutive rankings of `length` scores each, without a copy."""
        return cls(values.reshape(-1), np.arange(count + 1, dtype=np.int64) * length)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, r: int) -> np.ndarray:
        return self.values[self.offsets[r] : self.offsets[r + 1]]

    def with_values(self, values: np.ndarray) -> Rankings:
        """Other numbers in the same rankings."""
        return Rankings(values, self.offsets)


@dataclass(frozen=True)
class RankingsOnCard(Rankings):
    """Rankings whose values are on a card: an array with the CUDA Array Interface; the offsets are in memory here."""

    def __post_init__(self):
        object.__setattr__(self, "offsets", frozen(self.offsets))
