"""Top-k hinge: max(0, margin + t - z_y), t the noised (k + 1)-th best of the scores z = x / alpha, y the true item.

Garcin et al., Stochastic smoothing of the top-K calibrated hinge loss, ICML 2022; alpha is epsilon there, and so is the
unit of the margin, which is `margin` times the largest target: a target of 1 makes it the same for all (balanced), and
one that holds the margin of its class that of the class (imbalanced). t is the mean over draws of the (k + 1)-th best
of z with normal noise, philox.py. Of several items with the largest target it is the mean; where k takes all it is 0.
"""

import math

import numpy as np

from ..jit import inner, uncounted
from ..scalars.philox import normal
from ..scalars.team import join, team_maxima, team_sums
from .declared import Loss
from .gains import best_of
from .neural_sort import FAR
from .pairs import apart, first_finite

Z, NOISY, SHARE = 0, 1, 2  # rows of work, by item: z, the same with noise, and in which share of draws it was the one


@uncounted
def topk_hinge(rankings, offsets, read, losses, upstreams):
    """The mean over true items, and its gradient along z for the same noise."""
    x, y, ks, alphas, numbers, descending, draws, seed, margin = read
    team, (upstream, work), up = join(rankings), upstreams, 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        best = best_of(team, y, start, stop)
        place, level = math.ceil(min(ks[r], np.float64(stop - start))) + 1, 0.0
        is_moot = place > stop - start
        _begin(team, x, start, stop, up, alphas[r], work)
        for draw in range(0 if is_moot else draws):
            for i in range(start + team.t, stop, team.threads):
                work[NOISY, i] = work[Z, i] + normal(seed, numbers[r], draw, i - start)
            threshold = at_place(team, work, NOISY, start, stop, place)
            _share(team, work, start, stop, threshold, draws)
            level += threshold / draws
        total, behind, true = 0.0, 0.0, 0.0
        for i in range(start + team.t, start if is_moot else stop, team.threads):
            cost = margin * best + level - work[Z, i] if y[i] == best else 0.0
            true += 1.0 if y[i] == best else 0.0
            total, behind = total + max(cost, 0.0), behind + (1.0 if cost > 0.0 else 0.0)
        total, behind, true = team_sums(team, (total, behind, true))
        for i in range(start + team.t, stop if upstream.size > 0 else start, team.threads):
            is_behind = y[i] == best and margin * best + level - work[Z, i] > 0.0 and not is_moot
            upstream[i] = (behind * work[SHARE, i] - (1.0 if is_behind else 0.0)) / max(true, 1.0)
        if team.t == 0:
            losses[r] = total / max(true, 1.0)


@inner
def _begin(team, x, start, stop, up, alpha, work):
    first = first_finite(x, start, stop)
    for i in range(start + team.t, stop, team.threads):
        work[Z, i], work[SHARE, i] = min(max(apart(x[i], x[first], up, alpha), -FAR), FAR), 0.0


@inner
def at_place(team, work, row, start, stop, place):
    """The value at this place of a row, from 1: halves what it may be, from values that there are to such."""
    low, high = -np.inf, -np.inf
    for i in range(start + team.t, stop, team.threads):
        low, high = max(low, -work[row, i]), max(high, work[row, i])
    low, high = team_maxima(team, (low, high))
    low = -low
    while low < high:
        middle = 0.5 * low + 0.5 * high
        middle = middle if middle > low else high
        count, above, below = 0.0, -np.inf, -np.inf
        for i in range(start + team.t, stop, team.threads):
            value = work[row, i]
            if value >= middle:
                count, above = count + 1.0, max(above, -value)
            else:
                below = max(below, value)
        (count,) = team_sums(team, (count,))
        above, below = team_maxima(team, (above, below))
        if count >= place:
            low = -above
        else:
            high = below
    return low


@inner
def _share(team, work, start, stop, threshold, draws):
    """Add who was at the threshold in a draw; equal ones share it."""
    alike = 0.0
    for i in range(start + team.t, stop, team.threads):
        alike += 1.0 if work[NOISY, i] == threshold else 0.0
    (alike,) = team_sums(team, (alike,))
    for i in range(start + team.t, stop, team.threads):
        if work[NOISY, i] == threshold:
            work[SHARE, i] += 1.0 / (alike * draws)


LOSS = Loss(
    topk_hinge,
    reads=("scores", "target", "ks", "alphas", "numbers", "descending", "draws", "seed", "margin"),
    moves=("scores over alpha",),
    sums=3,
    needs_gains=True,
    work=3,
    card_bytes=60,
)
