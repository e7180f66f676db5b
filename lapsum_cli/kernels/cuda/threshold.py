"""The threshold of a soft top-k on a card, without a sort: ..threshold, by the threads of one block, or of many.

One block finds the neighbours of a short ranking's threshold as ..threshold.between does: a guess falls into a gap, the
soft counts at both its ends tell on which side the threshold is, and the next guess is Newton's.

A long ranking is first narrowed down, a few percent at a time (`narrow`): one block names a bracket from a sorted
sample, many blocks sum what lies outside and keep what lies inside, each thread its own, and then pack it. The next
bracket is made of what is left, until one block can finish. Whether a bracket holds the threshold is known exactly from
the sums; one that does not is left aside, and costs a pass. Nothing is read back in between.

State of a ranking: low, high, over, above, below: as ..threshold.collapse; the soft counts at low and at high; the
number of scores strictly between; and how often these were packed. Counts include infinite scores.
"""

import math

import numpy as np

from ..laplace import exp_nonpositive, log_nearness, log_shares
from .adapter import cuda, device, float64, kernel
from .blocks import block_maxima, block_sums, put_results, scan_maps

SAMPLE, SAMPLE_THREADS = 2048, 256
SAMPLES = SAMPLE // SAMPLE_THREADS
DEVIATIONS = 4.0  # of the sample's soft count, on either side: a bracket fails once in some 10^4
NARROWED = 11  # times, at least: a bracket holds 0.09 of the scores where the threshold is in the middle of hard ones
ENOUGH = 1 << 16  # scores that one block finishes with
FINISH_THREADS = 512
LOW, HIGH, OVER, ABOVE, BELOW, AT_LOW, AT_HIGH, SIZE, LEVEL = range(9)
STATE = 9
PARTIALS = 6  # over, above, below; how many inside, and their sums from low and from high
FEW_TRIES = 6  # by slopes; after these, scores at random, as a quickselect
SOFT = 4.0  # sum of e^-distance/alpha from which the slope of the soft count says more than the places of its steps


@device
def find_cut(s, x, start, size, sign, outside, at_low, at_high, k, alpha, rate, cut, shares):
    """The cut of a ranking (..topk) from the scores that may be next to its threshold, by the threads of a block.

    x[start : start + size] hold the threshold between the ends of the bracket `outside` (low, high, over, above,
    below), whose soft counts are at_high < k <= at_low.
    """
    lo, hi, count, sum_above, sum_below = outside
    low, high, tries = lo, hi, 0
    if size == 0 or (lo > -np.inf and hi < np.inf):
        guess = low + (at_low - k) / (at_low - at_high) * (high - low)
    else:
        guess = _sample_quantile(s, x, start, size, sign, k)
    while True:
        if not low < guess < high or tries > FEW_TRIES:
            guess = _some_between(s, x, start, size, sign, low, high, tries)
        lower, higher = _around(s, x, start, size, sign, guess, lo, hi)
        over, above, below = _outer_sums(s, x, start, size, sign, lower, higher, rate)
        over += count
        above += sum_above * math.exp(-(hi - higher) / alpha) if sum_above > 0.0 else 0.0
        below += sum_below * math.exp(-(lower - lo) / alpha) if sum_below > 0.0 else 0.0
        gap = (higher - lower) / alpha
        fade = math.exp(-gap)
        at_higher, at_lower = over + 0.5 * (below * fade - above), over + 0.5 * (below - above * fade)
        tries += 1
        if at_higher >= k and higher < high:
            low, at_low, slope = higher, at_higher, above + below * fade
            guess = low + (at_low - k) * 2.0 * alpha / slope if slope > 0.0 else low
        elif at_lower < k and lower > low:
            high, at_high, slope = lower, at_lower, below + above * fade
            guess = high - (k - at_high) * 2.0 * alpha / slope if slope > 0.0 else high
        else:
            break
        if slope < SOFT or not low < guess < high:
            guess = low + (at_low - k) / (at_low - at_high) * (high - low)
    excess = k - over
    log_below, log_above = log_shares(log_nearness(excess, above, below, gap), excess, gap)
    if cuda.threadIdx.x == 0:
        larger = max(log_below, log_above)
        cut[0], cut[1], cut[2], cut[3] = lower, higher, log_below, log_above
        shares[0], shares[1], shares[4] = math.exp(log_below), math.exp(log_above), math.exp(larger)
        shares[2], shares[3] = math.exp(log_below - larger), math.exp(log_above - larger)


@device
def find_whole_cut(s, x, start, size, sign, k, alpha, rate, cut, shares):
    """The cut of a ranking by itself; where k takes nothing or everything it says which, and shares what each gets."""
    top, masked, infinity = 0, 0, x.dtype.type(np.inf)
    for i in range(cuda.threadIdx.x, size, cuda.blockDim.x):
        v = sign * x[start + i]
        top += v == infinity
        masked += v == -infinity
    block_sums(s, (np.float64(top), np.float64(masked)))
    top, finite = s[0], size - s[0] - s[cuda.blockDim.x]
    if top < k < top + finite:
        outside = (-np.inf, np.inf, 0.0, 0.0, 0.0)
        find_cut(s, x, start, size, sign, outside, top + finite, top, k, alpha, rate, cut, shares)
    elif cuda.threadIdx.x == 0:
        cut[0] = np.inf if k <= top else -np.inf
        cut[1], cut[2], cut[3] = cut[0], -np.inf, -np.inf
        shares[0] = min(1.0, max(0.0, k) / top) if top > 0 else 0.0
        shares[1] = 0.0 if k <= top else 1.0
        shares[2], shares[3], shares[4] = 0.0, 0.0, 0.0


@device
def _sample_quantile(s, x, start, size, sign, k):
    """Of a score for each of up to 32 threads the one at the share k / size from above; infinity if it is infinite."""
    t, count = cuda.threadIdx.x, min(cuda.blockDim.x, 32)
    cuda.syncthreads()
    mine = 0.0
    if t < count:
        mine = np.float64(sign * x[start + t * size // count])
        s[t] = mine
    cuda.syncthreads()
    above = 0
    for i in range(count):
        above += (s[i] > mine) or (s[i] == mine and i < t)
    wanted = min(int(k / size * count), count - 1)
    cuda.syncthreads()
    if t < count and above == wanted:
        s[0] = mine
    cuda.syncthreads()
    return s[0]


@device
def _some_between(s, x, start, size, sign, low, high, tries):
    """Some score strictly between low and high; if there is none, low."""
    first, t, found = tries * 2654435761 % max(size, 1), cuda.threadIdx.x, size
    for i in range(t, size, cuda.blockDim.x):
        v = np.float64(sign * x[start + (first + i) % size])
        if low < v < high:
            found = i
            break
    block_maxima(s, (-np.float64(found),))
    at = -np.int64(s[0])
    return np.float64(sign * x[start + (first + at) % size]) if at < size else low


@device
def _around(s, x, start, size, sign, guess, lo, hi):
    """The largest score up to the guess and the smallest above it, or lo and hi where there is none."""
    lower, higher, at = lo, hi, x.dtype.type(guess)
    for i in range(cuda.threadIdx.x, size, cuda.blockDim.x):
        v = sign * x[start + i]
        if v <= at:
            lower = max(lower, np.float64(v))
        else:
            higher = min(higher, np.float64(v))
    block_maxima(s, (lower, -higher))
    return s[0], -s[cuda.blockDim.x]


@device
def near(v, end, rate):
    """e^-distance/alpha to a neighbour, in the dtype of the scores; 0 where either is infinite."""
    distance = abs(v - end)
    return exp_nonpositive(-distance * rate) if distance < type(v)(np.inf) else type(v)(0)


@device
def _outer_sums(s, x, start, size, sign, lower, higher, rate):
    """How many scores are at `higher` or above, sum e^-(x-higher)/alpha over these, and sum e^-(lower-x)/alpha over
    those at `lower` or below.
    """
    kind, threads = x.dtype.type, cuda.blockDim.x
    bottom, top = kind(lower), kind(higher)
    over, above, below = 0, 0.0, 0.0
    for block in range(cuda.threadIdx.x, size, 64 * threads):  # few enough that a float32 sum of them keeps its digits
        part_above, part_below = kind(0), kind(0)
        for i in range(block, min(block + 64 * threads, size), threads):
            v = kind(sign * x[start + i])
            if v >= top:
                over += 1
                part_above += near(v, top, rate)
            elif v <= bottom:
                part_below += near(v, bottom, rate)
        above, below = above + part_above, below + part_below
    block_sums(s, (np.float64(over), above, below))
    return np.int64(s[0]), s[threads], s[2 * threads]


# --- long rankings, by many blocks ------------------------------------------------------------------------------------


class Narrowing:
    """Long rankings of a batch, and the room for narrowing down where their thresholds are.

    Each level keeps what it is left with in a stretch of `dense` of its own: level l of ranking r from starts[l, r].
    """

    def __init__(self, lane, layout, chosen: np.ndarray, dtype):
        """chosen: the numbers of the long rankings, in memory here."""
        self.lane, self.layout, self.chosen, table = lane, layout, chosen, layout.large_tiles
        self.levels = np.array([_levels(int(n)) for n in layout.lengths[chosen]])
        rooms = np.zeros((self.levels.max() + 1, layout.count), np.int64)
        for level in range(1, len(rooms)):
            # A bracket that holds more than a quarter is left aside.
            length = layout.lengths[chosen]
            rooms[level, chosen] = np.minimum(np.maximum(length >> 2 * level, ENOUGH), length)
        starts = np.cumsum(rooms.reshape(-1)) - rooms.reshape(-1)
        self.starts, self.rooms = lane.put(starts.reshape(rooms.shape)), lane.put(rooms)
        self.dense = lane.room("dense", (int(rooms.sum()),), dtype)
        self.slots = lane.room("slots", (layout.size,), dtype)
        self.held = lane.room("held", (table.count, SAMPLE_THREADS), np.int32)
        self.partials = lane.room("partials", (PARTIALS, table.count), np.float64)
        self.state = lane.room("state", (layout.count, STATE), np.float64)
        self.pivots = lane.room("pivots", (layout.count, 2), np.float64)

    def run(self, x, sign, ks, alphas, rates, cuts, shares) -> None:
        """Find the cut of every one of them; ks and alphas (m,) float64 and rates (m,) are on the card."""
        lane, layout, table = self.lane, self.layout, self.layout.large_tiles
        source = (layout.offsets, self.starts, self.rooms, x, self.dense, self.state)
        found = (table.first, self.partials, self.pivots)
        for level in range(1, int(self.levels.max()) + 1):
            of_level = self.chosen[self.levels >= level]
            numbers, tiles = lane.put(of_level), lane.put(np.flatnonzero(np.isin(table.of, of_level)))
            rows = 2 + SAMPLES
            lane.launch(
                _bracket, len(of_level), SAMPLE_THREADS, rows, numbers, level, *source, *found, sign, ks, alphas
            )
            given = (tiles, table.ranking, table.first, *source, self.pivots, sign, rates)
            lane.launch(_collapse, len(tiles), SAMPLE_THREADS, PARTIALS, *given, self.slots, self.held, self.partials)
            given = (tiles, table.ranking, table.first, level, *source, self.slots, self.held, self.partials)
            lane.launch(_pack, len(tiles), SAMPLE_THREADS, 2, *given)
        given = (lane.put(self.chosen), lane.put(self.levels), *source, *found, sign, ks, alphas, rates, cuts, shares)
        lane.launch(_finish, len(self.chosen), FINISH_THREADS, PARTIALS, *given)


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
    for tile in range(first[r] + t, first[r + 1], threads):
        over += partials[0, tile]
        above += partials[1, tile]
        below += partials[2, tile]
        inside += partials[3, tile]
        from_low += partials[4, tile]
        from_high += partials[5, tile]
    block_sums(s, (over, above, below, inside, from_low, from_high))
    if t == 0:
        low, high, mine = pivots[r, 0], pivots[r, 1], state[r]
        over, above, below, inside = s[0] + mine[OVER], s[threads], s[2 * threads], s[3 * threads]
        if mine[ABOVE] > 0.0:
            above += mine[ABOVE] * math.exp(-(mine[HIGH] - high) / alpha)
        if mine[BELOW] > 0.0:
            below += mine[BELOW] * math.exp(-(low - mine[LOW]) / alpha)
        fade = math.exp(-(high - low) / alpha)
        at_low = over + inside + 0.5 * (below - s[4 * threads] - above * fade)
        at_high = over + 0.5 * (s[5 * threads] + below * fade - above)
        if at_high < k <= at_low and inside <= rooms[level, r]:
            mine[LOW], mine[HIGH], mine[OVER], mine[ABOVE], mine[BELOW] = low, high, over, above, below
            mine[AT_LOW], mine[AT_HIGH], mine[SIZE], mine[LEVEL] = at_low, at_high, inside, level
    cuda.syncthreads()


@kernel
def _bracket(numbers, level, offsets, starts, rooms, x, dense, state, first, partials, pivots, sign, ks, alphas):
    """Name two scores that hold the threshold between them as far as a sample can tell."""
    s, t = cuda.shared.array(0, float64), cuda.threadIdx.x
    r = numbers[cuda.blockIdx.x]
    k, alpha, mine = ks[r], alphas[r], state[r]
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
    samples = 2 * cuda.blockDim.x  # where they are in s
    for i in range(t, SAMPLE, cuda.blockDim.x):  # a stride, with a jitter against periodic data
        at = i * size // SAMPLE + ((i + level * SAMPLE) * 2654435761 >> 8) % max(size // SAMPLE, 1)
        s[samples + i] = np.float64(sign * source[start + at])
    _sort(s, samples)
    _choose(s, samples, size, mine, k, alpha)
    if t == 0:
        pivots[r, 0], pivots[r, 1] = max(-s[0], mine[LOW]), min(s[cuda.blockDim.x], mine[HIGH])


@device
def _sort(s, base):
    """SAMPLE numbers from s[base] on, rising: a bitonic network."""
    width = 2
    while width <= SAMPLE:
        step = width // 2
        while step > 0:
            cuda.syncthreads()
            for i in range(cuda.threadIdx.x, SAMPLE // 2, cuda.blockDim.x):
                low = base + 2 * step * (i // step) + i % step
                rises = (low - base) & width == 0
                a, b = s[low], s[low + step]
                if (a > b) == rises:
                    s[low], s[low + step] = b, a
            step //= 2
        width *= 2
    cuda.syncthreads()


@device
def _choose(s, base, size, mine, k, alpha):
    """-(the largest sampled score whose soft count is above k for sure) in s[0], and the smallest whose count is below
    it in s[threads]; infinite where there is none.

    The deviation of the sample's soft count at a score is that of a sum of F's: at a large alpha it is far smaller than
    that of a hard count, and so is the bracket. Each thread has SAMPLES of the scores.
    """
    t, threads = cuda.threadIdx.x, cuda.blockDim.x
    below, squares = cuda.local.array(SAMPLES, float64), cuda.local.array(SAMPLES, float64)
    mine_from, weight = base + t * SAMPLES, size / SAMPLE
    factor, term, term_of_squares, back, back_of_squares = 1.0, 0.0, 0.0, 0.0, 0.0
    for i in range(SAMPLES):
        f = _fade(s, mine_from + i, base, alpha)
        factor, term, term_of_squares = factor * f, term * f + 1.0, term_of_squares * f * f + 1.0
        f = _fade(s, mine_from + SAMPLES - 1 - i, base, alpha)
        back, back_of_squares = (back + 1.0) * f, (back_of_squares + 1.0) * f * f
    _, carry = scan_maps(s, t, factor, term)
    _, carry_of_squares = scan_maps(s, t, factor * factor, term_of_squares)
    _, ahead = scan_maps(s, threads - 1 - t, factor, back)
    _, ahead_of_squares = scan_maps(s, threads - 1 - t, factor * factor, back_of_squares)
    for i in range(SAMPLES):
        f = _fade(s, mine_from + i, base, alpha)
        below[i], squares[i] = carry * f, carry_of_squares * f * f
        carry, carry_of_squares = below[i] + 1.0, squares[i] + 1.0
    low, high = -np.inf, np.inf
    for j in range(SAMPLES):
        i = SAMPLES - 1 - j
        y, above = s[mine_from + i], SAMPLE - 1.0 - (t * SAMPLES + i)
        soft = above + 0.5 * (1.0 - ahead + below[i])
        square = above + 0.25 - ahead + 0.25 * (ahead_of_squares + squares[i])
        margin = math.sqrt(max(0.0, square / SAMPLE - (soft / SAMPLE) ** 2) / SAMPLE)
        margin, soft = DEVIATIONS * size * margin + weight, weight * soft + mine[OVER]
        if mine[ABOVE] > 0.0:
            soft -= 0.5 * mine[ABOVE] * math.exp(-(mine[HIGH] - y) / alpha)
        if mine[BELOW] > 0.0:
            soft += 0.5 * mine[BELOW] * math.exp(-(y - mine[LOW]) / alpha)
        if abs(y) < np.inf:
            if soft + margin < k:
                high = min(high, y)
            if soft - margin > k:
                low = max(low, y)
        f = _fade(s, mine_from + i, base, alpha)
        ahead, ahead_of_squares = (ahead + 1.0) * f, (ahead_of_squares + 1.0) * f * f
    block_maxima(s, (low, -high))
    low, high = s[0], -s[threads]
    cuda.syncthreads()
    if t == 0:
        s[0], s[threads] = -low, high
    cuda.syncthreads()


@device
def _fade(s, at, base, alpha):
    """e^-distance/alpha to the sampled score before."""
    if at == base:
        return 0.0
    distance = s[at] - s[at - 1]
    return math.exp(-distance / alpha) if distance < np.inf else 0.0


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
    low, high, rate, level = kind(pivots[r, 0]), kind(pivots[r, 1]), rates[r], int(state[r, LEVEL])
    begin, end = _share_of(tile - first[r], first[r + 1] - first[r], np.int64(state[r, SIZE]), threads)
    start = starts[level, r]
    source = dense
    if level == 0:
        start, source = offsets[r], x
    slot = offsets[r] + begin + t
    over, above, below, inside, from_low, from_high = 0, 0.0, 0.0, 0, 0.0, 0.0
    for block in range(begin, end, 64 * threads):  # few enough that a float32 sum of them keeps its digits
        part_above, part_below, part_low, part_high = kind(0), kind(0), kind(0), kind(0)
        for i in range(block + t, min(block + 64 * threads, end), threads):
            v = kind(sign * source[start + i])
            if v >= high:
                over += 1
                part_above += near(v, high, rate)
            elif v <= low:
                part_below += near(v, low, rate)
            else:
                slots[slot + inside * threads] = source[start + i]
                inside += 1
                part_low += near(v, low, rate)
                part_high += near(v, high, rate)
        above, below = above + part_above, below + part_below
        from_low, from_high = from_low + part_low, from_high + part_high
    held[tile, t] = inside
    block_sums(s, (np.float64(over), above, below, np.float64(inside), from_low, from_high))
    put_results(s, PARTIALS, partials, tile)


@device
def _share_of(tile, tiles, size, threads):
    """What a tile takes of the scores that are left: begin and end, from the first of them."""
    each = (size + tiles * threads - 1) // (tiles * threads) * threads
    return min(tile * each, size), min((tile + 1) * each, size)


@kernel
def _pack(tiles, ranking, first, level, offsets, starts, rooms, x, dense, state, slots, held, partials):
    """Put what the threads of a tile hold next to each other, after that of the tiles before it."""
    s, t, threads = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x
    tile = tiles[cuda.blockIdx.x]
    r = ranking[tile]
    begin, _ = _share_of(tile - first[r], first[r + 1] - first[r], np.int64(state[r, SIZE]), threads)
    before, all_of_them = 0.0, 0.0
    for other in range(first[r] + t, first[r + 1], threads):
        before += partials[3, other] if other < tile else 0.0
        all_of_them += partials[3, other]
    block_sums(s, (before, all_of_them))
    before, all_of_them = s[0], s[threads]
    if all_of_them > rooms[level, r]:
        return
    _, of_threads = scan_maps(s, t, 1.0, np.float64(held[tile, t]))
    to, slot = starts[level, r] + np.int64(before + of_threads), offsets[r] + begin + t
    for i in range(held[tile, t]):
        dense[to + i] = slots[slot + i * threads]


@kernel
def _finish(
    numbers,
    levels,
    offsets,
    starts,
    rooms,
    x,
    dense,
    state,
    first,
    partials,
    pivots,
    sign,
    ks,
    alphas,
    rates,
    cuts,
    shares,
):
    """The cut of a ranking from what is left of it, or from all of it if no bracket held the threshold."""
    s, r = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x]
    k, alpha, rate, mine = ks[r], alphas[r], rates[r], state[r]
    _settle(s, r, levels[cuda.blockIdx.x], first, partials, pivots, rooms, state, k, alpha)
    if mine[LEVEL] == 0.0:
        find_whole_cut(s, x, offsets[r], offsets[r + 1] - offsets[r], sign, k, alpha, rate, cuts[r], shares[r])
    else:
        start, outside = starts[int(mine[LEVEL]), r], (mine[LOW], mine[HIGH], mine[OVER], mine[ABOVE], mine[BELOW])
        at_low, at_high, size = mine[AT_LOW], mine[AT_HIGH], np.int64(mine[SIZE])
        find_cut(s, dense, start, size, sign, outside, at_low, at_high, k, alpha, rate, cuts[r], shares[r])
