"""SOFT's unsorted top-k: transport to the anchors 0 and 1 at a cost of squared distances, over the largest of these.

Xie et al., NeurIPS 2020. The original takes the largest cost of a whole batch; here each ranking has its own, so that
no result depends on others. Gradients hold it constant, as the original does.
"""

import numpy as np

from ..jit import uncounted
from . import each, threshold


def topk(cores, given):
    """Memberships, or their logarithms; and the thresholds."""
    scales = np.ones(len(given.alphas))
    each(cores, given.offsets, _half_of_largest_cost, given.x, scales)
    members, found = threshold.summing(cores, given, given.x, given.alphas * scales)
    return members, (found, scales)


def topk_gradient(cores, given, state, upstream):
    """For the scores, alpha and k."""
    found, scales = state
    to_x, to_tau, to_k = threshold.summing_gradient(cores, given, given.x, found, upstream)
    return to_x, to_tau * scales, to_k


def thresholds(given, state):
    """(m,) at which a membership is 1/2."""
    return state[0].anchors + state[0].steps


@uncounted
def _half_of_largest_cost(first, last, offsets, x, scales):
    for r in range(first, last):
        most = 0.0
        for i in range(offsets[r], offsets[r + 1]):
            most = max(most, x[i] * x[i], (x[i] + 1.0) * (x[i] + 1.0))
        scales[r] = 0.5 * most if most > 0.0 else 1.0
