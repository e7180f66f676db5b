"""Soft ranks and their gradients, and places, of one long ranking of which only parts are at hand (bands.py).

Each band is sorted alone, with its cuts at its ends, and swept as any part of a ranking is. Ranks leave a band in the
order in which its scores came, so that nobody need know where they came from: whoever goes through the parts again
takes from each band the next one for every score that belongs there. A score that is a cut has its rank from the sums
there.
"""

from typing import Any, NamedTuple

import numpy as np

from ...core.rankings import Rankings
from ..jit import uncounted
from . import parallel
from .bands import Bands, Store, Work, band_of, to_halve
from .order import Order
from .rank import buffers_of, finish
from .sweeps import approach, blocks_of, fade


class OfCuts(NamedTuple):
    """What scores that are a cut have in common: (m,) ranks, of which each one met has `step` more; and slopes (4, m),
    of which a score with the weight v has the gradient slopes[0] - v slopes[1] by other scores, and by its ties
    slopes[2] - v slopes[3]: of a single one exactly nothing.
    """

    ranks: np.ndarray
    slopes: np.ndarray
    step: int = 0


class Ranked(NamedTuple):
    """Ranks, and gradients, unless either is None, that wait to be taken, part by part.

    total  the sum of gradient times score, from some score: what the gradient for alpha is made of
    """

    bands: Bands
    of_cuts: OfCuts
    common: float
    ranks: Store | None
    gradient: Store | None
    total: float

    def close(self) -> None:
        """Let go of them."""
        for store in (self.ranks, self.gradient):
            if store is not None:
                store.close()


def rank_bands(work: Work, bands: Bands, rate, base, descending, dtype, common=0.0) -> Ranked:
    """Every band sorted and swept. dtype: of the ranks, None where nobody reads them; common: what was taken off all
    weights.
    """
    m, workspace = len(bands.cuts), parallel.Workspace()
    of_cuts = _of_cuts(bands, rate, base, descending)
    ranks = None if dtype is None else work.store(m, dtype, bands.scores)
    gradient = None if bands.weights is None else work.store(m, bands.weights.dtype, bands.scores)
    middle = 0.5 * float(bands.cuts[m // 2]) if np.isfinite(bands.cuts[m // 2]) else 0.0

    def of_band(band):
        v = None if bands.weights is None else bands.weights.take(band)
        *made, total = _of_band(bands, band, v, rate, base, descending, dtype, middle, workspace)
        return total, [one for one in made if one is not None]

    stores = [store for store in (ranks, gradient) if store is not None]
    total = _total_of_cuts(bands, of_cuts, middle, descending)
    total += sum(work.kept(of_band, np.flatnonzero(bands.sizes).tolist(), stores))
    return Ranked(bands, of_cuts, common, ranks, gradient, total)


def place_bands(work: Work, bands: Bands) -> Ranked:
    """Places from 0, int64, in the stead of ranks: ties in the order in which they come."""
    places = work.store(len(bands.cuts), np.int64, bands.scores)

    def of_band(band):
        x = bands.scores.take(band)
        found = Order(parallel.Cores(1), Rankings(x, np.array([0, len(x)])), True).positions()
        return None, [found + (bands.above[band] + bands.at[band])]

    list(work.kept(of_band, np.flatnonzero(bands.sizes).tolist(), [places]))
    return Ranked(bands, OfCuts(bands.above, np.empty((4, 0)), 1), 0.0, places, None, 0.0)


def _of_band(bands, band, v, rate, base, descending, dtype, middle, workspace):
    """Ranks of a band, in the order in which its scores came, gradients or None, and the sum of gradient times score,
    from twice the middle.
    """
    x = bands.scores.take(band)
    scores, places = Order(parallel.Cores(1), Rankings(x, np.array([0, len(x)])), True).sorted(0, 1)
    before, after = bands.near(band)
    y = np.concatenate([before, scores, after]).astype(x.dtype)
    begin, end = len(before), len(before) + len(x)
    place = np.zeros(len(y), places.dtype)
    place[begin:end] = places
    pulls = None
    if v is not None:
        pulls = np.zeros(len(y), v.dtype)
        pulls[begin:end] = v[places]
    kinds = len(bands.ups)
    outside = np.zeros((2, 2))
    if begin:
        outside[:kinds, 0] = bands.ups[:, band] + bands.of_cuts[:, band]
    if end < len(y):
        outside[:kinds, 1] = (bands.downs + bands.of_cuts)[:, band - 1] * fade(y, end - 1, end, rate)
    ahead, buffers = np.empty((2, blocks_of(len(x)))), buffers_of(workspace)
    approach(y, begin, end, rate, pulls, ahead, buffers, np.empty((0, 2)))
    ranks = None if dtype is None else np.empty(len(x), dtype)
    gradient = None if v is None else np.empty(len(x), v.dtype)
    first = base + float(bands.above[band] + bands.at[band]) - begin
    out = np.empty(0) if ranks is None else ranks
    total = finish(y, place, begin, end, rate, first, True, pulls, ahead, outside, buffers, out, gradient, middle)
    if gradient is None:
        return ranks, None, 0.0
    if not descending:
        np.negative(gradient, out=gradient)
    return ranks, gradient, total


def _of_cuts(bands, rate, base, descending) -> OfCuts:
    ups, downs, at = bands.ups, bands.downs, bands.at
    slopes = np.zeros((4, len(at)))
    if bands.weights is not None:
        half = 0.5 * rate if descending else -0.5 * rate
        slopes[:2], slopes[2:] = half * (ups + downs)[::-1], half * bands.of_cuts[::-1]
    return OfCuts(base + bands.above + 0.5 * (at - 1.0) + 0.5 * (downs - ups)[0], slopes)


def _total_of_cuts(bands, of_cuts, middle, descending) -> float:
    """The sum of gradient times score, from the middle, of the scores that are cuts."""
    if bands.weights is None:
        return 0.0
    sign, finite = (1.0 if descending else -1.0), np.isfinite(bands.cuts)
    gradients = of_cuts.slopes[0] * bands.at - of_cuts.slopes[1] * bands.of_cuts[1]  # and those of ties are 0
    far = np.where(finite, bands.cuts.astype(np.float64), 0.0) - 2.0 * middle
    return float((gradients * far)[finite].sum()) * sign


def places_of(ranked: Ranked, x, sign):
    """For the scores of a part: the band of each, and how many of each band there are: what `take` goes by."""
    cuts = ranked.bands.cuts
    places, counts = np.empty(len(x), np.uint16), np.zeros(len(cuts), np.int64)
    band_of(x, x.dtype.type(sign), to_halve(cuts), places)
    _count(x, x.dtype.type(sign), cuts, places, counts)
    return places, counts


def take(ranked: Ranked, x, v, sign, places, counts) -> tuple[Any, Any]:
    """The ranks of the scores of the next part, and their gradients, each None if it is; v: their weights."""
    bands, sign = ranked.bands, x.dtype.type(sign)
    starts = np.concatenate([[0], np.cumsum(counts)])
    given, out, gradient = (x, sign, bands.cuts, places), None, None
    if ranked.ranks is not None:
        ranks, (of_cuts, _, step) = _together(ranked.ranks, counts, starts), ranked.of_cuts
        out = np.empty(len(x), ranks.dtype)
        _put_down(*given, starts[:-1].copy(), ranks, of_cuts, step, ranked.ranks.ties, out)
    if ranked.gradient is not None:
        slopes = _together(ranked.gradient, counts, starts)
        gradient, v = np.empty(len(x), slopes.dtype), np.array(v)
        v -= v.dtype.type(ranked.common)
        _put_down_slopes(*given, starts[:-1].copy(), slopes, ranked.of_cuts.slopes, v, gradient)
    return out, gradient


def _together(store, counts, starts):
    out = np.empty(int(starts[-1]), store.dtype)
    for band in np.flatnonzero(counts).tolist():
        out[starts[band] : starts[band + 1]] = store.next(band, int(counts[band]))
    return out


@uncounted
def _count(x, sign, cuts, bands, counts):
    for i in range(x.size):
        counts[bands[i]] += sign * x[i] != cuts[bands[i]]


@uncounted
def _put_down(x, sign, cuts, bands, at, ranks, of_cuts, step, ties, out):
    for i in range(x.size):
        band = bands[i]
        if sign * x[i] == cuts[band]:
            out[i] = of_cuts[band] + step * ties[band]
            ties[band] += 1
        else:
            out[i] = ranks[at[band]]
            at[band] += 1


@uncounted
def _put_down_slopes(x, sign, cuts, bands, at, slopes, of_cuts, v, out):
    for i in range(x.size):
        band = bands[i]
        if sign * x[i] == cuts[band]:
            by_others = of_cuts[0, band] - v[i] * of_cuts[1, band]
            out[i] = by_others + (of_cuts[2, band] - v[i] * of_cuts[3, band]) + 0.0
        else:
            out[i] = slopes[at[band]]
            at[band] += 1
