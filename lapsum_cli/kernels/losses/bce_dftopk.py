"""DFTopK's cross-entropy: -(1/n) sum of t_i log p_i + (1 - t_i) log(1 - p_i), p logistic about the threshold.

p_i = 1 / (1 + e^-l_i), l_i = (x_i - b) / alpha, b midway between the k-th best score and the next; t are those of the k
largest targets, whose ties share what is left. Zhu et al., Differentiable fast top-k selection, 2025; tau is alpha. For
b, a k that is no whole number is the next that is one; where it takes none or all, the loss is 0.
"""

import math

import numpy as np

from ..jit import inner, uncounted
from ..scalars.team import join, team_sums
from .declared import Loss
from .pairs import apart, missed


@uncounted
def bce_dftopk(rankings, offsets, read, losses, upstreams):
    """The mean cross-entropy, and its gradient along x / alpha, of which the two scores about b take a half each, or
    those that are equal to them share it.
    """
    x, places, wanted, ks, alphas, descending = read
    team, (upstream,), up = join(rankings), upstreams, 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, stop, last, k = offsets[r], offsets[r + 1], 0.0, math.ceil(ks[r])
        is_moot, next_one, total, moved = k <= 0 or k >= stop - start, 0.0, 0.0, 0.0
        for i in range(start + team.t, stop, team.threads):
            last = np.float64(x[i]) if places[i] == k - 1 else last
            next_one = np.float64(x[i]) if places[i] == k else next_one
        last, next_one = team_sums(team, (last, next_one))
        for i in range(start + team.t, start if is_moot else stop, team.threads):
            z = 0.5 * apart(x[i], last, up, alphas[r]) + 0.5 * apart(x[i], next_one, up, alphas[r])
            cost, slope = _cross_entropy(z, wanted[i])
            total, moved = total + cost, moved + slope
            if upstream.size > 0:
                upstream[i] = slope / (stop - start)
        total, moved = team_sums(team, (total, moved))
        like_last, like_next = 0.0, 0.0
        for i in range(start + team.t, stop if upstream.size > 0 else start, team.threads):
            like_last, like_next = like_last + (x[i] == last), like_next + (x[i] == next_one)
        like_last, like_next = team_sums(team, (like_last, like_next))
        for i in range(start + team.t, stop if upstream.size > 0 else start, team.threads):
            share = (0.5 / like_last if x[i] == last else 0.0) + (0.5 / like_next if x[i] == next_one else 0.0)
            upstream[i] = 0.0 if is_moot else upstream[i] - share * moved / (stop - start)
        if team.t == 0:
            losses[r] = total / max(stop - start, 1)


@inner
def _cross_entropy(z, t):
    """Of a logit, and how it moves along it."""
    cost, slope = 0.0, 0.0
    if t > 0.0:
        inside, falls = missed(z)
        cost, slope = t * inside, -t * falls
    if t < 1.0:
        outside, falls = missed(-z)
        cost, slope = cost + (1.0 - t) * outside, slope + (1.0 - t) * falls
    return cost, slope


LOSS = Loss(
    bce_dftopk,
    reads=("scores", "places", "target_members", "ks", "alphas", "descending"),
    moves=("scores over alpha",),
    sums=2,
    card_bytes=110,
)
