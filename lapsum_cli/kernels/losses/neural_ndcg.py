"""NeuralNDCG: 1 - DCG / ideal DCG of the gains that a soft permutation P sorts.

Pobrotyn and Bialobrzeski, NeuralNDCG, 2021. P is NeuralSort's (Grover et al., ICLR 2019), softmax over j of
(n + 1 - 2 k) z_j - sum over l of |z_j - z_l| for place k, z = x / alpha; then columns and rows are scaled in turn until
both sum to 1 within 1e-6, at most 50 times (Sinkhorn). It takes n^2 steps each time, and O(n) memory: P is u M v with
the scales u of places and v of items, and M is made anew where it is needed.
"""

import numpy as np

from ..jit import inner, uncounted
from ..scalars.team import join, team_maxima, team_sums
from .declared import Loss
from .gains import best_of, gain_of, log2, nothing_of
from .neural_sort import MEAN, PULL, SLOPE, prepare, pull, share, to_scores
from .neural_sort import ROWS as OF_MATRIX

TIMES, CLOSE = 50, 1e-6
LEAST = 1e-10  # of a sum, as with its authors
# Rows of work behind those of M. By item: gain, gradient of v. By place: what a place counts, gradient of u. Then after
# each time u and v, and the gradients of their inverses.
GAIN, TO_V, COUNT, TO_U, FIRST = OF_MATRIX, OF_MATRIX + 1, OF_MATRIX + 2, OF_MATRIX + 3, OF_MATRIX + 4
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
                found += share(work, start, stop, k, j) * work[V + times, j] * work[GAIN, j]
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
    """The ideal DCG; gains, what places count, and what M is made of."""
    best, ideal = best_of(team, y, start, stop), 0.0
    nothing = nothing_of(best)
    for i in range(start + team.t, stop, team.threads):
        work[GAIN, i] = gain_of(y[i], best, nothing, exponential)
        place = np.float64(i - start)
        work[COUNT, i] = min(limit - place, 1.0) / log2(2.0 + place) if place < limit else 0.0
        work[U, i], work[V, i] = 1.0, 1.0
        place = np.float64(ideal_places[i])
        ideal += work[GAIN, i] * (min(limit - place, 1.0) / log2(2.0 + place) if place < limit else 0.0)
    (ideal,) = team_sums(team, (ideal,))
    prepare(team, x, start, stop, up, alpha, work)
    return ideal


@inner
def _scale(team, start, stop, work):
    """Fill U and V; how many times it took."""
    for t in range(TIMES):
        off = 0.0
        for j in range(start + team.t, stop, team.threads):
            total = 0.0
            for k in range(start, stop):
                total += work[U + t, k] * share(work, start, stop, k, j)
            work[V + t + 1, j] = 1.0 / max(total, LEAST)
            off = max(off, abs(work[V + t, j] * total - 1.0) if t > 0 else 1.0)
        (off,) = team_maxima(team, (off,))
        if off < CLOSE:
            return t
        for k in range(start + team.t, stop, team.threads):
            total = 0.0
            for j in range(start, stop):
                total += work[V + t + 1, j] * share(work, start, stop, k, j)
            work[U + t + 1, k] = 1.0 / max(total, LEAST)
        team_sums(team, (0.0,))
    return TIMES


@inner
def _back(team, start, stop, times, work):
    """Fill OF_U and OF_V, the gradients of DCG for the sums that U and V are the inverses of, from the last on."""
    for j in range(start + team.t, stop, team.threads):
        total = 0.0
        for k in range(start, stop):
            total += work[COUNT, k] * work[U + times, k] * share(work, start, stop, k, j)
        work[TO_V, j] = total * work[GAIN, j]
    team_sums(team, (0.0,))
    for t in range(times, 0, -1):
        for k in range(start + team.t, stop, team.threads):
            work[OF_U + t, k] = -work[TO_U, k] * work[U + t, k] * work[U + t, k]
        team_sums(team, (0.0,))
        for j in range(start + team.t, stop, team.threads):
            total = work[TO_V, j]
            for k in range(start, stop):
                total += work[OF_U + t, k] * share(work, start, stop, k, j)
            work[OF_V + t, j], work[TO_V, j] = -total * work[V + t, j] * work[V + t, j], 0.0
        team_sums(team, (0.0,))
        for k in range(start + team.t, stop, team.threads):
            total = 0.0
            for j in range(start, stop):
                total += work[OF_V + t, j] * share(work, start, stop, k, j)
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
    """From M through its softmaxes to z."""
    for k in range(start + team.t, stop, team.threads):
        mean = 0.0
        for j in range(start, stop):
            mean += share(work, start, stop, k, j) * _to_m(work, k, j, times)
        work[MEAN, k] = mean
    team_sums(team, (0.0,))
    for j in range(start + team.t, stop, team.threads):
        work[PULL, j], work[SLOPE, j] = 0.0, 0.0
        for k in range(start, stop):
            pull(work, start, stop, j, k, _to_m(work, k, j, times))
    to_scores(team, start, stop, work, -1.0 / ideal if ideal > 0.0 else 0.0, upstream)


LOSS = Loss(
    neural_ndcg,
    reads=("scores", "target", "target_places", "alphas", "limits", "descending", "exponential"),
    moves=("scores over alpha",),
    sums=2,
    needs_gains=True,
    work=ROWS,
    card_bytes=100 + 8 * ROWS,
)
