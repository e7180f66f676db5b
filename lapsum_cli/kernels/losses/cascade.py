"""Two memberships of an item, one of each stage of a cascade, against whether it is wanted.

Half the cross-entropy of either stage, and that of their product: what passes both. So the joint losses of Zhu et al.,
Differentiable fast top-k selection, 2025, at uncertainty weights of 1. All is of logarithms, and keeps its digits.
"""

import math

import numpy as np

from ..jit import inner
from ..scalars.functions import exp_nonpositive


@inner
def costs(t, first, second):
    """The cost of an item, and its slopes along what moves either membership.

    t       how much it is wanted, from 0 to 1
    first   of the one membership p: log p, log(1 - p), and the slopes of both; likewise second
    """
    log_in = first[0] + second[0]
    log_out = _log_of_sum(first[1], first[0] + second[1])
    cost = 0.5 * _entropy(t, first[0], first[1]) + 0.5 * _entropy(t, second[0], second[1])
    cost += _entropy(t, log_in, log_out)
    return cost, _slope(t, first, second[0], log_out), _slope(t, second, first[0], log_out)


@inner
def _entropy(t, log_in, log_out):
    return -(t * log_in if t > 0.0 else 0.0) - ((1.0 - t) * log_out if t < 1.0 else 0.0)


@inner
def _slope(t, own, other, log_out):
    """Along one membership; 1 - p q falls by q (1 - p) times what log(1 - p) does, over itself."""
    share = exp_nonpositive(min(other + own[1] - log_out, 0.0)) if log_out > -np.inf else 0.0
    return -1.5 * t * own[2] - (1.0 - t) * (0.5 + share) * own[3]


@inner
def _log_of_sum(a, b):
    """log(e^a + e^b)."""
    most = max(a, b)
    return most + math.log1p(math.exp(min(a, b) - most)) if most > -np.inf else most
