"""Equal targets, which take each of their places in turn: the mean of -log P over them, in O(t log t) for t of them.

The edges of t places fall. Of an item at distance d from an edge, better ones being positive, a place whose edges are
both above it has log P = d - log 2 + r, d to the edge below it, and one whose edges are both below it -d - log 2 + r, d
to the edge above; r = log(1 - e^-width) is the place's own. So sums over places are had of two running sums, and only
the place that an item is in has more to it.
"""

import math

import numpy as np

from ..jit import inner
from ..scalars.functions import LOG_2
from ..scalars.places import distance

# Rows of work, by place: an item; sums of r, and of the distances to edges below, up to it; how many items are in it;
# what these pull at the edges above and below it; and what moves its own item.
ITEM, REST, FAR, IN, ABOVE, BELOW, OWN = 0, 1, 2, 3, 4, 5, 6
ROWS = 7


@inner
def width_of(edges, alpha, up):
    """Of the place between two edges, the scores and steps of that above it and of that below it, in alphas."""
    return max(up * ((0.5 * edges[0] - 0.5 * edges[2]) + (0.5 * edges[1] - 0.5 * edges[3])) / (0.5 * alpha), 1e-300)


@inner
def _odds(anchors, steps, place, start, stop, alpha, up):
    """log(1 - e^-width), and 1 and e^-width over 1 - e^-width; at the ends the width is infinite."""
    if place == start or place == stop - 1:
        return 0.0, 1.0, 0.0
    width = width_of((anchors[place - 1], steps[place - 1], anchors[place], steps[place]), alpha, up)
    rest = -math.expm1(-width)
    return math.log(rest), 1.0 / rest, math.exp(-width) / rest


@inner
def sum_up(x, anchors, steps, first, last, start, stop, alpha, up, work):
    """Fill REST and FAR of places first .. last, whose edges are told from one of their items; empty the others."""
    rest, far, origin = 0.0, 0.0, x[int(work[ITEM, first])]
    for place in range(first, last):
        rest += _odds(anchors, steps, place, start, stop, alpha, up)[0]
        far += distance(origin, anchors[place], steps[place], alpha, up) if place < stop - 1 else 0.0
        work[REST, place], work[FAR, place] = rest, far
        work[IN, place], work[ABOVE, place], work[BELOW, place] = 0.0, 0.0, 0.0


@inner
def place_in(x, anchors, steps, first, last, start, stop, alpha, up):
    """The first of places first .. last whose lower edge is below a score: last where there is none, and first - 1
    where the upper edge of all is below it too.
    """
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if middle == stop - 1 or distance(x, anchors[middle], steps[middle], alpha, up) > 0.0:
            high = middle
        else:
            low = middle + 1
    if low == first and first > start and distance(x, anchors[first - 1], steps[first - 1], alpha, up) >= 0.0:
        return first - 1
    return low


@inner
def sum_of_logs(offset, at, anchors, steps, origin, first, last, alpha, up, work):
    """The sum of log P over places first .. last of an item that is so far above the origin, but for the place it is
    in; at: that of place_in.
    """
    total = -LOG_2 * np.float64(last - first)
    if first <= at < last:
        total += LOG_2
    above = min(at, last) - first
    if above > 0:
        total += work[FAR, first + above - 1] + offset * above + work[REST, first + above - 1]
    after = max(at + 1, first)
    if after < last:
        total += work[REST, last - 1] - (work[REST, after - 1] if after > first else 0.0)
        # Upper edges: those below the places before.
        far = work[FAR, last - 2] if last - 1 > first else 0.0
        if after > first:
            far -= work[FAR, after - 2] if after - 1 > first else 0.0
        else:
            far += distance(origin, anchors[first - 1], steps[first - 1], alpha, up)
        total -= far + offset * np.float64(last - after)
    return total


@inner
def pull(anchors, steps, first, last, start, stop, alpha, up, before, behind, scale, work, upstream):
    """The gradients along the distances to edges, by place, as those of an item each: before, behind: how many items
    are below and above all the places. What is pulled at an edge, and what moves an item, are differences of these.
    """
    below, above = before, behind  # items below the place, and above it
    for place in range(first, last):
        below += work[IN, place]
    above_edge, last_below = 0.0, 0.0
    for place in range(first, last):
        below -= work[IN, place]
        _, near, far = _odds(anchors, steps, place, start, stop, alpha, up)
        at_above = work[ABOVE, place] + (below * far + above * near) * up / alpha
        at_below = work[BELOW, place] + (below * near + above * far) * up / alpha
        above += work[IN, place]
        at_edge = at_above if place == first else at_above - last_below + above_edge
        upstream[0, place] = scale * at_edge
        above_edge, last_below = at_edge + work[OWN, place], at_below
        upstream[1, place] = scale * above_edge
