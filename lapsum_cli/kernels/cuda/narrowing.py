"""Long rankings narrowed down to the few scores about the threshold of their top-k, by many blocks, without a sort.

A few percent are left at a time: one block names a bracket from a sorted sample, many blocks sum what lies outside and
keep what lies inside, each thread its own, and then pack it. The next bracket is made of what is left, until one block
can finish (threshold.py). Whether a bracket holds the threshold is known exactly from the sums; one that does not is
left aside, and costs a pass. Nothing is read back in between.

State of a ranking: low, high, over, above, below: as cpu.threshold.collapse; the soft counts at low and at high; the
number of scores strictly between; and how often these were packed. Counts include infinite scores.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..scalars.summary import faded, merged, sample_deviation, soft_count
from . import tiles as tiling
from .adapter import cuda, device, float64, kernel, one_of
from .blocks import block_maxima, block_sums, put_results, scan_both_ways, uint32
from .sorted_by_team import OWN, PADDED, next_of, padded, part_of
from .teams import block_for
from .threshold import (
    AT_ONCE,
    KEPT,
    UNKNOWN,
    find_cut,
    find_whole_cut,
    near,
    on_a_line,
    put_found,
    read,
    sample_quantile,
)

SAMPLE, SAMPLE_THREADS = 4096, 512  # 44 KB of shared memory, of the 48 that a block may have
DEVIATIONS = 4.0  # of the sample's soft count, on either side: a bracket fails once in some 10^4
NARROWED = 15  # times, at least: a bracket holds 0.063 of the scores where the threshold is in the middle of hard ones
ENOUGH = 1 << 16  # scores that one block finishes with
PASS_THREADS, FINISH_THREADS = 256, 256
LOW, HIGH, OVER, ABOVE, BELOW, AT_LOW, AT_HIGH, SIZE, LEVEL = range(9)
STATE = 9
# Over, above, below, and how many inside, which one pass finds; and the sums of these from low and from high, which are
# made where they are packed.
OUTSIDE, PARTIALS = 4, 6


class Narrowing:
    """Long rankings of a batch, and the room for narrowing down where their thresholds are.

    Each level keeps what it is left with in a stretch of `dense` of its own: level l of ranking r from starts[l, r].
    """

    def __init__(self, lane, layout, dtype):
        self.lane, self.layout, self.table = lane, layout, layout.tiles_of_long
        self.plan, table = layout.kept(_plan), self.table
        self.dense = lane.room("dense", (self.plan.size,), dtype)
        self.slots = lane.room("slots", (layout.size,), dtype)
        self.held = lane.room("held", (table.count, PASS_THREADS), np.int32)
        self.partials = lane.room("partials", (PARTIALS, table.count), np.float64)
        self.state = lane.room("state", (layout.count, STATE), np.float64)
        self.pivots = lane.room("pivots", (layout.count, 2), np.float64)

    def run(self, x, sign, ks, alphas, rates, kept) -> None:
        """Find the cut of every one of them; ks and alphas (m,) float64 and rates (m,) are on the card."""
        lane, layout, table, plan = self.lane, self.layout, self.table, self.plan
        source = (layout.offsets, plan.starts, plan.rooms, x, self.dense, self.state)
        found = (table.first, self.partials, self.pivots)
        for level, (numbers, tiles) in enumerate(plan.of_level, 1):
            rows = 2 + PADDED
            lane.launch(_bracket, len(numbers), SAMPLE_THREADS, rows, numbers, level, *source, *found, sign, ks, alphas)
            given = (tiles, table.ranking, table.first, *source, self.pivots, sign, rates)
            lane.launch(_collapse, len(tiles), PASS_THREADS, OUTSIDE, *given, self.slots, self.held, self.partials)
            given = (tiles, table.ranking, table.first, level, *source, self.pivots, sign, rates)
            given = (*given, self.slots, self.held, self.partials)
            lane.launch(_pack, len(tiles), PASS_THREADS, 4, *given)
        given = (plan.chosen, plan.levels, *source, *found, sign, ks, alphas, rates, kept)
        lane.launch(_finish, len(plan.chosen), FINISH_THREADS, PARTIALS, *given)


class Plan(NamedTuple):
    """What narrowing down takes, by the offsets alone; arrays on the card."""

    chosen: Any  # (c,) int64: the long rankings
    levels: Any  # (c,) int64: how often each is narrowed down
    starts: Any  # (1 + most levels, m) int64: the stretch of each level and ranking in `dense`
    rooms: Any  # and how many scores it has room for
    size: int  # of `dense`
    of_level: list  # for each level from 1 on the rankings that have it, and their tiles


def _plan(layout) -> Plan:
    chosen = np.flatnonzero(layout.lengths > tiling.LONG)
    length, of = layout.lengths[chosen], layout.tiles_of_long.of
    levels = np.array([_levels(int(n)) for n in length])
    rooms = np.zeros((levels.max() + 1, layout.count), np.int64)
    for level in range(1, len(rooms)):
        # A bracket that holds more than a quarter is left aside.
        rooms[level, chosen] = np.minimum(np.maximum(length >> 2 * level, ENOUGH), length)
    starts = np.cumsum(rooms.reshape(-1)) - rooms.reshape(-1)
    of_level = []
    for level in range(1, len(rooms)):
        has_level = chosen[levels >= level]
        of_level.append((layout.put(has_level), layout.put(np.flatnonzero(np.isin(of, has_level)))))
    tables = (layout.put(table) for table in (chosen, levels, starts.reshape(rooms.shape), rooms))
    return Plan(*tables, int(rooms.sum()), of_level)


def _levels(length: int) -> int:
    """How often a ranking of this length is narrowed down."""
    count = 1
    while length > ENOUGH * NARROWED:
        length, count = length // NARROWED, count + 1
    return count


@device
def _settle(s, r, level, first, partials, pivots, rooms, state, k, alpha):
    """Add up what the blocks of the level before found, and take its bracket for the ranking's if the threshold is in
    it. All threads of the block see the new state.
    """
    t, threads = cuda.threadIdx.x, cuda.blockDim.x
    over, above, below, inside, from_low, from_high = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    busy = busy_tiles(first, r, np.int64(state[r, SIZE]))
    for tile in range(first[r] + t, first[r] + busy, threads):
        over += partials[0, tile]
        above += partials[1, tile]
        below += partials[2, tile]
        inside += partials[3, tile]
        from_low += partials[4, tile]
        from_high += partials[5, tile]
    block_sums(s, (over, above, below, inside, from_low, from_high))
    if t == 0:
        low, high, mine = pivots[r, 0], pivots[r, 1], state[r]
        over, inside = s[0] + mine[OVER], s[3 * threads]
        above = s[threads] + faded(mine[ABOVE], mine[HIGH] - high, alpha)
        below = s[2 * threads] + faded(mine[BELOW], low - mine[LOW], alpha)
        fade = math.exp(-(high - low) / alpha)
        at_low = soft_count(over + inside, above * fade, below - s[4 * threads])
        at_high = soft_count(over, above, merged(s[5 * threads], below, fade))
        if at_high < k <= at_low and inside <= rooms[level, r]:
            mine[LOW], mine[HIGH], mine[OVER], mine[ABOVE], mine[BELOW] = low, high, over, above, below
            mine[AT_LOW], mine[AT_HIGH], mine[SIZE], mine[LEVEL] = at_low, at_high, inside, level
    cuda.syncthreads()


@kernel
def _bracket(numbers, level, offsets, starts, rooms, x, dense, state, first, partials, pivots, sign, ks, alphas):
    """Name two scores that hold the threshold between them as far as a sample can tell."""
    s, t = cuda.shared.array(0, float64), cuda.threadIdx.x
    r = numbers[cuda.blockIdx.x]
    k, alpha, mine = one_of(ks, r), one_of(alphas, r), state[r]
    if level > 1:
        _settle(s, r, level - 1, first, partials, pivots, rooms, state, k, alpha)
    elif t == 0:
        mine[LOW], mine[HIGH], mine[OVER], mine[ABOVE], mine[BELOW] = -np.inf, np.inf, 0.0, 0.0, 0.0
        mine[SIZE], mine[LEVEL] = offsets[r + 1] - offsets[r], 0.0
    cuda.syncthreads()
    start, size = starts[int(mine[LEVEL]), r], np.int64(mine[SIZE])
    source = dense
    if mine[LEVEL] == 0.0:
        start, source = offsets[r], x
    if size == 0:
        if t == 0:
            pivots[r, 0], pivots[r, 1] = mine[LOW], mine[HIGH]
        return
    samples, own = 2 * cuda.blockDim.x, cuda.local.array(OWN, float64)  # where they are in s; those of a thread
    for j in range(OWN):  # a stride, with a jitter against periodic data
        i = t * OWN + j
        at = i * size // SAMPLE + (((i + level * SAMPLE) * 2654435761 & 0xFFFFFFFF) * (size // SAMPLE) >> 32)
        own[j] = np.float64(sign * source[start + at])
    _sort(s, samples, own)
    _choose(s, own, size, mine, k, alpha)
    if t == 0:
        pivots[r, 0], pivots[r, 1] = max(-s[0], mine[LOW]), min(s[cuda.blockDim.x], mine[HIGH])


@device
def _sort(s, base, own):
    """Sort SAMPLE numbers, of which each thread brings its own, and has its own of the sorted ones; s from `base` on.

    As sorted_by_team. A bitonic network of 4096 would wait 78 times; this waits 18 times.
    """
    mine, width, base = uint32(cuda.threadIdx.x * OWN), uint32(OWN), uint32(base)
    for turn in range(OWN):
        for j in range(turn & 1, OWN - 1, 2):
            a, b = own[j], own[j + 1]
            own[j], own[j + 1] = min(a, b), max(a, b)
    while width < SAMPLE:
        cuda.syncthreads()
        for j in range(OWN):
            s[padded(base, uint32(mine + uint32(j)))] = own[j]
        cuda.syncthreads()
        i, second, j, end = part_of(s, base, mine, width)
        one, other = s[padded(base, i)], s[padded(base, uint32(min(j, uint32(end - uint32(1)))))]
        for place in range(OWN):
            of_one, of_other = one, other
            is_first, _, i, j, one, other = next_of(s, base, i, second, j, end, one, other)
            own[place] = of_one if is_first else of_other
        width = uint32(width + width)


@device
def _choose(s, own, size, mine, k, alpha):
    """-(the largest sampled score whose soft count is above k for sure) in s[0], and the smallest whose count is below
    it in s[threads]; infinite where there is none.

    The deviation of the sample's soft count at a score is that of a sum of F's: at a large alpha it is far smaller than
    that of a hard count, and so is the bracket. own: the scores of a thread, in order.
    """
    t, threads, weight, unit = cuda.threadIdx.x, cuda.blockDim.x, size / SAMPLE, 1.0 / alpha
    below, squares = cuda.local.array(OWN, float64), cuda.local.array(OWN, float64)
    fades = cuda.local.array(OWN, float64)
    cuda.syncthreads()
    s[t] = own[OWN - 1]
    cuda.syncthreads()
    before = s[t - 1] if t > 0 else -np.inf
    factor, term, term_of_squares, back, back_of_squares = 1.0, 0.0, 0.0, 0.0, 0.0
    for i in range(OWN):
        distance = own[i] - before
        f = math.exp(-distance * unit) if distance < np.inf else 0.0
        factor, term, term_of_squares = factor * f, term * f + 1.0, term_of_squares * f * f + 1.0
        fades[i], before = f, own[i]
    for j in range(OWN):
        f = fades[OWN - 1 - j]
        back, back_of_squares = (back + 1.0) * f, (back_of_squares + 1.0) * f * f
    _, carry, _, ahead = scan_both_ways(s, factor, term, back)
    _, carry_of_squares, _, ahead_of_squares = scan_both_ways(s, factor * factor, term_of_squares, back_of_squares)
    for i in range(OWN):
        f = fades[i]
        below[i], squares[i] = carry * f, carry_of_squares * f * f
        carry, carry_of_squares = below[i] + 1.0, squares[i] + 1.0
    low, high = -np.inf, np.inf
    for j in range(OWN):
        i = OWN - 1 - j
        y, above, f = own[i], SAMPLE - 1.0 - (t * OWN + i), fades[i]
        soft = soft_count(above, ahead - 1.0, below[i])  # of the score itself a half counts
        square = above + 0.25 - ahead + 0.25 * (ahead_of_squares + squares[i])
        margin = DEVIATIONS * size * sample_deviation(soft, square, SAMPLE) + weight
        outer_above, outer_below = faded(mine[ABOVE], mine[HIGH] - y, alpha), faded(mine[BELOW], y - mine[LOW], alpha)
        soft = soft_count(weight * soft + mine[OVER], outer_above, outer_below)
        if abs(y) < np.inf:
            if soft + margin < k:
                high = min(high, y)
            if soft - margin > k:
                low = max(low, y)
        ahead, ahead_of_squares = (ahead + 1.0) * f, (ahead_of_squares + 1.0) * f * f
    block_maxima(s, (low, -high))
    low, high = s[0], -s[threads]
    cuda.syncthreads()
    if t == 0:
        s[0], s[threads] = -low, high
    cuda.syncthreads()


@kernel
def _collapse(
    tiles, ranking, first, offsets, starts, rooms, x, dense, state, pivots, sign, rates, slots, held, partials
):
    """One pass over what is left of a ranking: sums of what lies outside the bracket, and what lies inside, each thread
    its own, in slots of its own.
    """
    s, t, threads, kind = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x, x.dtype.type
    tile = tiles[cuda.blockIdx.x]
    r = ranking[tile]
    ends, level, size = (kind(pivots[r, 0]), kind(pivots[r, 1])), int(state[r, LEVEL]), np.int64(state[r, SIZE])
    busy = busy_tiles(first, r, size)
    if tile - first[r] >= busy:
        return
    begin, end = _share_of(tile - first[r], busy, size, threads)
    given = sign, ends, one_of(rates, r), slots[offsets[r] + begin : offsets[r] + end]
    if level == 0:  # two loops, in each of which it is known which memory is read
        inside, sums = _sort_out(x[offsets[r] + begin : offsets[r] + end], *given)
    else:
        inside, sums = _sort_out(dense[starts[level, r] + begin : starts[level, r] + end], *given)
    held[tile, t] = inside
    block_sums(s, sums)
    put_results(s, OUTSIDE, partials, tile)


@device
def _sort_out(x, sign, ends, rate, slots):
    """What a thread finds of its share of a tile: how many lie inside, and the first sums of those that PARTIALS says.

    slots: as many as the tile has scores, of which those of a thread are as far apart as its scores are.
    """
    kind, threads, (low, high) = x.dtype.type, uint32(cuda.blockDim.x), ends
    over, above, below = 0.0, 0.0, 0.0
    scores, after = cuda.local.array(AT_ONCE, x.dtype), cuda.local.array(AT_ONCE, x.dtype)
    first, stop, inside = uint32(cuda.threadIdx.x), uint32(x.size), uint32(0)
    slot = first
    read(x, first, threads, stop, scores)
    while first < stop:
        part, part_above, part_below = kind(0), kind(0), kind(0)
        pause = uint32(min(first + KEPT * threads, stop))
        while first < pause:
            following = uint32(first + AT_ONCE * threads)
            read(x, following, threads, stop, after)  # before a look at those that are here
            for j in range(AT_ONCE):
                v = kind(sign * scores[j])
                is_over, is_under = v >= high, v <= low
                e = near(v, high if is_over else low, rate)  # one of them, or threads of a warp wait for both
                part += kind(is_over)
                part_above += e if is_over else kind(0)
                part_below += e if is_under else kind(0)
                if low < v < high:
                    slots[slot] = scores[j]
                    inside, slot = uint32(inside + uint32(1)), uint32(slot + threads)
                scores[j] = after[j]
            first = following
        over, above, below = over + part, above + part_above, below + part_below
    return inside, (over, above, below, np.float64(inside))


@device
def busy_tiles(first, r, size):
    """How many tiles of a ranking have a share of the scores that are left; the others have nothing to do."""
    return min(first[r + 1] - first[r], max(1, (size + tiling.LARGE_TILE - 1) // tiling.LARGE_TILE))


@device
def _share_of(tile, tiles, size, threads):
    """What a tile takes of the scores that are left: begin and end, from the first of them."""
    each = (size + tiles * threads - 1) // (tiles * threads) * threads
    return min(tile * each, size), min((tile + 1) * each, size)


@kernel
def _pack(
    tiles, ranking, first, level, offsets, starts, rooms, x, dense, state, pivots, sign, rates, slots, held, partials
):
    """Put what the threads of a tile hold next to each other, after that of the tiles before it, and sum it."""
    s, t, threads = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x
    tile = tiles[cuda.blockIdx.x]
    r = ranking[tile]
    busy = busy_tiles(first, r, np.int64(state[r, SIZE]))
    if tile - first[r] >= busy:
        return
    begin, end = _share_of(tile - first[r], busy, np.int64(state[r, SIZE]), threads)
    before, all_of_them, counts = 0.0, 0.0, partials[3, first[r] : first[r] + busy]
    i, here, step = uint32(t), uint32(tile - first[r]), uint32(threads)
    while i < counts.size:
        before += counts[i] if i < here else 0.0
        all_of_them += counts[i]
        i = uint32(i + step)
    block_sums(s, (before, all_of_them))
    before, all_of_them = s[0], s[threads]
    if all_of_them > rooms[level, r]:
        return
    _, of_threads, _, _ = scan_both_ways(s, 1.0, np.float64(held[tile, t]), 0.0)
    mine, count = starts[level, r] + np.int64(before + of_threads), held[tile, t]
    to, own, slot, i = dense[mine : mine + count], slots[offsets[r] + begin : offsets[r] + end], uint32(t), uint32(0)
    kind, from_low, from_high = x.dtype.type, 0.0, 0.0
    low, high, rate = kind(pivots[r, 0]), kind(pivots[r, 1]), one_of(rates, r)
    while i < to.size:
        part_low, part_high, pause = kind(0), kind(0), min(i + KEPT, to.size)
        while i < pause:
            score = own[slot]
            to[i] = score
            part_low, part_high = part_low + near(sign * score, low, rate), part_high + near(sign * score, high, rate)
            i, slot = uint32(i + uint32(1)), uint32(slot + step)
        from_low, from_high = from_low + part_low, from_high + part_high
    block_sums(s, (from_low, from_high))
    if t < 2:
        partials[OUTSIDE + t, tile] = s[t * threads]


@kernel
def _finish(
    numbers, levels, offsets, starts, rooms, x, dense, state, first, partials, pivots, sign, ks, alphas, rates, kept
):
    """The cut of a ranking from what is left of it, or from all of it if no bracket held the threshold."""
    block, (cuts, shares, nearest) = block_for(numbers[cuda.blockIdx.x]), kept
    s, r = block.s, block.first
    k, alpha, rate, mine = one_of(ks, r), one_of(alphas, r), one_of(rates, r), state[r]
    _settle(s, r, levels[cuda.blockIdx.x], first, partials, pivots, rooms, state, k, alpha)
    if mine[LEVEL] == 0.0:
        start, size = offsets[r], offsets[r + 1] - offsets[r]
        found = find_whole_cut(block, x, start, size, sign, k, alpha, rate)
    elif mine[LOW] == -np.inf and k >= mine[AT_LOW]:
        found = -np.inf, -np.inf, -np.inf, -np.inf, 1.0, 1.0  # all that is finite, and so all above
    else:
        start, outside = starts[int(mine[LEVEL]), r], (mine[LOW], mine[HIGH], mine[OVER], mine[ABOVE], mine[BELOW])
        at_low, at_high, size = mine[AT_LOW], mine[AT_HIGH], np.int64(mine[SIZE])
        if size == 0 or (mine[LOW] > -np.inf and mine[HIGH] < np.inf):
            guess = on_a_line(mine[LOW], at_low, mine[HIGH], at_high, k)
        else:
            guess = sample_quantile(block, dense, start, size, sign, k)
        found = find_cut(block, dense, start, size, sign, outside, at_low, at_high, guess, k, alpha, rate)
    if block.t == 0:
        put_found(found, cuts[r], shares[r])
        nearest[r] = UNKNOWN
