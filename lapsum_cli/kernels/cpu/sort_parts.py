"""Soft sort of one long ranking of which only parts are at hand (bands.py), a band after the other, best first.

The soft count at a cut says how many targets lie above it. So each band has targets of its own, and finds where the
soft count meets them as any part of a ranking does (inversion.py).
"""

from collections.abc import Iterator

import numpy as np

from ...core.rankings import Rankings
from ..scalars.laplace import LARGEST_RATE
from . import parallel
from .bands import Bands, Work
from .inversion import buffers_of, invert
from .order import Order
from .sweeps import approach, blocks_of


def sort_bands(work: Work, bands: Bands, alpha, descending) -> Iterator[np.ndarray]:
    """The soft-sorted scores, best first, in arrays of at most `work.room`."""
    sign, finite = work.dtype.type(1 if descending else -1), np.isfinite(bands.cuts)
    count = int(work.length - bands.at[~finite].sum())
    first = _first_targets(bands, count)
    workspace = parallel.Workspace()

    def of_targets(which):
        return sign * _of_band(bands, *which, alpha, workspace)

    yield from _same(sign * np.inf, int(bands.at[-1]), work)
    tasks = []
    for band in range(len(bands.cuts) - 1, 0, -1):
        targets = range(int(first[band]), int(first[band - 1]) if band > 1 else count)
        tasks += [(band, targets[at : at + work.room]) for at in range(0, len(targets), work.room)]
    yield from work.over(of_targets, tasks)
    yield from _same(-sign * np.inf, int(bands.at[0]), work)


def _same(value, count, work):
    """So many of a number."""
    for start in range(0, count, work.room):
        yield np.full(min(work.room, count - start), value, work.dtype)


def _first_targets(bands, count):
    """(m,) the first target below each cut, as sort.py has those of a part; rounding may not make them fall."""
    better = bands.above - bands.at[-1]  # of the finite scores
    soft = better + 0.5 * (bands.at + bands.downs[0] - bands.ups[0])
    first = np.floor(np.clip(soft + 0.5, 0, count)).astype(np.int64)
    first[-1] = 0
    return np.maximum.accumulate(first[::-1])[::-1]


def _of_band(bands, band, targets, alpha, workspace):
    """Where the soft count meets these targets, in a band."""
    x, rate = bands.scores.take(band), min(1.0 / alpha, LARGEST_RATE)
    scores = Order(parallel.Cores(1), Rankings(x, np.array([0, len(x)])), True).sorted_scores(0, 1)
    above, below = bands.near(band)
    # The cut below is the last score of the part, and once more behind it: what is seen of the others is seen there.
    y = np.concatenate([above, scores, below, below])
    begin, end = len(above), len(y) - len(below)
    outside, ahead = np.zeros((1, 2)), np.empty((1, max(1, blocks_of(end - begin))))
    if begin:
        outside[0, 0] = bands.ups[0, band] + bands.of_cuts[0, band]
    if len(below):
        outside[0, 1] = bands.downs[0, band - 1] + (bands.of_cuts[0, band - 1] - 1.0)
    buffers, marks = buffers_of(workspace)
    approach(y, begin, end, rate, None, ahead, buffers, np.empty((0, 2)))
    over = float(bands.above[band] + bands.at[band] - bands.at[-1])
    first = 0.5 + targets.start - (over - begin)
    out = np.empty(len(targets), x.dtype)
    given = (None, ahead, outside, buffers, marks, np.empty((2, 0)), None)
    invert(y, begin, end, alpha, True, (first, 0, len(targets)), *given, out)
    return out
