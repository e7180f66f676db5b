"""Cross-entropy of the soft permutation against the order of the targets: -(1/n) sum of log P[i, place of y_i].

Each item needs the two edges of one place, no matrix (LapSum, ICML 2025, section 4): it takes O(n) memory. Ties of the
target are in the order of the input.
"""

import math

import numpy as np

from ..jit import inner, uncounted
from ..scalars.functions import LOG_2
from ..scalars.places import distance
from ..scalars.team import join, team_sums
from .parts import Loss


@uncounted
def permutation(rankings, offsets, read, losses, upstreams):
    """-(1/n) sum of log P, and its gradients along the distances of every item to the edges of its place, by place."""
    x, anchors, steps, spans, places, alphas, descending = read
    team, (upstream,) = join(rankings), upstreams
    for r in range(team.first, team.last):
        first, length, total = offsets[r], offsets[r + 1] - offsets[r], 0.0
        start, stop, weight = spans[r, 0], spans[r, 1], -1.0 / max(length, 1)
        for i in range(first + team.t, first + length, team.threads):
            place, at_above, at_below = places[i], 0.0, 0.0
            if abs(x[i]) == np.inf:
                log_p = _log_share(x[i], place, start, stop, length, descending)
            elif start <= place < stop:
                above, below = first + max(place - 1, start), first + min(place, stop - 2)
                edges = (0.0, 0.0, 0.0, 0.0)
                if stop - start > 1:
                    edges = (anchors[above], steps[above], anchors[below], steps[below])
                given = (edges, place - start, stop - start, alphas[r], descending)
                log_p, at_above, at_below = _log_probability(np.float64(x[i]), *given)
            else:
                log_p = -np.inf
            total -= log_p
            if upstream.size > 0:
                upstream[0, first + place], upstream[1, first + place] = at_above * weight, at_below * weight
        (total,) = team_sums(team, (total,))
        if team.t == 0:
            losses[r] = total / max(length, 1)


@inner
def _log_share(x, place, start, stop, length, descending):
    """log P of an infinite score, which shares the places at its end equally with its like and has no others."""
    is_best = x > 0.0 if descending else x < 0.0
    from_place, to_place = (0, start) if is_best else (stop, length)
    return -math.log(np.float64(to_place - from_place)) if from_place <= place < to_place else -np.inf


@inner
def _log_probability(x, edges, place, n, alpha, descending):
    """log P of a finite score at one of n places, and its slopes along the distances to the boundaries at either end.

    edges: of the boundary above the place and of that below it, a score and a step; an end without one is ignored.

    P = F(high) - F(low), with the distances to the boundaries on either side. Its logarithm keeps all digits of a
    difference: the width comes from the boundaries themselves, and never as the difference of two distances.
    """
    if n == 1:
        return 0.0, 0.0, 0.0
    up = 1.0 if descending else -1.0
    low, high = distance(x, edges[0], edges[1], alpha, up), distance(x, edges[2], edges[3], alpha, up)
    if place == 0:
        log_p, slope = _log_tail(high)
        return log_p, 0.0, slope / alpha * up
    if place == n - 1:
        log_p, slope = _log_tail(-low)
        return log_p, slope / alpha * up, 0.0
    width = up * ((0.5 * edges[0] - 0.5 * edges[2]) + (0.5 * edges[1] - 0.5 * edges[3])) / (0.5 * alpha)
    log_p, at_low, at_high = _log_between(low, high, max(width, 1e-300))
    return log_p, at_low / alpha * up, at_high / alpha * up


@inner
def _log_tail(z):
    """log F(z), and its slope."""
    if z <= 0.0:
        return z - LOG_2, 1.0
    tail = 0.5 * math.exp(-z)
    return math.log1p(-tail), tail / (1.0 - tail)


@inner
def _log_between(low, high, width):
    """log(F(high) - F(low)), and the densities at low and at high over that difference."""
    if high <= 0.0 or low >= 0.0:
        fade = math.exp(-width)
        rest = -math.expm1(-width)
        log_p = (high if high <= 0.0 else -low) - LOG_2 + math.log(rest)
        return (log_p, fade / rest, 1.0 / rest) if high <= 0.0 else (log_p, 1.0 / rest, fade / rest)
    twice = -(math.expm1(low) + math.expm1(-high))
    return math.log(twice) - LOG_2, math.exp(low) / twice, math.exp(-high) / twice


LOSS = Loss(
    permutation,
    reads=("scores", "anchors", "steps", "spans", "target_places", "alphas", "descending"),
    moves=("distances to edges",),
    sums=1,
)
