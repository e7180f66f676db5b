"""Where a soft count meets its target, without a sort: the threshold of a soft top-k.

To find b such that the F((x_i - b) / alpha) sum to k, the scores need no order, only a bracket (lo, hi) that holds it:
of the scores from hi up, their number and the sum of e^-(x-hi)/alpha are enough, of those from lo down the sum of
e^-(lo-x)/alpha. A sample of some sqrt(n) scores names two that likely hold the threshold between them; one pass over
all scores sums what lies outside and gathers what lies between, a few percent. The exact soft counts at both ends tell
whether it is there, and Newton's method among those few ends at the gap between two scores where the closed form holds.
A sample can only cost another pass, never change the answer.

A long ranking makes its one pass in parts of a fixed size, side by side; their sums are added in order.
"""

import math

import numpy as np

from ..jit import inner, inner_counted, kernel
from ..scalars.functions import exp_nonpositive
from ..scalars.summary import faded, merged, sample_deviation, soft_count
from .vectors import BLOCK, block_total, count_from, gather, largest, sort

FEW = 24  # scores that are worth no sample
SOFT = 4.0  # sum of e^-distance/alpha from which the slope of the soft count says more than the places of its steps
LONG = 1 << 15  # scores from which a bracket that misses costs more than a wide one


@inner_counted
def neighbours(x, k, finite, alpha, rate, sign, inside, buffers, sample):
    """The scores on either side of the threshold, and what the closed form (laplace.log_nearness) needs of the others:
    how much k exceeds the number of scores above, and sums of e^-distance/alpha to the neighbours, above and below.

    For 0 < k < finite finite scores sign x; a neighbour that is not there is infinite.
    inside has room for all of them, `buffers` for two blocks, sample for sample_size(n) scores in three rows.
    """
    if finite == x.size and x.size > FEW:
        low, high = pivots(x, k, alpha, sign, sample)
        over, above, below, size = collapse(x, sign, low, high, rate, inside, buffers)
        outside = (low, high, over, above, below)
        is_found, found, _, _ = neighbours_within(inside[:size], outside, k, alpha, rate, False, buffers)
        if is_found:
            return found
    return neighbours_of_all(x, k, finite, alpha, rate, sign, inside, buffers)


@kernel
def neighbours_within(candidates, outside, k, alpha, rate, is_sure, buffers):
    """Whether a bracket holds the threshold, and then `neighbours`, from the scores strictly inside and what `collapse`
    found of the others, outside = (low, high, over, above, below); and the soft counts at both ends.

    is_sure: it is known to hold it
    """
    at_low, at_high = counts_at_ends(candidates, outside, alpha, rate, buffers)
    if is_sure or at_high < k <= at_low:
        return True, _between(candidates, outside, at_low, at_high, k, alpha, rate, buffers), at_low, at_high
    return False, (0.0, 0.0, 0.0, 0.0, 0.0), at_low, at_high


@inner_counted
def neighbours_of_all(x, k, finite, alpha, rate, sign, inside, buffers):
    """`neighbours` without a bracket, which take some passes over all finite scores."""
    candidates = inside[: gather(x, sign, -np.inf, np.inf, inside, buffers[0])]
    return _between(candidates, (-np.inf, np.inf, 0, 0.0, 0.0), float(finite), 0.0, k, alpha, rate, buffers)


@kernel
def sample_size(n):
    """A larger sample would cost more than it narrows."""
    return int(math.sqrt(n)) * (4 if n > LONG else 1)


@inner_counted
def pivots(x, k, alpha, sign, sample):
    """Two of the finite scores sign x, low <= high, that hold the threshold between them as far as a sample can tell;
    one of them is infinite where it cannot.

    The sample's soft count at each of its scores has a deviation of at most that of a sum of F's; at a large alpha it
    is far smaller than that of a hard count, and so is the bracket.
    """
    n = x.size
    size = sample_size(n)
    y, stride = sample[0, :size], n // size
    for i in range(size):  # a stride, with a jitter against periodic data
        y[i] = sign * x[i * n // size + (i * 2654435761 >> 8) % stride]
    sort(y)
    return pivots_among(sample, size, n, (-np.inf, np.inf, 0, 0.0, 0.0), k, alpha)


@kernel
def pivots_among(sample, size, n, outside, k, alpha):
    """`pivots`, given a sorted sample of this size, of n scores, in the first of three rows, and what `collapse` found
    of all others.
    """
    low_end, high_end, over, sum_above, sum_below = outside
    y, below, below_squares = sample[0, :size], sample[1], sample[2]
    deviations = 3.0 if n > LONG else 1.5
    weight = n / size
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
        soft = soft_count(j, carry - 1.0, below[i])  # of the score itself a half counts
        squares = j + 0.25 - carry + 0.25 * (carry_squares + below_squares[i])
        margin = deviations * n * sample_deviation(soft, squares, size) + weight
        others = faded(sum_above, high_end - y[i], alpha), faded(sum_below, y[i] - low_end, alpha)
        soft = weight * soft + soft_count(over, others[0], others[1])
        if soft < k:
            middle = y[i]
        if soft + margin < k:
            high = y[i]
        if soft - margin > k:
            low = y[i]
            break
    return (middle, middle) if low == -np.inf and high == np.inf else (low, high)


@kernel
def collapse(x, sign, low, high, rate, inside, buffers):
    """One pass over scores sign x: how many are at `high` or above, sum e^-(x-high)/alpha over these, sum
    e^-(low-x)/alpha over those at `low` or below, and how many are between, which are gathered in `inside`.
    """
    over, above, below, size = 0, 0.0, 0.0, 0
    for start in range(0, x.size, BLOCK):
        block = x[start : start + BLOCK]
        more_over, more_above, more_below = _outer_sums(block, sign, low, high, rate, buffers)
        over, above, below = over + more_over, above + more_above, below + more_below
        size += gather(block, sign, low, high, inside[size:], buffers[0])
    return over, above, below, size


@kernel
def counts_at_ends(candidates, outside, alpha, rate, buffers):
    """The soft counts at low and at high, given the scores strictly between and what `collapse` found on either side:
    outside = (low, high, over, above, below). Those of parts add up to those of all.
    """
    low, high, over, above, below = outside
    one = candidates.dtype.type(1)
    _, over_low, _ = _outer_sums(candidates, one, -np.inf, low, rate, buffers)
    _, _, under_high = _outer_sums(candidates, one, high, np.inf, rate, buffers)
    fade = math.exp(-(high - low) / alpha)
    at_low = soft_count(over + candidates.size, above * fade, below - over_low)
    return at_low, soft_count(over, above, merged(under_high, below, fade))


@inner
def _between(candidates, outside, at_low, at_high, k, alpha, rate, buffers):
    """`neighbours` among the candidates, for soft counts at_high < k <= at_low at the ends of their bracket.

    A guess falls into a gap between two scores; the soft counts at both tell whether it is the one, or on which side
    that is. The next guess is Newton's, and where the count is more a staircase than a slope that of a straight line
    between the ends. Should neither lead there, the next is some score between them, as in a quickselect.
    """
    lo, hi, count, sum_above, sum_below = outside
    low, high, tries = lo, hi, 0
    guess = low + (at_low - k) / (at_low - at_high) * (high - low)
    while True:
        if not low < guess < high or tries > 6:
            guess = _some_between(candidates, low, high, tries)
        lower, higher = _around(candidates, guess, lo, hi, buffers)
        over, above, below = _outer_sums(candidates, candidates.dtype.type(1), lower, higher, rate, buffers)
        over += count
        above += faded(sum_above, hi - higher, alpha)
        below += faded(sum_below, lower - lo, alpha)
        fade = math.exp(-(higher - lower) / alpha)
        at_higher, at_lower = soft_count(over, above, below * fade), soft_count(over, above * fade, below)
        tries += 1
        # By rounding two neighbouring gaps may pass the threshold to each other: either will do.
        if at_higher >= k and higher < high:
            low, at_low = higher, at_higher
            guess, slope = low + (at_low - k) * 2.0 * alpha / (above + below * fade), above + below * fade
        elif at_lower < k and lower > low:
            high, at_high = lower, at_lower
            guess, slope = high - (k - at_high) * 2.0 * alpha / (below + above * fade), below + above * fade
        else:
            return lower, higher, k - over, above, below
        if slope < SOFT or not low < guess < high:
            guess = low + (at_low - k) / (at_low - at_high) * (high - low)


@inner
def _some_between(candidates, low, high, tries):
    """Some score strictly between low and high; if there is none, low."""
    start = tries * 2654435761 % candidates.size
    for i in range(candidates.size):
        x = np.float64(candidates[(start + i) % candidates.size])
        if low < x < high:
            return x
    return low


@inner
def _around(candidates, t, lo, hi, buffers):
    """The largest score up to t and the smallest above it, or lo and hi where there is none."""
    lower, higher, at = candidates.dtype.type(lo), candidates.dtype.type(hi), candidates.dtype.type(t)
    for start in range(0, candidates.size, BLOCK):
        block = candidates[start : start + BLOCK]
        up_to, above = buffers[0, : block.size], buffers[1, : block.size]
        _part_at(block, at, up_to, above)
        lower, higher = max(lower, largest(up_to)), min(higher, -largest(above))
    return np.float64(lower), np.float64(higher)


@inner
def _part_at(x, t, up_to, above):
    """The scores up to t, and the negated ones above it; -inf elsewhere."""
    nothing = x.dtype.type(-np.inf)
    for i in range(x.size):
        up_to[i] = x[i] if x[i] <= t else nothing
        above[i] = -x[i] if x[i] > t else nothing


@inner
def _outer_sums(x, sign, low, high, rate, buffers):
    """Of scores sign x how many are at `high` or above, sum e^-(x-high)/alpha over these, and sum e^-(low-x)/alpha over
    those at `low` or below.
    """
    over, above, below = 0, 0.0, 0.0
    for start in range(0, x.size, BLOCK):
        block = x[start : start + BLOCK]
        _outer_exponentials(block, sign, low, high, rate, buffers[0], buffers[1])
        over += count_from(block, sign, high)
        above += block_total(buffers[0], block.size)
        below += block_total(buffers[1], block.size)
    return over, above, below


@inner
def _outer_exponentials(x, sign, low, high, rate, above, below):
    """e^-distance/alpha to `high` from there up, and to `low` from there down; 0 elsewhere."""
    zero, lowest, highest = x.dtype.type(0), x.dtype.type(low), x.dtype.type(high)
    for i in range(x.size):
        v = sign * x[i]
        up = v >= highest
        e = exp_nonpositive(-abs(v - (highest if up else lowest)) * rate)
        above[i] = e if up else zero
        below[i] = e if v <= lowest else zero
