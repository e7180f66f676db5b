"""Soft ranks and their gradients on a card: cpu.rank from the sums of sweeps.py, one score a thread.

On scores sorted best first, the i-th (from 0) has rank base + i - A_i / 2 + B_i / 2; ties have that of the first among
them, infinite scores the mean of their places.
"""

import numpy as np

from ..scalars.summary import soft_count
from .adapter import cuda, device, float64, kernel, one_of
from .blocks import block_sums, put_results
from .numbers import per_alpha, rates_up_to
from .order import Order
from .sweeps import sums


def soft_rank(order: Order, alphas, base=1, dtype=None, upstream=None, results=True):
    """Ranks (N,) on the card, and where `upstream` is given the gradients for scores (N,) and alpha (m,), else None.

    As cpu.rank.soft_rank; alphas (m,) are here or on the card, upstream (N,) is wherever the scores are.
    """
    lane, layout = order.lane, order.layout
    y, places = order.sorted()
    rates = rates_up_to(lane, alphas, np.finfo(np.float64).max)
    before, behind = sums(lane, layout, y, rates)
    table, ranks = layout.tiles, None
    if results:
        ranks = lane.result(f"ranks of {order.name}", layout.size, dtype or order.dtype, order.values)
        layout.each_tile(table, _ranks, 0, layout.offsets, y, places, before, behind, float(base), ranks)
    if upstream is None:
        return ranks, None, None
    v = lane.room("v", (layout.size,), np.float64)
    gradient = lane.result(f"gradient of {order.name}", layout.size, upstream.dtype, order.values)
    layout.each_tile(table, _pick, 0, layout.offsets, y, places, lane.put(upstream, "upstream"), v)
    before_v, behind_v = sums(lane, layout, y, rates, v, " v")
    moments = lane.room("moments", (1, table.count), np.float64)
    given = (y, places, rates, order.descending, v, before, behind, before_v, behind_v, gradient, moments)
    layout.each_tile(table, _gradients, 1, layout.offsets, *given)
    totals = layout.totals(table, "totals", moments)
    return ranks, gradient, per_alpha(lane, totals, alphas, -1.0, order.values)


@device
def tie(y, low, high, at):
    """First and last + 1 of the sorted scores low .. high that equal the one at `at`."""
    first, last = low, at
    while first < last:
        middle = (first + last) // 2
        if y[middle] == y[at]:
            last = middle
        else:
            first = middle + 1
    start, stop = at + 1, high
    while start < stop:
        middle = (start + stop) // 2
        if y[middle] == y[at]:
            start = middle + 1
        else:
            stop = middle
    return first, start


@kernel
def _ranks(numbers, ranking, begin, end, offsets, y, places, before, behind, base, ranks):
    """Ranks, where the scores came from: of a tie that of its first, of infinite scores the mean of their places."""
    tile = numbers[cuda.blockIdx.x]
    r = ranking[tile]
    low, high = offsets[r], offsets[r + 1]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        at = i
        if abs(y[i]) == np.inf:
            first, last = tie(y, low, high, i)
            rank = base + 0.5 * (first - low + last - low - 1)
        else:
            if i > low and y[i - 1] == y[i]:
                at, _ = tie(y, low, i, i)
            rank = soft_count(base + (at - low), before[at], behind[at])
        ranks[low + places[i]] = rank


@kernel
def _pick(numbers, ranking, begin, end, offsets, y, places, upstream, v):
    """The upstream gradient in the order of the scores; nothing for infinite ones."""
    tile = numbers[cuda.blockIdx.x]
    low = offsets[ranking[tile]]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        v[i] = upstream[low + places[i]] if abs(y[i]) < np.inf else 0.0


@device
def middle_of(y, low, high):
    """A finite score about which moments are taken: no offset of the scores costs a digit."""
    middle = np.float64(y[(low + high) // 2])
    return middle if abs(middle) < np.inf else 0.0


@kernel
def _gradients(
    numbers,
    ranking,
    begin,
    end,
    offsets,
    y,
    places,
    rates,
    descending,
    v,
    before,
    behind,
    before_v,
    behind_v,
    gradient,
    moments,
):
    """The gradient for scores, where they came from; and of each tile sum gradient_i x_i, from a score in the middle.

    before, behind and before_v, behind_v: sums of weight 1 and of weight v.
    """
    s, tile = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x]
    r = ranking[tile]
    low = offsets[r]
    half, middle = (0.5 if descending else -0.5) * one_of(rates, r), middle_of(y, low, offsets[r + 1])
    moment = 0.0
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        g = 0.0
        if abs(y[i]) < np.inf:
            g = half * (before_v[i] + behind_v[i] - v[i] * (before[i] + behind[i]))
            moment += g * (np.float64(y[i]) - middle)
        gradient[low + places[i]] = g
    block_sums(s, (moment,))
    put_results(s, 1, moments, tile)
