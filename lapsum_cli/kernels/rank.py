"""Soft ranks and their gradients: r_i = base + sum over j != i of F((x_j - x_i) / alpha), in O(n log n).

On scores sorted best first, the i-th (from 0) has rank base + i - A_i / 2 + B_i / 2, where A_i and B_i sum
e^(-distance / alpha) over the scores before and after it (LapSum, ICML 2025, section 3). With A_i(v) and B_i(v) the
same sums weighted by v, the gradient of sum v_i r_i with respect to the i-th score is

    (A_i(v) + B_i(v) - v_i (A_i + B_i)) / (2 alpha)

and, since ranks do not change when scores and alpha are scaled together, that for alpha is -sum gradient_i x_i / alpha.
A part of a sorted ranking is summarised by its own sums at both of its ends (`_approach`); those of all parts before and
behind it, faded to its ends, are all that it needs of them (`_finish`). A ranking is one part, a long one several, side
by side: two sweeps, one exponential a score in each.
"""

import numpy as np

from ..rankings import frozen
from . import parallel
from .jit import kernel
from .sweeps import BLOCK, both_sums, carry_before, carry_behind, factors, fade, finite_part, next_rise


def soft_rank(order, alphas, base=1, dtype=None, upstream=None, threads=1, part=parallel.PART):
    """Ranks (N,), and where `upstream` is given the gradients for scores (N,) and for alpha (m,), else None.

    order     rankings, best first (order.Order); infinite scores are tied at their end, and take the mean of its places
    alphas    (m,) float64, > 0
    dtype     of the ranks; by default that of the scores
    upstream  (N,) gradient of a loss with respect to the ranks; the gradient for scores has its dtype
    """
    values, offsets, descending = order.values, order.offsets, order.descending
    ranks = np.empty(len(values), dtype or values.dtype)
    wanted = upstream is not None
    upstream = frozen(upstream if wanted else np.empty(0, ranks.dtype))
    gradient, alpha_gradient = np.zeros(len(upstream), upstream.dtype), np.zeros(len(alphas))
    rates, workspace = np.minimum(1.0 / alphas, np.finfo(np.float64).max), parallel.Workspace()

    def room(length):
        return (
            workspace.array("v", (length if wanted else 0,), upstream.dtype),
            workspace.array("ahead", (2, -(-length // BLOCK)), np.float64),
            _buffers(workspace),
        )

    def work(group):
        scores, places = order.sorted(group)
        given = (offsets, group, rates, float(base), descending, upstream)
        _rank_rows(scores, places, *given, *room(scores.shape[1]), ranks, gradient, alpha_gradient)

    long, others = parallel.apart(order.groups, offsets, part)
    parallel.for_each(work, [(group,) for group in others], threads)
    for r in long:
        whole = slice(offsets[r], offsets[r + 1])
        scores, places = order.sorted(np.array([r]), threads)
        given = (rates[r], float(base), descending, upstream[whole] if wanted else upstream)
        out = (ranks[whole], gradient[whole] if wanted else gradient)
        total = _rank_of_parts(scores[0], places[0], *given, *out, part, threads)
        alpha_gradient[r] = -total * rates[r]
    return ranks, *((gradient, alpha_gradient) if wanted else (None, None))


def _buffers(workspace):
    """Factors; weights, the first of which is 1; sums before and behind: rows for a block."""
    buffers = workspace.array("buffers", (7, BLOCK), np.float64)
    buffers[1] = 1.0
    return buffers


def _rank_of_parts(scores, places, rate, base, descending, upstream, ranks, gradient, part, threads):
    """One long ranking, as _rank_rows does short ones, in parts that no tie lies across; returns sum gradient_i x_i."""
    start, stop = finite_part(scores, np.inf if descending else -np.inf)
    _tied(places, ranks, 0, start, base)
    _tied(places, ranks, stop, len(scores), base)
    y, place, base = scores[start:stop], places[start:stop], base + start
    begins = [0, *(next_rise(y, at) for at in range(part, len(y), part)), len(y)]
    spans = [(begin, end) for begin, end in zip(begins[:-1], begins[1:], strict=True) if begin < end]
    parts = [(i, begin, end) for i, (begin, end) in enumerate(spans)]
    v = np.empty(len(y) if len(upstream) else 0, upstream.dtype)
    ahead = [np.empty((2, -(-(end - begin) // BLOCK))) for _, begin, end in parts]
    sums, moments = np.empty((len(parts), 2, 2)), np.empty(len(parts))
    workspace = parallel.Workspace()

    def approach(i, begin, end):
        _approach(y, place, begin, end, rate, upstream, v, ahead[i], _buffers(workspace), sums[i])

    def finish(i, begin, end):
        given = (rate, base, descending, v, ahead[i], sums[i], _buffers(workspace), ranks, gradient)
        moments[i] = _finish(y, place, begin, end, *given)

    parallel.for_each(approach, parts, threads)
    _meet(y, np.array([end for _, _, end in parts]), rate, sums)
    parallel.for_each(finish, parts, threads)
    return moments.sum()


@kernel
def _rank_rows(
    scores, places, offsets, group, rates, base, descending, upstream, v, ahead, buffers, ranks, gradient, alpha_gradient
):
    nothing, outside = np.empty((0, 2)), np.zeros((2, 2))
    for row in range(group.size):
        r = group[row]
        here = slice(offsets[r], offsets[r + 1])
        length = here.stop - here.start
        start, stop = finite_part(scores[row, :length], np.inf if descending else -np.inf)
        y, place = scores[row, start:stop], places[row, start:stop]
        pull = upstream[here] if upstream.size > 0 else upstream
        out, slope = ranks[here], gradient[here] if upstream.size > 0 else gradient
        _tied(places[row], out, 0, start, base)
        _tied(places[row], out, stop, length, base)
        mine = v[: y.size] if v.size > 0 else v
        _approach(y, place, 0, y.size, rates[r], pull, mine, ahead, buffers, nothing)
        given = (rates[r], base + start, descending, mine, ahead, outside, buffers, out, slope)
        total = _finish(y, place, 0, y.size, *given)
        alpha_gradient[r] = -total * rates[r]

@kernel
def _tied(place, ranks, start, stop, base):
    for i in range(start, stop):
        ranks[place[i]] = base + 0.5 * (start + stop - 1)


@kernel
def _approach(y, place, begin, end, rate, upstream, v, ahead, buffers, sums):
    """The sums of a part alone, of weight 1 (w = 0) and of the upstream gradient (w = 1), which is put in order: v.

    ahead[w, b] is the sum over the scores behind block b, seen from its last score. sums[w], if asked for, is that over
    the whole part, seen from its last score and from the one before its first.
    """
    kinds, blocks = (2 if v.size > 0 else 1), (end - begin + BLOCK - 1) // BLOCK
    for i in range(begin, end if v.size > 0 else begin):
        v[i] = upstream[place[i]]
    ahead[0, max(blocks - 1, 0)] = ahead[1, max(blocks - 1, 0)] = 0.0
    if blocks <= 1 and sums.size == 0:
        return
    factor, weights = buffers[0], buffers[1:3]
    sums[:] = 0.0
    for b in range(blocks - 1, -1 if sums.size > 0 else 0, -1):
        start, size = begin + b * BLOCK, min(BLOCK, end - begin - b * BLOCK)
        factors(y, start, size, rate, factor)
        for w in range(kinds):
            if w == 1:
                _copy(v[start : start + size], weights[1])
            behind = carry_behind(factor, weights[w], size, ahead[w, b])
            if b > 0:
                ahead[w, b - 1] = behind
            if sums.size > 0:
                sums[w, 0] += carry_before(factor, weights[w], size) * fade(y, start + size - 1, end - 1, rate)
                sums[w, 1] = behind


@kernel
def _meet(y, ends, rate, sums):
    """Turn the sums of every part alone into those of all parts before it, seen from the last score of the part before,
    and of all behind it, seen from its own last score. ends[p]: the place after the last score of part p.
    """
    for w in range(sums.shape[1]):
        before, behind = 0.0, 0.0
        for p in range(ends.size):
            own, sums[p, w, 0] = sums[p, w, 0], before
            before = own + before * (fade(y, ends[p - 1] - 1, ends[p] - 1, rate) if p > 0 else 0.0)
        for p in range(ends.size - 1, -1, -1):
            own, sums[p, w, 1] = sums[p, w, 1], behind
            behind = own + behind * (fade(y, ends[p - 1] - 1, ends[p] - 1, rate) if p > 0 else 0.0)


@kernel
def _finish(y, place, begin, end, rate, base, descending, v, ahead, sums, buffers, ranks, gradient):
    """Ranks of a part and, unless v is empty, gradients; returns sum gradient_i x_i. sums: as _meet leaves them."""
    factor, weights, before, behind = buffers[0], buffers[1:3], buffers[3:5], buffers[5:7]
    carry, carry_v, total, last, rank = sums[0, 0], sums[1, 0], 0.0, np.nan, 0.0
    middle = np.float64(y[y.size // 2]) if y.size > 0 else 0.0
    half = 0.5 * rate if descending else -0.5 * rate
    for b in range((end - begin + BLOCK - 1) // BLOCK):
        start, size = begin + b * BLOCK, min(BLOCK, end - begin - b * BLOCK)
        here, origin = y[start : start + size], place[start : start + size]
        to_end = fade(y, start + size - 1, end - 1, rate) if end < y.size else 0.0
        factors(y, start, size, rate, factor)
        carry = both_sums(factor, weights[0], size, carry, ahead[0, b] + sums[0, 1] * to_end, before[0], behind[0])
        if v.size > 0:
            _copy(v[start : start + size], weights[1])
            outer = ahead[1, b] + sums[1, 1] * to_end
            carry_v = both_sums(factor, weights[1], size, carry_v, outer, before[1], behind[1])
            total += _gradients(here, weights[1], half, middle, before, behind, factor)
            _scatter(factor[:size], origin, gradient)
        last, rank = _ranks(here, base + start, before[0], behind[0], last, rank)
        _scatter(before[0, :size], origin, ranks)
    return total


@kernel
def _ranks(y, base, before, behind, last, rank):
    """Turn the sums before each score of a block into ranks; last and rank are those of the score before it."""
    for i in range(y.size):
        before[i] = base + i + 0.5 * (behind[i] - before[i])
    if y[0] != last and not _has_ties(y[1:], y[:-1]):
        return np.float64(y[y.size - 1]), before[y.size - 1]
    for i in range(y.size):
        # A tie takes the rank of the score before it: the two sums agree only up to rounding.
        if y[i] == last:
            before[i] = rank
        last, rank = np.float64(y[i]), before[i]
    return last, rank


@kernel
def _has_ties(y, before):
    ties = np.int32(0)
    for i in range(y.size):
        ties += np.int32(y[i] == before[i])
    return ties > 0


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
def _scatter(values, place, out):
    for i in range(values.size):
        out[place[i]] = values[i]


@kernel
def _copy(values, out):
    for i in range(values.size):
        out[i] = values[i]
