"""The cut of a soft top-k: all that is kept of its threshold, and what is made of it for whole rankings.

A cut is four numbers: the scores below and above the threshold, and the logarithms of the shares that they would lose
across it; both logarithms are -inf where k takes nothing (the scores are inf then) or everything (-inf).
"""

import math
from collections.abc import Iterator

import numpy as np

from ...core.rankings import frozen, is_one
from ..jit import inlined
from .functions import LOG_2, fma, log_one_minus
from .laplace import LARGEST_GAP

# What an upstream gradient is with respect to.
MEMBERSHIP, LOGARITHM, GIVEN = 0, 1, 2

FEW = 64.0  # sum of the scaled e_i up to which they are few

# Bounds for 1 / alpha. Beyond those of float32, z = (x - b) / alpha loses its digits there, and a ranking is computed
# as float64.
LEAST_ALPHA_32 = 1e-30
MOST = 1e150  # of a score, and of alpha either way, where products of two have to be numbers
RATES = {np.dtype(np.float32): (1e-35, 1e35), np.dtype(np.float64): (1e-308, 1e308)}


def thresholds_of(cuts: np.ndarray, alphas: np.ndarray, largest: bool) -> np.ndarray:
    """The threshold b of each ranking (m,), given cuts (m, 4): inf where k takes nothing, -inf where everything."""
    below, above, log_below, log_above = cuts.T
    with np.errstate(over="ignore", invalid="ignore"):  # the farther of the two may be infinite
        from_below, from_above = below - alphas * (log_below + LOG_2), above + alphas * (log_above + LOG_2)
    b = np.where(is_hard(cuts), below, np.where(log_below >= log_above, from_below, from_above))
    return b if largest else -b


def is_hard(cuts: np.ndarray) -> np.ndarray:
    """(m,) whether k takes nothing or everything."""
    return (cuts[:, 2] == -np.inf) & (cuts[:, 3] == -np.inf)


@inlined
def threshold_of(cut, alpha):
    """The threshold b of a cut: inf where k takes nothing, -inf where everything."""
    below, above, log_below, log_above = cut[0], cut[1], cut[2], cut[3]
    if log_below == -np.inf and log_above == -np.inf:
        return below
    # From the nearer: the farther of the two may be infinite.
    return below - alpha * (log_below + LOG_2) if log_below >= log_above else above + alpha * (log_above + LOG_2)


def rates_between(alphas: np.ndarray, dtype: np.dtype, least: float, most: float) -> np.ndarray:
    """1 / alpha within bounds, in this dtype."""
    return np.minimum(np.maximum(1.0 / alphas, least), most).astype(dtype)


def rates_of(alphas: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """1 / alpha in the dtype of the scores, within its bounds."""
    return rates_between(alphas, dtype, *RATES[dtype])


def beyond_float32(dtype, offsets: np.ndarray, alphas: np.ndarray) -> Iterator[tuple[int, slice, np.ndarray]]:
    """Rankings of float32 scores whose alpha asks for float64: their number, their scores, their offsets alone."""
    if is_one(alphas) and LEAST_ALPHA_32 <= alphas[0] <= 1 / LEAST_ALPHA_32:
        return
    if dtype == np.float32:
        for r in ((alphas < LEAST_ALPHA_32) | (alphas > 1 / LEAST_ALPHA_32)).nonzero()[0]:
            yield int(r), slice(offsets[r], offsets[r + 1]), frozen(np.array([0, offsets[r + 1] - offsets[r]]))


@inlined
def hard_cut(k, top):
    """Where k takes no finite score or all of them: the cut's two scores, the share of k of each of the `top` infinite
    ones at the top, which are alike as ties are, and that of each finite one.
    """
    side, others = (np.inf, 0.0) if k <= top else (-np.inf, 1.0)
    return side, min(1.0, max(0.0, k) / top) if top > 0 else 0.0, others


@inlined
def log_share(log):
    """A logarithm that a cut keeps, or -inf: half of LARGEST_GAP is what is kept of a gap that is beyond floats."""
    return log if log > -0.49 * LARGEST_GAP else -np.inf


@inlined
def to_the_larger(log_below, log_above):
    """The shares on both sides relative to the larger one, and that; 0 where k takes nothing or everything."""
    larger = max(log_below, log_above)
    if larger == -np.inf:
        return 0.0, 0.0, 0.0
    lesser = math.exp(min(log_below, log_above) - larger)
    return 1.0 if log_below == larger else lesser, 1.0 if log_above == larger else lesser, math.exp(larger)


@inlined
def membership(e, is_above, share_below, share_above):
    """Of a score at e = e^-distance/alpha from its neighbour of the threshold, and on that side of it."""
    whole, share = (type(e)(1), -share_above) if is_above else (type(e)(0), share_below)
    return fma(share, e, whole)


@inlined
def log_membership(v, z, tail, is_above, log_below):
    """Of a score v, the larger the better; z = -distance/alpha to its neighbour, tail = share_above e^z if above."""
    return log_one_minus(tail) if is_above else (log_below + z if v > type(v)(-np.inf) else v)


@inlined
def slope_of(e, is_above, scale, slope):
    """How a result moves with x / alpha at a fixed threshold: e for memberships, in units of scale; e / p for their
    logarithms, where scale e is the membership lost above and below is 1; or 1.
    """
    one = type(e)(1)
    tail = scale * e
    return e if slope == MEMBERSHIP else (tail / (one - tail) if slope == LOGARITHM and is_above else one)


@inlined
def taken_off(v, is_above, scale, slope):
    """What is taken off h_i v_i so that nothing is left of it at the score next to the threshold, whose e is 1; v: its
    upstream gradient. h_i times the first where h_i is e_i, and e_i times the second elsewhere.
    """
    one, zero = type(scale)(1), type(scale)(0)
    return (v, zero) if slope == MEMBERSHIP else (zero, slope_of(one, is_above, scale, slope) * v)


@inlined
def settled(pull, e, mean):
    """The gradient of a score, but for its unit, from its own pull and its share of that of all on the threshold."""
    return fma(-e, mean, pull)
