"""Rankings: many lists of scores in one flat array, the one data type that every part of the program speaks."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .errors import DataError
from .numbers import floats, read, row, taken
from .tensors import is_tensor

Array = Any  # a NumPy array, or one on a card with the CUDA Array Interface
_FEW = 1 << 12  # numbers, of which a copy costs nothing
_NAMES = {"f": "float32", "d": "float64"}


def sums_of(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(m,) the sum of the values (N,) of each ranking, 0 of one without any: reduceat gives the next value there."""
    return np.where(np.diff(offsets) > 0, np.add.reduceat(np.append(values, 0.0), offsets[:-1]), 0.0)


def is_fixed(array: np.ndarray) -> bool:
    """Whether an array has memory of its own and is read-only: nobody writes to it."""
    return array.flags.owndata and not array.flags.writeable


def is_one(array: np.ndarray) -> bool:
    """Whether a flat array is one number for all, by its stride."""
    return array.ndim == 1 and array.size > 0 and array.strides[0] == 0


def one_for_all(value: float, count: int, dtype: DTypeLike = np.float64) -> np.ndarray:
    """One number for each of so many rankings (m,), by a stride of 0 (`is_one`); np.broadcast_to takes 10 us for it."""
    number: Any = np.empty(1, dtype)
    number[0] = value
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
    """Whether any number of a flat array is NaN: one pass, and nothing to store, as NaN is the greatest to argmax,
    which takes a quarter of the time that max does for a few numbers, but copies what is read-only.
    """
    if array.size > _FEW:
        return bool(np.isnan(array.max()))
    greatest = array.item(array.argmax()) if array.size else 0.0
    return bool(greatest != greatest)


def is_on_card(given: Any) -> bool:
    """Whether what was given is an array on a GPU, by the CUDA Array Interface; that of the simulator has no such."""
    if type(given) is np.ndarray:
        return False
    if is_tensor(given):
        return bool(given.is_cuda)  # PyTorch raises for a tensor that is not, instead of having no such attribute
    return hasattr(given, "__cuda_array_interface__") or hasattr(given, "copy_to_host")


def _each_row(rows: Any, name: str, error: Any) -> list[np.ndarray]:
    return [row(given, r, name) for r, given in enumerate(rows)]


def whole_numbers(given: Any, name: str) -> np.ndarray:
    """Integers of any type as int64; DataError where they are none."""
    array = taken(read, given, name)
    if array.dtype.kind not in "iu":
        raise DataError(f"{name} must be integers, got {array.dtype}")
    return array.astype(np.int64, copy=False)


def check_shape_of_offsets(shape: tuple[int, ...]) -> None:
    """DataError unless an array of this shape may be offsets, whatever its numbers are."""
    if len(shape) != 1 or shape[0] == 0:
        raise DataError(f"offsets must be a flat, non-empty int64 array, got the shape {shape}")


def check_offsets(offsets: np.ndarray, count: int) -> None:
    """DataError unless integers say where rankings of so many scores begin and end."""
    check_shape_of_offsets(offsets.shape)
    if offsets[0] != 0 or offsets[-1] != count or (offsets[1:] < offsets[:-1]).any():
        raise DataError(f"offsets must rise from 0 to the number of scores, {count}")


@dataclass(frozen=True)
class Rankings:
    """Ranking r is `values[offsets[r]:offsets[r + 1]]`, as in Arrow's list layout with 64-bit offsets.

    values   (N,) float32 or float64, in memory here or on a card; other numbers become one of these
    offsets  (m + 1,) int64, non-decreasing, from 0 to N; in memory here; other integers become that
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
        if isinstance(self.values, np.ndarray) or not is_on_card(self.values):
            self._check()
            object.__setattr__(self, "values", frozen(self.values))
        object.__setattr__(self, "offsets", frozen(self.offsets))

    def _check(self) -> None:
        if type(self.values) is not np.ndarray or self.values.dtype not in (np.float32, np.float64):
            object.__setattr__(self, "values", taken(floats, self.values, "x"))
        if self.values.ndim != 1:
            raise DataError(f"scores must be one flat float32 or float64 array, got {self.values.ndim} dimensions")
        if type(self.offsets) is not np.ndarray or self.offsets.dtype != np.int64:
            object.__setattr__(self, "offsets", whole_numbers(self.offsets, "offsets"))
        check_offsets(self.offsets, len(self.values))
        for named, count in ((self.beside, len(self.values)), (self.each, len(self.offsets) - 1)):
            for name, given in named.items():
                if given.shape != (count,):
                    raise DataError(f"{name} has the shape {given.shape}; it must be ({count},)")

    @classmethod
    def of(cls, rows: Sequence) -> Rankings:
        """Rankings from a list of one-dimensional arrays, which are copied; float32 only when all of them are."""
        return cls.joined(taken(_each_row, rows, "x"))

    @classmethod
    def joined(cls, rows: Sequence[np.ndarray]) -> Rankings:
        """Rankings from arrays (n,) of floats, as numbers.row gives them."""
        dtype = np.float32 if rows and all(values.dtype == np.float32 for values in rows) else np.float64
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(values) for values in rows], out=offsets[1:])
        values = np.concatenate([np.asarray(values, dtype) for values in rows]) if rows else np.empty(0, dtype)
        return cls(values, offsets)

    @classmethod
    def from_sizes(cls, values: Any, sizes: Any) -> Rankings:
        """Consecutive rankings of so many scores each, as the `group` of LightGBM and XGBoost has it.

        values  (N,) scores
        sizes   (m,) integers of 0 or more that sum to N

        >>> Rankings.from_sizes([0.1, 0.9, 0.5], [2, 0, 1]).offsets.tolist()
        [0, 2, 2, 3]
        """
        if not is_on_card(values):
            values = taken(floats, values, "x")
        sizes = whole_numbers(sizes, "sizes")
        if sizes.ndim != 1 or (sizes < 0).any() or values.ndim != 1 or sizes.sum() != len(values):
            total = f"{sizes.sum()} in {len(sizes)} of them" if sizes.ndim == 1 else f"the shape {sizes.shape}"
            raise DataError(f"sizes must be 0 or more and sum to the number of scores, {values.shape[0]}, got {total}")
        return cls(values, np.concatenate([[0], np.cumsum(sizes)]))

    @classmethod
    def equal_length(cls, values: Array, count: int, length: int) -> Rankings:
        """`count` consecutive rankings of `length` scores each, without a copy."""
        values = values.reshape(count * length)
        if not isinstance(values, np.ndarray):  # a card keeps what it has found out about offsets that are known to it
            made = cls(values, equal_offsets(count, length))
        else:
            offsets = np.arange(0, (count + 1) * length, length) if length else np.zeros(count + 1, np.int64)
            if values.dtype.char not in _NAMES:
                return cls(values, offsets)
            made = object.__new__(cls)  # nothing else is left to check
            values.setflags(write=False)  # of a view of its own, as reshape gives one
            offsets.setflags(write=False)
            made.__dict__.update(values=values, offsets=offsets, beside={}, each={})
        made.__dict__["longest"] = length if count else 0
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

    @functools.cached_property
    def longest(self) -> int:
        """Scores of the longest ranking."""
        return int(self.lengths.max(initial=0))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, r: int) -> Array:
        return self.values[self.offsets[r] : self.offsets[r + 1]]

    def with_values(self, values: Array) -> Rankings:
        """Other numbers in the same rankings, with nothing beside them."""
        return Rankings(values, self.offsets)

    def with_each(self, each: Mapping[str, np.ndarray], beside: Mapping[str, Array] | None = None) -> Rankings:
        """The same with other numbers of every ranking, and of every score if `beside` is given; nothing is checked."""
        made = object.__new__(Rankings)
        made.__dict__.update(self.__dict__, each=each, beside=self.beside if beside is None else beside)
        return made

    def same(self, value: float) -> np.ndarray:
        """(m,) float64: a number that all of them have, with a stride of 0."""
        return one_for_all(value, len(self.offsets) - 1)

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
