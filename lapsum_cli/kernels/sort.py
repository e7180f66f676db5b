"""Soft sort and its gradient: the l-th value (from 0, best first) is where the soft count of scores above is l + 1/2.

c(t) = sum over j of F((x_j - t) / alpha) falls from n to 0 as t rises. `invert` finds t for targets first, first + 1,
... in one sweep over the sorted scores: between two neighbours in closed form (LapSum, ICML 2025, section 4; the same
as laplace.log_shares, here for targets that are multiples of 1/2, and a thousand at a time). Targets 1, 2, ... are the
boundaries of the positions in a soft permutation (permute.py).

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
from .laplace import exp_nonpositive, log_normal
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
    return np.empty((2, length)), np.empty((2, length if gradient else 0)), np.empty(blocks), np.ones((11, BLOCK))


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
    target   a multiple of 1/2
    targets  how many, all between 0 and n; steps are in the unit of the scores
    v        empty, or (targets,) a gradient with respect to them: moved[0] is then that for the scores, by position

    One sweep from behind, one from the front, and for a gradient one more of each.
    """
    n, rate = y.size, min(1.0 / alpha, 1.7e308)
    up = alpha if descending else -alpha
    factor, ones, before, behind = buffers[0], buffers[1], buffers[2], buffers[3]
    waiting, places = buffers[4:], np.empty(BLOCK, np.int64)
    blocks = (n + BLOCK - 1) // BLOCK
    moved[:, : min(n, moved.shape[1])] = 0.0
    ahead[max(blocks - 1, 0)] = 0.0
    for b in range(blocks - 1, 0, -1):
        start, size = b * BLOCK, min(BLOCK, n - b * BLOCK)
        factors(y, start, size, rate, factor)
        ahead[b - 1] = carry_behind(factor, ones, size, ahead[b])
    excess, sums_above, sums_below, higher, lower = waiting[0], waiting[1], waiting[2], waiting[3], waiting[4]
    carry, above, last, done, held = 0.0, 0.0, np.inf, 0, 0
    beyond = target + targets
    for b in range(blocks + 1):  # the last one, without scores, holds the targets beyond all of them
        start, size = b * BLOCK, min(BLOCK, n - b * BLOCK)
        if b < blocks:
            factors(y, start, size, rate, factor)
            carry = both_sums(factor, ones, size, carry, ahead[b], before, behind)
        for i in range(size if b < blocks else 1):
            at = start + i if b < blocks else n
            score = np.float64(y[at]) if b < blocks else -np.inf
            below = behind[i] + 1.0 if b < blocks else 0.0
            count = at + 0.5 * (below - before[i]) if b < blocks else np.inf
            while target < beyond and target <= count:
                places[held], excess[held], sums_above[held], sums_below[held] = at, target - at, above, below
                higher[held], lower[held] = last, score
                target += 1.0
                held += 1
                if held == BLOCK:
                    done, held = _solve(waiting, places, held, rate, up, v, done, found, moved), 0
            above, last = before[i] + 1.0, score
    _solve(waiting, places, held, rate, up, v, done, found, moved)
    if v.size > 0:
        _sweep_out(y, rate, moved, factor)


@kernel
def _solve(waiting, places, held, rate, up, v, done, found, moved):
    """Solve the targets that wait, as laplace.log_shares does; returns how many are done then.

    Their excess is a multiple of 1/2: 0, where the root is that of the two sums, or large enough to need no logarithms
    of sums. to_below and to_above are the logarithms of e^-distance/alpha to the scores on either side.
    """
    _roots(waiting[0], waiting[1], waiting[2], waiting[3], waiting[4], rate, held, waiting[5], waiting[6])
    _steps(
        waiting[3], waiting[4], waiting[5], waiting[6], up, found[0, done : done + held], found[1, done : done + held]
    )
    if v.size > 0:
        _put_down(waiting, places, v[done : done + held], moved)
    return done + held


# A loop that writes one row and reads a few: with more rows LLVM gives up proving that none overlap, and vectorises
# nothing.


@kernel
def _roots(excess, above, below, higher, lower, rate, held, to_below, to_above):
    gap, near = to_above, to_below
    for i in range(held):
        gap[i] = min(abs(higher[i] - lower[i]) * rate, 1e300)
    for i in range(held):
        d, a, b = excess[i], above[i], below[i]
        root = abs(d) + math.sqrt(d * d + a * b * exp_nonpositive(-gap[i]))
        is_between = d == 0.0
        log = log_normal((a if is_between else root) / (a if d < 0.0 else b))
        near[i] = 0.5 * (log - gap[i]) if is_between else log
    for i in range(held):
        far = -gap[i] - near[i]
        gap[i] = near[i] if excess[i] < 0.0 else far
        near[i] = far if excess[i] < 0.0 else near[i]


@kernel
def _steps(higher, lower, to_below, to_above, up, anchors, steps):
    for i in range(anchors.size):
        anchors[i] = lower[i] if to_below[i] >= to_above[i] else higher[i]  # the nearer neighbour loses less
    for i in range(anchors.size):
        steps[i] = -up * to_below[i] if to_below[i] >= to_above[i] else up * to_above[i]


@kernel
def _put_down(waiting, places, v, moved):
    """The gradient of each target at the scores on either side, by their weights among all in its softmax."""
    above, below, to_below, to_above = waiting[1], waiting[2], waiting[5], waiting[6]
    for i in range(v.size):
        lead = to_above[i] - to_below[i]
        lesser = exp_nonpositive(-abs(lead))
        from_above, from_below = (1.0, lesser) if lead >= 0.0 else (lesser, 1.0)
        weight = v[i] / (from_above * above[i] + from_below * below[i])
        to_above[i], to_below[i] = weight * from_above, weight * from_below
    for i in range(v.size):
        at = places[i]
        if at > 0:
            moved[1, at - 1] += to_above[i]
        if at < moved.shape[1]:
            moved[0, at] += to_below[i]


@kernel
def _sweep_out(y, rate, moved, factor):
    """Let what was put down fade along the scores, moved[0] to those behind and moved[1] to those before; into
    moved[0].
    """
    pull, blocks = 0.0, (y.size + BLOCK - 1) // BLOCK
    for b in range(blocks):
        start, size = b * BLOCK, min(BLOCK, y.size - b * BLOCK)
        factors(y, start, size, rate, factor)
        down = moved[0, start : start + size]
        for i in range(size):
            pull = pull * factor[i] + down[i]
            down[i] = pull
    pull = 0.0
    for b in range(blocks - 1, -1, -1):
        start, size = b * BLOCK, min(BLOCK, y.size - b * BLOCK)
        factors(y, start, size, rate, factor)
        up, down = moved[1, start : start + size], moved[0, start : start + size]
        for i in range(size - 1, -1, -1):
            pull += up[i]
            down[i] += pull
            pull *= factor[i]
