"""Sorting every ranking, best first, with the place each score came from.

A float's bits become an unsigned integer that orders like it. Long rankings are sorted by its bytes, from the lowest
(LSD radix sort): 11 to 17 ns a float32 score with its place, at any length, and 20 to 25 a float64 score. For 10^7
scores NumPy's SIMD sort of score and place packed into 64 bits takes 65, and its argsort 150, on a Zen 4, which is slow
to store compressed vectors. Rankings of like length are rows of one matrix, so that one call serves thousands; short
float32 rows, packed, are NumPy's.
"""

import numpy as np

from . import parallel
from .jit import kernel

# Scores in one matrix: 2^17 packed keys are 1 MiB, an L2 cache; Python's share of a call is then below 1 %.
_MATRIX = 1 << 17
# From this width a row is sorted by bytes: a shorter one does not repay the counting of 4 or 8 times 256 digits.
_LONG = {np.dtype(np.float32): 512, np.dtype(np.float64): 128}
_WIDTHS_PER_DOUBLING = 8  # padding wastes at most 1/8; more widths would mean more, smaller matrices


class Order:
    """Rankings best first, one matrix at a time: `for group in order.groups: scores, places = order.sorted(group)`.

    What `sorted` gives is a thread's until it asks for the next.

    keep: hold every sorted matrix, 8 or 12 bytes a score, so that a gradient asked for later need not sort again.
    """

    def __init__(self, values: np.ndarray, offsets: np.ndarray, descending: bool = True, keep: bool = False):
        self.values, self.offsets, self.descending = values, offsets, descending
        self.groups = matrices(offsets)
        self.kept: dict | None = {} if keep else None
        self.workspace = parallel.Workspace()

    def sorted(self, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores and places (rows, width) of one of `groups`."""
        if self.kept is None:
            return sort_rows(self.values, self.offsets, group, self.descending, self.workspace)
        if int(group[0]) not in self.kept:
            own = parallel.Workspace()
            self.kept[int(group[0])] = sort_rows(self.values, self.offsets, group, self.descending, own)
        return self.kept[int(group[0])]


def matrices(offsets: np.ndarray) -> list[np.ndarray]:
    """The rankings in groups of like length, each group to be sorted as one matrix; empty rankings are left out.

    Deterministic, and without bearing on the result: padding sorts last.
    """
    lengths = np.diff(offsets)
    by_length = np.argsort(lengths, kind="stable")
    rising = lengths[by_length]
    starts = np.flatnonzero(np.diff(rising, prepend=0))  # of each length above 0
    widths = _padded(rising[starts])
    starts = starts[np.flatnonzero(np.diff(widths, prepend=0))].tolist()
    groups = []
    for start, stop, width in zip(starts, (*starts, len(rising))[1:], np.unique(widths).tolist(), strict=True):
        step = max(1, _MATRIX // width)
        groups += [by_length[at : min(at + step, stop)] for at in range(start, stop, step)]
    return groups


def _padded(lengths: np.ndarray) -> np.ndarray:
    """Lengths rounded up to one of eight widths per doubling; from a whole matrix up a ranking is its own width."""
    step = np.exp2(np.maximum(0, np.ceil(np.log2(np.maximum(lengths, 1))) - np.log2(2 * _WIDTHS_PER_DOUBLING)))
    rounded = (np.ceil(lengths / step) * step).astype(np.int64)
    return np.where(lengths >= _MATRIX, lengths, rounded)


def sort_rows(values, offsets, group, descending, workspace):
    """Rankings `group` as rows, best score first: scores (rows, width) and places in the ranking (rows, width).

    Scores keep their dtype; a row's padding comes after its scores and is to be ignored. Equal scores keep their order.
    """
    width = int(np.max(offsets[group + 1] - offsets[group]))
    if width >= 1 << 32:
        raise NotImplementedError(f"a ranking of {width} scores; 2^32 - 1 are supported")
    if width >= _LONG[values.dtype]:
        return _by_bytes(values, offsets, group, descending, width, workspace)
    return (_packed if values.dtype == np.float32 else _by_argsort)(
        values, offsets, group, descending, width, workspace
    )


def sort_values(values, offsets, group, descending, workspace):
    """The scores of short rankings `group` alone, best first, as rows of a matrix: negated if descending, so rising.

    Rows end with inf, at a multiple of 16: a loop over one has no rest that SIMD does not fit.
    """
    width = -(-int(np.max(offsets[group + 1] - offsets[group])) // 16) * 16
    keys = workspace.array("keys", (len(group), width), values.dtype)
    _copy(values, offsets, group, values.dtype.type(-1 if descending else 1), keys)
    keys.sort(axis=1)
    return keys


def _by_bytes(values, offsets, group, descending, width, workspace):
    bits = values.view(f"u{values.itemsize}")
    scores = workspace.array("scores", (len(group), width), bits.dtype)
    places = workspace.array("places", (len(group), width), np.uint32)
    spare, spare_places = workspace.array("keys", (width,), bits.dtype), workspace.array("spare", (width,), np.uint32)
    counts = np.empty((bits.itemsize, 256), np.uint32)
    every, sign = bits.dtype.type(-1 % (1 << 8 * bits.itemsize)), bits.dtype.type(1 << (8 * bits.itemsize - 1))
    flip = every if descending else bits.dtype.type(0)
    _radix_rows(bits, offsets, group, every, sign, flip, scores, places, spare, spare_places, counts)
    return scores.view(values.dtype), places


def _packed(values, offsets, group, descending, width, workspace):
    keys = workspace.array("keys", (len(group), width), np.uint64)
    _pack(values.view(np.uint32), offsets, group, descending, keys)
    keys.sort(axis=1)
    scores = workspace.array("scores", keys.shape, np.float32)
    places = workspace.array("places", keys.shape, np.uint32)
    _unpack(keys, descending, scores.view(np.uint32), places)
    return scores, places


def _by_argsort(values, offsets, group, descending, width, workspace):
    keys = workspace.array("keys", (len(group), width), np.float64)
    _copy(values, offsets, group, -1.0 if descending else 1.0, keys)
    places = np.argsort(keys, axis=1, kind="stable")
    scores = np.take_along_axis(keys, places, axis=1)
    return (-scores if descending else scores), places.astype(np.uint32)


_DIGIT = 255


@kernel
def _radix_rows(bits, offsets, group, every, sign, flip, scores, places, spare, spare_places, counts):
    for row in range(group.size):
        x = bits[offsets[group[row]] : offsets[group[row] + 1]]
        n = x.size
        _radix_sort(x, every, sign, flip, scores[row, :n], places[row, :n], spare[:n], spare_places[:n], counts)


@kernel
def _radix_sort(bits, every, sign, flip, keys, places, spare, spare_places, counts):
    """Sort by one byte after the other, the lowest first, to and fro between two buffers; ends in keys and places.

    Float bits order like integers once negative ones are inverted and positive ones get the top bit.
    """
    counts[:] = 0
    for i in range(bits.size):
        b = bits[i] if bits[i] != sign else type(sign)(0)  # -0 is 0
        key = b ^ (every if b & sign else sign) ^ flip
        keys[i] = key
        places[i] = i
        for p in range(counts.shape[0]):
            counts[p, (key >> type(key)(8 * p)) & type(key)(_DIGIT)] += 1
    here, origin, there, target = keys, places, spare, spare_places
    swapped = False
    for p in range(counts.shape[0]):
        if _starts(counts[p], bits.size):  # a byte that all have alike orders nothing
            continue
        _scatter(here, origin, there, target, 8 * p, counts[p])
        here, origin, there, target = there, target, here, origin
        swapped = not swapped
    for i in range(bits.size):
        b = here[i] ^ flip
        keys[i] = b ^ (sign if b & sign else every)
        if swapped:
            places[i] = origin[i]


@kernel
def _starts(count, n):
    """Turn counts of digits into where each begins; whether one digit has them all."""
    total, alone = 0, False
    for d in range(count.size):
        c = count[d]
        count[d] = total
        total += c
        alone |= c == n
    return alone


@kernel
def _scatter(keys, places, to_keys, to_places, shift, start):
    for i in range(keys.size):
        key = keys[i]
        d = (key >> type(key)(shift)) & type(key)(_DIGIT)
        at = start[d]
        start[d] = at + 1
        to_keys[at] = key
        to_places[at] = places[i]


_SIGN = np.uint32(1 << 31)
_ALL = np.uint32(0xFFFFFFFF)
_PADDING = np.uint64(0xFFFFFFFFFFFFFFFF)
_HALF = np.uint64(32)


@kernel
def _pack(bits, offsets, group, descending, keys):
    """Float bits order like integers once negative ones are inverted and positive ones get the top bit."""
    flip = _ALL if descending else np.uint32(0)
    for row in range(group.size):
        x, out = bits[offsets[group[row]] : offsets[group[row] + 1]], keys[row]
        for i in range(x.size):
            b = x[i] if x[i] != _SIGN else np.uint32(0)  # -0 is 0
            key = np.uint32(b ^ (_ALL if b & _SIGN else _SIGN)) ^ flip
            out[i] = (np.uint64(key) << _HALF) | np.uint64(i)
        out[x.size :] = _PADDING


@kernel
def _unpack(keys, descending, bits, places):
    flip = _ALL if descending else np.uint32(0)
    for row in range(keys.shape[0]):
        packed, out, place = keys[row], bits[row], places[row]
        for i in range(packed.size):
            key = np.uint32(np.uint32(packed[i] >> _HALF) ^ flip)
            out[i] = key ^ (_SIGN if key & _SIGN else _ALL)
            place[i] = np.uint32(packed[i])


@kernel
def _copy(values, offsets, group, sign, keys):
    for row in range(group.size):
        x, out = values[offsets[group[row]] : offsets[group[row] + 1]], keys[row]
        for i in range(x.size):
            out[i] = sign * x[i]
        out[x.size :] = np.inf
