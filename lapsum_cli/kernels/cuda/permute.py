"""Soft permutations on a card: boundaries, dense rows, and the cross-entropy against an order, as ..permute."""

import math

import numpy as np

from ...core.rankings import Rankings
from ..losses.permutation import surprise
from ..scalars.places import Boundaries, distance, probability, shared_places
from .adapter import Lane, cuda, float64, kernel
from .blocks import block_sums, put_results
from .order import Order
from .rank import middle_of
from .sort import pull_back, solve


def boundaries(order: Order, alphas) -> Boundaries:
    """What ..cpu.permute.boundaries returns, in memory here: its rows are made of them by the same functions."""
    lane, layout = order.lane, order.layout
    at = solve(order, alphas, 1.0)
    found, spans = np.empty((2, layout.size)), lane.get(at.spans)
    lane.get(at.anchors, found[0])
    lane.get(at.steps, found[1])
    # From the place of the first finite score to that of the ranking, where the functions of the CPU look for them.
    for r in np.flatnonzero(spans[:, 0] > 0):
        whole = slice(layout.here[r], layout.here[r + 1])
        found[:, whole] = np.roll(found[:, whole], -spans[r, 0], axis=1)
    values = order.values if isinstance(order.values, np.ndarray) else lane.get(order.values)
    return Boundaries(values, layout.here, alphas, order.descending, found, spans)


def dense(order: Order, alphas):
    """The matrices (m, n, n) of rankings of one length, on the card."""
    lane, layout = order.lane, order.layout
    n = int(layout.lengths[0]) if layout.count else 0
    at, values = solve(order, alphas, 1.0), lane.put(order.values, order.name)
    out = lane.empty(layout.size * n, order.dtype)
    given = (
        values,
        at.anchors,
        at.steps,
        at.spans,
        lane.put(alphas, "alphas"),
        1.0 if order.descending else -1.0,
        n,
        out,
    )
    lane.launch(_dense, -(-layout.size * n // 256), 256, 0, *given)
    return out.reshape((layout.count, n, n))


@kernel
def _dense(values, anchors, steps, spans, alphas, up, n, out):
    i = cuda.grid(1)
    if i >= out.size:
        return
    item, place, r = i // n, i % n, i // (n * n)
    x, start, first, last = values[item], r * n, spans[r, 0], spans[r, 1]
    from_place, to_place = shared_places(x, up, first, last, n)
    if to_place > 0:  # an infinite score
        out[i] = 1.0 / (to_place - from_place) if from_place <= place < to_place else 0.0
        return
    low, high = -np.inf, np.inf
    if place > first:
        low = distance(x, anchors[start + place - 1], steps[start + place - 1], alphas[r], up)
    if place < last - 1:
        high = distance(x, anchors[start + place], steps[start + place], alphas[r], up)
    out[i] = probability(low, high) if first <= place < last else 0.0


def permutation(lane: Lane, values, offsets, targets, alphas, gradient=True, descending=True):
    """A loss (m,) in memory here, and if wanted the gradients for scores (N,) on the card and alpha (m,)."""
    place = Order(lane, Rankings(targets, offsets), name="target").positions()
    order = Order(lane, Rankings(values, offsets), descending)
    layout, table = order.layout, order.layout.tiles
    y, places = order.sorted()
    at, weights = solve(order, alphas, 1.0), lane.put(alphas, "alphas")
    own, lows, highs = (lane.zeros(name, (layout.size,), np.float64) for name in ("own", "lows", "highs"))
    surprises = lane.room("surprises", (1, table.count), np.float64)
    given = (layout.offsets, y, places, place, at.spans, at.anchors, at.steps, weights, descending)
    layout.each_tile(table, _surprises, 1, *given, own, lows, highs, surprises)
    losses = lane.get(layout.totals(table, "totals", surprises))[0] / np.maximum(layout.lengths, 1)
    if not gradient:
        return losses, None, None
    pull = lane.room("v", (layout.size,), np.float64)
    layout.each_tile(table, _pulls, 0, layout.offsets, at.spans, lows, highs, pull)
    g = pull_back(order, alphas, at, pull)
    out = lane.result("gradient of scores", layout.size, np.float64, values)
    moments = lane.room("moments", (1, table.count), np.float64)
    layout.each_tile(table, _gradients, 1, layout.offsets, y, places, own, g, out, moments)
    return losses, out, -lane.get(layout.totals(table, "totals", moments))[0] / alphas


@kernel
def _surprises(
    numbers,
    ranking,
    begin,
    end,
    offsets,
    y,
    places,
    place,
    spans,
    anchors,
    steps,
    alphas,
    descending,
    own,
    lows,
    highs,
    surprises,
):
    """-log P of every sorted score at its place, summed for each tile; and its slopes along the boundaries there."""
    s, tile = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x]
    r = ranking[tile]
    low = offsets[r]
    start, stop, length = spans[r, 0], spans[r, 1], offsets[r + 1] - low
    n, total = stop - start, 0.0
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        here = place[low + places[i]]
        if not start <= i - low < stop:
            from_place, to_place = (0, start) if i - low < start else (stop, length)
            total += math.log(float(to_place - from_place)) if from_place <= here < to_place else np.inf
        elif not start <= here < stop:
            total += np.inf
        elif n > 1:
            above, below = low + max(here - 1, start), low + min(here, stop - 2)
            edges = (anchors[above], steps[above], anchors[below], steps[below])
            log_p, at_low, at_high = surprise(np.float64(y[i]), edges, here - start, n, alphas[r], descending)
            total -= log_p
            own[i] = (at_low - at_high) / length
            lows[low + here], highs[low + here] = -at_low / length, -at_high / length
    block_sums(s, (total,))
    put_results(s, 1, surprises, tile)


@kernel
def _pulls(numbers, ranking, begin, end, offsets, spans, lows, highs, pull):
    """The gradient along each boundary: of the score whose place it ends, and of that whose place it begins."""
    tile = numbers[cuda.blockIdx.x]
    r = ranking[tile]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        is_boundary = spans[r, 0] <= i - offsets[r] < spans[r, 1] - 1
        pull[i] = lows[i + 1] - highs[i] if is_boundary else 0.0


@kernel
def _gradients(numbers, ranking, begin, end, offsets, y, places, own, g, gradient, moments):
    s, tile = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x]
    r = ranking[tile]
    low = offsets[r]
    middle, moment = middle_of(y, low, offsets[r + 1]), 0.0
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        slope = own[i] + g[i]
        if abs(y[i]) < np.inf:
            moment += slope * (np.float64(y[i]) - middle)
        gradient[low + places[i]] = slope
    block_sums(s, (moment,))
    put_results(s, 1, moments, tile)
