"""Equal targets, which take each of their places in turn: the mean of -log P over them, in O(t log t) for t of them.

The edges of t places fall. Of an item at distance d from an edge, better ones being positive, a place whose edges are
both above it has log P = d - log 2 + r, d to the edge below it, and one whose edges are both below it -d - log 2 + r, d
to the edge above; r = log(1 - e^-width) is the place's own. So sums over places are had of two running sums, and only
the place that an item is in has more to it.

Of a tie that no memory holds some places are at hand, and some of the items whose scores lie among these.
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
def _odds(anchors, steps, place, ends, alpha, up):
    """log(1 - e^-width), and 1 and e^-width over 1 - e^-width; at the ends the width is infinite."""
    if place == ends[0] or place == ends[1] - 1:
        return 0.0, 1.0, 0.0
    width = width_of((anchors[place - 1], steps[place - 1], anchors[place], steps[place]), alpha, up)
    rest = -math.expm1(-width)
    return math.log(rest), 1.0 / rest, math.exp(-width) / rest


@inner
def sum_up(anchors, steps, begin, end, origin, ends, alpha, up, sums, work):
    """Fill REST and FAR of places begin .. end of a tie, whose edges are told from an origin; empty the others.

    ends  places from .. to that finite scores have
    sums  of the places of the tie before these: of r, of the distances to edges below, and of these but for the last
          place. Returned are those of these too
    """
    rest, far, but_last = sums
    for place in range(begin, end):
        rest += _odds(anchors, steps, place, ends, alpha, up)[0]
        but_last = far
        far += distance(origin, anchors[place], steps[place], alpha, up) if place < ends[1] - 1 else 0.0
        work[REST, place], work[FAR, place] = rest, far
        work[IN, place], work[ABOVE, place], work[BELOW, place] = 0.0, 0.0, 0.0
    return rest, far, but_last


@inner
def place_in(x, anchors, steps, here, tie, ends, alpha, up):
    """The first of the places here whose lower edge is below a score. At the end of a tie that is its last + 1 where
    there is none; at its begin it is the one before where the upper edge of all is below it too.
    """
    (low, high), (first, last) = here, tie
    end = high
    while low < high:
        middle = (low + high) // 2
        if middle == ends[1] - 1 or distance(x, anchors[middle], steps[middle], alpha, up) > 0.0:
            high = middle
        else:
            low = middle + 1
    if low == first and first > ends[0] and distance(x, anchors[first - 1], steps[first - 1], alpha, up) >= 0.0:
        return first - 1
    return low if low < end or end == last else end - 1


@inner
def sum_of_logs(offset, at, anchors, steps, origin, tie, sums, alpha, up, work):
    """The sum of log P over the places of a tie of an item that is so far above the origin, but for the place it is
    in; at: that of place_in; sums: of `sum_up`, of all places of the tie.
    """
    (first, last), (rest, _, far) = tie, sums
    total = -LOG_2 * np.float64(last - first)
    if first <= at < last:
        total += LOG_2
    above = min(at, last) - first
    if above > 0:
        total += work[FAR, first + above - 1] + offset * above + work[REST, first + above - 1]
    after = max(at + 1, first)
    if after < last:
        total += rest - (work[REST, after - 1] if after > first else 0.0)
        # Upper edges: those below the places before.
        if after > first:
            far -= work[FAR, after - 2] if after - 1 > first else 0.0
        else:
            far += distance(origin, anchors[first - 1], steps[first - 1], alpha, up)
        total -= far + offset * np.float64(last - after)
    return total


@inner
def pull(anchors, steps, begin, end, ends, alpha, up, others, scale, work, upstream):
    """The gradients along the distances of all items to the edges above and below places begin .. end of a tie.

    others  how many items are below all of these places, and above them
    """
    below, above = np.float64(others[0]), np.float64(others[1])  # items below the place, and above it
    for place in range(begin, end):
        below += work[IN, place]
    for place in range(begin, end):
        below -= work[IN, place]
        _, near, far = _odds(anchors, steps, place, ends, alpha, up)
        upstream[0, place] = scale * (work[ABOVE, place] + (below * far + above * near) * up / alpha)
        upstream[1, place] = scale * (work[BELOW, place] + (below * near + above * far) * up / alpha)
        above += work[IN, place]


@inner
def fold(first, last, scale, work, upstream):
    """What is pulled at an edge, and what moves an item, become differences of the two gradients of places."""
    shift = 0.0
    for place in range(first, last):
        at_below = upstream[1, place]
        upstream[0, place] += shift
        upstream[1, place] = upstream[0, place] + scale * work[OWN, place]
        shift = upstream[1, place] - at_below
