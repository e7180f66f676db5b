"""Soft sort and its gradient: the l-th value (from 0, best first) is where the soft count of scores above is l + 1/2.

c(t) = sum over j of F((x_j - t) / alpha) falls from n to 0 as t rises. `invert` finds t for targets first, first + 1,
... in one sweep over the sorted scores: between two neighbours the closed form of laplace.log_shares gives it (LapSum,
ICML 2025, section 4). Targets 1, 2, ... are the boundaries of the positions in a soft permutation (permute.py).

Moving the scores moves t by their softmax, q_j = e^(-|t - x_j| / alpha) / sum. For t between neighbours s > t > r that
is one weight for the scores from s up and one for those from r down, each fading along the scores as in sweeps.py: the
gradient of sum v_l t_l puts v_l times these weights down at s and at r, and sweeps up from the one, down from the
other. It stays O(n), and no exponent is positive (the authors' gradient overflows at a small alpha and is 0 in their
default direction).
"""

import math

import numpy as np

from ..rankings import frozen
from . import parallel
from .jit import kernel
from .laplace import LOG_2, log_shares
from .sweeps import BLOCK, both_sums, carry_behind, factors, finite_part


def soft_sort(order, alphas, upstream=None, threads=1):
    """Soft-sorted scores (N,), best first in every ranking; with `upstream` also gradients for scores and alpha.

    order, alphas   as for rank.soft_rank; infinite scores keep their end
    upstream        (N,) gradient of a loss with respect to the results, by position

    The gradient for alpha is that of y(c x, c alpha) = c y(x, alpha): (sum v_l y_l - sum gradient_i x_i) / alpha.
    """
    values, offsets = order.values, order.offsets
    out = np.empty(len(values), values.dtype)
    wanted = upstream is not None
    upstream = frozen(upstream if wanted else np.empty(0, values.dtype))
    gradient, alpha_gradient = np.zeros(len(upstream), upstream.dtype), np.zeros(len(alphas))

    def work(group):
        scores, places = order.sorted(group)
        _sort_rows(
            scores,
            places,
            offsets,
            group,
            alphas,
            order.descending,
            upstream,
            *workspace(scores.shape[1], wanted),
            out,
            gradient,
            alpha_gradient,
        )

    parallel.for_each(work, [(group,) for group in order.groups], threads)
    return out, *((gradient, alpha_gradient) if wanted else (None, None))


def workspace(length, gradient):
    """What `invert` needs for rankings of this length: anchors and steps, gradient and deposits, carries, buffers."""
    blocks = -(-length // BLOCK)
    return np.empty((2, length)), np.empty((2, length if gradient else 0)), np.empty(blocks), np.ones((4, BLOCK))


@kernel
def _sort_rows(
    scores,
    places,
    offsets,
    group,
    alphas,
    descending,
    upstream,
    found,
    moved,
    ahead,
    buffers,
    out,
    gradient,
    alpha_gradient,
):
    for row in range(group.size):
        r = group[row]
        first, length, alpha = offsets[r], offsets[r + 1] - offsets[r], alphas[r]
        start, stop = finite_part(scores[row, :length], np.inf if descending else -np.inf)
        y, place = scores[row, start:stop], places[row, start:stop]
        sorted_out = out[first : first + length]
        sorted_out[:start], sorted_out[stop:] = scores[row, :start], scores[row, stop:length]
        v = upstream[first + start : first + stop] if upstream.size > 0 else upstream
        invert(y, alpha, descending, 0.5, y.size, v, found, moved, ahead, buffers)
        middle = np.float64(y[y.size // 2]) if y.size > 0 else 0.0
        total = 0.0
        for i in range(y.size):
            sorted_out[start + i] = found[0, i] + found[1, i]
        for i in range(v.size):
            g = moved[0, i]
            gradient[first + np.int64(place[i])] = g
            total += v[i] * (found[0, i] - middle + found[1, i]) - g * (y[i] - middle)
        alpha_gradient[r] = total / alpha


@kernel
def invert(y, alpha, descending, target, targets, v, found, moved, ahead, buffers):
    """Where the soft count meets target, target + 1, ...: found[0] the score next to it, found[1] the step from there.

    y        finite scores, best first; (n,)
    targets  how many, all between 0 and n; steps are in the unit of the scores
    v        empty, or (targets,) a gradient with respect to them: moved[0] is then that for the scores, by position

    One sweep from behind, one from the front, and for a gradient one more from behind.
    """
    n, rate = y.size, min(1.0 / alpha, 1.7e308)
    up = 1.0 if descending else -1.0
    factor, ones, before, behind = buffers[0], buffers[1], buffers[2], buffers[3]
    blocks = (n + BLOCK - 1) // BLOCK
    wanted = v.size > 0
    ahead[max(blocks - 1, 0)] = 0.0
    for b in range(blocks - 1, 0, -1):
        start, size = b * BLOCK, min(BLOCK, n - b * BLOCK)
        factors(y, start, size, rate, factor)
        ahead[b - 1] = carry_behind(factor, ones, size, ahead[b])
    carry, done, pull = 0.0, 0, 0.0
    for b in range(blocks):
        start, size = b * BLOCK, min(BLOCK, n - b * BLOCK)
        factors(y, start, size, rate, factor)
        above = carry  # the sum over all scores above this one, seen from the lowest of them
        carry = both_sums(factor, ones, size, carry, ahead[b], before, behind)
        for i in range(size):
            at = start + i
            gap = abs(np.float64(y[at - 1]) - np.float64(y[at])) * rate if at > 0 else np.inf
            below = behind[i] + 1.0
            count = at + 0.5 * (1.0 - before[i] + behind[i])
            deposit_above, deposit_below = 0.0, 0.0
            while done < targets and (target + done <= count):
                log_below, log_above = _solve(y, at, gap, target + done - at, above, below, alpha, up, done, found)
                if wanted:
                    to_above, to_below = _softmax(log_below, log_above, above, below)
                    deposit_above += v[done] * to_above
                    deposit_below += v[done] * to_below
                done += 1
            above = before[i] + 1.0
            if wanted:
                if at > 0:
                    moved[1, at - 1] = deposit_above
                pull = pull * factor[i] + deposit_below
                moved[0, at] = pull
    deposit_above = 0.0
    while done < targets:
        _solve(y, n, np.inf, target + done - n, above, 0.0, alpha, up, done, found)
        if wanted:
            deposit_above += v[done] / above
        done += 1
    if wanted:
        moved[1, n - 1] = deposit_above
        _sweep_up(y, rate, moved, factor)


@kernel
def _sweep_up(y, rate, moved, factor):
    """Add what was put down below each score, fading upward, to moved[0]."""
    pull = 0.0
    for b in range((y.size + BLOCK - 1) // BLOCK - 1, -1, -1):
        start, size = b * BLOCK, min(BLOCK, y.size - b * BLOCK)
        factors(y, start, size, rate, factor)
        for i in range(size - 1, -1, -1):
            pull += moved[1, start + i]
            moved[0, start + i] += pull
            pull *= factor[i]


@kernel
def _solve(y, at, gap, excess, above, below, alpha, up, done, found):
    """One target between scores at - 1 and at; returns what `log_shares` does."""
    log_below, log_above = log_shares(excess, above, below, min(gap, 1e300) if above > 0.0 and below > 0.0 else np.inf)
    if log_below >= log_above:  # the nearer neighbour loses less
        found[0, done], found[1, done] = y[at], -up * alpha * (log_below + LOG_2)
    else:
        found[0, done], found[1, done] = y[at - 1], up * alpha * (log_above + LOG_2)
    return log_below, log_above


@kernel
def _softmax(log_below, log_above, above, below):
    """The weights of the scores next to a target, above and below it, among all scores."""
    top = max(log_below, log_above)
    to_above, to_below = math.exp(log_above - top), math.exp(log_below - top)
    total = to_above * above + to_below * below
    return to_above / total, to_below / total
