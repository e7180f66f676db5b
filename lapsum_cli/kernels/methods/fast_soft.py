"""Fast soft ranks and sorts: projections of scores onto all orders of 1 .. n, and of n .. 1 onto those of the scores.

Blondel, Teboul, Berthet, Djolonga, ICML 2020. With s falling, and isotonic v: ranks are s - v of s = -x / alpha and w =
n .. 1, or e^(s - v); sorted scores are w / alpha - v of w / alpha and s = x. Each is its block's mean of one and what
its own is above the block's mean of the other, so that a shift takes no digits.
"""

import math

import numpy as np

from ..jit import inner, kernel
from . import each, places
from .isotonic import ENTROPY, MEAN, MOMENTS, pool

_KINDS = {"l2": MEAN, "kl": ENTROPY}


def rank(cores, given):
    """Ranks from 1, the largest score first."""
    return _forward(cores, given, True)


def sort(cores, given):
    """Sorted scores, the largest first."""
    return _forward(cores, given, False)


def rank_gradient(cores, given, state, upstream):
    """For the scores and alpha."""
    return _backward(cores, given, state, upstream, True)


def sort_gradient(cores, given, state, upstream):
    """For the scores and alpha; the upstream goes by place."""
    return _backward(cores, given, state, upstream, False)


def _forward(cores, given, is_rank):
    kind, at = _KINDS[given.choices["regularization"]], places(cores, given)
    out, blocks = np.empty(len(given.x)), np.empty(len(given.x), np.int64)
    each(cores, given.offsets, _results, given.x, at, given.alphas, kind, is_rank, out, blocks)
    return out, (at, kind, blocks, out)


def _backward(cores, given, state, upstream, is_rank):
    at, kind, blocks, results = state
    out, to_alpha = np.empty(len(given.x)), np.empty(len(given.alphas))
    arrays = (given.x, at, given.alphas, kind, is_rank, blocks, results, upstream, out, to_alpha)
    each(cores, given.offsets, _gradients, *arrays)
    return out, to_alpha


@inner
def _longest(first, last, offsets):
    longest = 0
    for r in range(first, last):
        longest = max(longest, offsets[r + 1] - offsets[r])
    return longest


@inner
def _fill(x, at, alpha, is_rank, s, w):
    """What falls, and what it is projected with: along places from the worst of ranks, from the best of sorted scores.
    Of entropies of ranks the logarithm of the weights.
    """
    n = x.size
    for i in range(n):
        if is_rank:
            s[n - 1 - at[i]] = -x[i] / alpha
        else:
            w[at[i]] = x[i]
    for j in range(n):
        if is_rank:
            w[j] = n - j
        else:
            s[j] = (n - j) / alpha


@kernel
def _results(first, last, offsets, x, at, alphas, kind, is_rank, out, blocks):
    """Ranks by score, or sorted scores by place; blocks: by place, where the block of a place begins."""
    longest = _longest(first, last, offsets)
    s, w, y = np.empty(longest), np.empty(longest), np.empty(longest)
    begins, moments = np.empty(longest + 1, np.int64), np.empty((longest, MOMENTS))
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        n = b - a
        _fill(x[a:b], at[a:b], alphas[r], is_rank, s, w)
        if kind == ENTROPY and is_rank:
            for j in range(n):
                w[j] = math.log(w[j])
        count = pool(s[:n], w[:n], 1.0, kind, begins, moments)
        for block in range(count):
            begin, end = begins[block], begins[block + 1]
            mean, weight = moments[block, 1], moments[block, 4] / (1.0 if kind == ENTROPY else end - begin)
            for j in range(begin, end):
                y[j], blocks[a + j] = (s[j] - mean) + weight, begin
        if is_rank:
            for i in range(n):
                out[a + i] = y[n - 1 - at[a + i]]
                if kind == ENTROPY:
                    out[a + i] = math.exp(out[a + i])
        else:
            for j in range(n):
                out[a + j] = y[j]


@kernel
def _gradients(first, last, offsets, x, at, alphas, kind, is_rank, blocks, results, upstream, out, to_alpha):
    longest = _longest(first, last, offsets)
    s, w, u, shares = np.empty(longest), np.empty(longest), np.empty(longest), np.empty(longest)
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        n = b - a
        _fill(x[a:b], at[a:b], alphas[r], is_rank, s, w)
        for i in range(n):
            if is_rank:
                u[n - 1 - at[a + i]] = upstream[a + i] * (results[a + i] if kind == ENTROPY else 1.0)
            else:
                u[i] = upstream[a + i]
        if is_rank:
            _of_ranks(s[:n], blocks[a:b], kind, u[:n], shares[:n])
            to_alpha[r] = 0.0
            for i in range(n):
                j = n - 1 - at[a + i]
                out[a + i] = -u[j] / alphas[r]
                to_alpha[r] -= (s[j] - s[blocks[a + j]]) * u[j] / alphas[r]
        else:
            to_alpha[r] = _of_sorted(s[:n], w[:n], blocks[a:b], kind, u[:n], shares[:n]) / alphas[r]
            _even(w[:n], u[:n])
            for i in range(n):
                out[a + i] = u[at[a + i]]


@inner
def _of_ranks(s, blocks, kind, u, shares):
    """u less its sum over the block, by shares."""
    _shares_of(s, blocks, kind, shares)
    begin = 0
    while begin < u.size:
        end, total = begin, 0.0
        while end < u.size and blocks[end] == begin:
            total, end = total + u[end], end + 1
        for j in range(begin, end):
            u[j] -= shares[j] * total
        begin = end


@inner
def _of_sorted(s, w, blocks, kind, u, shares):
    """The sum of u over the block, by shares of the scores; and -sum of u times what w / alpha is above the block."""
    _shares_of(s, blocks, kind, shares)
    along, begin = 0.0, 0
    while begin < u.size:
        end, mean = begin, 0.0
        while end < u.size and blocks[end] == begin:
            mean, end = mean + shares[end] * (s[end] - s[begin]), end + 1
        for j in range(begin, end):
            along -= u[j] * ((s[j] - s[begin]) - mean)
        begin = end
    _shares_of(w, blocks, kind, shares)
    begin = 0
    while begin < u.size:
        end, total = begin, 0.0
        while end < u.size and blocks[end] == begin:
            total, end = total + u[end], end + 1
        for j in range(begin, end):
            u[j] = shares[j] * total
        begin = end
    return along


@inner
def _even(w, u):
    """Equal scores have the mean of their gradients: no order of them is better than another."""
    begin = 0
    while begin < u.size:
        end, total = begin, 0.0
        while end < u.size and w[end] == w[begin]:
            total, end = total + u[end], end + 1
        for j in range(begin, end):
            u[j] = total / (end - begin)
        begin = end


@inner
def _shares_of(s, blocks, kind, shares):
    """Of each place in its block: one over its size, or by e^s; s falls, so that its first is the largest."""
    begin = 0
    while begin < s.size:
        end, total = begin, 0.0
        while end < s.size and blocks[end] == begin:
            shares[end] = math.exp(s[end] - s[begin]) if kind == ENTROPY else 1.0
            total, end = total + shares[end], end + 1
        for j in range(begin, end):
            shares[j] /= total
        begin = end
