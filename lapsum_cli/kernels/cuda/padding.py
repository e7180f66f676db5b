"""Padding of scores that are on a card: what operations/padding.py does with NumPy."""

import numpy as np

from .adapter import Lane, cuda, float64, kernel
from .blocks import block_sums, put_results
from .tiles import OnTiles
from .topk import cast


def count(lane: Lane, rankings, infinity: float):
    """(m,) float64, on the card: how many scores of each ranking are this infinity."""
    layout, values = OnTiles.of(lane, rankings.offsets), rankings.values
    table = layout.large_tiles
    partials = lane.room("padding", (1, table.count), np.float64)
    layout.each_tile(table, _count, 1, values, values.dtype.type(infinity), partials)
    return cast(lane, layout.totals(table, "padding of all", partials)[0], np.float64)


def last(lane: Lane, values):
    """The scores (N,) on the card, with +inf for -inf."""
    out = lane.empty(values.shape[0], values.dtype)
    lane.launch(_last, -(-out.shape[0] // 256), 256, 0, values, values.dtype.type(np.inf), out)
    return out


def put_back(lane: Lane, values, offsets, counts) -> None:
    """Set so many of the last values (N,) of each ranking to -inf, in place."""
    layout = OnTiles.of(lane, offsets)
    layout.each_tile(layout.tiles, _put_back, 0, layout.offsets, lane.put(counts), values.dtype.type(-np.inf), values)


@kernel
def _count(numbers, ranking, begin, end, x, infinity, partials):
    s, tile, found = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x], 0.0
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        found += 1.0 if x[i] == infinity else 0.0
    block_sums(s, (found,))
    put_results(s, 1, partials, tile)


@kernel
def _last(x, infinity, out):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = infinity if x[i] == -infinity else x[i]


@kernel
def _put_back(numbers, ranking, begin, end, offsets, counts, infinity, values):
    tile = numbers[cuda.blockIdx.x]
    stop = offsets[ranking[tile] + 1] - np.int64(counts[ranking[tile]])
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        if i >= stop:
            values[i] = infinity
