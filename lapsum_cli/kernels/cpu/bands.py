"""One long ranking parted by value into bands that are sorted one by one: what each band sees of all others.

Cuts are some of the scores, -inf and +inf among them. Between two cuts lies a band; a score that is a cut lies in none,
so that ties, however many, need no room. While scores are put into their bands, each band is summarised as seen from
the cuts on either side (scalars/summary.py), which needs no order. Merged along the cuts, these summaries are all that
the scores of a band, sorted alone, need of the others.

Scores here are times the sign with which the largest is best.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..jit import block_sum, inner, uncounted
from ..scalars.functions import exp_nonpositive
from ..scalars.summary import merged
from . import parallel
from .vectors import BLOCK, block_total


class Store(Protocol):
    """Numbers on a disk, in so many rows: put row by row as they come, then read back.

    ties  (rows,) int64: who reads them part by part counts here the scores that are the cut of a row, and lie in none
    """

    dtype: np.dtype
    ties: np.ndarray

    def put(self, row: int, values: np.ndarray) -> None:
        """Some more of a row."""

    def take(self, row: int) -> np.ndarray:
        """All of a row."""

    def some(self, row: int, count: int) -> np.ndarray:
        """About so many of a row, from all over it."""

    def next(self, row: int, count: int) -> np.ndarray:
        """The next so many of a row."""

    def close(self) -> None:
        """Let go of all of it."""


class Apart(NamedTuple):
    """What comes of a part of a ranking, for stores.

    told  numbers and arrays, of which whoever asked gets the sums over all parts
    rows  (row, an array for each store), for every row of which it has some
    ties  (m,) how many scores are the cut of each row, and go nowhere
    """

    told: tuple
    rows: list
    ties: np.ndarray


class Over(Protocol):
    """Calls a function with every item, side by side; what it returns, one after another in their order."""

    def __call__(self, function: Callable, items: Iterable) -> Iterator: ...


class Work(NamedTuple):
    """A ranking of which only parts are at hand, and what there is to work on it with.

    parted    (function, stores) -> the sums of what function(first, scores, weights or None), an Apart for every part,
              tells; first: the place of its first score
    over      for work on bands
    kept      (function, bands, stores) -> what it tells of each, in their order, where the function returns that and an
              array for each store, for its band's row
    store     (rows, dtype, like=None): to keep what does not fit; like: that of which rows have as much, in its order
    length, dtype   of the scores; weights: the dtype of an upstream gradient beside them, or None
    room      scores of a band for which there is room
    """

    parted: Callable[[Callable, Any], tuple]
    over: Over
    kept: Callable[[Callable, Any, Any], Iterator]
    store: Callable[..., Store]
    length: int
    dtype: np.dtype
    weights: Any
    room: int


class Bands(NamedTuple):
    """A ranking in bands: the j-th lies below the j-th cut, and above the one before.

    cuts      (m,) in the dtype of the scores, rising, from -inf to +inf
    sizes     (m,) scores of each band; at: (m,) scores that are a cut; above: (m,) scores above a cut
    downs, ups  (kinds, m) sums of e^-distance/alpha to a cut over all scores below it, and over all above it
    of_cuts   (kinds, m) the same over those that are the cut: their number, and the sum of their weights
    scores, weights  a row for each band
    """

    cuts: np.ndarray
    sizes: np.ndarray
    at: np.ndarray
    above: np.ndarray
    downs: np.ndarray
    ups: np.ndarray
    of_cuts: np.ndarray
    scores: Store
    weights: Store | None

    def near(self, band: int) -> tuple[np.ndarray, np.ndarray]:
        """The cut above a band and the one below, of those that are scores: one or none of each."""
        above, below = self.cuts[band : band + 1], self.cuts[band - 1 : band]
        return above[np.isfinite(above)], below[np.isfinite(below)]

    def close(self) -> None:
        """Let go of the scores."""
        self.scores.close()
        if self.weights is not None:
            self.weights.close()


def cuts_of(some: np.ndarray, length: int, room: int) -> np.ndarray:
    """Cuts, of a sample of the finite scores, between which bands likely have room: they take seven tenths of it."""
    wanted = -(-length * 10 // (room * 7))
    some = np.sort(some)
    at = np.arange(1, wanted) * len(some) // wanted
    found = np.unique(some[at]) if len(some) else some
    return np.concatenate([[-np.inf], found, [np.inf]]).astype(some.dtype)


def more_cuts(bands: Bands, room: int, size: int) -> np.ndarray:
    """The cuts, and others in every band that has not enough room, by a sample of this size of its own."""
    found = [bands.cuts]
    for band in np.flatnonzero(bands.sizes > room).tolist():
        found.append(cuts_of(bands.scores.some(band, size), int(bands.sizes[band]), room))
    return np.unique(np.concatenate(found))


def part(work: Work, cuts: np.ndarray, rate: float, sign: float, common: float = 0.0) -> Bands:
    """Every score into its band. common: what is taken off all weights."""
    m, kinds, halved = len(cuts), 1 if work.weights is None else 2, to_halve(cuts)
    scores = work.store(m, work.dtype)
    weights = None if work.weights is None else work.store(m, work.weights)
    workspace = parallel.Workspace()

    def of_part(_, x, v):
        places = workspace.array("bands", (len(x),), np.uint16)
        counts, sums = np.zeros((2, m), np.int64), np.zeros((3, kinds, m))
        band_of(x, x.dtype.type(sign), halved, places)
        moved = np.empty(len(x), x.dtype)
        starts = np.empty(m + 1, np.int64)
        _move(x, x.dtype.type(sign), cuts, places, counts, starts, moved)
        pulls = None
        if v is not None:
            v = np.array(v)
            v -= v.dtype.type(common)
            pulls = np.empty(len(v), v.dtype)
            _move_weights(x, x.dtype.type(sign), cuts, v, places, starts, pulls, sums[2, 1])
        sums[2, 0] = counts[1]
        _summarise(moved, pulls, cuts, starts, rate, np.empty((2, BLOCK)), sums)
        arrays = [moved] if pulls is None else [moved, pulls]
        rows = [
            (band, [some[starts[band] : starts[band + 1]] for some in arrays])
            for band in np.flatnonzero(counts[0]).tolist()
        ]
        return Apart((counts, sums), rows, counts[1])

    counts, sums = work.parted(of_part, [scores] if weights is None else [scores, weights])
    downs, ups, of_cuts = sums
    of_cuts[:, [0, -1]] = 0.0
    _merge(cuts.astype(np.float64), rate, downs, ups, of_cuts)
    above = np.cumsum(counts.sum(axis=0)[::-1])[::-1] - counts.sum(axis=0)
    return Bands(cuts, *counts, above, downs, ups, of_cuts, scores, weights)


def to_halve(cuts: np.ndarray) -> np.ndarray:
    """The cuts, and as many more of +inf as make their number a power of two, which halves without a rest."""
    out = np.full(1 << (len(cuts) - 1).bit_length(), np.inf, cuts.dtype)
    out[: len(cuts)] = cuts
    return out


@uncounted
def band_of(x, sign, cuts, bands):
    """The first cut that is not below each score; cuts as `to_halve` has them."""
    for i in range(x.size):
        v, at, step = sign * x[i], 0, cuts.size >> 1
        while step > 0:
            at += step if cuts[at + step - 1] < v else 0
            step >>= 1
        bands[i] = at


@uncounted
def _move(x, sign, cuts, bands, counts, starts, moved):
    """The scores of a part, times the sign, band by band as they came; counts those in bands, and those that are cuts,
    which stay behind.
    """
    inside, at = counts[0], counts[1]
    for i in range(x.size):
        is_cut = sign * x[i] == cuts[bands[i]]
        at[bands[i]] += is_cut
        inside[bands[i]] += not is_cut
    starts[0] = 0
    for band in range(inside.size):
        starts[band + 1] = starts[band] + inside[band]
    for i in range(x.size):
        v, band = sign * x[i], bands[i]
        if v != cuts[band]:
            moved[starts[band]] = v
            starts[band] += 1
    _back(inside, starts)


@uncounted
def _move_weights(x, sign, cuts, v, bands, starts, moved, at):
    """The weights of the same scores, likewise; at: the sums of those of each cut."""
    for i in range(x.size):
        band = bands[i]
        if sign * x[i] != cuts[band]:
            moved[starts[band]] = v[i]
            starts[band] += 1
        elif abs(cuts[band]) < np.inf:
            at[band] += v[i]
    for band in range(at.size - 1, -1, -1):
        starts[band + 1] = starts[band]
    starts[0] = 0


@inner
def _back(sizes, starts):
    """Where each row begins, again."""
    for band in range(sizes.size):
        starts[band] -= sizes[band]


@uncounted
def _summarise(moved, weights, cuts, starts, rate, buffers, sums):
    """The sums of every band as seen from the cut above it, sums[0], and from the one below, sums[1]."""
    for band in range(1, cuts.size):
        high, low = np.float64(cuts[band]), np.float64(cuts[band - 1])
        for start in range(starts[band], starts[band + 1], BLOCK):
            stop = min(start + BLOCK, starts[band + 1])
            block, to_high, to_low = moved[start:stop], buffers[0, : stop - start], buffers[1, : stop - start]
            _fades(block, high, -rate, to_high)
            _fades(block, low, rate, to_low)
            sums[0, 0, band] += block_total(to_high, to_high.size)
            sums[1, 0, band] += block_total(to_low, to_low.size)
            if weights is not None:
                sums[0, 1, band] += _weighted(to_high, weights[start:stop])
                sums[1, 1, band] += _weighted(to_low, weights[start:stop])


@inner
def _fades(x, cut, rate, out):
    """e^-distance/alpha to a cut; the rate is negative for scores below it."""
    for i in range(x.size):
        out[i] = exp_nonpositive(-(np.float64(x[i]) - cut) * rate)


@block_sum
def _weighted(values, weights):
    total = 0.0
    for i in range(values.size):
        total += values[i] * weights[i]
    return total


@uncounted
def _merge(cuts, rate, downs, ups, of_cuts):
    """Sums of bands alone become those of all scores below each cut, and of all above: the first were seen from the cut
    above, the others from the one below. Of an infinite cut there is nothing to be seen.
    """
    last = cuts.size - 1
    for kind in range(downs.shape[0]):
        down, up, own = downs[kind], ups[kind], of_cuts[kind]
        down[0], carry = 0.0, 0.0
        for j in range(1, last):
            fade = math.exp(-(cuts[j] - cuts[j - 1]) * rate) if j > 1 else 0.0
            down[j] = merged(down[j], carry, fade)
            carry = down[j] + own[j]
        down[last], carry = 0.0, 0.0
        for j in range(1, last):  # a band's sum moves to the cut below it
            up[j - 1] = up[j]
        up[last - 1], up[last], up[0] = up[last], 0.0, 0.0
        for j in range(last - 1, 0, -1):
            fade = math.exp(-(cuts[j + 1] - cuts[j]) * rate) if j < last - 1 else 0.0
            up[j] = merged(up[j], carry, fade)
            carry = up[j] + own[j]
