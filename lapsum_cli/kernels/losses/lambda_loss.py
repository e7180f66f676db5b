"""LambdaLoss: the sum over pairs with y_i > y_j of W_ij log2(1 + e^-(z_i - z_j)), z = x / alpha.

Wang et al., The LambdaLoss framework for ranking metric optimization, CIKM 2018; alpha is 1 / sigma there. The weights
are of places as they are, ties in the order of the input, and held constant in gradients. It takes n^2 steps.

With G the gains relative to the ideal DCG, d(i) = 1 / log2(1 + i) of places i from 1, and the distance of two places,

    W = w0 + w1 G_i d(i) + w2 |d(i) - d(j)| |G_i - G_j| + w3 |d(|i - j|) - d(|i - j| + 1)| |G_i - G_j|
           + w4 |y_i - y_j| + w5 |y_i^2 - y_j^2|

where w is what a weighting names; with w1 all pairs count, also those of an item with itself. With a k those pairs
count of which both are in the first k places, and the ideal is of so many; or of which either is, where the ideal is of
all and d is 0 behind the first k (Jagerman et al., On optimizing top-k metrics for neural ranking models, 2022).
"""

import numpy as np

from ..jit import inner, uncounted
from ..scalars.functions import LOG_2
from ..scalars.team import join, team_sums
from .declared import Loss
from .gains import best_of, gain_of, log2, nothing_of
from .pairs import apart, missed

GAIN, DISCOUNT = 0, 1  # rows of work, by item


@uncounted
def lambda_loss(rankings, offsets, read, losses, upstreams):
    """The sum over pairs of the first k places, and its gradient along z."""
    x, y, places, ideal_places, alphas, limits, descending, exponential, w, most, either = read
    team, (upstream, work), up = join(rankings), upstreams, 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        best = best_of(team, y, start, stop)
        ideal, nothing = 0.0, nothing_of(best)
        for i in range(start + team.t, stop, team.threads):
            work[GAIN, i] = gain_of(y[i], best, nothing, exponential)
            work[DISCOUNT, i] = 1.0 / log2(2.0 + places[i]) if places[i] < limits[r] or not either else 0.0
            counted = 1.0 if either else min(limits[r] - ideal_places[i], 1.0)
            ideal += work[GAIN, i] * max(counted, 0.0) / log2(2.0 + ideal_places[i])
        (ideal,) = team_sums(team, (ideal,))
        total = 0.0
        for i in range(start + team.t, stop, team.threads):
            slope, costs = 0.0, 0.0  # as in ranknet
            is_in = places[i] < limits[r]
            for j in range(start, stop if (is_in or either) and ideal > 0.0 else start):
                if places[j] < limits[r] or (is_in and either):
                    is_above, is_below = y[i] > y[j] or w[1] != 0.0, y[i] < y[j] or w[1] != 0.0
                    if is_above:
                        cost, falls = _pair(x, y, i, j, places, work, ideal, w, up, alphas[r], most)
                        costs, slope = costs + cost, slope - falls
                    if is_below and upstream.size > 0:
                        slope += _pair(x, y, j, i, places, work, ideal, w, up, alphas[r], most)[1]
            total += costs
            if upstream.size > 0:
                upstream[i] = slope / LOG_2
        (total,) = team_sums(team, (total,))
        if team.t == 0:
            losses[r] = total / LOG_2 if ideal > 0.0 else np.nan


@inner
def _pair(x, y, i, j, places, work, ideal, w, up, alpha, most):
    """W_ij log(1 + e^-z) where i is to be above j, and how fast it falls along z; neither that log, nor all of it, is
    more than `most`, where it falls no more.
    """
    gain, discount = abs(work[GAIN, i] - work[GAIN, j]) / ideal, abs(work[DISCOUNT, i] - work[DISCOUNT, j])
    weight = w[0] + w[1] * work[GAIN, i] / ideal * work[DISCOUNT, i] + w[2] * discount * gain
    if w[3] != 0.0 and i != j:
        steps = np.float64(abs(places[i] - places[j]))
        weight += w[3] * (1.0 / log2(1.0 + steps) - 1.0 / log2(2.0 + steps)) * gain
    weight += w[4] * abs(y[i] - y[j]) + w[5] * abs(y[i] - y[j]) * (y[i] + y[j])
    cost, falls = missed(apart(x[i], x[j], up, alpha))
    if cost >= most:
        cost, falls = most, 0.0
    if weight * cost >= most:
        return most, 0.0
    return (weight * cost if weight > 0.0 else 0.0), weight * falls


LOSS = Loss(
    lambda_loss,
    reads=(
        "scores",
        "target",
        "places",
        "target_places",
        "alphas",
        "limits",
        "descending",
        "exponential",
        "weights",
        "most",
        "either",
    ),
    moves=("scores over alpha",),
    sums=1,
    needs_gains=True,
    work=2,
    card_bytes=130,
)
