"""The one recurrence on a card: sums of weights times e^(-distance / alpha) to either side of every sorted score.

The same sums, and the same merge law, as cpu.sweeps: a tile is summarised by its sums seen from its two ends
(`_summarise`), those of a ranking's tiles are scanned (`_meet`), and each tile is swept with what comes from outside
(`_sweep`). Within a tile a thread composes the affine maps of a few scores, the threads scan theirs, and each runs its
own again. Everything else that is sorted is made of this: ranks, gradients, soft sorts, permutations.

All of it is float64, as on the CPU, and for its reason. Three passes for rankings of several tiles, one for others.
Infinite scores weigh nothing and are infinitely far from all.
"""

import math

import numpy as np

from ..scalars.summary import merged
from . import tiles
from .adapter import cuda, device, float64, kernel, one_of
from .blocks import block_sums, put_results, scan_maps


def sums(lane, layout, y, rates, weights=None, name=""):
    """Sums before and behind each of the sorted scores y (N,), two (N,) float64 arrays in rooms of this name.

    rates   (m,) float64 on the card: 1 / alpha
    weights (N,) float64 on the card, 0 where a score is infinite; by default 1
    """
    table = layout.tiles
    weights = lane.room("no weights", (0,), np.float64) if weights is None else weights
    carries = lane.room("carries", (3, table.count), np.float64)
    before, behind = (lane.room(f"{side}{name}", (layout.size,), np.float64) for side in ("before", "behind"))
    if len(table.several):
        layout.each_tile(table, _summarise, 2, layout.offsets, y, rates, weights, carries)
        lane.launch(_meet, len(table.several), tiles.SCAN_THREADS, 2, table.several, table.first, carries)
    for threads, largest, numbers in table.classes:
        rows = 2 + 2 * (-(-largest // threads))  # for the scan, and for two numbers of every score of a tile
        given = (numbers, table.ranking, table.begin, table.end, layout.offsets, y, rates, weights, carries)
        lane.launch(_sweep, len(numbers), threads, rows, *given, before, behind)
    return before, behind


@device
def fade(a, b, rate):
    """e^-distance/alpha between two scores; 0 for infinite ones."""
    distance = abs(np.float64(a) - np.float64(b))
    return math.exp(-distance * rate) if distance < np.inf else 0.0


@device
def weight_of(y, weights, i):
    if weights.size > 0:
        return weights[i]
    return 1.0 if abs(y[i]) < np.inf else 0.0


@kernel
def _summarise(numbers, ranking, begin, end, offsets, y, rates, weights, carries):
    """The sums of a tile seen from its last score, and from the score before its first; and what fades in between."""
    s, t = cuda.shared.array(0, float64), cuda.threadIdx.x
    tile = numbers[cuda.blockIdx.x]
    r, low, high = ranking[tile], begin[tile], end[tile]
    from_last, from_before = 0.0, 0.0
    for i in range(low + t, high, cuda.blockDim.x):
        w = weight_of(y, weights, i)
        from_last += w * fade(y[i], y[high - 1], one_of(rates, r))
        if low > offsets[r]:
            from_before += w * fade(y[i], y[low - 1], one_of(rates, r))
    block_sums(s, (from_last, from_before))
    put_results(s, 2, carries, tile)
    if t == 0:
        carries[2, tile] = fade(y[low - 1], y[high - 1], one_of(rates, r)) if low > offsets[r] else 0.0


@kernel
def _meet(several, first, carries):
    """Turn the sums of every tile alone into those of all tiles before it, seen from the last score of the tile before,
    and of all behind it, seen from its own last score. A block for each ranking.
    """
    s, t, threads = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x
    r = several[cuda.blockIdx.x]
    start, stop = first[r], first[r + 1]
    each = (stop - start + threads - 1) // threads
    mine, last = min(start + t * each, stop), min(start + (t + 1) * each, stop)
    factor, term = 1.0, 0.0
    for p in range(mine, last):
        factor, term = factor * carries[2, p], merged(carries[0, p], term, carries[2, p])
    _, carry = scan_maps(s, t, factor, term)
    for p in range(mine, last):
        own, carries[0, p] = carries[0, p], carry
        carry = merged(own, carry, carries[2, p])
    factor, term = 1.0, 0.0
    for j in range(last - mine):
        p = last - 1 - j
        factor, term = factor * carries[2, p], merged(carries[1, p], term, carries[2, p])
    _, carry = scan_maps(s, threads - 1 - t, factor, term)
    for j in range(last - mine):
        p = last - 1 - j
        own, carries[1, p] = carries[1, p], carry
        carry = merged(own, carry, carries[2, p])


@kernel
def _sweep(numbers, ranking, begin, end, offsets, y, rates, weights, carries, before, behind):
    """The sums before and behind each score of a tile."""
    s, t, threads = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x
    tile = numbers[cuda.blockIdx.x]
    r, low, high = ranking[tile], begin[tile], end[tile]
    size, is_alone = high - low, low == offsets[r] and high == offsets[r + 1]
    factors, results = 2 * threads, 2 * threads + size  # rows of s for the tile
    for i in range(t, size, threads):
        at = low + i
        s[factors + i] = fade(y[at - 1], y[at], one_of(rates, r)) if at > offsets[r] else 0.0
    cuda.syncthreads()
    each = (size + threads - 1) // threads | 1  # odd, so that no two threads meet in a bank of shared memory
    mine, last = min(t * each, size), min((t + 1) * each, size)
    factor, term, back_term = 1.0, 0.0, 0.0
    for i in range(mine, last):
        factor, term = factor * s[factors + i], merged(weight_of(y, weights, low + i), term, s[factors + i])
    for j in range(last - mine):
        i = last - 1 - j
        back_term = (back_term + weight_of(y, weights, low + i)) * s[factors + i]
    outer_factor, outer = scan_maps(s, t, factor, term)
    carry = outer if is_alone else merged(outer, carries[0, tile], outer_factor)
    outer_factor, outer = scan_maps(s, threads - 1 - t, factor, back_term)
    ahead = outer if is_alone else merged(outer, carries[1, tile], outer_factor)
    for i in range(mine, last):
        s[results + i] = carry * s[factors + i]
        carry = s[results + i] + weight_of(y, weights, low + i)
    for j in range(last - mine):
        i = last - 1 - j
        here, ahead = ahead, (ahead + weight_of(y, weights, low + i)) * s[factors + i]
        s[factors + i] = here
    cuda.syncthreads()
    for i in range(t, size, threads):
        before[low + i], behind[low + i] = s[results + i], s[factors + i]
