"""Soft top-k: memberships in [0, 1] that sum to k, found without a sort.

p_i = F((x_i - b) / alpha), with the threshold b such that the p_i sum to k (LapSum, ICML 2025, section 4).

To find b the scores need no order, only a bracket (lo, hi) that holds it: of the scores from hi up, their number and
the sum of e^-(x-hi)/alpha are enough, of those from lo down the sum of e^-(lo-x)/alpha. A round draws a sample, sorts
it, picks two pivots around the likely threshold, evaluates the exact soft count at both (one pass over the scores
still inside) and keeps the scores of the zone that must hold b (one more). A sample can only cost another round,
never change the answer. The last two dozen scores are sorted, and the closed form ends it.

Passes over a long ranking: infinities 1, pivots 1, gather 1, memberships 1 (read and write); later rounds see a few
percent.
"""

import math

import numpy as np

from . import parallel
from .jit import block_sum, kernel
from .laplace import LOG_2, exp_nonpositive, log_shares

_BLOCK = 1024  # scores whose exponentials are summed in the dtype of the scores, in L1; totals of blocks are float64
_FEW = 24  # scores that are sorted outright; 16 to 48 time alike
_SAMPLE = 4096  # largest sample; its sort stays below a tenth of a pass over 10^6 scores
# Bounds for 1 / alpha. Beyond those of float32, z = (x - b) / alpha loses its digits there, and a ranking is computed
# as float64.
_LEAST_ALPHA_32 = 1e-30
_RATES = {np.dtype(np.float32): (1e-35, 1e35), np.dtype(np.float64): (1e-308, 1e308)}


def soft_topk(values, offsets, ks, alphas, largest=True, threads=1):
    """Memberships (N,) in the dtype of the scores, and the threshold b of each ranking (m,) in float64.

    ks, alphas (m,) float64, alphas > 0. k <= 0 gives zeros (b = inf), k >= the number of scores above -inf gives ones
    to them (b = -inf). -inf has membership 0. +inf has membership 1, or an equal share of k when there are more than
    k.
    """
    out = np.empty(len(values), values.dtype)
    thresholds = np.empty(len(offsets) - 1)
    sign = values.dtype.type(1 if largest else -1)
    rates = np.clip(1.0 / alphas, *_RATES[values.dtype]).astype(values.dtype)

    def work(first, last):
        longest = int(np.max(np.diff(offsets[first : last + 1]), initial=0))
        inside, buffers = np.empty(longest, values.dtype), np.empty((2, _BLOCK), values.dtype)
        sample = np.empty((3, max(_FEW + 2, min(_SAMPLE, longest))))
        _soft_topk(values, offsets, first, last, ks, alphas, rates, sign, inside, buffers, sample, out, thresholds)

    parallel.for_each(work, parallel.slices(offsets), threads)
    if values.dtype == np.float32:
        for r in np.flatnonzero((alphas < _LEAST_ALPHA_32) | (alphas > 1 / _LEAST_ALPHA_32)):
            part = slice(offsets[r], offsets[r + 1])
            whole = np.array([0, part.stop - part.start])
            p, b = soft_topk(values[part].astype(np.float64), whole, ks[[r]], alphas[[r]], largest)
            out[part], thresholds[r] = p, b[0] * sign
    return out, thresholds if largest else -thresholds


@kernel
def _soft_topk(values, offsets, first, last, ks, alphas, rates, sign, inside, buffers, sample, out, thresholds):
    for r in range(first, last):
        x, p = values[offsets[r] : offsets[r + 1]], out[offsets[r] : offsets[r + 1]]
        thresholds[r] = _soft_topk_one(x, ks[r], alphas[r], rates[r], sign, inside, buffers, sample, p)


@kernel
def _soft_topk_one(x, k, alpha, rate, sign, inside, buffers, sample, p):
    infinity = x.dtype.type(np.inf)
    top, masked = _count_infinite(x, sign * infinity), _count_infinite(x, -sign * infinity)
    finite = x.size - top - masked
    if k <= top or k >= top + finite:
        # All or nothing: no finite score is divided. Infinite ones that are too many share k as ties do.
        share = min(1.0, max(0.0, k) / top) if top > 0 else 0.0
        _fill(x, sign, x.dtype.type(share), x.dtype.type(0 if k <= top else 1), p)
        return np.inf if k <= top else -np.inf
    below, above, log_below, log_above = _neighbours(x, k - top, finite, alpha, rate, sign, inside, buffers, sample)
    dtype = x.dtype.type
    share_below, share_above = dtype(math.exp(log_below)), dtype(math.exp(log_above))
    _memberships(x, sign, dtype(below), dtype(above), share_below, share_above, rate, p)
    if log_below >= log_above:  # the nearer neighbour loses less
        return below - alpha * (log_below + LOG_2)
    return above + alpha * (log_above + LOG_2)


@kernel
def _memberships(x, sign, below, above, share_below, share_above, rate, p):
    """p = share_below e^-(below-x) from `below` down, 1 - share_above e^-(x-above) from `above` up."""
    one = x.dtype.type(1)
    for i in range(x.size):
        v = sign * x[i]
        is_above = v >= above
        e = exp_nonpositive((above - v if is_above else v - below) * rate)
        p[i] = one - share_above * e if is_above else share_below * e


@kernel
def _fill(x, sign, infinite_share, finite_share, p):
    for i in range(x.size):
        v = sign * x[i]
        p[i] = infinite_share if v == np.inf else (0 if v == -np.inf else finite_share)


@kernel
def _neighbours(x, k, finite, alpha, rate, sign, inside, buffers, sample):
    """The scores next to the threshold and the log shares of `log_shares`, for 0 < k < finite finite scores.

    State: `count` scores lie at hi or above, with sum_above = sum e^-(x-hi)/alpha; sum_below = sum e^-(lo-x)/alpha
    over those at lo or below; G(hi) < k <= G(lo) for the soft count G; `candidates` are the scores strictly between.
    """
    lo, hi, count, sum_above, sum_below = -np.inf, np.inf, 0, 0.0, 0.0
    candidates = x
    if finite < x.size or sign < 0:
        candidates = inside[: _gather(x, sign, lo, hi, inside)]
    while candidates.size > _FEW:
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
    size = min(_SAMPLE, int(n ** (2.0 / 3.0)))
    y, below, below_squares = sample[0, :size], sample[1], sample[2]
    stride = n // size
    for i in range(size):  # a stride, with a jitter against periodic data
        y[i] = candidates[i * n // size + (i * 2654435761 >> 8) % stride]
    y.sort()
    weight = n / size
    # A miss costs a pass over nearly all of a long ranking; in a short one, thirds narrow fastest.
    deviations = 3.0 if n > 8 * _SAMPLE else 1.0
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
    for start in range(0, candidates.size, _BLOCK):
        block = candidates[start : start + _BLOCK]
        _exponentials(block, t, rate, buffers[0], buffers[1])
        over += _count(block, t, True)
        equal += _count(block, t, False)
        above += _total(buffers[0], block.size)
        below += _total(buffers[1], block.size)
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
def _total(x, size):
    total = x.dtype.type(0)
    for i in range(size):
        total += x[i]
    return total


@kernel
def _count_infinite(x, infinity):
    count = 0
    for start in range(0, x.size, _BLOCK):
        count += _count(x[start : start + _BLOCK], infinity, False)
    return count


@kernel
def _gather(x, sign, lo, hi, out):
    """The scores strictly between lo and hi, written to the front of `out` (which may be x itself); their number."""
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
