"""Rankings: many lists of scores in one flat array, the one data type that every part of the program speaks."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .errors import DataError

Array = Any  # a NumPy array, or one on a card with the CUDA Array Interface
_NAMES = {"f": "float32", "d": "float64"}


def is_fixed(array: np.ndarray) -> bool:
    """Whether an array has memory of its own and is read-only: nobody writes to it."""
    return array.flags.owndata and not array.flags.writeable


def is_one(array: np.ndarray) -> bool:
    """Whether a flat array is one number for all, by its stride."""
    return array.ndim == 1 and array.size > 0 and array.strides[0] == 0


def one_for_all(value: float, count: int, dtype: DTypeLike = np.float64) -> np.ndarray:
    """One number for each of so many rankings (m,), by a stride of 0 (`is_one`); np.broadcast_to takes 10 us for it."""
    number: Any = np.asarray(value, dtype)
    return np.ndarray(count, number.dtype, number, 0, (0,))


@functools.lru_cache(2)
def equal_offsets(count: int, length: int) -> np.ndarray:
    """The offsets of so many rankings of one length, which are fixed; the same array when asked again."""
    offsets = np.arange(count + 1, dtype=np.int64) * length
    offsets.flags.writeable = False
    return offsets


def frozen(array: np.ndarray) -> np.ndarray:
    """The array as a read-only, contiguous view: no kernel can modify it, and each compiles for one kind of array."""
    if is_fixed(array) and array.flags.c_contiguous:
        return array
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def has_nan(array: np.ndarray) -> bool:
    """Whether any number is NaN: one pass, and nothing to store, as a maximum with a NaN is NaN."""
    most = array.max(initial=-np.inf)
    return bool(most != most)


_longest: tuple[np.ndarray | None, int] = None, 0  # fixed offsets, and what was found of them


@dataclass(frozen=True)
class Rankings:
    """Ranking r is `values[offsets[r]:offsets[r + 1]]`, as in Arrow's list layout with 64-bit offsets.

    values   (N,) float32 or float64, in memory here or on a card
    offsets  (m + 1,) int64, non-decreasing, from 0 to N; in memory here
    beside   by name, (N,) each: what goes with every score, such as an upstream gradient or a target
    each     by name, (m,) float64 each: what goes with every ranking, alpha and k; in memory here, or on
             a card, from PyTorch. One number for all may have a stride of 0

    The same in a few lines:

    >>> rankings = Rankings.of([[0.1, 0.9], [], [0.5]])
    >>> [list(rankings[r]) for r in range(len(rankings))]
    [[0.1, 0.9], [], [0.5]]

    DataError where values and offsets make no rankings.
    """

    values: Array
    offsets: np.ndarray
    beside: Mapping[str, Array] = field(default_factory=dict)
    each: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.is_on_card:
            self._check()
            object.__setattr__(self, "values", frozen(self.values))
        object.__setattr__(self, "offsets", frozen(self.offsets))

    def _check(self) -> None:
        if self.values.ndim != 1 or self.values.dtype not in (np.float32, np.float64):
            raise DataError(f"scores must be one flat float32 or float64 array, got {self.values.dtype}")
        offsets = self.offsets
        if offsets.dtype != np.int64 or offsets.ndim != 1 or len(offsets) == 0:
            raise DataError(f"offsets must be a flat, non-empty int64 array, got {offsets.dtype}")
        if offsets[0] != 0 or offsets[-1] != len(self.values) or (offsets[1:] < offsets[:-1]).any():
            raise DataError(f"offsets must rise from 0 to the number of scores, {len(self.values)}")

    @classmethod
    def of(cls, rows: Sequence) -> Rankings:
        """Rankings from a list of one-dimensional arrays, which are copied; float32 only when all of them are."""
        rows = [np.asarray(row) for row in rows]
        dtype = np.float32 if rows and all(row.dtype in (np.float16, np.float32) for row in rows) else np.float64
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        values = np.concatenate([np.asarray(row, dtype) for row in rows]) if rows else np.empty(0, dtype)
        return cls(values, offsets)

    @classmethod
    def equal_length(cls, values: Array, count: int, length: int) -> Rankings:
        """`count` consecutive rankings of `length` scores each, without a copy."""
        values = values.reshape(count * length)
        if not isinstance(values, np.ndarray):  # a card keeps what it has found out about offsets that are known to it
            return cls(values, equal_offsets(count, length))
        offsets = np.arange(0, (count + 1) * length, length) if length else np.zeros(count + 1, np.int64)
        if values.dtype.char not in _NAMES:
            return cls(values, offsets)
        made = object.__new__(cls)  # nothing else is left to check
        made.__dict__.update(values=frozen(values), offsets=frozen(offsets), beside={}, each={})
        return made

    @property
    def is_on_card(self) -> bool:
        """Whether the scores, and what goes beside them, are on a card."""
        return not isinstance(self.values, np.ndarray)

    @property
    def dtype(self) -> str:
        """The name of the dtype of the scores."""
        return _NAMES[self.values.dtype.char]

    @property
    def lengths(self) -> np.ndarray:
        """(m,) scores of each ranking."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def longest(self) -> int:
        """Scores of the longest ranking."""
        global _longest
        offsets, known = _longest
        if offsets is not self.offsets or not is_fixed(self.offsets):
            known = int(self.lengths.max(initial=0))
            _longest = self.offsets if is_fixed(self.offsets) else None, known
        return known

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, r: int) -> Array:
        return self.values[self.offsets[r] : self.offsets[r + 1]]

    def with_values(self, values: Array) -> Rankings:
        """Other numbers in the same rankings, with nothing beside them."""
        return Rankings(values, self.offsets)

    def with_each(self, each: Mapping[str, np.ndarray]) -> Rankings:
        """The same with other numbers of every ranking; nothing is checked again."""
        made = object.__new__(Rankings)
        made.__dict__.update(self.__dict__, each=each)
        return made

    def piece(self, first: int, last: int) -> Rankings:
        """Rankings first .. last with all that goes with them; a view, itself where that is all of them."""
        if (first, last) == (0, len(self)):
            return self
        begin, end = int(self.offsets[first]), int(self.offsets[last])
        return Rankings(
            self.values[begin:end],
            self.offsets[first : last + 1] - begin,
            {name: values[begin:end] for name, values in self.beside.items()},
            {name: values[first:last] for name, values in self.each.items()},
        )
