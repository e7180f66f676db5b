"""The one recurrence: sums of weights times e^(-distance / alpha) along sorted scores, to one side of each.

    before_i = sum over j < i of w_j e^(-|y_j - y_i| / alpha)        behind_i: the same over j > i

Each moves along the scores by one step, carry = (carry + weight) e^(-gap / alpha), with a factor in [0, 1]: nothing
can overflow. Weight 1 gives ranks and what sorting inverts; an upstream gradient as weight gives theirs (LapSum, ICML
2025, section 3, whose own gradient of the rank is quadratic).

A ranking is swept in blocks, from behind to leave the carry of every block, then from the front with both sums of a
block at hand: exponentials are computed twice, and no array of the ranking's length is needed. Factors and carries are
float64 for float32 scores too: a float32 chain of 10^6 factors is off by 1e-3 n at a large alpha.
"""

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


@kernel
def factors(y, start, size, rate, out):
    """e^(-gap / alpha) to the score before, for scores start .. start + size; the first score of all has none."""
    if start == 0:
        out[0] = 0.0
    for i in range(1 if start == 0 else 0, size):
        gap = abs(np.float64(y[start + i - 1]) - np.float64(y[start + i]))
        out[i] = exp_nonpositive(-gap * rate)


@kernel
def sums_behind(factor, weight, size, carry, out):
    """The sums behind each score of a block, given that of its last score; returns that of the score before the
    block.
    """
    for i in range(size - 1, -1, -1):
        out[i] = carry
        carry = carry * factor[i] + weight[i] * factor[i]  # not (carry + weight) factor: one FMA between steps, not two
    return carry


@kernel
def sums_before(factor, weight, size, carry, out):
    """The sums before each score of a block; carry, returned for the next block, is the sum up to and with a score."""
    for i in range(size):
        out[i] = carry * factor[i]
        carry = carry * factor[i] + weight[i]
    return carry
