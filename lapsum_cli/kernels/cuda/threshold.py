"""The threshold of a soft top-k on a card, without a sort: cpu.threshold, by the threads of one block.

One block finds the neighbours of a ranking's threshold as cpu.threshold does: a guess falls into a gap, the soft
counts at both its ends tell on which side the threshold is, and the next guess is Newton's. A long ranking is narrowed
down by many blocks before (narrowing.py). Counts include infinite scores.
"""

import math

import numpy as np

from ..scalars.cut import hard_cut
from ..scalars.functions import exp_nonpositive
from ..scalars.laplace import log_nearness, log_shares
from ..scalars.summary import faded, soft_count
from .adapter import cuda, device
from .blocks import block_maxima, block_sums

FEW_TRIES = 6  # by slopes; after these, scores at random, as a quickselect
SOFT = 4.0  # sum of e^-distance/alpha from which the slope of the soft count says more than the places of its steps


@device
def find_cut(s, x, start, size, sign, outside, at_low, at_high, k, alpha, rate, cut, shares):
    """The cut of a ranking (cpu.topk) from the scores that may be next to its threshold, by the threads of a block.

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
        above += faded(sum_above, hi - higher, alpha)
        below += faded(sum_below, lower - lo, alpha)
        gap = (higher - lower) / alpha
        fade = math.exp(-gap)
        at_higher, at_lower = soft_count(over, above, below * fade), soft_count(over, above * fade, below)
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
        cut[0], shares[0], shares[1] = hard_cut(k, top)
        cut[1], cut[2], cut[3] = cut[0], -np.inf, -np.inf
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
