"""The spread of every ranking on a card. The standard deviation takes three passes, for the ends, the mean, the
squares; the others take the sorted scores.
"""

import math

import numpy as np

from ..scalars.spread import OF_NORMAL, spread_of_sorted
from .adapter import Lane, cuda, device, float64, kernel
from .blocks import block_maxima, block_sums, put_results
from .order import Order
from .tiles import OnTiles

TINY = float(np.finfo(np.float64).tiny)
LEAST = 1e-300  # distances below it are taken in units of it


def spreads(lane: Lane, rankings, unit: str):
    """The spread of each ranking (m,) in float64, on the card; as ..cpu.deviations."""
    found = standard_deviations(lane, rankings)
    if unit != "std" and found.size:
        order = Order(lane, rankings, descending=False)
        scores, _ = order.sorted()
        given = (scores, order.layout.offsets, unit == "mad", OF_NORMAL[unit], found)
        lane.launch(_spreads, -(-found.size // 128), 128, 0, *given)
    return found


def standard_deviations(lane: Lane, rankings):
    """Population standard deviation (ddof 0) of the finite scores of each ranking: (m,) float64, on the card.

    As of halves, since a difference of two scores may overflow; from the smallest, scaled by the largest.
    """
    layout = OnTiles.of(lane, rankings.offsets)
    x, table = lane.put(rankings.values, "scores"), layout.large_tiles
    ends, sums, squares = (
        lane.room(name, (rows, table.count), np.float64) for name, rows in (("ends", 2), ("sums", 2), ("squares", 1))
    )
    layout.each_tile(table, _ends, 2, x, ends)
    ends = layout.totals(table, "ends of all", ends, largest=True)
    layout.each_tile(table, _sums, 2, x, ends, sums)
    sums = layout.totals(table, "sums of all", sums)
    layout.each_tile(table, _squares, 1, x, ends, sums, squares)
    squares, out = layout.totals(table, "squares of all", squares), lane.room("deviations", (layout.count,), np.float64)
    lane.launch(_deviations, -(-layout.count // 128), 128, 0, ends, sums, squares, out)
    return out


def in_units(lane: Lane, spreads, value: float, of_constant: float | None):
    """Alphas (m,) that are so many spreads, and which rankings are constant, on the card; as ..cpu.deviations."""
    alphas, constant = lane.empty(spreads.shape, np.float64), lane.empty(spreads.shape, np.bool_)
    rest = 1.0 if of_constant is None else of_constant
    lane.launch(_in_units, -(-spreads.size // 128), 128, 0, spreads, value, rest, alphas, constant)
    return lane.get(alphas) if lane.knows_alphas else alphas, constant if of_constant is None else None


@kernel
def _deviations(ends, sums, squares, out):
    r = cuda.grid(1)
    if r < out.size:
        farthest = ends[0, r] + ends[1, r]
        out[r] = 2.0 * math.sqrt(squares[0, r] / sums[1, r]) / _scale(ends, r) if farthest > 0.0 else 0.0


@kernel
def _spreads(scores, offsets, is_mad, of_normal, found):
    r = cuda.grid(1)
    if r < found.size:
        spread = spread_of_sorted(scores, offsets[r], offsets[r + 1], is_mad)
        found[r] = spread if spread > 0.0 else of_normal * found[r]


@kernel
def _in_units(spreads, value, of_constant, alphas, constant):
    r = cuda.grid(1)
    if r < alphas.size:
        constant[r] = spreads[r] == 0.0
        alphas[r] = of_constant if constant[r] else max(value * spreads[r], TINY)


@kernel
def _ends(numbers, ranking, begin, end, x, ends):
    """The smallest and the largest of the halves of a tile's finite scores; the smallest with its sign changed."""
    s, tile = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x]
    low, high = np.inf, -np.inf
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        half = 0.5 * np.float64(x[i])
        if abs(half) < np.inf:
            low, high = min(low, half), max(high, half)
    block_maxima(s, (-low, high))
    put_results(s, 2, ends, tile)


@kernel
def _sums(numbers, ranking, begin, end, x, ends, sums):
    """The sum of the distances from the smallest, in units of the largest, and how many there are."""
    s, tile = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x]
    low, scale = -ends[0, ranking[tile]], _scale(ends, ranking[tile])
    total, count = 0.0, 0
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        distance = 0.5 * np.float64(x[i]) - low
        if abs(distance) < np.inf:
            total += distance * scale
            count += 1
    block_sums(s, (total, np.float64(count)))
    put_results(s, 2, sums, tile)


@kernel
def _squares(numbers, ranking, begin, end, x, ends, sums, squares):
    """The sum of the squared deviations from the mean, in the same units."""
    s, tile = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x]
    r = ranking[tile]
    low, scale, mean, total = -ends[0, r], _scale(ends, r), sums[0, r] / max(sums[1, r], 1.0), 0.0
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        distance = 0.5 * np.float64(x[i]) - low
        if abs(distance) < np.inf:
            total += (distance * scale - mean) ** 2
    block_sums(s, (total,))
    put_results(s, 1, squares, tile)


@device
def _scale(ends, r):
    farthest = ends[1, r] + ends[0, r]
    return 1.0 / farthest if farthest > LEAST else 1.0 / LEAST
