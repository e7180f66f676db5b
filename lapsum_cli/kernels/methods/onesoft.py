"""OneSoft: the k - 1 best are in, and all others share the place that is left, by softmax(x / alpha).

BT-Cell: Ray Chowdhury, Caragea, ICML 2023. Linear after the choice of the best, which has no gradient.
"""

import numpy as np

from ..jit import uncounted
from ..scalars.functions import exp_nonpositive
from . import each, places


def topk(cores, given):
    """Memberships, which sum to k."""
    at, out = places(cores, given), np.empty(len(given.x))
    each(cores, given.offsets, _shares, given.x, at, given.ks, given.alphas, out)
    return out, (at, out)


def topk_gradient(cores, given, state, upstream):
    """For the scores and alpha; k is a whole number, and has none."""
    at, shares = state
    out, to_alpha = np.empty(len(given.x)), np.zeros(len(given.alphas))
    each(cores, given.offsets, _gradients, given.x, at, given.ks, given.alphas, shares, upstream, out, to_alpha)
    return out, to_alpha, np.zeros(len(given.alphas))


@uncounted
def _shares(first, last, offsets, x, at, ks, alphas, out):
    for r in range(first, last):
        a, b, sure = offsets[r], offsets[r + 1], ks[r] - 1.0
        most, total = -np.inf, 0.0
        for i in range(a, b):
            most = max(most, x[i]) if at[i] >= sure else most
        for i in range(a, b):
            out[i] = exp_nonpositive(min((x[i] - most) / alphas[r], 0.0)) if at[i] >= sure else 1.0
            total += out[i] if at[i] >= sure else 0.0
        for i in range(a, b):
            out[i] /= total if at[i] >= sure else 1.0


@uncounted
def _gradients(first, last, offsets, x, at, ks, alphas, shares, upstream, out, to_alpha):
    for r in range(first, last):
        a, b, sure, mean = offsets[r], offsets[r + 1], ks[r] - 1.0, 0.0
        for i in range(a, b):
            mean += shares[i] * upstream[i] if at[i] >= sure else 0.0
        for i in range(a, b):
            out[i] = shares[i] * (upstream[i] - mean) / alphas[r] if at[i] >= sure else 0.0
            to_alpha[r] -= out[i] * (x[i] - x[a]) / alphas[r]
