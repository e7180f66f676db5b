"""The threshold of a soft top-k on a card, without a sort: cpu.threshold, by a team of threads (scalars/team.py).

A team finds the neighbours of a ranking's threshold as cpu.threshold does: a guess falls into a gap, the soft counts at
both its ends tell on which side the threshold is, and the next guess is Newton's. The team of a short ranking is one
thread (alone.py), of others a block; a long one is narrowed down by many blocks before (narrowing.py). Counts include
infinite scores.

What is found of a ranking are its cut (cpu.topk) and two numbers: the sum of e^-|x - b|/alpha over its scores, relative
to the largest of them; or, where k takes nothing or everything, the shares of infinite scores and of finite ones.
"""

import math

import numpy as np

from ..scalars.cut import hard_cut
from ..scalars.functions import exp_nonpositive
from ..scalars.laplace import log_nearness, log_shares
from ..scalars.summary import faded, soft_count
from ..scalars.team import team_maxima, team_sums
from .adapter import cuda, device

UNKNOWN = 1 << 62  # where a score is
FEW_TRIES = 6  # by slopes; after these, scores at random, as a quickselect
SOFT = 4.0  # sum of e^-distance/alpha from which the slope of the soft count says more than the places of its steps


@device
def find_cut(team, x, start, size, sign, outside, at_low, at_high, guess, k, alpha, rate):
    """What is found of a ranking from the scores that may be next to its threshold; every thread of the team knows it.

    x[start : start + size] hold the threshold between the ends of the bracket `outside` (low, high, over, above,
    below), whose soft counts are at_high < k <= at_low. guess: where the first try is.
    """
    lo, hi, count, sum_above, sum_below = outside
    low, high, tries = lo, hi, 0
    while True:
        if not low < guess < high or tries > FEW_TRIES:
            guess = _some_between(team, x, start, size, sign, low, high, tries)
        lower, higher = _around(team, x, start, size, sign, guess, lo, hi)
        over, above, below = _outer_sums(team, x, start, size, sign, lower, higher, rate)
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
            guess = on_a_line(low, at_low, high, at_high, k)
    excess = k - over
    log_below, log_above = log_shares(log_nearness(excess, above, below, gap), excess, gap)
    scaled_below, scaled_above, _ = to_the_larger(log_below, log_above)
    total = scaled_below * below + scaled_above * above
    return lower, higher, log_below, log_above, total, 0.0


@device
def find_whole_cut(team, x, start, size, sign, guess, k, alpha, rate):
    """What is found of a ranking by itself."""
    top, masked, infinity = 0, 0, x.dtype.type(np.inf)
    for i in range(team.t, size, team.threads):
        v = sign * x[start + i]
        top += v == infinity
        masked += v == -infinity
    over, under = team_sums(team, (np.float64(top), np.float64(masked)))
    finite = size - over - under
    if over < k < over + finite:
        outside = (-np.inf, np.inf, 0.0, 0.0, 0.0)
        return find_cut(team, x, start, size, sign, outside, over + finite, over, guess, k, alpha, rate)
    side, of_infinite, of_finite = hard_cut(k, over)
    return side, side, -np.inf, -np.inf, of_infinite, of_finite


@device
def to_the_larger(log_below, log_above):
    """The shares on both sides relative to the larger one, and that; 0 where k takes nothing or everything."""
    larger = max(log_below, log_above)
    if larger == -np.inf:
        return 0.0, 0.0, 0.0
    return math.exp(log_below - larger), math.exp(log_above - larger), math.exp(larger)


@device
def put_found(found, cut, shares):
    """Keep what is found of a ranking, with the shares that it says: all that members.py makes scores' results of."""
    below, above, log_below, log_above, first, second = found
    cut[0], cut[1], cut[2], cut[3] = below, above, log_below, log_above
    put_shares(cut, shares)
    if max(log_below, log_above) > -np.inf:
        shares[5] = first
    else:
        shares[0], shares[1] = first, second


@device
def put_shares(cut, shares):
    """The shares lost at the cut below and above, the same relative to the larger, and that."""
    shares[0], shares[1], shares[5] = math.exp(cut[2]), math.exp(cut[3]), 0.0
    shares[2], shares[3], shares[4] = to_the_larger(cut[2], cut[3])


@device
def on_a_line(low, at_low, high, at_high, k):
    """Where a count falls to k, if it falls evenly."""
    return low + (at_low - k) / (at_low - at_high) * (high - low)


@device
def sample_quantile(s, x, start, size, sign, k):
    """A guess for a block: of a score for each of up to 32 threads the one at the share k / size from above; infinity
    if it is infinite.
    """
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
def _some_between(team, x, start, size, sign, low, high, tries):
    """Some score strictly between low and high; if there is none, low."""
    first, found = tries * 2654435761 % max(size, 1), size
    for i in range(team.t, size, team.threads):
        v = np.float64(sign * x[start + (first + i) % size])
        if low < v < high:
            found = i
            break
    (at,) = team_maxima(team, (-np.float64(found),))
    at = -np.int64(at)
    return np.float64(sign * x[start + (first + at) % size]) if at < size else low


@device
def _around(team, x, start, size, sign, guess, lo, hi):
    """The largest score up to the guess and the smallest above it, or lo and hi where there is none."""
    kind = x.dtype.type
    lower, higher, at = kind(lo), kind(hi), kind(guess)
    for i in range(team.t, size, team.threads):
        v = sign * x[start + i]
        if v <= at:
            lower = max(lower, v)
        else:
            higher = min(higher, v)
    lower, higher = team_maxima(team, (np.float64(lower), -np.float64(higher)))
    return lower, -higher


@device
def near(v, end, rate):
    """e^-distance/alpha to a neighbour, in the dtype of the scores; 0 where either is infinite."""
    distance = abs(v - end)
    return exp_nonpositive(-distance * rate) if distance < type(v)(np.inf) else type(v)(0)


@device
def _outer_sums(team, x, start, size, sign, lower, higher, rate):
    """How many scores are at `higher` or above, sum e^-(x-higher)/alpha over these, and sum e^-(lower-x)/alpha over
    those at `lower` or below.
    """
    kind, threads = x.dtype.type, team.threads
    bottom, top = kind(lower), kind(higher)
    over, above, below = 0, 0.0, 0.0
    for block in range(team.t, size, 64 * threads):  # few enough that a float32 sum of them keeps its digits
        part_above, part_below = kind(0), kind(0)
        for i in range(block, min(block + 64 * threads, size), threads):
            v = kind(sign * x[start + i])
            if v >= top:
                over += 1
                part_above += near(v, top, rate)
            elif v <= bottom:
                part_below += near(v, bottom, rate)
        above, below = above + part_above, below + part_below
    over, above, below = team_sums(team, (np.float64(over), above, below))
    return over, above, below
