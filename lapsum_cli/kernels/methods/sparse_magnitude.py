"""Sparse top-k of magnitudes: the k largest |x|, nearly as they are, and most of the rest 0, exactly.

Sander et al., ICML 2023. Results are scores, not memberships. At a score of 0 the sign is that of its upstream's: none.
"""

import numpy as np

from . import sparse


def topk(cores, given):
    """The scores that are kept."""
    values, state = sparse.forward(cores, given, np.abs(given.x), True)
    return np.sign(given.x) * values, state


def topk_gradient(cores, given, state, upstream):
    """For the scores, alpha and k."""
    signs = np.sign(given.x)
    to_size, to_alpha, to_k = sparse.backward(cores, given, state, signs * upstream)
    return signs * to_size, to_alpha, to_k
