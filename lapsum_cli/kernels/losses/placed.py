"""log P of an item at its place, and what moves it; of equal targets in the mean over their places.

Places have edges: of the j-th the one above ends the place before, and the one below is its own (anchors[j], steps[j]).
`given` says whose they are: (first, length, start, stop, alpha, descending, upstream, work) of a ranking whose places
begin at `first` of the arrays, of which finite scores have start .. stop, counted from there. Where arrays hold some of
its places alone, first lies before them.
"""

import math

import numpy as np

from ..jit import inner
from ..scalars.functions import LOG_2
from ..scalars.places import distance
from .pairs import apart
from .tied import ABOVE, BELOW, IN, ITEM, OWN, fold, place_in, pull, sum_of_logs, sum_up, width_of


@inner
def blocks(x, y, anchors, steps, begin, end, turn, given):
    """The sum of log P over items of the places begin .. end, and its gradients, by place, unless they are empty.

    turn  (t, threads): a thread takes the places of equal targets together, and none of those that another has begun
    """
    (t, threads), total, work = turn, 0.0, given[7]
    for place in range(begin + t, end, threads):
        target, last = y[int(work[ITEM, place])], place + 1
        if place > begin and y[int(work[ITEM, place - 1])] == target:
            continue
        while last < end and y[int(work[ITEM, last])] == target:
            last += 1
        total += _block(x, anchors, steps, place, last, given)
    return total


@inner
def _block(x, anchors, steps, place, last, given):
    """The sum of log P over items of equal targets, in the mean over their places, and its gradients."""
    first, length, start, stop, _, _, upstream, work = given
    weight, total = -1.0 / max(length, 1), 0.0
    if last - place == 1:
        log_p, at_above, at_below = _of_place(x[int(work[ITEM, place])], anchors, steps, place, given)
        if upstream.size > 0:
            upstream[0, place], upstream[1, place] = at_above * weight, at_below * weight
        return log_p
    if place - first < start or last - first > stop:  # also of infinite scores, whose places finite ones never have
        for at in range(place, last):
            total += log_shared(x[int(work[ITEM, at])], place, last, given)
            if upstream.size > 0:
                upstream[0, at], upstream[1, at] = 0.0, 0.0
        return total
    return _tied(x, anchors, steps, place, last, given)


@inner
def log_shared(x, place, last, given):
    """The mean of log P of a score over places of which finite ones do not have all."""
    first, length, start, stop, _, descending, _, _ = given
    if abs(x) < np.inf:
        return -np.inf
    at_best = _log_share(x, place - first, start, stop, length, descending)
    return min(at_best, _log_share(x, last - 1 - first, start, stop, length, descending))


@inner
def _tied(x, anchors, steps, first, last, given):
    """The sum of log P over items of equal targets that have finite places, and its gradients."""
    of_ranking, length, start, stop, alpha, descending, upstream, work = given
    ends, up, total, before, behind = (of_ranking + start, of_ranking + stop), 1.0 if descending else -1.0, 0.0, 0, 0
    origin = anchors[first]
    sums = sum_up(anchors, steps, first, last, origin, ends, alpha, up, (0.0, 0.0, 0.0), work)
    for place in range(first, last):
        x_here, places = x[int(work[ITEM, place])], (first, last)
        log_p, work[OWN, place], at = of_tied(x_here, anchors, steps, places, places, origin, sums, given)
        total, before, behind = total + log_p, before + (at == last), behind + (at == first - 1)
    if upstream.size > 0:
        scale = -1.0 / (max(length, 1) * np.float64(last - first))
        pull(anchors, steps, first, last, ends, alpha, up, (before, behind), scale, work, upstream)
        fold(first, last, scale, work, upstream)
    return total / (last - first)


@inner
def of_tied(x, anchors, steps, here, tie, origin, sums, given):
    """The sum of log P of an item over the places of a tie, what moves it, and which of those that are here it is in,
    as `place_in` has it; there it is put down. A score that is infinite has none of them.

    here, tie  places from .. to
    origin     from which distances are told; sums: those of `sum_up` up to the end of the tie
    """
    of_ranking, _, start, stop, alpha, descending, _, work = given
    (first, last), up, slope = tie, 1.0 if descending else -1.0, 0.0
    if abs(x) == np.inf:
        return -np.inf, 0.0, first - 2
    at = place_in(x, anchors, steps, here, tie, (of_ranking + start, of_ranking + stop), alpha, up)
    offset = apart(x, origin, up, alpha)
    total = sum_of_logs(offset, at, anchors, steps, origin, tie, sums, alpha, up, work)
    total = total if total < np.inf else -np.inf  # of distances beyond floats
    if first <= at < last:
        log_p, at_above, at_below = _of_place(x, anchors, steps, at, given)
        total, slope = total + log_p, at_below - at_above
        work[IN, at], work[ABOVE, at] = work[IN, at] + 1.0, work[ABOVE, at] + at_above
        work[BELOW, at] += at_below
    return total, slope + (max(at - first, 0) - max(last - max(at + 1, first), 0)) * up / alpha, at


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
