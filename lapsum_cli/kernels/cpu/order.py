"""Sorting every ranking, best first, with the place each score came from.

Rankings stay where they are: a block of consecutive ones is sorted, each within its own stretch of the block, whatever
their lengths. How depends on the length. In a short ranking the scores above each are counted, all at once by SIMD. A
longer one is packed, score and place in 64 bits, into a row of a matrix of its like in the block, of which NumPy sorts
what one network holds, and the rest is merging. A long one is sorted by its bytes (radix.py). A result does not depend
on which it was.
"""

import numpy as np

from ..jit import block_sum, inner, kernel, uncounted
from ..scalars.keys import bit_order, key_of
from . import parallel
from .radix import radix_sort, radix_sort_by
from .vectors import copy

_COUNTED = 32  # scores up to which counting is quicker than packing: 32 compares for each score
LANES = 16  # of which so many are made at once: whole vectors, of any processor
_NETWORK = 2048  # bytes that NumPy sorts by a network; more it parts first, at four times the time for each score
_LONG = 4096  # from so many scores on bytes repay the counting of 256 digits


def _padded_widths() -> np.ndarray:
    """Widths of rows, eight per doubling: padding wastes at most 1/8, and more would mean more, smaller matrices."""
    return np.array([_COUNTED * 2**double * (8 + eighth) // 8 for double in range(7) for eighth in range(1, 9)])


_WIDTHS = _padded_widths()
_WIDTH_OF = np.searchsorted(_WIDTHS, np.arange(_LONG)).astype(np.uint8)  # by length, its place in _WIDTHS

# How a float's integer and a place below 2^12 share 64 bits: those of float32 are left of them, those of float64 lose
# the lowest, and where that leaves neighbours in the wrong order they are sorted again.
_SHIFT = {4: np.uint64(32), 8: np.uint64(0)}
_PLACE = np.uint64(_LONG - 1)
_ABOVE = ~_PLACE
_PADDING = np.uint64(0xFFFFFFFFFFFFFFFF)


class Order:
    """Rankings best first, a block at a time: `for block in order.blocks: scores, places = order.sorted(*block)`.

    What `sorted` gives is a thread's until it asks for the next.

    keep: hold every sorted block, 8 or 12 bytes a score, so that a gradient asked for later need not sort again.
    name: of use to a card alone.
    """

    def __init__(self, cores: parallel.Cores, rankings, descending: bool = True, keep: bool = False, name="scores"):
        self.cores, self.rankings, self.descending = cores, rankings, descending
        self.values, self.offsets = rankings.values, rankings.offsets
        self.blocks = parallel.slices(self.offsets)
        self.workspace, self.room = parallel.Scratch(), parallel.Workspace()
        self.kept: dict | None = {} if keep else None
        if keep:  # in one piece: from 4 MiB on NumPy asks for pages of 2 MiB, and a page fault costs what sorting does
            n, size = len(self.values), self.values.itemsize
            memory = np.empty(n * (size + 4), np.uint8)
            self.scores, self.places = memory[: n * size].view(self.values.dtype), memory[n * size :].view(np.uint32)

    def sorted(self, first: int, last: int, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Scores and places (size,) of rankings first .. last, one of `blocks`, as they lie in memory; places are those
        in the block. A long ranking, which is alone, is sorted by several threads.
        """
        if self.kept is None:
            return self._sorted(first, last, threads, *self._room(first, last))
        if first not in self.kept:
            here = slice(self.offsets[first], self.offsets[last])
            self.kept[first] = self._sorted(first, last, threads, self.scores[here], self.places[here])
        return self.kept[first]

    def sorted_scores(self, first: int, last: int, threads: int = 1) -> np.ndarray:
        """The scores alone, in half the time."""
        if self.kept is not None:
            return self.sorted(first, last, threads)[0]
        return self._sorted(first, last, threads, *self._room(first, last, with_places=False))[0]

    def _room(self, first, last, with_places=True):
        """Arrays of a thread's for the scores and places of rankings first .. last."""
        size = int(self.offsets[last] - self.offsets[first])
        scores = self.room.array("scores", (size,), self.values.dtype)
        return scores, self.room.array("places", (size if with_places else 0,), np.uint32)

    def positions(self) -> np.ndarray:
        """(N,) int64, the place of every score in its ranking, from 0, best first; ties in the order of the input."""
        out = np.empty(len(self.values), np.int64)

        def work(first, last):
            _put_positions(self.sorted(first, last)[1], self.offsets, first, last, out)

        parallel.for_each(work, self.blocks, self.cores.threads)
        return out

    def _sorted(self, first, last, threads, scores, places):
        """Scores and places (size,) are put into these; equal scores keep their order. Without places, which are empty
        then, that takes half the time.
        """
        values, offsets, workspace = self.values, self.offsets, self.workspace
        here, with_places = (offsets, first, last), len(places) > 0
        counted = workspace.array("counted", (_COUNTED,), values.dtype)
        tally = workspace.array("tally", _WIDTHS.shape, np.int64)
        sign = values.dtype.type(1 if self.descending else -1)
        rows, longest = _count_each(values, *here, sign, counted, scores, places, tally)
        if rows:
            given = (values, *here, self.descending, tally, workspace, scores, places)
            (_packed if with_places else _alone)(*given)
        if longest:
            _long_ones(values, *here, self.descending, longest, workspace, threads, scores, places)
        return scores, places


@uncounted
def _count_each(values, offsets, first, last, sign, room, scores, places, tally):
    """Sort the short rankings of a block; how many others are packed, and the longest of the rest, or 0.

    tally: of the former, how many there are of each width.
    """
    begin, rows, longest = offsets[first], 0, 0
    tally[:] = 0
    for r in range(first, last):
        at, n = offsets[r] - begin, offsets[r + 1] - offsets[r]
        if n <= _COUNTED:
            here = slice(at, at + n)
            _count(
                values[offsets[r] : offsets[r + 1]],
                sign,
                at,
                room,
                scores[here],
                places[at : at + n] if places.size > 0 else places,
            )
        elif n < _LONG:
            tally[_WIDTH_OF[n]] += 1
            rows += 1
        else:
            longest = max(longest, n)
    return rows, longest


@inner
def _count(x, sign, at, room, scores, places):
    """Sort a short ranking, whose places begin at `at`, by how many scores are above each.

    Where each pair counts once no two are equal; else the equal ones before each count too.
    """
    n = x.size
    room, total = room[: (n + LANES - 1) // LANES * LANES], 0
    for i in range(n):
        room[i] = sign * x[i]
    room[n:] = np.nan  # above nothing
    for i in range(n):
        to = _above(room, room[i])
        total += to
        _put(x, i, to, at, scores, places)
    if 2 * total != n * (n - 1):
        for i in range(n):
            _put(x, i, _above(room, room[i]) + _equal_before(room, room[i], i), at, scores, places)


@inner
def _put(x, i, to, at, scores, places):
    scores[to] = x[i]
    if places.size > 0:
        places[to] = at + i


# Counts are of 32 bits at every step, as many lanes as floats have: Numba would widen them.


@block_sum
def _above(x, v):
    count = np.int32(0)
    for j in range(x.size):
        count = np.int32(count + np.int32(x[j] > v))
    return count


@block_sum
def _equal_before(x, v, i):
    count, before = np.int32(0), np.int32(i)
    for j in range(x.size):
        count = np.int32(count + np.int32((x[j] == v) & (np.int32(j) < before)))
    return count


def _packed(values, offsets, first, last, descending, tally, workspace, scores, places):
    """Sort the rankings that were tallied as rows, each score packed with its place."""
    bits, here = values.view(f"u{values.itemsize}"), (offsets, first, last)
    order, sign = bit_order(bits.dtype, descending), values.dtype.type(1 if descending else -1)
    keys, begins = _sorted_rows(
        tally, np.uint64, workspace, lambda *to: _pack(bits, *here, order, _SHIFT[values.itemsize], *to)
    )
    if _unpack(values, *here, sign, keys, begins, scores, places):
        _sort_again(bits, *here, order, sign, scores, scores.view(bits.dtype), places)


def _alone(values, offsets, first, last, descending, tally, workspace, scores, places):
    """Sort the rankings that were tallied as rows, without places."""
    here, sign = (offsets, first, last), values.dtype.type(-1 if descending else 1)
    keys, begins = _sorted_rows(tally, values.dtype, workspace, lambda *to: _copy_in(values, *here, sign, *to))
    _copy_out(*here, sign, keys, begins, scores)


def _sorted_rows(tally, dtype, workspace, fill):
    """Rows of every width as many as tallied, after fill(where those of each width begin, where they are put); sorted.

    And where those of each width begin.
    """
    sizes = tally * _WIDTHS
    begins = np.cumsum(sizes) - sizes
    keys = workspace.array("keys", (int(begins[-1] + sizes[-1]),), dtype)
    fill(begins.copy(), keys)
    for i in np.flatnonzero(tally):
        rows, run = keys[begins[i] : begins[i] + sizes[i]].reshape(-1, _WIDTHS[i]), _WIDTHS[i]
        while run * keys.itemsize > _NETWORK:
            run //= 2
        rows.reshape(-1, run).sort(axis=1)
        if run < _WIDTHS[i]:
            _merge_runs(rows, run, workspace.array("merged", (_LONG,), dtype))
    return keys, begins


@uncounted
def _merge_runs(rows, run, spare):
    """Rows of sorted runs become sorted rows; a row is 2, 4, 8 ... runs."""
    for r in range(rows.shape[0]):
        held, other, length = rows[r], spare[: rows.shape[1]], run
        while length < held.size:
            for start in range(0, held.size, 2 * length):
                _merge(held[start : start + 2 * length], other[start : start + 2 * length])
            held, other, length = other, held, 2 * length
        copy(held, rows[r])


@inner
def _merge(runs, out):
    """Two sorted runs, of one length, as one: from the least on and from the greatest on, side by side, so that neither
    run ends within half of them. No branch depends on the scores.
    """
    half = np.uint64(runs.size // 2)
    one = np.uint64(1)
    a, b, c, d = np.uint64(0), half, half - one, np.uint64(runs.size - 1)
    for i in range(half):
        lo, hi = runs[a], runs[b]
        first = lo <= hi
        out[i] = lo if first else hi
        a += np.uint64(first)
        b += np.uint64(not first)
        lo, hi = runs[c], runs[d]
        last = lo > hi
        out[np.uint64(runs.size - 1) - np.uint64(i)] = lo if last else hi
        c -= np.uint64(last)
        d -= np.uint64(not last)


def _long_ones(values, offsets, first, last, descending, longest, workspace, threads, scores, places):
    """Sort the long rankings by their bytes."""
    bits = values.view(f"u{values.itemsize}")
    keys, order = scores.view(bits.dtype), bit_order(bits.dtype, descending)
    spare = workspace.array("keys", (longest,), bits.dtype)
    spare_places = workspace.array("spare", (longest if len(places) else 0,), np.uint32)
    if last == first + 1 and threads > 1 and longest > parallel.PART:
        radix_sort_by(threads, bits[offsets[first] : offsets[last]], order, keys, places, spare, spare_places)
    else:
        _radix_each(bits, offsets, first, last, order, keys, places, spare, spare_places)


# Kernels of a block: `begin` is where its first ranking begins, `at` is where one begins in the block.


@kernel
def _radix_each(bits, offsets, first, last, order, keys, places, spare, spare_places):
    counts, begin, with_places = np.empty((1, 256), np.int64), offsets[first], places.size > 0
    for r in range(first, last):
        at, n = offsets[r] - begin, offsets[r + 1] - offsets[r]
        if n >= _LONG:
            place = places[at : at + n] if with_places else places
            spare_place = spare_places[:n] if with_places else spare_places
            given = (place, spare[:n], spare_place, counts)
            radix_sort(bits[offsets[r] : offsets[r + 1]], at, order, keys[at : at + n], *given)


@uncounted
def _pack(bits, offsets, first, last, order, shift, begins, keys):
    """Scores and their places as one integer, which orders by the score and then by the place."""
    for r in range(first, last):
        x = bits[offsets[r] : offsets[r + 1]]
        if _COUNTED < x.size < _LONG:
            width = _WIDTH_OF[x.size]
            row = keys[begins[width] : begins[width] + _WIDTHS[width]]
            begins[width] += row.size
            for i in range(x.size):
                row[i] = (np.uint64(key_of(x[i], order)) << shift) & _ABOVE | np.uint64(i)
            row[x.size :] = _PADDING


@uncounted
def _unpack(values, offsets, first, last, sign, keys, begins, scores, places):
    """The scores and places of rows, as _pack put them; whether any are in the wrong order."""
    begin, wrong = offsets[first], False
    for r in range(first, last):
        x, at = values[offsets[r] : offsets[r + 1]], offsets[r] - begin
        if _COUNTED < x.size < _LONG:
            width = _WIDTH_OF[x.size]
            row = keys[begins[width] : begins[width] + x.size]
            begins[width] += _WIDTHS[width]
            score, place = scores[at : at + x.size], places[at : at + x.size]
            for i in range(x.size):
                from_place = row[i] & _PLACE
                score[i], place[i] = x[from_place], at + np.int64(from_place)
            wrong |= not _is_in_order(score[:-1], score[1:], sign)
    return wrong


@block_sum
def _is_in_order(before, y, sign):
    rises = np.int32(0)
    for i in range(y.size):
        rises = np.int32(rises + np.int32(sign * y[i] > sign * before[i]))
    return rises == 0


@kernel
def _sort_again(bits, offsets, first, last, order, sign, scores, keys, places):
    """Sort by their bytes the rankings that are in the wrong order."""
    begin, counts = offsets[first], np.empty((1, 256), np.int64)
    spare, spare_places = np.empty(_LONG, keys.dtype), np.empty(_LONG, np.uint32)
    for r in range(first, last):
        at, n = offsets[r] - begin, offsets[r + 1] - offsets[r]
        here = slice(at, at + n)
        if _COUNTED < n < _LONG and not _is_in_order(scores[here][:-1], scores[here][1:], sign):
            given = (keys[here], places[here], spare[:n], spare_places[:n], counts)
            radix_sort(bits[offsets[r] : offsets[r + 1]], at, order, *given)


@uncounted
def _copy_in(values, offsets, first, last, sign, begins, rows):
    """Scores, of a sign that lets the best be the least."""
    for r in range(first, last):
        x = values[offsets[r] : offsets[r + 1]]
        if _COUNTED < x.size < _LONG:
            width = _WIDTH_OF[x.size]
            row = rows[begins[width] : begins[width] + _WIDTHS[width]]
            begins[width] += row.size
            for i in range(x.size):
                row[i] = sign * x[i]
            row[x.size :] = np.inf


@uncounted
def _copy_out(offsets, first, last, sign, rows, begins, scores):
    for r in range(first, last):
        at, n = offsets[r] - offsets[first], offsets[r + 1] - offsets[r]
        if _COUNTED < n < _LONG:
            width = _WIDTH_OF[n]
            row, score = rows[begins[width] : begins[width] + n], scores[at : at + n]
            begins[width] += _WIDTHS[width]
            for i in range(n):
                score[i] = sign * row[i]


@kernel
def _put_positions(places, offsets, first, last, out):
    """Of every score, by its place in the block, where it stands in its ranking."""
    begin = offsets[first]
    for r in range(first, last):
        for i in range(offsets[r], offsets[r + 1]):
            out[begin + np.int64(places[i - begin])] = i - offsets[r]
