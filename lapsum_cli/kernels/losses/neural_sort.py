"""NeuralSort's matrix in O(n) memory: P_kj = softmax over j of (n + 1 - 2 k) z_j - sum over l of |z_j - z_l|.

Grover et al., ICLR 2019: how much of place k, from 1, an item has, z = x / alpha. What it is made of stands in rows of
work, of which a loss may have more of its own behind ROWS; so do the sums by which a gradient goes back through it.
"""

import math

import numpy as np

from ..jit import inner
from ..scalars.team import team_maxima, team_sums
from .pairs import apart, first_finite

FAR = 1e100  # alphas: so many are as good as more
# By item: z, sum of distances, what a column has of the softmaxes, and that times n + 1 - 2 k. By place: the largest
# exponent, the sum, and the mean of what is upstream.
Z, AWAY, PULL, SLOPE, TOP, SUM, MEAN = 0, 1, 2, 3, 4, 5, 6
ROWS = 7


@inner
def prepare(team, x, start, stop, up, alpha, work):
    """Fill what `share` reads, of the scores of one ranking."""
    first, far = first_finite(x, start, stop), 0.0
    for i in range(start + team.t, stop, team.threads):
        z = min(max(apart(x[i], x[first], up, alpha), -FAR), FAR)
        work[Z, i] = z
        far = max(far, abs(z) if abs(x[i]) < np.inf else 0.0)
    (far,) = team_maxima(team, (far,))
    for i in range(start + team.t, stop, team.threads):
        if abs(x[i]) == np.inf:
            work[Z, i] = math.copysign(2.0 * far + 1000.0, work[Z, i])
    team_sums(team, (0.0,))
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


@inner
def _exponent(work, start, stop, k, j):
    return np.float64(stop - start - 1 - 2 * (k - start)) * work[Z, j] - work[AWAY, j]


@inner
def share(work, start, stop, k, j):
    """Of a place what an item has: P_kj, both counted as items are."""
    return math.exp(_exponent(work, start, stop, k, j) - work[TOP, k]) / work[SUM, k]


@inner
def pull(work, start, stop, j, k, upstream):
    """Add what the upstream gradient for P_kj, less the mean of its row, has of a column, to PULL and SLOPE."""
    moved = share(work, start, stop, k, j) * (upstream - work[MEAN, k])
    work[PULL, j] += moved
    work[SLOPE, j] += np.float64(stop - start - 1 - 2 * (k - start)) * moved


@inner
def to_scores(team, start, stop, work, scale, out):
    """The gradient along z, times scale, once all have pulled; a thread writes what it reads no more."""
    team_sums(team, (0.0,))
    for i in range(start + team.t, stop, team.threads):
        slope = work[SLOPE, i]
        for j in range(start, stop):
            if work[Z, i] != work[Z, j]:
                slope -= (work[PULL, i] + work[PULL, j]) * (1.0 if work[Z, i] > work[Z, j] else -1.0)
        out[i] = scale * slope
