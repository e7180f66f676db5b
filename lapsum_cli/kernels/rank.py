"""Soft ranks and their gradients: r_i = base + sum over j != i of F((x_j - x_i) / alpha), in O(n log n).

On scores sorted best first, the i-th (from 0) has rank base + i - A_i / 2 + B_i / 2, where A_i and B_i sum
e^(-distance / alpha) over the scores before and after it (LapSum, ICML 2025, section 3). With A_i(v) and B_i(v) the
same sums weighted by v, the gradient of sum v_i r_i with respect to the i-th score is

    (A_i(v) + B_i(v) - v_i (A_i + B_i)) / (2 alpha)

and, since ranks do not change when scores and alpha are scaled together, that for alpha is -sum gradient_i x_i / alpha.
Two sweeps of two exponentials a score serve all of it (sweeps.py).
"""

import numpy as np

from ..rankings import frozen
from . import parallel
from .jit import kernel
from .sweeps import BLOCK, both_sums, carry_behind, factors, finite_part


def soft_rank(order, alphas, base=1, dtype=None, upstream=None, threads=1):
    """Ranks (N,), and where `upstream` is given the gradients for scores (N,) and for alpha (m,), else None.

    order     rankings, best first (order.Order); infinite scores are tied at their end, and take the mean of its places
    alphas    (m,) float64, > 0
    dtype     of the ranks; by default that of the scores
    upstream  (N,) gradient of a loss with respect to the ranks; the gradient for scores has its dtype
    """
    values, offsets = order.values, order.offsets
    ranks = np.empty(len(values), dtype or values.dtype)
    wanted = upstream is not None
    upstream = frozen(upstream if wanted else np.empty(0, ranks.dtype))
    gradient, alpha_gradient = np.zeros(len(upstream), upstream.dtype), np.zeros(len(alphas))
    rates = np.minimum(1.0 / alphas, np.finfo(np.float64).max)

    def work(group):
        scores, places = order.sorted(group)
        ahead = np.empty((2, -(-scores.shape[1] // BLOCK)))
        sorted_upstream = np.empty(scores.shape[1] if wanted else 0, upstream.dtype)
        buffers = np.ones((7, BLOCK))
        _rank_rows(
            scores,
            places,
            offsets,
            group,
            rates,
            float(base),
            order.descending,
            upstream,
            sorted_upstream,
            ahead,
            buffers,
            ranks,
            gradient,
            alpha_gradient,
        )

    parallel.for_each(work, [(group,) for group in order.groups], threads)
    return ranks, *((gradient, alpha_gradient) if wanted else (None, None))


@kernel
def _rank_rows(
    scores,
    places,
    offsets,
    group,
    rates,
    base,
    descending,
    upstream,
    sorted_upstream,
    ahead,
    buffers,
    ranks,
    gradient,
    alpha_gradient,
):
    for row in range(group.size):
        r = group[row]
        first, length = offsets[r], offsets[r + 1] - offsets[r]
        start, stop = finite_part(scores[row, :length], np.inf if descending else -np.inf)
        y, place = scores[row, start:stop], places[row, start:stop]
        _tied(places[row], ranks, first, 0, start, base)
        _tied(places[row], ranks, first, stop, length, base)
        v = sorted_upstream[: y.size]
        for i in range(v.size):
            v[i] = upstream[first + np.int64(place[i])]
        total = _rank_sorted(y, place, first, rates[r], base + start, descending, v, ahead, buffers, ranks, gradient)
        alpha_gradient[r] = -total * rates[r]


@kernel
def _tied(place, ranks, first, start, stop, base):
    for i in range(start, stop):
        ranks[first + np.int64(place[i])] = base + 0.5 * (start + stop - 1)


@kernel
def _rank_sorted(y, place, first, rate, base, descending, v, ahead, buffers, ranks, gradient):
    """Ranks of finite scores sorted best first and, unless v is empty, gradients; returns sum gradient_i x_i.

    ahead[w, b]: the sum over all scores behind block b, seen from its last score, with weight 1 (w = 0) or v (1).
    """
    factor, weights, before, behind = buffers[0], buffers[1:3], buffers[3:5], buffers[5:7]
    blocks, wanted = (y.size + BLOCK - 1) // BLOCK, v.size > 0
    ahead[:, max(blocks - 1, 0)] = 0.0
    for b in range(blocks - 1, 0, -1):
        start, size = b * BLOCK, min(BLOCK, y.size - b * BLOCK)
        factors(y, start, size, rate, factor)
        ahead[0, b - 1] = carry_behind(factor, weights[0], size, ahead[0, b])
        if wanted:
            _copy(v[start : start + size], weights[1])
            ahead[1, b - 1] = carry_behind(factor, weights[1], size, ahead[1, b])
    carry, carry_v, total, last, rank = 0.0, 0.0, 0.0, np.nan, 0.0
    middle = np.float64(y[y.size // 2]) if y.size > 0 else 0.0
    half = 0.5 * rate if descending else -0.5 * rate
    for b in range(blocks):
        start, size = b * BLOCK, min(BLOCK, y.size - b * BLOCK)
        here, origin = y[start : start + size], place[start : start + size]
        factors(y, start, size, rate, factor)
        carry = both_sums(factor, weights[0], size, carry, ahead[0, b], before[0], behind[0])
        if wanted:
            _copy(v[start : start + size], weights[1])
            carry_v = both_sums(factor, weights[1], size, carry_v, ahead[1, b], before[1], behind[1])
            total += _gradients(here, weights[1], half, middle, before, behind, factor)
            _scatter(factor[:size], origin, gradient, first)
        last, rank = _ranks(here, base + start, before[0], behind[0], last, rank)
        _scatter(before[0, :size], origin, ranks, first)
    return total


@kernel
def _ranks(y, base, before, behind, last, rank):
    """Turn the sums before each score of a block into ranks; last and rank are those of the score before it."""
    for i in range(y.size):
        before[i] = base + i + 0.5 * (behind[i] - before[i])
    for i in range(y.size):
        # A tie takes the rank of the score before it: the two sums agree only up to rounding.
        if y[i] == last:
            before[i] = rank
        last, rank = np.float64(y[i]), before[i]
    return last, rank


@kernel
def _gradients(y, v, half, middle, before, behind, out):
    """The gradients of a block; returns their sum times the distance of each score from `middle`."""
    total = 0.0
    for i in range(y.size):
        out[i] = half * (before[1, i] + behind[1, i] - v[i] * (before[0, i] + behind[0, i]))
    for i in range(y.size):
        total += out[i] * (np.float64(y[i]) - middle)
    return total


@kernel
def _scatter(values, place, out, first):
    for i in range(values.size):
        out[first + np.int64(place[i])] = values[i]


@kernel
def _copy(values, out):
    for i in range(values.size):
        out[i] = values[i]
