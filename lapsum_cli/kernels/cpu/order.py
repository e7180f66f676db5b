"""Sorting every ranking, best first, with the place each score came from.

A float's bits become an unsigned integer that orders like it. Long rankings are sorted by its bytes, from the lowest
(LSD radix sort; each byte is counted, then scattered): 11 ns a float32 score with its place, at any length, 8 without,
and 16 to 19 a float64 score. For 10^7 scores NumPy's SIMD sort of score and place packed into 64 bits takes 65, and its
argsort 150, on a Zen 4, which is slow to store compressed vectors. A ranking of more than a part is sorted in stretches
by several threads. Rankings of like length are rows of one matrix, so that one call serves thousands; short rows are
NumPy's: float32 packed with their places (2 ns a score of 100), float64 by argsort (8 ns).
"""

import numpy as np

from ..jit import inlined, kernel
from . import parallel
from .sweeps import copy

# Scores in one matrix: 2^17 packed keys are 1 MiB, an L2 cache; Python's share of a call is then below 1 %.
_MATRIX = 1 << 17
# From this width a row is sorted by bytes: a shorter one does not repay the counting of 4 or 8 times 256 digits.
_LONG = {np.dtype(np.float32): 512, np.dtype(np.float64): 800}
_LONG_ALONE = 4096  # of scores without their places
_WIDTHS_PER_DOUBLING = 8  # padding wastes at most 1/8; more widths would mean more, smaller matrices


class Order:
    """Rankings best first, one matrix at a time: `for group in order.groups: scores, places = order.sorted(group)`.

    What `sorted` gives is a thread's until it asks for the next.

    keep: hold every sorted matrix, 8 or 12 bytes a score, so that a gradient asked for later need not sort again.
    name: of use to a card alone.
    """

    def __init__(self, cores: parallel.Cores, rankings, descending: bool = True, keep: bool = False, name="scores"):
        self.cores, self.rankings, self.descending = cores, rankings, descending
        self.values, self.offsets = rankings.values, rankings.offsets
        self.groups = matrices(self.offsets)
        self.kept: dict | None = {} if keep else None
        self.workspace = parallel.Workspace()

    def sorted(self, group: np.ndarray, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Scores and places (rows, width) of one of `groups`; a long ranking is sorted by several threads."""
        if self.kept is None:
            return sort_rows(self.values, self.offsets, group, self.descending, self.workspace, threads)
        if int(group[0]) not in self.kept:
            own = parallel.Workspace()
            self.kept[int(group[0])] = sort_rows(self.values, self.offsets, group, self.descending, own, threads)
        return self.kept[int(group[0])]

    def sorted_scores(self, group: np.ndarray, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The scores alone, in half the time; no places. Rows may be wider than the longest ranking."""
        if self.kept is not None:
            return self.sorted(group, threads)
        width = longest(self.offsets, group)
        if width >= _LONG_ALONE:
            return _by_bytes(*self._given(group), width, self.workspace, threads, with_places=False)
        scores = sort_values(*self._given(group), self.workspace)
        none = np.empty((len(group), 0), np.uint32)
        return (np.negative(scores, out=scores) if self.descending else scores), none

    def positions(self) -> np.ndarray:
        """(N,) int64, the place of every score in its ranking, from 0, best first; ties in the order of the input."""
        out = np.empty(len(self.values), np.int64)

        def work(group):
            _put_positions(self.sorted(group)[1], self.offsets, group, out)

        parallel.for_each(work, [(group,) for group in self.groups], self.cores.threads)
        return out

    def _given(self, group):
        return self.values, self.offsets, group, self.descending


def matrices(offsets: np.ndarray) -> list[np.ndarray]:
    """The rankings in groups of like length, each group to be sorted as one matrix; empty rankings are left out.

    Deterministic, and without bearing on the result: padding sorts last. Lengths rise in a group.
    """
    lengths = np.diff(offsets)
    if len(lengths) and lengths.min() == lengths.max():  # as in a matrix, whose rows need no sort by length
        by_length, rising = np.arange(len(lengths)), lengths[:1]
    else:
        by_length = np.argsort(lengths, kind="stable")
        rising = lengths[by_length]
    starts = np.flatnonzero(np.diff(rising, prepend=0))  # of each length above 0
    widths = _padded(rising[starts])
    starts = starts[np.flatnonzero(np.diff(widths, prepend=0))].tolist()
    groups = []
    for start, stop, width in zip(starts, (*starts, len(lengths))[1:], np.unique(widths).tolist(), strict=True):
        step = max(1, _MATRIX // width)
        groups += [by_length[at : min(at + step, stop)] for at in range(start, stop, step)]
    return groups


def longest(offsets: np.ndarray, group: np.ndarray) -> int:
    """Scores of the longest ranking of a group, which is its last."""
    return int(offsets[group[-1] + 1] - offsets[group[-1]])


def _padded(lengths: np.ndarray) -> np.ndarray:
    """Lengths rounded up to one of eight widths per doubling; from a whole matrix up a ranking is its own width."""
    step = np.exp2(np.maximum(0, np.ceil(np.log2(np.maximum(lengths, 1))) - np.log2(2 * _WIDTHS_PER_DOUBLING)))
    rounded = (np.ceil(lengths / step) * step).astype(np.int64)
    return np.where(lengths >= _MATRIX, lengths, rounded)


def sort_rows(values, offsets, group, descending, workspace, threads=1):
    """Rankings `group` as rows, best score first: scores (rows, width) and places in the ranking (rows, width).

    Scores keep their dtype; a row's padding comes after its scores and is to be ignored. Equal scores keep their order.
    """
    width = longest(offsets, group)
    if width >= 1 << 32:
        raise NotImplementedError(f"a ranking of {width} scores; 2^32 - 1 are supported")
    if width >= _LONG[values.dtype]:
        return _by_bytes(values, offsets, group, descending, width, workspace, threads)
    return (_packed if values.dtype == np.float32 else _by_argsort)(
        values, offsets, group, descending, width, workspace
    )


def sort_values(values, offsets, group, descending, workspace):
    """The scores of short rankings `group` alone, best first, as rows of a matrix: negated if descending, so rising.

    Rows end with inf, at a multiple of 16: a loop over one has no rest that SIMD does not fit.
    """
    width = -(-longest(offsets, group) // 16) * 16
    keys = workspace.array("keys", (len(group), width), values.dtype)
    _copy(values, offsets, group, values.dtype.type(-1 if descending else 1), keys)
    keys.sort(axis=1)
    return keys


def _by_bytes(values, offsets, group, descending, width, workspace, threads, with_places=True):
    bits = values.view(f"u{values.itemsize}")
    scores = workspace.array("scores", (len(group), width), bits.dtype)
    placed = width if with_places else 0
    places, spare_places = (
        workspace.array(name, (rows, placed), np.uint32) for name, rows in (("places", len(group)), ("spare", 1))
    )
    spare = workspace.array("keys", (width,), bits.dtype)
    order = bit_order(bits.dtype, descending)
    if len(group) == 1 and threads > 1 and width > parallel.PART:
        here = slice(offsets[group[0]], offsets[group[0] + 1])
        _radix_sort_by(threads, bits[here], order, scores[0], places[0], spare, spare_places[0])
    else:
        _radix_rows(bits, offsets, group, order, scores, places, spare, spare_places[0], np.empty((1, 256), np.int64))
    return scores.view(values.dtype), places


def bit_order(dtype, descending):
    """(all bits, sign bit, all or none): what turns the bits of a float into an integer that orders like it.

    All bits of negative ones are inverted and the sign bit of the others, then all for a descending order.
    """
    every, sign = dtype.type(-1 % (1 << 8 * dtype.itemsize)), dtype.type(1 << (8 * dtype.itemsize - 1))
    return every, sign, every if descending else dtype.type(0)


@inlined
def key_of(bits, order):
    """The integer of the bits of a float; -0 is 0."""
    every, sign, flip = order
    b = bits if bits != sign else type(sign)(0)
    return b ^ (every if b & sign else sign) ^ flip


@inlined
def bits_of(key, order):
    """The bits of the float that has this integer."""
    every, sign, flip = order
    b = key ^ flip
    return b ^ (sign if b & sign else every)


def _radix_sort_by(threads, bits, order, keys, places, spare, spare_places):
    """What _radix_sort does, each step of it by several threads, a stretch of the ranking each."""
    stretches = parallel.parts(len(bits), -(-len(bits) // (4 * threads)))  # several a thread, so that all end at once
    counts = np.empty((len(stretches), 256), np.int64)
    here, origin, there, target = keys, places, spare, spare_places

    def begin(i, part):
        _to_keys(bits[part], part.start, order, keys[part], places[part])

    def count(i, part, digit):
        _count(here[part], digit, counts[i])

    def scatter(i, part, digit):
        _scatter(here[part], origin[part], there, target, digit, counts[i])

    def end(i, part):
        _from_keys(here[part], origin[part], order, keys[part], places[part])

    parallel.for_each(begin, stretches, threads)
    for digit in range(bits.itemsize):
        steps = [(*stretch, digit) for stretch in stretches]
        parallel.for_each(count, steps, threads)
        if _begin_digits(counts):
            parallel.for_each(scatter, steps, threads)
            here, origin, there, target = there, target, here, origin
    parallel.for_each(end, stretches, threads)


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
    sign = -1.0 if descending else 1.0
    _copy(values, offsets, group, sign, keys)
    scores = workspace.array("scores", keys.shape, np.float64)
    places = workspace.array("places", keys.shape, np.uint32)
    # NumPy's stable order takes four times as long as its quickest, which leaves ties as it finds them.
    _take(keys, np.argsort(keys, axis=1), sign, scores, places)
    return scores, places


@kernel
def _radix_rows(bits, offsets, group, order, scores, places, spare, spare_places, counts):
    for row in range(group.size):
        x = bits[offsets[group[row]] : offsets[group[row] + 1]]
        n = x.size
        _radix_sort(x, order, scores[row, :n], places[row, :n], spare[:n], spare_places[:n], counts)


@kernel
def _radix_sort(bits, order, keys, places, spare, spare_places, counts):
    """Sort by one byte after the other, the lowest first, to and fro between two buffers; ends in keys and places."""
    _to_keys(bits, 0, order, keys, places)
    here, origin, there, target = keys, places, spare, spare_places
    for digit in range(bits.itemsize):
        _count(here, digit, counts[0])
        if _begin_digits(counts):
            _scatter(here, origin, there, target, digit, counts[0])
            here, origin, there, target = there, target, here, origin
    _from_keys(here, origin, order, keys, places)


@kernel
def _to_keys(bits, first, order, keys, places):
    """Integers in the order of the scores, and their places, from `first` on."""
    for i in range(bits.size):
        keys[i] = key_of(bits[i], order)
    for i in range(places.size):
        places[i] = first + i


@kernel
def _from_keys(keys, origin, order, bits, places):
    """The scores' bits again, and their places, which may be where they are to go."""
    for i in range(keys.size):
        bits[i] = bits_of(keys[i], order)
    copy(origin, places)


@kernel
def _count(keys, digit, count):
    """How often each value of a byte occurs."""
    shift = type(keys[0])(8 * digit)
    count[:] = 0
    for i in range(keys.size):
        count[np.uint8(keys[i] >> shift)] += 1


@kernel
def _begin_digits(counts):
    """Turn the counts of digits in every stretch into where each begins; False where one digit has them all: that byte
    orders nothing.
    """
    total, largest = 0, 0
    for d in range(counts.shape[1]):
        before = total
        for stretch in range(counts.shape[0]):
            begins, total = total, total + counts[stretch, d]
            counts[stretch, d] = begins
        largest = max(largest, total - before)
    return largest < total


@kernel
def _scatter(keys, places, to_keys, to_places, digit, begins):
    """Each key, and its place if they have any, to the next place of its digit."""
    shift, with_places = type(keys[0])(8 * digit), places.size > 0
    for i in range(keys.size):
        d = np.uint8(keys[i] >> shift)
        at = begins[d]
        begins[d] = at + 1
        to_keys[at] = keys[i]
        if with_places:
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
def _take(keys, origins, sign, scores, places):
    """Sorted scores and their places, those of ties in the order of the input."""
    for row in range(keys.shape[0]):
        key, origin, score, place = keys[row], origins[row], scores[row], places[row]
        for i in range(key.size):
            score[i], place[i] = sign * key[origin[i]], origin[i]
            j = i
            while j > 0 and score[j - 1] == score[j] and place[j - 1] > place[j]:
                place[j - 1], place[j] = place[j], place[j - 1]
                j -= 1


@kernel
def _put_positions(places, offsets, group, out):
    for row in range(group.size):
        first, stop = offsets[group[row]], offsets[group[row] + 1]
        for i in range(stop - first):
            out[first + np.int64(places[row, i])] = i


@kernel
def _copy(values, offsets, group, sign, keys):
    for row in range(group.size):
        x, out = values[offsets[group[row]] : offsets[group[row] + 1]], keys[row]
        for i in range(x.size):
            out[i] = sign * x[i]
        out[x.size :] = np.inf
