"""Soft ranks: r_i = base + sum over j != i of F((x_j - x_i) / alpha), in O(n log n).

On scores sorted best first, the i-th (from 0) has rank base + i - A_i / 2 + B_i / 2, where A_i and B_i sum
e^(-distance / alpha) over the scores before and after it (LapSum, ICML 2025, section 3). Each sum moves along the
scores by one step, carry = (carry + 1) e^(-gap / alpha).

Two sweeps of two exponentials a score; between them the sum from behind is kept only at every 1024th score, so that a
ranking needs no float64 array of its length. Factors and carries are float64 for float32 scores too: a float32 chain of
10^6 factors is off by 1e-3 n at a large alpha.
"""

import numpy as np

from . import order, parallel
from .jit import kernel
from .laplace import exp_nonpositive

_BLOCK = 1024


def soft_rank(values, offsets, alphas, descending=True, base=1, dtype=None, threads=1):
    """Ranks (N,) in `dtype` (default: that of the scores); base 1 or 0 is the rank of a score far above all others.

    alphas (m,) float64, > 0. Infinite scores are tied at their end and take the mean of its places.
    """
    out = np.empty(len(values), dtype or values.dtype)
    rates = np.minimum(1.0 / alphas, np.finfo(np.float64).max)

    def work(group):
        scores, places = order.sort_rows(values, offsets, group, descending)
        blocks = -(-scores.shape[1] // _BLOCK)
        _rank_rows(
            scores,
            places,
            offsets,
            group,
            rates,
            float(base),
            descending,
            np.empty(blocks + 1),
            np.empty((3, _BLOCK)),
            out,
        )

    parallel.for_each(work, [(group,) for group in order.matrices(offsets)], threads)
    return out


@kernel
def _rank_rows(scores, places, offsets, group, rates, base, descending, ahead, buffers, out):
    for row in range(group.size):
        r = group[row]
        length = offsets[r + 1] - offsets[r]
        ranks = out[offsets[r] : offsets[r + 1]]
        y, place = scores[row, :length], places[row, :length]
        best = np.inf if descending else -np.inf
        top = _run_of(y, best)
        finite = length - top - _run_of(y[::-1], -best)
        _tied(place, ranks, 0, top, base)
        _tied(place, ranks, top + finite, length, base)
        _rank_sorted(y[top : top + finite], place[top : top + finite], rates[r], base + top, ahead, buffers, ranks)


@kernel
def _run_of(y, value):
    count = 0
    while count < y.size and y[count] == value:
        count += 1
    return count


@kernel
def _tied(place, ranks, start, stop, base):
    for i in range(start, stop):
        ranks[place[i]] = base + 0.5 * (start + stop - 1)


@kernel
def _rank_sorted(y, place, rate, base, ahead, buffers, ranks):
    """Ranks of finite scores sorted best first. ahead[b]: the sum over all scores behind block b, seen from its last
    score.
    """
    factors, before, behind = buffers[0], buffers[1], buffers[2]
    blocks = (y.size + _BLOCK - 1) // _BLOCK
    carry = 0.0
    for b in range(blocks - 1, -1, -1):
        start, size = b * _BLOCK, min(_BLOCK, y.size - b * _BLOCK)
        ahead[b] = carry
        _factors(y, start, size, rate, factors)
        for i in range(size - 1, -1, -1):
            carry = carry * factors[i] + factors[i]
    carry = 0.0
    rank = 0.0
    for b in range(blocks):
        start, size = b * _BLOCK, min(_BLOCK, y.size - b * _BLOCK)
        _factors(y, start, size, rate, factors)
        from_behind = ahead[b]
        for i in range(size - 1, -1, -1):
            behind[i] = from_behind
            from_behind = from_behind * factors[i] + factors[i]
        for i in range(size):
            if start + i > 0:
                carry = carry * factors[i] + factors[i]
            before[i] = carry
        for i in range(size):
            # A tie takes the rank of the score before it: the two sums agree only up to rounding.
            if start + i == 0 or y[start + i] != y[start + i - 1]:
                rank = base + (start + i) + 0.5 * (behind[i] - before[i])
            ranks[place[start + i]] = rank


@kernel
def _factors(y, start, size, rate, factors):
    """e^(-gap / alpha) to the score before, for scores start .. start + size; the first score of all has none."""
    if start == 0:
        factors[0] = 0.0
    for i in range(1 if start == 0 else 0, size):
        gap = abs(np.float64(y[start + i - 1]) - np.float64(y[start + i]))
        factors[i] = exp_nonpositive(-gap * rate)
