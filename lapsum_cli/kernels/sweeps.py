"""The one recurrence: sums of weights times e^(-distance / alpha) along sorted scores, to one side of each.

    before_i = sum over j < i of w_j e^(-|y_j - y_i| / alpha)        behind_i: the same over j > i

Each moves along the scores by one step, carry = (carry + weight) e^(-gap / alpha), with a factor in [0, 1]: nothing
can overflow. Weight 1 gives ranks and what sorting inverts; an upstream gradient as weight gives theirs (LapSum, ICML
2025, section 3, whose own gradient of the rank is quadratic).

A ranking is swept in blocks, from behind to leave the carry of every block, then from the front with both sums of a
block at hand: exponentials are computed twice, and no array of the ranking's length is needed. Factors and carries are
float64 for float32 scores too: a float32 chain of 10^6 factors is off by 1e-3 n at a large alpha.
"""

import math

import numpy as np

from .jit import kernel
from .laplace import exp_nonpositive

BLOCK = 1024  # scores; a row of float64 is 8 KiB, so the few rows of a sweep stay in an L1 or L2 cache


@kernel
def finite_part(y, best):
    """First and last + 1 of the finite scores of a sorted ranking; `best` is the infinity that comes first."""
    start, stop = 0, y.size
    while start < stop and y[start] == best:
        start += 1
    while stop > start and y[stop - 1] == -best:
        stop -= 1
    return start, stop


# Loops run over slices: Numba lets an index such as start + i - 1 be negative, and LLVM then vectorises nothing.


@kernel
def factors(y, start, size, rate, out):
    """e^(-gap / alpha) to the score before, for scores start .. start + size; the first score of all has none."""
    first = 1 if start == 0 else 0
    if start == 0:
        out[0] = 0.0
    before, here, factor = y[start + first - 1 : start + size - 1], y[start + first : start + size], out[first:size]
    for i in range(factor.size):
        factor[i] = exp_nonpositive(-abs(np.float64(before[i]) - np.float64(here[i])) * rate)


@kernel
def carry_behind(factor, weight, size, carry):
    """The sum behind the score before a block, given that behind its last score."""
    for i in range(size - 1, -1, -1):
        carry = carry * factor[i] + weight[i] * factor[i]  # not (carry + weight) factor: one FMA between steps, not two
    return carry


@kernel
def carry_before(factor, weight, size):
    """The sum up to and with the last score of a block, of this block alone."""
    carry = weight[0]
    for i in range(1, size):
        carry = carry * factor[i] + weight[i]
    return carry


@kernel
def fade(y, i, j, rate):
    """e^-distance/alpha between two scores, either of which may lie beyond the end: then there is nothing to fade."""
    if i < 0 or j < 0 or i >= y.size or j >= y.size:
        return 0.0
    return math.exp(-abs(np.float64(y[i]) - np.float64(y[j])) * rate)


@kernel
def next_rise(y, at):
    """The first place from `at` on whose score differs from the one before it: no tie lies across it."""
    while 0 < at < y.size and y[at] == y[at - 1]:
        at += 1
    return at


@kernel
def both_sums(factor, weight, size, carry, ahead, before, behind):
    """The sums before and behind each score of a block; returns that up to and with its last score.

    carry: the same of the block before; ahead: the sum behind the last score. The two chains run side by side, as
    either alone waits four cycles for each step.
    """
    for i in range(size):
        j = size - 1 - i
        behind[j] = ahead
        ahead = ahead * factor[j] + weight[j] * factor[j]
        before[i] = carry * factor[i]
        carry = carry * factor[i] + weight[i]
    return carry
