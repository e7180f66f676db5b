"""What scores are to the threshold of their top-k, for one thread: their memberships, their pulls on it, the gradients.

cpu.topk and cpu.topk_gradient say what these are. A thread takes what is known of its ranking from memory once, in the
dtype of the scores.
"""

import math
from typing import NamedTuple

import numpy as np

from ..scalars.cut import MEMBERSHIP, log_membership, membership, settled, slope_of, taken_off
from ..scalars.functions import LOG_2
from .adapter import device
from .threshold import near


class Beside(NamedTuple):
    """A threshold: the scores on either side and the shares that they lose across it."""

    is_hard: bool  # k takes nothing or everything: the shares are then those of infinite scores and of finite ones
    rate: np.floating
    below: np.floating
    above: np.floating
    log_below: np.floating
    share_below: np.floating
    share_above: np.floating
    scaled_below: np.floating  # relative to the larger one, which is the scale
    scaled_above: np.floating
    scale: np.floating


@device
def beside(x, rate, cut, shares):
    """What threshold.put_found kept of a ranking of x."""
    kind, is_hard = x.dtype.type, cut[2] == -np.inf and cut[3] == -np.inf
    below, above, log_below = kind(cut[0]), kind(cut[1]), kind(cut[2])
    share_below, share_above, scaled_below = kind(shares[0]), kind(shares[1]), kind(shares[2])
    scaled_above, scale = kind(shares[3]), kind(shares[4])
    return Beside(is_hard, rate, below, above, log_below, share_below, share_above, scaled_below, scaled_above, scale)


@device
def seen_from(b, score):
    """(score - neighbour) / alpha, e^-distance/alpha to that neighbour, and whether a score is above the threshold."""
    up = score >= b.above
    end = b.above if up else b.below
    return (score - end) * b.rate, near(score, end, b.rate), up


@device
def result_of(b, score, z, e, up, log):
    """The membership of a score, or its logarithm."""
    if log:
        return log_membership(score, z, b.share_above * e, up, b.log_below)
    return membership(e, up, b.share_below, b.share_above)


@device
def share_of(b, score, log):
    """The same where k takes nothing or everything."""
    kind = type(score)
    share = b.share_below if score == kind(np.inf) else (kind(0) if score == kind(-np.inf) else b.share_above)
    if log:
        return kind(math.log(share)) if share > 0 else kind(-np.inf)
    return share


@device
def scaled(b, e, up):
    """e^-|x - b|/alpha of a score, relative to the largest in its ranking."""
    return e * (b.scaled_above if up else b.scaled_below)


@device
def pull_of(b, v, z, e, up, slope, off):
    """h_i v_i, less what scalars.cut.taken_off says, with h scaled as e is for memberships; 0 for infinite scores."""
    kind = type(e)
    if not abs(z) < kind(np.inf):  # NaN where there is no neighbour either
        return kind(0)
    return slope_of(e, up, b.scale, slope) * (v - off[0]) - off[1] * e


@device
def off_by(b, v, slope):
    """What is taken off pulls, from the upstream gradient at the score next to the threshold."""
    return taken_off(v, b.scaled_above > b.scaled_below, b.scale, slope)


@device
def nearest_to(b):
    """The score next to the threshold, and so the one whose e is the largest."""
    return b.above if b.scaled_above > b.scaled_below else b.below


@device
def factor_of(b, sign, slope):
    """What settled pulls are multiplied with to make a gradient."""
    return sign * b.rate * (b.scale if slope == MEMBERSHIP else type(b.scale)(1))


@device
def settled_one(b, v, z, e, up, slope, off, mean):
    """The gradient of a score, but for its factor."""
    return settled(pull_of(b, v, z, e, up, slope, off), e, mean)


@device
def ends_of(b, cut, scale, mean, off, moments, slope):
    """The gradients for k and alpha, in float64, from a ranking's sums (`moments_of`); scale: of its shares."""
    from_neighbours, above_b, below_b = moments
    unit, density = (scale, 1.0) if slope == MEMBERSHIP else (1.0, scale)
    to_k = mean + off[0] + off[1]
    # From the neighbours to b it is log(2 share), which may be -inf on a side without scores.
    if above_b != 0.0:
        from_neighbours -= above_b * (cut[3] + LOG_2)
    if below_b != 0.0:
        from_neighbours += below_b * (cut[2] + LOG_2)
    return to_k / density if to_k != 0.0 else 0.0, -from_neighbours * unit * b.rate


@device
def moment_of(z, g):
    """What a settled pull g adds to the gradient for alpha, seen from the neighbour."""
    return z * g if abs(z) < type(z)(np.inf) else type(z)(0)
