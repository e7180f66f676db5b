"""Sorting every ranking, best first, with the place each score came from.

NumPy's SIMD sort of integers does the work: a float32 score becomes 32 bits that order like it, with its index in the
32 bits below, so that one plain sort of uint64 yields both (np.argsort of 10^7 float32 takes 2.4 times as long here).
Rankings of like length are padded to rows of one matrix, so that a call of np.sort serves thousands of them.
"""

import numpy as np

from .jit import kernel

# Scores in one matrix: 2^17 packed keys are 1 MiB, an L2 cache; Python's share of a call is then below 1 %.
_MATRIX = 1 << 17
_WIDTHS_PER_DOUBLING = 8  # padding wastes at most 1/8; more widths would mean more, smaller matrices


class Order:
    """Rankings best first, one matrix at a time: `for group in order.groups: scores, places = order.sorted(group)`.

    keep: hold every sorted matrix, 8 or 16 bytes a score, so that a gradient asked for later need not sort again.
    """

    def __init__(self, values: np.ndarray, offsets: np.ndarray, descending: bool = True, keep: bool = False):
        self.values, self.offsets, self.descending = values, offsets, descending
        self.groups = matrices(offsets)
        self.kept: dict | None = {} if keep else None

    def sorted(self, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores and places (rows, width) of one of `groups`."""
        if self.kept is None:
            return sort_rows(self.values, self.offsets, group, self.descending)
        if int(group[0]) not in self.kept:
            self.kept[int(group[0])] = sort_rows(self.values, self.offsets, group, self.descending)
        return self.kept[int(group[0])]


def matrices(offsets: np.ndarray) -> list[np.ndarray]:
    """The rankings in groups of like length, each group to be sorted as one matrix; empty rankings are left out.

    Deterministic, and without bearing on the result: padding sorts last.
    """
    lengths = np.diff(offsets)
    by_length = np.argsort(lengths, kind="stable")
    by_length = by_length[np.searchsorted(lengths, 1, sorter=by_length) :]
    widths = _padded(lengths[by_length])
    groups = []
    start = 0
    while start < len(by_length):
        same = int(np.searchsorted(widths, widths[start], side="right"))
        stop = min(same, start + max(1, _MATRIX // int(widths[start])))
        groups.append(by_length[start:stop])
        start = stop
    return groups


def _padded(lengths: np.ndarray) -> np.ndarray:
    """Lengths rounded up to one of eight widths per doubling; from a whole matrix up a ranking is its own width."""
    step = np.exp2(np.maximum(0, np.ceil(np.log2(np.maximum(lengths, 1))) - np.log2(2 * _WIDTHS_PER_DOUBLING)))
    rounded = (np.ceil(lengths / step) * step).astype(np.int64)
    return np.where(lengths >= _MATRIX, lengths, rounded)


def sort_rows(values, offsets, group, descending):
    """Rankings `group` as rows, best score first: scores (rows, width) and places in the ranking (rows, width).

    Scores keep their dtype; a row's padding comes after its scores and is to be ignored.
    """
    width = int(np.max(offsets[group + 1] - offsets[group]))
    if values.dtype == np.float32 and width < 1 << 32:
        keys = np.empty((len(group), width), np.uint64)
        _pack(values.view(np.uint32), offsets, group, descending, keys)
        keys.sort(axis=1)
        scores = np.empty(keys.shape, np.float32)
        places = np.empty(keys.shape, np.uint32)
        _unpack(keys, descending, scores.view(np.uint32), places)
        return scores, places
    keys = np.full((len(group), width), np.inf)
    _copy(values, offsets, group, -1.0 if descending else 1.0, keys)
    places = np.argsort(keys, axis=1, kind="stable")
    scores = np.take_along_axis(keys, places, axis=1)
    return (-scores if descending else scores), places.astype(np.uint64 if width >= 1 << 32 else np.uint32)


_SIGN = np.uint32(1 << 31)
_ALL = np.uint32(0xFFFFFFFF)
_PADDING = np.uint64(0xFFFFFFFFFFFFFFFF)
_HALF = np.uint64(32)


@kernel
def _pack(bits, offsets, group, descending, keys):
    """Float bits order like integers once negative ones are inverted and positive ones get the top bit."""
    flip = _ALL if descending else np.uint32(0)
    for row in range(group.size):
        start = offsets[group[row]]
        length = offsets[group[row] + 1] - start
        for i in range(length):
            b = bits[start + i]
            key = np.uint32(b ^ (_ALL if b & _SIGN else _SIGN)) ^ flip
            keys[row, i] = (np.uint64(key) << _HALF) | np.uint64(i)
        for i in range(length, keys.shape[1]):
            keys[row, i] = _PADDING


@kernel
def _unpack(keys, descending, bits, places):
    flip = _ALL if descending else np.uint32(0)
    for row in range(keys.shape[0]):
        for i in range(keys.shape[1]):
            key = np.uint32(np.uint32(keys[row, i] >> _HALF) ^ flip)
            bits[row, i] = key ^ (_SIGN if key & _SIGN else _ALL)
            places[row, i] = np.uint32(keys[row, i])


@kernel
def _copy(values, offsets, group, sign, keys):
    for row in range(group.size):
        start, stop = offsets[group[row]], offsets[group[row] + 1]
        for i in range(stop - start):
            keys[row, i] = sign * values[start + i]
