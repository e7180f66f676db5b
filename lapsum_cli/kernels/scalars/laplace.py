"""The Laplace distribution: where a sum of its CDF meets a target, in closed form, and what scores lose across it.

F(z) = e^z / 2 for z <= 0, 1 - e^-z / 2 for z > 0. A sum of F over scores, cut at t between the neighbours r < t < s,
needs only the number of scores above and the sums of e^(-distance / alpha) on either side (summary.py). Every exponent
is <= 0.
"""

import math

import numpy as np

from ..jit import inlined, inner
from .functions import LOG_2, exp_nonpositive, fma, log_normal

HARD = 1e-300  # an alpha at which a soft result is the hard one, its ties shared
LARGEST_RATE = 1.7e308  # of 1 / alpha: 0 times it is 0
LARGEST_GAP = 1.7e308  # and no infinity, of which nothing is left

_LEAST_NORMAL = 2.3e-308


@inlined
def log_nearness(excess, sum_above, sum_below, gap):
    """Where a soft count meets its target between two neighbours r < s: log of e^-(t-r), or e^-(s-t) for an excess < 0.

    The unit of length is alpha. sum_above = sum of e^-(x-s) over the scores x >= s, sum_below = sum of e^-(r-x) over
    x <= r, gap = s - r, excess = target - number of scores above. t solves

        sum_below e^-(t-r) / 2 - sum_above e^-(s-t) / 2 = excess,

    a quadratic in e^t. Its rationalised root never subtracts, and what underflows across a gap of 10^4 alpha is what
    does not matter there; for an excess of 0 the root is that of the two sums alone (LapSum, ICML 2025, section 3,
    which evaluates it in plain exponentials). A side without scores has sum 0 and a huge gap; t then lies outside all
    scores.
    """
    gap, size = gap if gap < LARGEST_GAP else LARGEST_GAP, abs(excess)
    cross = math.sqrt(fma(size, size, sum_above * sum_below * exp_nonpositive(-gap)))
    root = size + (cross if cross > size else size)  # the square of a tiny excess underflows
    is_even = excess == 0.0
    ratio = (sum_above if is_even else root) / (sum_above if excess < 0.0 else sum_below)
    log = log_normal(ratio if ratio > _LEAST_NORMAL else _LEAST_NORMAL)
    return 0.5 * (log - gap) if is_even else log


@inlined
def to_neighbours(near, excess, gap):
    """Log of e^-(t-r) and of e^-(s-t), given the one that log_nearness tells."""
    far = -gap - near
    return far if excess < 0.0 else near, near if excess < 0.0 else far


@inner
def log_shares(near, excess, gap):
    """Log of e^-(t-r)/2 and of e^-(s-t)/2, given the one that log_nearness tells.

    A score x <= r has membership share_below e^-(r-x), one x >= s has 1 - share_above e^-(x-s). Both exponents are <=
    0, and no absolute coordinate appears: an offset of the scores costs no digit.
    """
    to_below, to_above = to_neighbours(near, excess, gap)
    return to_below - LOG_2, to_above - LOG_2


@inner
def log_or_minus_inf(x):
    return math.log(x) if x > 0.0 else -np.inf
