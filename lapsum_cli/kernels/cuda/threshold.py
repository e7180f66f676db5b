"""The threshold of a soft top-k on a card, without a sort: cpu.threshold, by a team of threads (scalars/team.py).

A team finds the neighbours of a ranking's threshold as cpu.threshold does: a guess falls into a gap, the soft counts at
both its ends tell on which side the threshold is, and the next guess is Newton's. The longer a ranking, the more
threads are its team (alone.py); a long one is narrowed down by many blocks before (narrowing.py). Counts include
infinite scores.

What is found of a ranking are its cut (cpu.topk) and two numbers: the sum of e^-|x - b|/alpha over its scores, relative
to the largest of them; or, where k takes nothing or everything, the shares of infinite scores and of finite ones.
"""

import math

import numpy as np

from ..scalars.cut import hard_cut, to_the_larger
from ..scalars.functions import exp_nonpositive
from ..scalars.laplace import log_nearness, log_shares
from ..scalars.summary import faded, soft_count
from ..scalars.team import team_maxima, team_sums
from .adapter import cuda, device

UNKNOWN = 1 << 62  # where a score is
AT_ONCE = 4  # scores that a thread asks memory for before it waits
KEPT = 64  # scores of a thread whose sum is of their dtype: few enough that one of float32 keeps its digits
SAMPLED = 16  # scores that a first guess is made of; by fewer threads, half as many
FEW_TRIES = 6  # by slopes; after these, scores at random, as a quickselect
SOFT = 4.0  # sum of e^-distance/alpha from which the slope of the soft count says more than the places of its steps


@device
def find_cut(team, x, start, size, sign, outside, at_low, at_high, guess, k, alpha, rate):
    """What is found of a ranking from the scores that may be next to its threshold; every thread of the team knows it.

    x[start : start + size] hold the threshold between the ends of the bracket `outside` (low, high, over, above,
    below), whose soft counts are at_high < k <= at_low. guess: where the first try is.
    """
    lo, hi, count, sum_above, sum_below = outside
    low, high, tries, kind, unit = lo, hi, 0, x.dtype.type, 1.0 / alpha
    while True:
        if not low < guess < high or tries > FEW_TRIES:
            guess = _some_between(team, x, start, size, sign, low, high, tries)
        lower, higher = _around(team, x, start, size, sign, guess, lo, hi)
        over, above, below = _outer_sums(team, x, start, size, sign, lower, higher, rate)
        over += count
        above += faded(sum_above, hi - higher, alpha)
        below += faded(sum_below, lower - lo, alpha)
        gap = (higher - lower) * unit
        fade = np.float64(exp_nonpositive(kind(-gap)))
        at_higher, at_lower = soft_count(over, above, below * fade), soft_count(over, above * fade, below)
        tries += 1
        if at_higher >= k and higher < high:
            low, at_low, at, found, slope = higher, at_higher, higher, at_higher, above + below * fade
        elif at_lower < k and lower > low:
            high, at_high, at, found, slope = lower, at_lower, lower, at_lower, below + above * fade
        else:
            break
        guess = at + np.float64(_ratio(2.0 * (found - k), slope)) * alpha
        if slope < SOFT or not low < guess < high:
            guess = on_a_line(low, at_low, high, at_high, k)
    excess = k - over
    log_below, log_above = log_shares(log_nearness(excess, above, below, gap), excess, gap)
    scaled_below, scaled_above, _ = to_the_larger(log_below, log_above)
    total = scaled_below * below + scaled_above * above
    return lower, higher, log_below, log_above, total, 0.0


@device
def find_whole_cut(team, x, start, size, sign, k, alpha, rate):
    """What is found of a ranking by itself."""
    top, masked, infinity = 0, 0, x.dtype.type(np.inf)
    place, threads = type(start), team.threads
    scores, first, stop = cuda.local.array(AT_ONCE, x.dtype), place(start + team.t), place(start + size)
    while first < stop:
        read(x, first, threads, stop, scores)
        for j in range(AT_ONCE):
            v = sign * scores[j]
            top += v == infinity
            masked += v == -infinity
        first = place(first + AT_ONCE * threads)
    over, under = team_sums(team, (np.float64(top), np.float64(masked)))
    finite = size - over - under
    if over < k < over + finite:
        guess, outside = sample_quantile(team, x, start, size, sign, k), (-np.inf, np.inf, 0.0, 0.0, 0.0)
        return find_cut(team, x, start, size, sign, outside, over + finite, over, guess, k, alpha, rate)
    side, of_infinite, of_finite = hard_cut(k, over)
    return side, side, -np.inf, -np.inf, of_infinite, of_finite


@device
def _ratio(a, b):
    """a / b, or infinity, for a guess: float32 does, at a fifth of what a division of float64 takes."""
    return np.float32(a) / np.float32(b)


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
    return low + np.float64(_ratio(at_low - k, at_low - at_high)) * (high - low)


@device
def sample_quantile(team, x, start, size, sign, k):
    """A guess: of a few scores, from all over the ranking, the one at the share k / size from above."""
    count = min(size, SAMPLED if team.threads >= SAMPLED else SAMPLED // 2)
    wanted, step, found, i = min(int(k / size * count), count - 1), size // count, -np.inf, team.t
    while i < count:
        mine, above, at = sign * x[np.uint64(start + i * step)], 0, start
        for j in range(count):
            other = sign * x[np.uint64(at)]
            above += other > mine or (other == mine and j < i)
            at += step
        if above == wanted:
            found = np.float64(mine)
        i += team.threads
    (found,) = team_maxima(team, (found,))
    return found


@device
def _some_between(team, x, start, size, sign, low, high, tries):
    """Some score strictly between low and high; if there is none, low."""
    size = np.int64(size)
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
    kind, place, threads = x.dtype.type, type(start), team.threads
    lower, higher, at, scores = kind(lo), kind(hi), kind(guess), cuda.local.array(AT_ONCE, x.dtype)
    first, stop = place(start + team.t), place(start + size)
    while first < stop:
        read(x, first, threads, stop, scores)
        for j in range(AT_ONCE):
            v = sign * scores[j]
            lower = v if lower < v <= at else lower
            higher = v if at < v < higher else higher
        first = place(first + AT_ONCE * threads)
    lower, higher = team_maxima(team, (lower, -higher))
    return np.float64(lower), -np.float64(higher)


@device
def read(x, first, step, stop, scores):
    """The next scores of a thread, all asked for at once; in place of those past the end NaN, which nothing counts.

    Nothing is skipped for them: what is skipped by a branch is not computed side by side.
    """
    none = x.dtype.type(np.nan)
    for j in range(len(scores)):
        i = type(first)(first + j * step)  # sums of two int32 are int64 to Numba
        scores[j] = x[np.uint64(i)] if i < stop else none  # of a signed place Numba asks if it counts from the end


@device
def near(v, end, rate):
    """e^-distance/alpha to a neighbour, in the dtype of the scores; 0 where either is infinite or NaN."""
    distance, one = abs(v - end), type(v)(1)
    is_finite = distance < type(v)(np.inf)
    e = exp_nonpositive(-(distance if is_finite else one) * rate)  # at any rate: a branch costs more
    return e if is_finite else type(v)(0)


@device
def _outer_sums(team, x, start, size, sign, lower, higher, rate):
    """How many scores are at `higher` or above, sum e^-(x-higher)/alpha over these, and sum e^-(lower-x)/alpha over
    those at `lower` or below.
    """
    kind, place, threads = x.dtype.type, type(start), team.threads
    bottom, top, scores = kind(lower), kind(higher), cuda.local.array(AT_ONCE, x.dtype)
    first, stop, over, above, below = place(start + team.t), place(start + size), 0.0, 0.0, 0.0
    while first < stop:
        part, part_above, part_below, end = kind(0), kind(0), kind(0), place(min(first + KEPT * threads, stop))
        while first < end:
            read(x, first, threads, stop, scores)
            for j in range(AT_ONCE):
                v = kind(sign * scores[j])
                is_over, is_under = v >= top, v <= bottom
                e = near(v, top if is_over else bottom, rate)  # one of them, or threads of a warp wait for both
                part += kind(is_over)
                part_above += e if is_over else kind(0)
                part_below += e if is_under else kind(0)
            first = place(first + AT_ONCE * threads)
        over, above, below = over + part, above + part_above, below + part_below
    over, above, below = team_sums(team, (over, above, below))
    return over, above, below
