"""Along a direction: how results move with the scores, and how their gradients do. Second derivatives, in O(n).

Scores here are z = x / alpha, larger being better, and a direction is that of z. With E_ij = e^-|z_i - z_j|, and a
point b where sum of F(z_i - b) is a target, which the scores move by their softmax q_i = e^-|z_i - b| / sum,

    ranks    r'_i = sum_j E_ij (z'_j - z'_i) / 2
    points   b' = sum_i q_i z'_i - k' / sum of densities

and the derivatives by z_j of sum v_i r'_i, and of w b', are

    ranks    sum_i sign(z_j - z_i) E_ij (v_j - v_i) (z'_j - z'_i) / 2
    points   w q_j (m - s_j (z'_j - b')),    s_j = sign(z_j - b), m = sum_i s_i q_i (z'_i - b')

Each is a few sums of sweeps.py, with other weights. F has a kink in its second derivative at 0. Of equal scores the
sign is 0, which is the mean of what it is on either side; a score that lies at a point exactly counts as above it.
Source: derived from LapSum, ICML 2025, sections 3 and 4, which has first derivatives.
"""

import math
from typing import NamedTuple

import numpy as np

from ..jit import inner, uncounted
from ..scalars.cut import to_the_larger
from ..scalars.functions import fma
from . import parallel
from .inversion import invert_each
from .sweeps import finite_span


class Ordered(NamedTuple):
    """A block of rankings, sorted: z (size,), those of infinite scores are moot; the places of scores in the block; the
    spans (2, rankings) of finite scores.
    """

    z: np.ndarray
    places: np.ndarray
    spans: np.ndarray
    scores: np.ndarray


def ordered(order, alphas, first, last):
    """Rankings first .. last, one of order.blocks."""
    scores, places = order.sorted(first, last)
    made = Ordered(np.empty(len(scores)), places, np.empty((2, last - first), np.int64), scores)
    _scale(scores, order.offsets, first, last, alphas, order.descending, made.z, made.spans)
    return made


def ranks_along(order, alphas, towards, upstream=None):
    """How ranks (N,) move; and the derivatives by z (N,) of its product with upstream (N,) float64, or None.

    order, alphas   as for rank.soft_rank; towards (N,) float64: z', 0 for infinite scores, by item
    """
    moved = np.zeros(len(towards))
    curves = None if upstream is None else np.zeros(len(towards))

    def work(first, last):
        block, here = ordered(order, alphas, first, last), slice(order.offsets[first], order.offsets[last])
        pull = towards[here] if upstream is None else upstream[here]
        rows = np.empty((6, len(block.z)))
        bent = moved[here][:0] if curves is None else curves[here]
        _ranks(block.z, block.places, block.spans, towards[here], pull, rows, moved[here], bent)

    parallel.for_each(work, order.blocks, order.cores.threads)
    return moved, curves


def levels_along(order, alphas, which, towards, upstream=None, bends=None):
    """How the points of inversion.invert_each move, (N,) by position; and, with upstream (N,) float64 by position, the
    derivatives by z (N,), by item, of its product with that, or None. Upstream may itself move by bends (N,).

    which  (target, less), as there
    """
    moved = np.zeros(len(towards))
    curves = None if upstream is None else np.zeros(len(towards))

    def work(first, last):
        here = slice(order.offsets[first], order.offsets[last])
        block, found = ordered(order, alphas, first, last), np.empty((2, here.stop - here.start))
        invert_each(order, block.scores, first, last, alphas, which, None, found, block.scores[:0])
        rows = np.zeros((8, len(block.z)))
        bent = moved[here][:0] if curves is None else curves[here]
        pull, bend = (moved[here][:0] if given is None else given[here] for given in (upstream, bends))
        given = (order.offsets, first, last, alphas, order.descending, which[1], found)
        _levels(
            block.scores, block.z, block.places, block.spans, *given, towards[here], pull, bend, rows, moved[here], bent
        )

    parallel.for_each(work, order.blocks, order.cores.threads)
    return moved, curves


class Cut(NamedTuple):
    """How the distances of scores from the threshold of a top-k move, and what else their derivatives take.

    moved    (N,) (z_i - b)', 0 for infinite scores and where k takes nothing or everything
    shares   (N,) q_i; tails (N,) the density F', which is the smaller of F and 1 - F; signs (N,) s_i
    density  (m,) sums of densities
    """

    moved: np.ndarray
    shares: np.ndarray
    tails: np.ndarray
    signs: np.ndarray
    density: np.ndarray


def cut_along(cores, rankings, cuts, alphas, largest, towards, to_k):
    """How the distances from the thresholds move, given the cuts of topk.soft_topk; to_k (m,): how k moves."""
    values, offsets = rankings.values, rankings.offsets
    made = Cut(*np.zeros((4, len(values))), np.zeros(len(offsets) - 1))

    def work(first, last):
        _cuts(values, offsets, first, last, cuts, alphas, 1.0 if largest else -1.0, towards, to_k, *made)

    parallel.for_each(work, parallel.slices(offsets), cores.threads)
    return made


def of_distances(cut, log):
    """The first and the second derivative (N,) of memberships, or of their logarithms, by the distances."""
    if not log:
        return cut.tails, -cut.signs * cut.tails
    odds = cut.tails / (1.0 - cut.tails)
    is_above = cut.signs > 0.0
    return np.where(is_above, odds, np.abs(cut.signs)), np.where(is_above, -odds / (1.0 - cut.tails), 0.0)


def cut_curves(cores, offsets, cut, slopes, bends):
    """The derivatives by z (N,) and by k (m,) of sum slopes_i (z_i - b)', and of what it is a part of: slopes (N,) are
    themselves functions of the distances, and move by bends (N,).
    """
    curves, to_k = np.zeros(len(slopes)), np.zeros(len(offsets) - 1)

    def work(first, last):
        _bend(offsets, first, last, *cut, slopes, bends, curves, to_k)

    parallel.for_each(work, parallel.slices(offsets), cores.threads)
    return curves, to_k


@uncounted
def _scale(scores, offsets, first, last, alphas, descending, z, spans):
    """z of a sorted block, from the middle of each ranking, so that an offset of the scores costs no digit."""
    up = 1.0 if descending else -1.0
    for r in range(first, last):
        _, start, stop, _ = finite_span(scores, offsets, first, r, descending)
        spans[0, r - first], spans[1, r - first] = start, stop
        middle = np.float64(scores[(start + stop) // 2]) if start < stop else 0.0
        for i in range(start, stop):
            z[i] = up * (0.5 * np.float64(scores[i]) - 0.5 * middle) / (0.5 * alphas[r])


@inner
def mean(values, places, start, stop):
    """Of the values at these places."""
    total = 0.0
    for i in range(start, stop):
        total += values[places[i]]
    return total / max(stop - start, 1)


@uncounted
def _ranks(z, places, spans, towards, upstream, rows, moved, curves):
    for r in range(spans.shape[1]):
        start, stop = spans[0, r], spans[1, r]
        shared, common = mean(towards, places, start, stop), mean(upstream, places, start, stop)
        for i in range(start, stop):  # neither changes with what all have in common
            rows[4, i], rows[5, i] = towards[places[i]] - shared, upstream[places[i]] - common
        _sums_before(z, start, stop, rows)
        _ranks_from_behind(z, places, start, stop, rows, moved, curves)


@inner
def _sums_before(z, start, stop, rows):
    """Sums over the scores before each, and above it, with the weights 1, z', v and z' v."""
    ones, along, pulled, both, i = 0.0, 0.0, 0.0, 0.0, start
    while i < stop:
        factor, j = math.exp(z[i] - z[i - 1]) if i > start else 0.0, i
        ones, along, pulled, both = ones * factor, along * factor, pulled * factor, both * factor
        while j < stop and z[j] == z[i]:
            rows[0, j], rows[1, j], rows[2, j], rows[3, j] = ones, along, pulled, both
            j += 1
        for at in range(i, j):
            ones, along, pulled = ones + 1.0, along + rows[4, at], pulled + rows[5, at]
            both += rows[4, at] * rows[5, at]
        i = j


@inner
def _ranks_from_behind(z, places, start, stop, rows, moved, curves):
    """The same sums from behind, and with both sides at hand what is made of them."""
    ones, along, pulled, both, j = 0.0, 0.0, 0.0, 0.0, stop
    while j > start:
        factor, i, tied, tied_along = math.exp(z[j] - z[j - 1]) if j < stop else 0.0, j, 0.0, 0.0
        ones, along, pulled, both = ones * factor, along * factor, pulled * factor, both * factor
        while i > start and z[i - 1] == z[j - 1]:
            i -= 1
            tied, tied_along = tied + 1.0, tied_along + rows[4, i]
        more = 0.0, 0.0, 0.0
        for at in range(i, j):
            u, v, place = rows[4, at], rows[5, at], places[at]
            moved[place] = 0.5 * (rows[1, at] + along + tied_along - u * (rows[0, at] + ones + tied))
            if curves.size > 0:
                own = v * (u * (ones - rows[0, at]) - (along - rows[1, at]))
                curves[place] = 0.5 * (own - u * (pulled - rows[2, at]) + (both - rows[3, at]))
            more = more[0] + u, more[1] + v, more[2] + u * v
        ones, along, pulled, both, j = ones + tied, along + more[0], pulled + more[1], both + more[2], i


@uncounted
def _levels(
    scores,
    z,
    places,
    spans,
    offsets,
    first,
    last,
    alphas,
    descending,
    less,
    found,
    towards,
    upstream,
    bends,
    rows,
    moved,
    curves,
):
    """rows: z' in order; sums from behind with weight 1 and z'; what points put down at the scores above and below
    them, twice each; and room.
    """
    up = 1.0 if descending else -1.0
    for r in range(first, last):
        start, stop = spans[0, r - first], spans[1, r - first]
        middle, rate = (np.float64(scores[(start + stop) // 2]) if start < stop else 0.0), 1.0 / alphas[r]
        shared = mean(towards, places, start, stop)
        for i in range(start, stop):
            rows[0, i] = towards[places[i]] - shared
        _sums_behind(z, start, stop, rows)
        i, ones, along = start - 1, 0.0, 0.0  # the last score above the point, and sums up to it
        for m in range(start, stop - less):
            point = up * ((found[0, m] - middle) + found[1, m]) * rate
            while i + 1 < stop and z[i + 1] >= point:
                i += 1
                factor = math.exp(z[i] - z[i - 1]) if i > start else 0.0
                ones, along = fma(ones, factor, 1.0), fma(along, factor, rows[0, i])
            pull, bend = upstream[m] if upstream.size > 0 else 0.0, bends[m] if bends.size > 0 else 0.0
            moved[m] = shared + _point(z, start, stop, i, point, ones, along, pull, bend, rows)
        if curves.size > 0:
            _spread(z, places, start, stop, rows, curves)


@inner
def _sums_behind(z, start, stop, rows):
    ones, along = 0.0, 0.0
    for i in range(stop - 1, start - 1, -1):
        factor = math.exp(z[i + 1] - z[i]) if i + 1 < stop else 0.0
        ones, along = ones * factor + 1.0, along * factor + rows[0, i]
        rows[1, i], rows[2, i] = ones, along


@inner
def _point(z, start, stop, i, point, ones, along, pull, bend, rows):
    """How a point below the i-th score moves; what its derivatives put down at the scores beside it is added there."""
    above, below = i >= start, i + 1 < stop
    to_above, to_below = (z[i] - point if above else np.inf), (point - z[i + 1] if below else np.inf)
    nearest = min(to_above, to_below)
    from_above = math.exp(nearest - to_above) if above else 0.0
    from_below = math.exp(nearest - to_below) if below else 0.0
    ones_below, along_below = (rows[1, i + 1], rows[2, i + 1]) if below else (0.0, 0.0)
    total = from_above * ones + from_below * ones_below
    from_above, from_below = from_above / total, from_below / total
    moves = from_above * along + from_below * along_below
    if pull != 0.0 or bend != 0.0:
        signed = from_above * (along - moves * ones) - from_below * (along_below - moves * ones_below)
        if above:
            rows[3, i] += pull * from_above
            rows[4, i] += from_above * (pull * (signed + moves) + bend)
        if below:
            rows[5, i + 1] += pull * from_below
            rows[6, i + 1] += from_below * (pull * (signed - moves) + bend)
    return moves


@inner
def _spread(z, places, start, stop, rows, curves):
    """What was put down above points fades on upwards, and below them downwards."""
    own, shifted = 0.0, 0.0
    for i in range(stop - 1, start - 1, -1):
        factor = math.exp(z[i + 1] - z[i]) if i + 1 < stop else 0.0
        own, shifted = own * factor + rows[3, i], shifted * factor + rows[4, i]
        rows[7, i] = shifted - rows[0, i] * own
    own, shifted = 0.0, 0.0
    for i in range(start, stop):
        factor = math.exp(z[i] - z[i - 1]) if i > start else 0.0
        own, shifted = own * factor + rows[5, i], shifted * factor + rows[6, i]
        curves[places[i]] = rows[7, i] + shifted + rows[0, i] * own


@uncounted
def _cuts(values, offsets, first, last, cuts, alphas, up, towards, to_k, moved, shares, tails, signs, density):
    for r in range(first, last):
        below, above, log_below, log_above = cuts[r, 0], cuts[r, 1], cuts[r, 2], cuts[r, 3]
        if log_below == -np.inf and log_above == -np.inf:
            continue
        share_below, share_above, scale = to_the_larger(log_below, log_above)
        total, pulled, nearest, common = 0.0, 0.0, -1.0, 0.0
        for i in range(offsets[r], offsets[r + 1]):
            score = up * np.float64(values[i])
            if abs(score) < np.inf:
                is_above = score >= above
                z = -abs(0.5 * score - 0.5 * (above if is_above else below)) / (0.5 * alphas[r])
                shares[i] = math.exp(z) * (share_above if is_above else share_below)
                tails[i] = math.exp(z + (log_above if is_above else log_below))
                signs[i] = 1.0 if is_above else -1.0
                if shares[i] > nearest:
                    nearest, common = shares[i], towards[i]
        for i in range(offsets[r], offsets[r + 1]):
            total += shares[i]
            pulled += shares[i] * (towards[i] - common)
        density[r] = scale * total
        fall = to_k[r] / density[r] if to_k[r] != 0.0 else 0.0
        for i in range(offsets[r], offsets[r + 1]):
            shares[i] /= total
            moved[i] = (towards[i] - common) - pulled / total + fall if signs[i] != 0.0 else 0.0


@uncounted
def _bend(offsets, first, last, moved, shares, tails, signs, density, slopes, bends, curves, to_k):
    """What bends put at the nearest score, whose share is the largest, is taken off all by their shares first: where it
    has nearly all of it, nothing is left but differences of others.
    """
    for r in range(first, last):
        total, signed, largest, ratio = 0.0, 0.0, 0.0, 0.0
        for i in range(offsets[r], offsets[r + 1]):
            if shares[i] > largest:
                largest, ratio = shares[i], bends[i] / shares[i]
        slope = 0.0
        for i in range(offsets[r], offsets[r + 1]):
            total += bends[i] - ratio * shares[i]
            slope += slopes[i] if signs[i] != 0.0 else 0.0
            signed += signs[i] * shares[i] * moved[i]
        for i in range(offsets[r], offsets[r + 1]):
            rest = bends[i] - ratio * shares[i]
            curves[i] = rest - shares[i] * total - slope * shares[i] * (signed - signs[i] * moved[i])
        if density[r] > 0.0:
            to_k[r] = (total + ratio + slope * signed) / density[r]
