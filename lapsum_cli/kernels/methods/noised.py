"""Noised top-k: the mean of hard memberships of scores with normal noise, alpha its standard deviation.

Perturbed optimizers (Berthet et al., NeurIPS 2020): the gradient is that of the expectation, by the same draws, and so
itself an estimate. The noised threshold, the mean of the k-th scores, is that of Garcin et al., ICML 2022.
"""

import numpy as np

from ..jit import inner, inner_counted, kernel
from ..scalars.philox import normal
from ..scalars.team import Alone
from . import each
from .selected import beside_place


def topk(cores, given):
    """Memberships, which sum to k; and of every draw who was in."""
    draws, noise = given.choices["draws"], given.choices["noise"]
    draws = draws if noise is None else noise.shape[1]
    thresholds = np.zeros(len(given.alphas))
    noise = np.empty((0, draws)) if noise is None else noise
    members, out = np.zeros((draws, len(given.x))), np.zeros(len(given.x))
    how = (given.choices["seed"], given.numbers, noise)
    each(cores, given.offsets, _members, given.x, given.ks, given.alphas, *how, members, out, thresholds)
    return out, (how, members, thresholds)


def topk_gradient(cores, given, state, upstream):
    """Estimates for the scores and alpha; for k what the next of every draw has of it."""
    how, members, _ = state
    out, to_alpha, to_k = np.zeros(len(given.x)), np.zeros(len(given.alphas)), np.zeros(len(given.alphas))
    arrays = (given.x, given.ks, given.alphas, *how, members, upstream, out, to_alpha, to_k)
    each(cores, given.offsets, _gradients, *arrays)
    return out, to_alpha, to_k


def thresholds(given, state):
    """(m,) the mean of the k-th largest scores."""
    return state[2]


@inner
def _noise(seed, number, noise, draw, i, column):
    return noise[i, draw] if noise.size > 0 else normal(seed, number, draw, column)


@kernel
def _members(first, last, offsets, x, ks, alphas, seed, numbers, noise, members, out, thresholds):
    draws, alone = members.shape[0], Alone(first, last, 0, 1)
    for r in range(first, last):
        a, b, k = offsets[r], offsets[r + 1], ks[r]
        n = b - a
        if n == 0 or k <= 0.0:
            continue
        noisy = np.empty(n)
        for draw in range(draws):
            for j in range(n):
                noisy[j] = x[a + j] + alphas[r] * _noise(seed, numbers[r], noise, draw, a + j, j)
            whole = min(int(np.ceil(k)), n)
            least, _ = beside_place(alone, noisy, n, whole, noisy[:0])
            thresholds[r] += least
            _choose(noisy, least, k, members[draw, a:b])
            for j in range(a, b):
                out[j] += members[draw, j]
        thresholds[r] /= draws
        for j in range(a, b):
            out[j] /= draws


@inner
def _choose(noisy, least, k, members):
    """1 above the last that is in, and the rest of k for that one; equal ones in order."""
    left = k
    for j in range(noisy.size):
        members[j] = 1.0 if noisy[j] > least else 0.0
        left -= members[j]
    for j in range(noisy.size):
        if noisy[j] == least and left > 0.0:
            members[j] = min(left, 1.0)
            left -= members[j]


@kernel
def _gradients(first, last, offsets, x, ks, alphas, seed, numbers, noise, members, upstream, out, to_alpha, to_k):
    draws = members.shape[0]
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        base = _without_noise(x[a:b], ks[r], upstream[a:b])
        for draw in range(draws):
            gained = -base
            for i in range(a, b):
                gained += upstream[i] * members[draw, i]
            mean = 0.0  # which tells how a shift of all scores would move what a shift does not move
            for i in range(a, b):
                mean += _noise(seed, numbers[r], noise, draw, i, i - a) / (b - a)
            for i in range(a, b):
                own = _noise(seed, numbers[r], noise, draw, i, i - a) - mean
                out[i] += gained * own / (draws * alphas[r])
            at = _next(x, a, b, alphas[r], seed, numbers[r], noise, draw, members[draw])
            to_k[r] += upstream[at] / draws if at >= 0 else 0.0
        for i in range(a, b):
            to_alpha[r] -= out[i] * (x[i] - x[a]) / alphas[r]


@inner_counted
def _without_noise(x, k, upstream):
    """What the hard top k has of the upstream: less it, what is gained by noise has the same mean, and is smaller."""
    if x.size == 0 or k <= 0.0:
        return 0.0
    members, whole = np.empty(x.size), min(int(np.ceil(k)), x.size)
    _choose(x, beside_place(Alone(0, 0, 0, 1), x, x.size, whole, members)[0], k, members)
    return np.sum(members * upstream)


@inner
def _next(x, a, b, alpha, seed, number, noise, draw, members):
    """The best that is not wholly in, which has what there is of one place more; -1 if there is none."""
    best, found = -np.inf, -1
    for i in range(a, b):
        if members[i] < 1.0:
            noisy = x[i] + alpha * _noise(seed, number, noise, draw, i, i - a)
            if noisy > best:
                best, found = noisy, i
    return found
