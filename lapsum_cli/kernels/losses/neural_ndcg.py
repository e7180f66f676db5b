"""NeuralNDCG: 1 - DCG / ideal DCG of the gains that a soft permutation P sorts.

Pobrotyn and Bialobrzeski, NeuralNDCG, 2021. P is NeuralSort's (Grover et al., ICLR 2019), softmax over j of
(n + 1 - 2 k) z_j - sum over l of |z_j - z_l| for place k, z = x / alpha; then columns and rows are scaled in turn until
both sum to 1 within 1e-6, at most 50 times (Sinkhorn). It takes n^2 steps each time, and O(n) memory: P is u M v with
the scales u of places and v of items, and M is made anew where it is needed.
"""

import math

import numpy as np

from ..jit import inner, uncounted
from ..scalars.team import join, team_maxima, team_sums
from .gains import gain_of, log2, nothing_of
from .pairs import apart
from .parts import Loss

TIMES, CLOSE = 50, 1e-6
LEAST = 1e-10  # of a sum, as with its authors
FAR = 1e100  # alphas: so many are as good as more
# Rows of work. By item: z, sum of distances, gain, gradient of v, column sum. By place: of M the largest exponent and
# the sum, what a place counts, gradient of u. Then after each time u and v, and the gradients of their inverses.
Z, AWAY, GAIN, TO_V, PULL, TOP, SUM, COUNT, TO_U, FIRST = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
U, V, OF_U, OF_V = FIRST, FIRST + TIMES + 1, FIRST + 2 * TIMES + 2, FIRST + 3 * TIMES + 3
ROWS = FIRST + 4 * TIMES + 4


@uncounted
def neural_ndcg(rankings, offsets, read, losses, upstreams):
    """1 - DCG / ideal of the first k places, and its gradient along z, back through every time."""
    x, y, ideal_places, alphas, limits, descending, exponential = read
    team, (upstream, work), up = join(rankings), upstreams, 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, stop, limit = offsets[r], offsets[r + 1], limits[r]
        ideal = _begin(team, x, y, ideal_places, start, stop, up, alphas[r], limit, exponential, work)
        times = _scale(team, start, stop, work)
        gained = 0.0
        for k in range(start + team.t, stop, team.threads):
            found = 0.0
            for j in range(start, stop):
                found += _m(work, start, stop, k, j) * work[V + times, j] * work[GAIN, j]
            work[TO_U, k] = work[COUNT, k] * found
            gained += work[U + times, k] * work[TO_U, k]
        (gained,) = team_sums(team, (gained,))
        if upstream.size > 0:
            _back(team, start, stop, times, work)
            _to_scores(team, start, stop, times, ideal, work, upstream)
        if team.t == 0:
            losses[r] = 1.0 - gained / ideal if ideal > 0.0 else np.nan


@inner
def _begin(team, x, y, ideal_places, start, stop, up, alpha, limit, exponential, work):
    """The ideal DCG; z, gains, what places count, and of M what its rows are relative to."""
    first, far, best, ideal = start, 0.0, -np.inf, 0.0
    while first < stop - 1 and abs(x[first]) == np.inf:
        first += 1
    for i in range(start + team.t, stop, team.threads):
        z = min(max(apart(x[i], x[first], up, alpha), -FAR), FAR)
        work[Z, i] = z
        far, best = max(far, abs(z) if abs(x[i]) < np.inf else 0.0), max(best, y[i])
    far, best = team_maxima(team, (far, best))
    nothing = nothing_of(best)
    for i in range(start + team.t, stop, team.threads):
        if abs(x[i]) == np.inf:
            work[Z, i] = math.copysign(2.0 * far + 1000.0, work[Z, i])
        work[GAIN, i] = gain_of(y[i], best, nothing, exponential)
        place = np.float64(i - start)
        work[COUNT, i] = min(limit - place, 1.0) / log2(2.0 + place) if place < limit else 0.0
        work[U, i], work[V, i] = 1.0, 1.0
        place = np.float64(ideal_places[i])
        ideal += work[GAIN, i] * (min(limit - place, 1.0) / log2(2.0 + place) if place < limit else 0.0)
    (ideal,) = team_sums(team, (ideal,))
    for i in range(start + team.t, stop, team.threads):
        away = 0.0
        for j in range(start, stop):
            away += abs(work[Z, i] - work[Z, j])
        work[AWAY, i] = away
    team_sums(team, (0.0,))
    for k in range(start + team.t, stop, team.threads):
        top, total = -np.inf, 0.0
        for j in range(start, stop):
            top = max(top, _exponent(work, start, stop, k, j))
        for j in range(start, stop):
            total += math.exp(_exponent(work, start, stop, k, j) - top)
        work[TOP, k], work[SUM, k] = top, total
    team_sums(team, (0.0,))
    return ideal


@inner
def _exponent(work, start, stop, k, j):
    return np.float64(stop - start - 1 - 2 * (k - start)) * work[Z, j] - work[AWAY, j]


@inner
def _m(work, start, stop, k, j):
    """NeuralSort's share of an item in a place."""
    return math.exp(_exponent(work, start, stop, k, j) - work[TOP, k]) / work[SUM, k]


@inner
def _scale(team, start, stop, work):
    """Fill U and V; how many times it took."""
    for t in range(TIMES):
        off = 0.0
        for j in range(start + team.t, stop, team.threads):
            total = 0.0
            for k in range(start, stop):
                total += work[U + t, k] * _m(work, start, stop, k, j)
            work[V + t + 1, j] = 1.0 / max(total, LEAST)
            off = max(off, abs(work[V + t, j] * total - 1.0) if t > 0 else 1.0)
        (off,) = team_maxima(team, (off,))
        if off < CLOSE:
            return t
        for k in range(start + team.t, stop, team.threads):
            total = 0.0
            for j in range(start, stop):
                total += work[V + t + 1, j] * _m(work, start, stop, k, j)
            work[U + t + 1, k] = 1.0 / max(total, LEAST)
        team_sums(team, (0.0,))
    return TIMES


@inner
def _back(team, start, stop, times, work):
    """Fill OF_U and OF_V, the gradients of DCG for the sums that U and V are the inverses of, from the last on."""
    for j in range(start + team.t, stop, team.threads):
        total = 0.0
        for k in range(start, stop):
            total += work[COUNT, k] * work[U + times, k] * _m(work, start, stop, k, j)
        work[TO_V, j] = total * work[GAIN, j]
    team_sums(team, (0.0,))
    for t in range(times, 0, -1):
        for k in range(start + team.t, stop, team.threads):
            work[OF_U + t, k] = -work[TO_U, k] * work[U + t, k] * work[U + t, k]
        team_sums(team, (0.0,))
        for j in range(start + team.t, stop, team.threads):
            total = work[TO_V, j]
            for k in range(start, stop):
                total += work[OF_U + t, k] * _m(work, start, stop, k, j)
            work[OF_V + t, j], work[TO_V, j] = -total * work[V + t, j] * work[V + t, j], 0.0
        team_sums(team, (0.0,))
        for k in range(start + team.t, stop, team.threads):
            total = 0.0
            for j in range(start, stop):
                total += work[OF_V + t, j] * _m(work, start, stop, k, j)
            work[TO_U, k] = total
        team_sums(team, (0.0,))


@inner
def _to_m(work, k, j, times):
    """The gradient of DCG for an entry of M."""
    found = work[COUNT, k] * work[U + times, k] * work[V + times, j] * work[GAIN, j]
    for t in range(1, times + 1):
        found += work[OF_U + t, k] * work[V + t, j] + work[OF_V + t, j] * work[U + t - 1, k]
    return found


@inner
def _to_scores(team, start, stop, times, ideal, work, upstream):
    """From M through its softmaxes to z; TO_U is then the mean of a row, PULL what a column has of the softmaxes."""
    for k in range(start + team.t, stop, team.threads):
        mean = 0.0
        for j in range(start, stop):
            mean += _m(work, start, stop, k, j) * _to_m(work, k, j, times)
        work[TO_U, k] = mean
    team_sums(team, (0.0,))
    for j in range(start + team.t, stop, team.threads):
        pull, slope = 0.0, 0.0
        for k in range(start, stop):
            moved = _m(work, start, stop, k, j) * (_to_m(work, k, j, times) - work[TO_U, k])
            pull, slope = pull + moved, slope + np.float64(stop - start - 1 - 2 * (k - start)) * moved
        work[PULL, j], work[TO_V, j] = pull, slope
    team_sums(team, (0.0,))
    for i in range(start + team.t, stop, team.threads):
        slope = work[TO_V, i]
        for j in range(start, stop):
            if work[Z, i] != work[Z, j]:
                slope -= (work[PULL, i] + work[PULL, j]) * (1.0 if work[Z, i] > work[Z, j] else -1.0)
        upstream[i] = -slope / ideal if ideal > 0.0 else 0.0


LOSS = Loss(
    neural_ndcg,
    reads=("scores", "target", "target_places", "alphas", "limits", "descending", "exponential"),
    moves=("scores over alpha",),
    sums=2,
    needs_gains=True,
    work=ROWS,
    card_bytes=100 + 8 * ROWS,
)
