"""Soft sort of one long ranking of which only parts are at hand (bands.py), a band after the other, best first; and its
gradient. Likewise the edges between positions, where the soft count meets 1, 2, ... instead of 1/2, 3/2, ...

The soft count at a cut says how many targets lie above it. So each band has targets of its own, and finds where the
soft count meets them as any part of a ranking does (inversion.py). What their gradients put down at the scores on
either side of them fades on across the cuts: it is summed as seen from these, merged along them, and swept band by band
with what comes from outside.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ...core.rankings import Rankings
from ..jit import uncounted
from ..scalars.functions import exp_nonpositive
from ..scalars.laplace import LARGEST_RATE
from . import parallel
from .bands import Bands, Work
from .inversion import buffers_of, invert, sweep_out
from .order import Order
from .rank_parts import OfCuts, Ranked
from .sort import HUGE, MOST
from .sweeps import approach, blocks_of

SORTED, EDGES = (0.5, 0), (1.0, 1)  # the first target, and how many fewer there are than finite scores


def sort_bands(work: Work, bands: Bands, alpha, descending) -> Iterator[np.ndarray]:
    """The soft-sorted scores, best first, in arrays of at most `work.room`."""
    sign, workspace = work.dtype.type(1 if descending else -1), parallel.Workspace()

    def of_targets(which):
        band, targets = which
        out = np.empty(len(targets), work.dtype)
        _of_band(bands, band, alpha, workspace).meet(SORTED, targets, None, np.empty((2, 0)), out)
        return sign * out

    yield from _same(sign * np.inf, int(bands.at[-1]), work)
    yield from work.over(of_targets, _tasks(work, bands, SORTED))
    yield from _same(-sign * np.inf, int(bands.at[0]), work)


def edges_of_bands(work: Work, bands: Bands, alpha, descending) -> Iterator[tuple[int, np.ndarray]]:
    """The ends of the positions of finite scores but the last, in order: from a position on at most `work.room`, a
    score next to each and the step from there (2, ..).
    """
    sign, best, workspace = 1.0 if descending else -1.0, int(bands.at[-1]), parallel.Workspace()

    def of_targets(which):
        band, targets = which
        found = np.empty((2, len(targets)))
        _of_band(bands, band, alpha, workspace).meet(EDGES, targets, None, found, np.empty(0))
        return best + targets.start, sign * found

    return work.over(of_targets, _tasks(work, bands, EDGES))


def sort_gradient(
    work: Work, bands: Bands, alpha, upstream: Callable[[int, int], np.ndarray], descending, which=SORTED, dtype=None
) -> tuple[Ranked, float, float]:
    """The gradient for the scores, in their dtype or another and in the stead of ranks that wait to be taken. And the
    sums of upstream times result, and of gradient times score, both told from the middle cut: what is more in the
    first, over alpha, is the gradient for alpha.

    upstream  (first, count) -> the gradient of a loss with respect to so many results, of these positions
    which     SORTED or EDGES: what the results are
    """
    m, workspace, rate = len(bands.cuts), parallel.Workspace(), min(1.0 / alpha, LARGEST_RATE)
    targets, best, room = dict(_targets(work, bands, which)), int(bands.at[-1]), work.room
    dtype = work.dtype if dtype is None else dtype

    def put_down(band, middle=0.0, unit=1.0):
        part, total = _of_band(bands, band, alpha, workspace, with_places=True), 0.0
        moved, more = np.zeros((2, len(part.y))), np.empty((2, len(part.y)))
        for some in _in_turn(targets[band], room):
            v, found = upstream(best + some.start, len(some)), np.empty((2, len(some)))
            part.meet(which, some, v, found, np.empty(0), more)
            moved += more
            total += float((v * (found[0] * unit - middle + found[1] * unit)).sum())
        return part, moved, total

    def seen(band):
        part, moved, _ = put_down(band, 0.0, HUGE)
        return band, *part.seen(moved), float(np.abs(part.y[[0, -1]]).max())

    every = [band for band in targets if len(targets[band]) or bands.sizes[band]]
    downs, ups, largest = np.zeros(m), np.zeros(m), 0.0
    for band, down, up, end in work.over(seen, every):
        downs[band - 1], ups[band], largest = down, up, max(largest, end)
    _merge(bands.cuts.astype(np.float64).tolist(), rate, downs, ups)
    of_cuts, unit = downs + ups, HUGE if largest > MOST else 1.0
    middle = unit * middle_of(bands)

    def swept(band):
        part, moved, total = put_down(band, middle, unit)
        if part.begin:
            moved[0, 0] += downs[band]
        if part.has_below:
            moved[1, -1] += ups[band - 1]
        sweep_out(part.y, rate, moved, buffers_of(workspace)[0][0])
        here = slice(part.begin, part.begin + len(part.places))
        slopes = moved[0, here]
        along = float((slopes * (part.y[here].astype(np.float64) * unit - middle)).sum())
        out = np.empty(len(slopes), dtype)
        out[part.places] = slopes
        return np.array([total, along]), [out]

    gradient, finite = work.store(m, dtype, bands.scores), np.isfinite(bands.cuts)
    of_all = np.array([0.0, (bands.at * of_cuts * (np.where(finite, bands.cuts, 0.0) * unit - middle))[finite].sum()])
    of_all = sum(work.kept(swept, every, [gradient]), of_all)
    of_cuts[~finite] = 0.0
    of_results, of_scores = ((of_all if descending else -of_all) / unit).tolist()
    return Ranked(bands, OfCuts(of_cuts, np.empty((4, 0))), 0.0, gradient, None, 0.0), of_results, of_scores


def middle_of(bands: Bands) -> float:
    """A cut in the middle of the scores, times the sign with which the largest is best; 0 where there is none."""
    middle = float(bands.cuts[len(bands.cuts) // 2])
    return middle if np.isfinite(middle) else 0.0


def _same(value, count, work):
    """So many of a number."""
    for start in range(0, count, work.room):
        yield np.full(min(work.room, count - start), value, work.dtype)


def _in_turn(targets: range, room: int) -> list[range]:
    """Some at a time, as there is room."""
    return [targets[at : at + room] for at in range(0, len(targets), room)]


def _tasks(work: Work, bands: Bands, which) -> list[tuple[int, range]]:
    """Bands with some of their targets each."""
    return [(band, some) for band, targets in _targets(work, bands, which) for some in _in_turn(targets, work.room)]


def _targets(work: Work, bands: Bands, which) -> Iterator[tuple[int, range]]:
    """Every band, the best first, and its targets, as sort.py has those of a part; rounding may not make them fall."""
    target, less = which
    count = max(0, int(work.length - bands.at[~np.isfinite(bands.cuts)].sum()) - less)
    better = bands.above - bands.at[-1]  # of the finite scores
    soft = better + 0.5 * (bands.at + bands.downs[0] - bands.ups[0])
    first = np.floor(np.clip(soft + (1.0 - target), 0, count)).astype(np.int64)
    first[-1] = 0
    first = np.maximum.accumulate(first[::-1])[::-1]
    for band in range(len(bands.cuts) - 1, 0, -1):
        yield band, range(int(first[band]), int(first[band - 1]) if band > 1 else count)


class _Part(NamedTuple):
    """A band between its cuts, as a part of a ranking.

    y       the cut above, the scores of the band from `begin` on, best first, and twice the cut below: it is the last
            score of the part, and what is seen of the others behind it is seen there; an infinite cut is none
    places  where these scores came, or None
    over    how many finite scores lie above it
    """

    y: np.ndarray
    begin: int
    places: Any
    has_below: bool
    over: float
    alpha: float
    ahead: np.ndarray
    outside: np.ndarray
    buffers: Any

    def meet(self, which, targets: range, v, found, out, moved=None) -> None:
        """As `invert`, of these targets."""
        first = which[0] + targets.start - (self.over - self.begin)
        given = (self.ahead, self.outside, *self.buffers, found, moved, out)
        end = len(self.y) - self.has_below
        invert(self.y, self.begin, end, self.alpha, True, (first, 0, len(targets)), v, *given)

    def seen(self, moved) -> tuple[float, float]:
        """What was put down for the scores behind, as seen from the cut below, and for those before, from the one
        above. Nothing was put down at a cut for what lies on its other side: such targets are those of another band.
        """
        rate = min(1.0 / self.alpha, LARGEST_RATE)
        down = _seen_from(self.y, moved[0], np.float64(self.y[-1]), rate) if self.has_below else 0.0
        return down, _seen_from(self.y, moved[1], np.float64(self.y[0]), rate) if self.begin else 0.0


def _of_band(bands, band, alpha, workspace, with_places=False) -> _Part:
    """A band that is sorted, and swept from behind."""
    x, rate = bands.scores.take(band), min(1.0 / alpha, LARGEST_RATE)
    order = Order(parallel.Cores(1), Rankings(x, np.array([0, len(x)])), True)
    scores, places = order.sorted(0, 1) if with_places else (order.sorted_scores(0, 1), None)
    above, below = bands.near(band)
    y = np.concatenate([above, scores, below, below])
    begin, end = len(above), len(y) - len(below)
    outside, ahead = np.zeros((1, 2)), np.empty((1, max(1, blocks_of(end - begin))))
    if begin:
        outside[0, 0] = bands.ups[0, band] + bands.of_cuts[0, band]
    if len(below):
        outside[0, 1] = bands.downs[0, band - 1] + (bands.of_cuts[0, band - 1] - 1.0)
    buffers = buffers_of(workspace)
    approach(y, begin, end, rate, None, ahead, buffers[0], np.empty((0, 2)))
    over = float(bands.above[band] + bands.at[band] - bands.at[-1])
    return _Part(y, begin, places, len(below) > 0, over, alpha, ahead, outside, buffers)


@uncounted
def _seen_from(y, moved, cut, rate):
    """The sum of what was put down, faded to a cut."""
    total = 0.0
    for i in range(y.size):
        if moved[i] != 0.0:
            total += moved[i] * exp_nonpositive(-abs(np.float64(y[i]) - cut) * rate)
    return total


def _merge(cuts, rate, downs, ups):
    """What bands alone put down, seen from the cuts next to them, becomes that of all above a cut, and of all below."""
    last = len(cuts) - 1
    downs[[0, last]], ups[[0, last]] = 0.0, 0.0
    for j in range(last - 2, 0, -1):
        downs[j] += downs[j + 1] * math.exp(-(cuts[j + 1] - cuts[j]) * rate)
    for j in range(2, last):
        ups[j] += ups[j - 1] * math.exp(-(cuts[j] - cuts[j - 1]) * rate)
