"""Soft permutations on a card: boundaries and their gradient, and dense rows, as ..permute."""

import numpy as np

from ...core.rankings import Array
from ..scalars.places import Boundaries, distance, probability, shared_places
from .adapter import cuda, float64, kernel, one_of
from .blocks import block_sums, put_results
from .numbers import per_alpha
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
    values = order.values if isinstance(order.values, np.ndarray) else lane.get(order.values)
    alphas = alphas if isinstance(alphas, np.ndarray) else lane.get(alphas)
    return Boundaries(values, layout.here, np.ascontiguousarray(alphas), order.descending, found, spans)


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
    low, high, alpha = -np.inf, np.inf, one_of(alphas, r)
    if place > first:
        low = distance(x, anchors[start + place - 1], steps[start + place - 1], alpha, up)
    if place < last - 1:
        high = distance(x, anchors[start + place], steps[start + place], alpha, up)
    out[i] = probability(low, high) if first <= place < last else 0.0


def edges(order: Order, alphas: np.ndarray) -> tuple[Array, Array, Array]:
    """Where the positions of every ranking meet, on the card; as ..cpu.permute.edges."""
    at = solve(order, alphas, 1.0)
    return at.anchors, at.steps, at.spans


def edges_gradient(order: Order, alphas: np.ndarray, positions: Array, upstream: Array) -> tuple[Array, np.ndarray]:
    """Gradients for scores (N,) and alpha (m,) on the card; as ..cpu.permute.edges_gradient.

    The boundaries are solved for again: what a lane found is whoever's comes next.
    """
    lane, layout, table = order.lane, order.layout, order.layout.tiles
    y, places = order.sorted()
    at, pull = solve(order, alphas, 1.0), lane.room("v", (layout.size,), np.float64)
    layout.each_tile(table, _pulls, 0, layout.offsets, at.spans, upstream, pull)
    g = pull_back(order, alphas, at, pull)
    out = lane.result("gradient of scores", layout.size, np.float64, order.values)
    moments = lane.room("moments", (1, table.count), np.float64)
    layout.each_tile(table, _gradients, 1, layout.offsets, y, places, positions, upstream, g, out, moments)
    return out, per_alpha(lane, layout.totals(table, "totals", moments), alphas, -1.0, order.values)


@kernel
def _pulls(numbers, ranking, begin, end, offsets, spans, upstream, pull):
    """The gradient along each boundary: of the item whose place it begins, and of that whose place it ends."""
    tile = numbers[cuda.blockIdx.x]
    r = ranking[tile]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        is_boundary = spans[r, 0] <= i - offsets[r] < spans[r, 1] - 1
        pull[i] = upstream[0, i + 1] - upstream[1, i] if is_boundary else 0.0


@kernel
def _gradients(numbers, ranking, begin, end, offsets, y, places, positions, upstream, g, gradient, moments):
    """A score moves its own distances, and by the boundaries those of others."""
    s, tile = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x]
    r = ranking[tile]
    low = offsets[r]
    middle, moment = middle_of(y, low, offsets[r + 1]), 0.0
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        at = low + positions[low + places[i]]
        slope = upstream[1, at] - upstream[0, at] + g[i]
        if abs(y[i]) < np.inf:
            moment += slope * (np.float64(y[i]) - middle)
        gradient[low + places[i]] = slope
    block_sums(s, (moment,))
    put_results(s, 1, moments, tile)
