"""The one recurrence on a card: sums of weights times e^(-distance / alpha) to either side of every sorted score.

The same sums, and the same merge law, as cpu.sweeps: a tile is summarised by its sums seen from its two ends
(`_summarise`), those of a ranking's tiles are scanned (`_meet`), and each tile is swept with what comes from outside
(`_sweep`). Within a tile a thread composes the affine maps of a few scores, the threads scan theirs, and each runs its
own again. Everything else that is sorted is made of this: ranks, gradients, soft sorts, permutations.

All of it is float64, as on the CPU, and for its reason. Three passes for rankings of several tiles, one for others.
Infinite scores are infinitely far from all, and from each other: whatever they weigh, it reaches no finite one.
"""

import math

import numpy as np

from ..scalars.keys import bit_order
from ..scalars.summary import merged, step
from . import tiles
from .adapter import cuda, device, float64, kernel, one_of
from .blocks import block_sums, put_results, scan_both_ways, uint32
from .order import value_of
from .walks import score_of


def sums(lane, layout, y, rates, weights=None, name="", parts=False):
    """Sums before and behind each of the sorted scores y (N,), two (N,) float64 arrays in rooms of this name.

    rates   (m,) float64 on the card: 1 / alpha
    weights (N,) float64 on the card, by default 1
    parts   of the rankings of several tiles alone
    """
    table = layout.tiles
    weights = no_weights(lane) if weights is None else weights
    outer = carries(lane, layout, y, AS_THEY_ARE, rates, weights)
    before, behind = (lane.room(f"{side}{name}", (layout.size,), np.float64) for side in ("before", "behind"))
    for threads, largest, numbers in [(tiles.THREADS, tiles.TILE, layout.swept.parts)] if parts else table.classes:
        rows = tiles.ROWS_OF_TILE + 3 * -(-largest // threads)
        given = (numbers, table.ranking, table.begin, table.end, layout.offsets, y, rates, weights, outer)
        lane.launch(_sweep, len(numbers), threads, rows, *given, before, behind)
    return before, behind


AS_THEY_ARE = bit_order(np.dtype(np.uint32), False)  # of scores that are no keys


def no_weights(lane):
    """Weights of 1."""
    return lane.room("no weights", (0,), np.float64)


def carries(lane, layout, y, order, rates, weights, name="carries"):
    """What reaches every tile of rankings of several from their others, in a room of this name; y: scores or keys."""
    table = layout.tiles
    out = lane.room(name, (3, table.count), np.float64)
    layout.each_part(_summarise, 2, layout.offsets, y, order, rates, weights, out)
    lane.launch(_meet, len(table.several), table.scan_threads, 4, table.several, table.first, out)
    return out


@device
def fade(a, b, rate):
    """e^-distance/alpha between two scores; 0 for infinite ones."""
    distance = abs(np.float64(a) - np.float64(b))
    return math.exp(-distance * rate) if distance < np.inf else 0.0


@device
def put_factors(s, factors, y, order, start, low, high, rate):
    """What is left between each score low .. high of a ranking and the one before, a slot each; for all threads."""
    lead = uint32(low > start)  # whether there is a score before the tile, which is the first of its own then
    own, i, size, threads = y[low - lead : high], uint32(cuda.threadIdx.x), uint32(high - low), uint32(cuda.blockDim.x)
    while i < size:
        at = uint32(i + lead)
        before = uint32(at - uint32(at > uint32(0)))
        factor = fade(value_of(own[before], order), value_of(own[at], order), rate)
        s[uint32(factors + i)] = factor if at > uint32(0) else 0.0
        i = uint32(i + threads)
    cuda.syncthreads()


@device
def put_walk_factors(s, factors, owners, count, y, order):
    """The same of short rankings, with the rate of each as its thread's own number; -1 where nobody owns a slot."""
    t, threads = cuda.threadIdx.x, cuda.blockDim.x
    for slot in range(t, count, threads):
        owner, factor = int(s[owners + slot]), -1.0
        if owner >= 0:
            i, start, _ = score_of(s, owner, slot)
            rate = s[3 * threads + owner]
            factor = fade(value_of(y[i - 1], order), value_of(y[i], order), rate) if i > start else 0.0
        s[factors + slot] = factor
    cuda.syncthreads()


@device
def run_of(size):
    """Which slots first .. last of so many a thread goes through: an odd number, so that no two threads meet in a bank
    of shared memory.
    """
    t, threads, size = uint32(cuda.threadIdx.x), uint32(cuda.blockDim.x), uint32(size)
    each = uint32(uint32(uint32(size + threads - uint32(1)) // threads) | uint32(1))
    return uint32(min(uint32(t * each), size)), uint32(min(uint32(t * each + each), size))


@device
def weight_at(s, weights, i):
    """1 where weights is None: no number of the scores is read."""
    if weights is None:
        return 1.0
    return s[uint32(weights + i)]


@device
def reach_within(s, factors, weights, first, last):
    """What is left between, and the sum of a tile up to and with the score before a thread's run; the same behind."""
    factor, term, back_term, i = 1.0, 0.0, 0.0, first
    while i < last:
        f = s[uint32(factors + i)]
        factor, term = factor * f, merged(weight_at(s, weights, i), term, f)
        i = uint32(i + uint32(1))
    while i > first:
        i = uint32(i - uint32(1))
        back_term = step(back_term, weight_at(s, weights, i), s[uint32(factors + i)])
    return scan_both_ways(s, factor, term, back_term)


@device
def reach(s, factors, weights, first, last, carries, tile, is_alone):
    """The sums that a thread's run of a tile starts with: up to and with the score before it, and behind its last."""
    before_factor, before, behind_factor, behind = reach_within(s, factors, weights, first, last)
    if is_alone:
        return before, behind
    return merged(before, carries[0, tile], before_factor), merged(behind, carries[1, tile], behind_factor)


@device
def put_sums(s, factors, weights, before, first, last, carry, ahead):
    """The sums before and, in place of factors, those behind each score of a thread's run."""
    i = uint32(first)
    while i < last:
        f = s[uint32(factors + i)]
        s[uint32(before + i)] = carry * f
        carry = merged(weight_at(s, weights, i), carry, f)
        i = uint32(i + uint32(1))
    while i > first:
        i = uint32(i - uint32(1))
        here, ahead = ahead, step(ahead, weight_at(s, weights, i), s[uint32(factors + i)])
        s[uint32(factors + i)] = here


@kernel
def _summarise(numbers, ranking, begin, end, offsets, y, order, rates, weights, carries):
    """The sums of a tile seen from its last score, and from the score before its first; and what fades in between."""
    s, t = cuda.shared.array(0, float64), cuda.threadIdx.x
    tile = numbers[cuda.blockIdx.x]
    r, low, high = ranking[tile], begin[tile], end[tile]
    is_first, rate = low == offsets[r], one_of(rates, r)
    final, ahead = value_of(y[high - 1], order), value_of(y[low if is_first else low - 1], order)
    from_last, from_before = 0.0, 0.0
    for i in range(low + t, high, cuda.blockDim.x):
        value, w = value_of(y[i], order), weights[i] if weights.size > 0 else 1.0
        from_last += w * fade(value, final, rate)
        if not is_first:
            from_before += w * fade(value, ahead, rate)
    block_sums(s, (from_last, from_before))
    put_results(s, 2, carries, tile)
    if t == 0:
        carries[2, tile] = 0.0 if is_first else fade(ahead, final, rate)


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
    factor, term, back_term = 1.0, 0.0, 0.0
    for p in range(mine, last):
        factor, term = factor * carries[2, p], merged(carries[0, p], term, carries[2, p])
    for j in range(last - mine):
        p = last - 1 - j
        back_term = merged(carries[1, p], back_term, carries[2, p])
    _, carry, _, ahead = scan_both_ways(s, factor, term, back_term)
    for p in range(mine, last):
        own, carries[0, p] = carries[0, p], carry
        carry = merged(own, carry, carries[2, p])
    for j in range(last - mine):
        p = last - 1 - j
        own, carries[1, p] = carries[1, p], ahead
        ahead = merged(own, ahead, carries[2, p])


@kernel
def _sweep(numbers, ranking, begin, end, offsets, y, rates, weights, carries, before, behind):
    """The sums before and behind each score of a tile."""
    s, t, threads = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x
    tile = numbers[cuda.blockIdx.x]
    r, low, high = ranking[tile], begin[tile], end[tile]
    size, is_alone = high - low, low == offsets[r] and high == offsets[r + 1]
    factors = tiles.ROWS_OF_TILE * threads
    own, results = factors + size, factors + 2 * size
    for i in range(t, size, threads):
        s[own + i] = weights[low + i] if weights.size > 0 else 1.0
    put_factors(s, factors, y, AS_THEY_ARE, offsets[r], low, high, one_of(rates, r))
    first, last = run_of(size)
    carry, ahead = reach(s, factors, own, first, last, carries, tile, is_alone)
    put_sums(s, factors, own, results, first, last, carry, ahead)
    cuda.syncthreads()
    for i in range(t, size, threads):
        before[low + i], behind[low + i] = s[results + i], s[factors + i]
