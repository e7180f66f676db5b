"""Where a soft count meets its target, without a sort: the threshold of a soft top-k.

To find b such that the F((x_i - b) / alpha) sum to k, the scores need no order, only a bracket (lo, hi) that holds it:
of the scores from hi up, their number and the sum of e^-(x-hi)/alpha are enough, of those from lo down the sum of
e^-(lo-x)/alpha. A round draws a sample, sorts it, picks two pivots around the likely threshold, evaluates the exact
soft count at both (one pass over the scores still inside) and keeps the scores of the zone that must hold b (one more).
A sample can only cost another round, never change the answer. The last two dozen scores are sorted, and the closed form
ends it.
"""

import math

import numpy as np

from .jit import block_sum, kernel
from .laplace import exp_nonpositive, log_shares
from .sweeps import both_sums, factors

BLOCK = 1024  # scores whose exponentials are summed in the dtype of the scores, in L1; totals of blocks are float64
FEW = 24  # scores that are sorted outright; 16 to 48 time alike
SAMPLE = 4096  # largest sample; its sort stays below a tenth of a pass over 10^6 scores


@kernel
def neighbours(x, k, finite, alpha, rate, sign, inside, buffers, sample):
    """The scores next to the threshold and the log shares of `log_shares`, for 0 < k < finite finite scores.

    State: `count` scores lie at hi or above, with sum_above = sum e^-(x-hi)/alpha; sum_below = sum e^-(lo-x)/alpha
    over those at lo or below; G(hi) < k <= G(lo) for the soft count G; `candidates` are the scores strictly between.
    """
    lo, hi, count, sum_above, sum_below = -np.inf, np.inf, 0, 0.0, 0.0
    candidates = x
    if finite < x.size or sign < 0:
        candidates = inside[: _gather(x, sign, lo, hi, inside)]
    while candidates.size > FEW:
        low, high = _pivots(candidates, lo, hi, count, sum_above, sum_below, k, alpha, sample)
        outer_lo, outer_hi, outer_count, outer_above, outer_below = lo, hi, count, sum_above, sum_below
        for pivot in (high, low):
            if not lo < pivot < hi:
                continue
            over, equal, above, below = _sums_at(candidates, pivot, rate, buffers)
            above += outer_above * math.exp(-(outer_hi - pivot) / alpha)
            below += outer_below * math.exp(-(pivot - outer_lo) / alpha)
            if outer_count + over + 0.5 * (equal - above + below) < k:
                hi, count, sum_above = pivot, outer_count + over + equal, above + equal
            else:
                lo, sum_below = pivot, below + equal
        candidates = inside[: _gather(candidates, x.dtype.type(1), lo, hi, inside)]
    return _finish(candidates, lo, hi, count, sum_above, sum_below, k, alpha, sample)


@kernel
def _pivots(candidates, lo, hi, count, sum_above, sum_below, k, alpha, sample):
    """Two of the candidates, low <= high, that hold the threshold between them as far as a sample can tell.

    The sample's soft count at each of its scores has a deviation of at most that of a sum of F's; at a large alpha it
    is far smaller than that of a hard count, and so is the bracket.
    """
    n = candidates.size
    size = min(SAMPLE, int(n ** (2.0 / 3.0)))
    y, below, below_squares = sample[0, :size], sample[1], sample[2]
    stride = n // size
    for i in range(size):  # a stride, with a jitter against periodic data
        y[i] = candidates[i * n // size + (i * 2654435761 >> 8) % stride]
    y.sort()
    weight = n / size
    # A miss costs a pass over nearly all of a long ranking; in a short one, thirds narrow fastest.
    deviations = 3.0 if n > 8 * SAMPLE else 1.0
    carry, carry_squares = 0.0, 0.0
    for i in range(size):
        if i > 0:
            factor = math.exp(-(y[i] - y[i - 1]) / alpha)
            carry, carry_squares = (carry + 1.0) * factor, (carry_squares + 1.0) * factor * factor
        below[i], below_squares[i] = carry, carry_squares
    low, middle, high = -np.inf, y[0], np.inf
    carry, carry_squares = 0.0, 0.0
    for j in range(size):
        i = size - 1 - j
        if j > 0:
            factor = math.exp(-(y[i + 1] - y[i]) / alpha)
            carry, carry_squares = (carry + 1.0) * factor, (carry_squares + 1.0) * factor * factor
        soft = j + 0.5 * (1.0 - carry + below[i])
        squares = j + 0.25 - carry + 0.25 * (carry_squares + below_squares[i])
        outside = sum_below * math.exp(-(y[i] - lo) / alpha) - sum_above * math.exp(-(hi - y[i]) / alpha)
        soft_count = count + weight * soft + 0.5 * outside
        margin = deviations * n * math.sqrt(max(0.0, squares / size - (soft / size) ** 2) / size) + weight
        if soft_count < k:
            middle = y[i]
        if soft_count + margin < k:
            high = y[i]
        if soft_count - margin > k:
            low = y[i]
            break
    if low == -np.inf and high == np.inf:
        return middle, middle
    return (high if low == -np.inf else low), (low if high == np.inf else high)


@kernel
def _sums_at(candidates, pivot, rate, buffers):
    """How many candidates lie above the pivot and at it, and the sums of e^-distance/alpha above and below it."""
    t = candidates.dtype.type(pivot)
    over, equal, above, below = 0, 0, 0.0, 0.0
    for start in range(0, candidates.size, BLOCK):
        block = candidates[start : start + BLOCK]
        _exponentials(block, t, rate, buffers[0], buffers[1])
        over += _count(block, t, True)
        equal += _count(block, t, False)
        above += block_total(buffers[0], block.size)
        below += block_total(buffers[1], block.size)
    return over, equal, above, below


@kernel
def _exponentials(x, t, rate, above, below):
    zero = x.dtype.type(0)
    for i in range(x.size):
        distance = x[i] - t
        e = exp_nonpositive(-abs(distance) * rate)
        above[i] = e if distance > zero else zero
        below[i] = e if distance < zero else zero


@block_sum
def _count(x, t, above):
    count = np.int32(0)
    for i in range(x.size):
        count += np.int32(x[i] > t if above else x[i] == t)
    return count


@block_sum
def block_total(x, size):
    total = x.dtype.type(0)
    for i in range(size):
        total += x[i]
    return total


@kernel
def count_infinite(x, best):
    """How many scores are `best`, one of the infinities, and how many are the other; one pass."""
    top, masked = 0, 0
    for start in range(0, x.size, BLOCK):
        block = x[start : start + BLOCK]
        top += _count(block, best, False)
        masked += _count(block, -best, False)
    return top, masked


@kernel
def _gather(x, sign, lo, hi, out):
    """The scores strictly between lo and hi, written to the front of `out` (which may be x itself); their number.

    Every score is written, and the next over it unless it counts: no branch to mispredict. Passing over runs of 32
    without any, which SIMD tells, took longer at the 1 to 4 % that a bracket holds.
    """
    lowest, highest = x.dtype.type(lo), x.dtype.type(hi)
    size = 0
    for i in range(x.size):
        v = sign * x[i]
        out[size] = v
        size += (v > lowest) & (v < highest)
    return size


@kernel
def _finish(candidates, lo, hi, count, sum_above, sum_below, k, alpha, sample):
    """Sort the few candidates, walk down to the neighbours of the threshold, and solve between them."""
    n = candidates.size
    y, upward = sample[0, : n + 2], sample[1]
    y[0], y[n + 1] = lo, hi
    for i in range(n):
        j, v = i, candidates[i]
        while j > 0 and y[j] > v:
            y[j + 1] = y[j]
            j -= 1
        y[j + 1] = v
    upward[0] = sum_below
    for i in range(1, n + 1):
        upward[i] = 1.0 + upward[i - 1] * math.exp(-(y[i] - y[i - 1]) / alpha)
    i = n + 1
    while i > 0:  # invariant: the soft count at y[i] is below k
        downward = 1.0 + sum_above * math.exp(-(y[i] - y[i - 1]) / alpha)
        if i == 1 or count + 0.5 * (1.0 - downward + upward[i - 1]) >= k:
            break
        i, count, sum_above = i - 1, count + 1, downward
    below, above = y[i - 1], y[i]
    gap = min((above - below) / alpha, 1e300) if sum_above > 0.0 and upward[i - 1] > 0.0 else np.inf
    log_below, log_above = log_shares(k - count, sum_above, upward[i - 1], gap)
    return below, above, log_below, log_above


@kernel
def neighbours_in_order(y, k, alpha, sums):
    """What `neighbours` returns, for at most a sweep's block of finite scores, given as -x from the best up."""
    n, rate = y.size, min(1.0 / alpha, 1.7e308)
    factor, ones, before, behind = sums[0], sums[1], sums[2], sums[3]
    factors(y, 0, n, rate, factor)
    both_sums(factor, ones, n, 0.0, 0.0, before, behind)
    first, last = 0, n  # of the scores whose soft count may be the first to reach k
    while first < last:
        middle = (first + last) // 2
        if middle + 0.5 * (1.0 - before[middle] + behind[middle]) < k:
            first = middle + 1
        else:
            last = middle
    above, sum_above = (-np.float64(y[first - 1]), before[first - 1] + 1.0) if first > 0 else (np.inf, 0.0)
    below, sum_below = (-np.float64(y[first]), behind[first] + 1.0) if first < n else (-np.inf, 0.0)
    log_below, log_above = log_shares(k - first, sum_above, sum_below, min((above - below) * rate, 1e300))
    return below, above, log_below, log_above
