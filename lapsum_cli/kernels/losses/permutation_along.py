"""How the gradient of the permutation loss moves along a direction of its scores, in O(n log n).

log P of an item at a place is log(1 - e^-w) - distance to the nearer edge where it lies outside, w the width of the
place, and log(1 - a - c) inside, with a and c the tails beyond both edges. So for the items outside a place it is
enough to know how many lie on either side; each item is inside one place alone, which is looked for among the edges.
With s = a / P and t = c / P the second derivatives inside are -s (1 + s), s t and -t (1 + t), and outside, with
g = 1 / (e^w - 1) the first one along w, -g (1 + g).
"""

import math
from typing import Any

import numpy as np

from ...core.rankings import Array
from ..jit import inner, uncounted
from ..scalars.places import distance
from ..scalars.team import join
from .parts import Parts

ITEM, INSIDE = 0, 1  # rows of room: the item of a place, and how many of a tie lie inside it
PULL, BEND, OWN = 0, 1, 2  # what is made: of edges, by the place above each, the slopes and how they move; of items


def along(loss: Any, parts: Parts, towards: Array) -> Array:
    """How the gradient moves (N,): the items do, and the edges."""
    levels, size, which = parts.kernels.along.levels_along, len(towards), (1.0, 1)
    moved = levels(parts.order, parts.alphas, which, towards)[0]
    read = {**{name: parts.read(name) for name in loss.reads}, "towards": towards, "moved": moved}
    given = (loss._replace(loop=_curves), parts.rankings.offsets, read, [(3, size), (2, size)])
    _, (made, _) = parts.kernels.losses.each_ranking(parts.place, *given)
    found: Array = made[OWN] + levels(parts.order, parts.alphas, which, towards, made[PULL], made[BEND])[1]
    return found


@uncounted
def _curves(rankings, offsets, read, losses, made):
    """Slopes of the loss along the edges (N,) by position, how these move, and how the slopes along scores (N,) do."""
    x, y, anchors, steps, spans, places, alphas, descending, towards, moved = read
    team, (out, work) = join(rankings), made
    up = 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        first, length = offsets[r], offsets[r + 1] - offsets[r]
        start, stop = first + spans[r, 0], first + spans[r, 1]
        given = x, anchors, steps, start, stop, alphas[r], up
        for at in range(first, first + length):
            out[PULL, at], out[BEND, at], out[OWN, at] = 0.0, 0.0, 0.0
            work[ITEM, first + places[at]] = at
        place = first
        while place < first + length:
            last = place + 1
            while last < first + length and y[int(work[ITEM, last])] == y[int(work[ITEM, place])]:
                last += 1
            weight = -1.0 / (length * np.float64(last - place))
            _of_tie(given, max(place, start), min(last, stop), place, last, weight, towards, moved, work, out)
            place = last


@inner
def _of_tie(given, first, last, begin, end, weight, towards, moved, work, out):
    """Items begin .. end of equal targets, at the places first .. last of them that finite scores have."""
    x, _, _, start, stop, _, _ = given
    if stop - start < 2:
        return
    items, before = 0.0, 0.0
    for place in range(first, last):
        work[INSIDE, place] = 0.0
    for at in range(begin, end):
        i = int(work[ITEM, at])
        if abs(x[i]) == np.inf:
            continue
        inside, items = _place_of(x[i], given), items + 1.0
        if inside < first:
            before += 1.0
        if first <= inside < last:
            work[INSIDE, inside] += 1.0
            _inside(i, inside, given, weight, towards, moved, out)
    for place in range(first, last):
        after = items - before - work[INSIDE, place]
        _outside(place, given, weight, before, after, moved, out)
        before += work[INSIDE, place]


@inner
def _place_of(score, given):
    """The first place whose lower edge is not above a score, or the last one."""
    _, anchors, steps, start, stop, alpha, up = given
    low, high = start, stop - 1
    while low < high:
        middle = (low + high) // 2
        if distance(score, anchors[middle], steps[middle], alpha, up) >= 0.0:
            high = middle
        else:
            low = middle + 1
    return low


@inner
def _inside(i, place, given, weight, towards, moved, out):
    x, anchors, steps, start, stop, alpha, up = given
    has_above, has_below, a, c = place > start, place < stop - 1, 0.0, 0.0
    rest, to_above, to_below = 0.0, 0.0, 0.0
    if has_above:
        low = distance(x[i], anchors[place - 1], steps[place - 1], alpha, up)
        a, rest, to_above = 0.5 * math.exp(low), -0.5 * math.expm1(low), towards[i] - moved[place - 1]
    if has_below:
        high = distance(x[i], anchors[place], steps[place], alpha, up)
        c, to_below = 0.5 * math.exp(-high), towards[i] - moved[place]
        rest = rest - 0.5 * math.expm1(-high) if has_above else 1.0 - c
    elif has_above:
        rest = 1.0 - a
    s, t = a / rest, c / rest
    of_above = weight * s * (t * to_below - (1.0 + s) * to_above)
    of_below = weight * t * (s * to_above - (1.0 + t) * to_below)
    out[OWN, i] += of_above + of_below
    if has_above:
        out[PULL, place - 1] += weight * s
        out[BEND, place - 1] -= of_above
    if has_below:
        out[PULL, place] -= weight * t
        out[BEND, place] -= of_below


@inner
def _outside(place, given, weight, before, after, moved, out):
    """before, after: how many items lie above the place, and below."""
    _, anchors, steps, start, stop, alpha, up = given
    has_above, has_below = place > start, place < stop - 1
    if has_above:
        out[PULL, place - 1] += weight * before
    if has_below:
        out[PULL, place] -= weight * after
    if has_above and has_below and before + after > 0.0:
        width = distance(anchors[place - 1], anchors[place], steps[place], alpha, up) + up * steps[place - 1] / alpha
        slope, count = 1.0 / math.expm1(width), weight * (before + after)
        bend = -slope * (1.0 + slope) * (moved[place - 1] - moved[place])
        out[PULL, place - 1] += count * slope
        out[PULL, place] -= count * slope
        out[BEND, place - 1] += count * bend
        out[BEND, place] -= count * bend
