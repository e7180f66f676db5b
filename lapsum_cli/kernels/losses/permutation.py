"""Cross-entropy of the soft permutation against the order of the targets: -(1/n) sum of log P[i, place of y_i].

Each item needs the two edges of one place, no matrix (LapSum, ICML 2025, section 4): it takes O(n) memory. Of equal
targets each takes all of their places in turn, so that it is the mean over their orders (tied.py).
"""

import math

import numpy as np

from ..jit import inner, uncounted
from ..scalars.functions import LOG_2
from ..scalars.places import distance
from ..scalars.team import join, team_sums
from .pairs import apart
from .parts import Loss, Second
from .permutation_along import along
from .tied import ABOVE, BELOW, IN, ITEM, OWN, ROWS, place_in, pull, sum_of_logs, sum_up, width_of


@uncounted
def permutation(rankings, offsets, read, losses, upstreams):
    """-(1/n) sum of log P, and its gradients along the distances of every item to the edges of its place, by place.

    A thread takes the places of equal targets together, and none of those that another has begun.
    """
    x, y, anchors, steps, spans, places, alphas, descending = read
    team, (upstream, work) = join(rankings), upstreams
    for r in range(team.first, team.last):
        first, length, total = offsets[r], offsets[r + 1] - offsets[r], 0.0
        for i in range(first + team.t, first + length, team.threads):
            work[ITEM, first + places[i]] = i
        team_sums(team, (0.0,))  # all of them are there
        for place in range(first + team.t, first + length, team.threads):
            target, last = y[int(work[ITEM, place])], place + 1
            if place > first and y[int(work[ITEM, place - 1])] == target:
                continue
            while last < first + length and y[int(work[ITEM, last])] == target:
                last += 1
            given = (first, length, spans[r, 0], spans[r, 1], alphas[r], descending, upstream, work)
            total -= _block(x, anchors, steps, place, last, given)
        (total,) = team_sums(team, (total,))
        if team.t == 0:
            losses[r] = total / max(length, 1)


@inner
def _block(x, anchors, steps, place, last, given):
    """The sum of log P over items of equal targets, in the mean over their places, and its gradients."""
    first, length, start, stop, _, descending, upstream, work = given
    weight, total = -1.0 / max(length, 1), 0.0
    if last - place == 1:
        log_p, at_above, at_below = _of_place(x[int(work[ITEM, place])], anchors, steps, place, given)
        if upstream.size > 0:
            upstream[0, place], upstream[1, place] = at_above * weight, at_below * weight
        return log_p
    if place - first < start or last - first > stop:  # also of infinite scores, whose places finite ones never have
        for at in range(place, last):
            i = int(work[ITEM, at])
            for other in range(place, last if abs(x[i]) == np.inf else place):
                total += _log_share(x[i], other - first, start, stop, length, descending) / (last - place)
            total -= np.inf if abs(x[i]) < np.inf else 0.0
            if upstream.size > 0:
                upstream[0, at], upstream[1, at] = 0.0, 0.0
        return total
    return _tied(x, anchors, steps, place, last, given)


@inner
def _tied(x, anchors, steps, first, last, given):
    """The same of finite places; a score that is infinite has none of them."""
    of_ranking, length, start, stop, alpha, descending, upstream, work = given
    start, stop, up = of_ranking + start, of_ranking + stop, 1.0 if descending else -1.0
    origin, total, before, behind = x[int(work[ITEM, first])], 0.0, 0.0, 0.0
    sum_up(x, anchors, steps, first, last, start, stop, alpha, up, work)
    for place in range(first, last):
        i = int(work[ITEM, place])
        if abs(x[i]) == np.inf or abs(origin) == np.inf:
            total, work[OWN, place] = -np.inf, 0.0
            continue
        at, slope = place_in(x[i], anchors, steps, first, last, start, stop, alpha, up), 0.0
        offset = apart(x[i], origin, up, alpha)
        total += sum_of_logs(offset, at, anchors, steps, origin, first, last, alpha, up, work)
        if first <= at < last:
            log_p, at_above, at_below = _of_place(x[i], anchors, steps, at, given)
            total, slope = total + log_p, at_below - at_above
            work[IN, at], work[ABOVE, at] = work[IN, at] + 1.0, work[ABOVE, at] + at_above
            work[BELOW, at] += at_below
        before, behind = before + (1.0 if at == last else 0.0), behind + (1.0 if at < first else 0.0)
        work[OWN, place] = slope + (max(at - first, 0) - max(last - max(at + 1, first), 0)) * up / alpha
    if upstream.size > 0:
        scale = -1.0 / (max(length, 1) * np.float64(last - first))
        pull(anchors, steps, first, last, start, stop, alpha, up, before, behind, scale, work, upstream)
    return total / (last - first)


@inner
def _of_place(x, anchors, steps, place, given):
    """log P of a score at a place, and its slopes along the distances to the edges above and below it."""
    first, length, start, stop, alpha, descending, _, _ = given
    if abs(x) == np.inf:
        return _log_share(x, place - first, start, stop, length, descending), 0.0, 0.0
    if not start <= place - first < stop:
        return -np.inf, 0.0, 0.0
    above, below = first + max(place - first - 1, start), first + min(place - first, stop - 2)
    edges = (0.0, 0.0, 0.0, 0.0)
    if stop - start > 1:
        edges = (anchors[above], steps[above], anchors[below], steps[below])
    return _log_probability(np.float64(x), edges, place - first - start, stop - start, alpha, descending)


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
    log_p, at_low, at_high = _log_between(low, high, width_of(edges, alpha, up))
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
    reads=("scores", "target", "anchors", "steps", "spans", "target_places", "alphas", "descending"),
    moves=("distances to edges",),
    sums=1,
    work=ROWS,
    card_bytes=300,
    second=Second(along),
)
