"""Soft ranks and their gradients: r_i = base + sum over j != i of F((x_j - x_i) / alpha), in O(n log n).

On scores sorted best first, the i-th (from 0) has rank base + i - A_i / 2 + B_i / 2, where A_i and B_i sum
e^(-distance / alpha) over the scores before and after it (LapSum, ICML 2025, section 3). With A_i(v) and B_i(v) the
same sums weighted by v, the gradient of sum v_i r_i with respect to the i-th score is

    (A_i(v) + B_i(v) - v_i (A_i + B_i)) / (2 alpha)

and, since ranks do not change when scores and alpha are scaled together, that for alpha is -sum gradient_i x_i / alpha.
Two sweeps with an exponential a score in each, in parts (sweeps.py): from behind, then from the front with both sums at
hand. Short rankings are swept as one, as many as make a block: a factor of 0 where each begins lets the sums forget.
"""

import numpy as np

from ...core.rankings import frozen
from .. import parts
from ..jit import inner, uncounted
from ..scalars.functions import fma
from ..scalars.summary import merged, soft_count
from . import parallel
from .sweeps import (
    Summary,
    approach,
    blocks_of,
    both_sums,
    factors,
    factors_of_each,
    fade,
    finite_part,
    finite_span,
    merge,
    of_these,
    stretches,
    together,
)
from .upstream import common_of, put_in_order, take_off
from .vectors import BLOCK, copy

_LARGEST = float(np.finfo(np.float64).max)
_PLACES = np.arange(BLOCK, dtype=np.float64)  # integers become floats one by one, and floats are copied in SIMD


def soft_rank(order, alphas, base=1, dtype=None, upstream=None, results=True):
    """Ranks (N,), and where `upstream` is given the gradients for scores (N,) and for alpha (m,), else None.

    order     rankings, best first (order.Order); infinite scores are tied at their end, and take the mean of its places
    alphas    (m,) float64, > 0
    dtype     of the ranks; by default that of the scores
    upstream  (N,) gradient of a loss with respect to the ranks; the gradient for scores has its dtype
    results   False where nobody reads the ranks: then they are None
    """
    values, offsets, descending = order.values, order.offsets, order.descending
    ranks = np.empty(len(values) if results else 0, dtype or values.dtype)
    gradient = alpha_gradient = None  # what is None is not compiled
    if upstream is not None:
        upstream = frozen(upstream)
        gradient, alpha_gradient = np.zeros(len(upstream), upstream.dtype), np.zeros(len(alphas))
    rates, workspace = np.minimum(1.0 / alphas, _LARGEST), parallel.Scratch()

    def work(first, last):
        scores, places = order.sorted(first, last)
        v = None if upstream is None else workspace.array("v", (len(scores),), upstream.dtype)
        given = (
            scores,
            places,
            offsets,
            first,
            last,
            rates,
            float(base),
            descending,
            upstream,
            v,
            buffers_of(workspace),
        )
        out = (ranks, gradient, alpha_gradient)
        _rank_block(*given, *out)
        if order.rankings.longest > BLOCK:
            ahead = workspace.array("ahead", (2, blocks_of(len(scores))), np.float64)
            _rank_longer(*given, ahead, np.zeros((2, 2)), *out)

    def of_long(r):
        whole = slice(offsets[r], offsets[r + 1])
        scores, places = order.sorted(r, r + 1, order.cores.threads)
        pull, pulled = (None, None) if upstream is None else (upstream[whole], gradient[whole])
        given = (rates[r], float(base), descending, pull, ranks[whole] if results else ranks, pulled)
        total = _rank_of_parts(scores, places, *given, order.cores)
        if alpha_gradient is not None:
            alpha_gradient[r] = -total * rates[r]

    parallel.each_ranking(order.blocks, offsets, order.cores, work, of_long)
    return (ranks if results else None), gradient, alpha_gradient


def buffers_of(workspace):
    """Factors; weights, the first of which is 1; sums before and behind; rates and places: rows for a block."""
    buffers = workspace.array("buffers", (9, BLOCK), np.float64)
    buffers[1] = 1.0
    return buffers


def _rank_of_parts(scores, places, rate, base, descending, upstream, ranks, gradient, cores):
    """One long ranking, as _rank_block does others, in parts that no tie lies across; returns sum gradient_i x_i."""
    start, stop = finite_part(scores, np.inf if descending else -np.inf)
    _tied(places, ranks, 0, start, base)
    _tied(places, ranks, stop, len(scores), base)
    y, place, base = scores[start:stop], places[start:stop], base + start
    v = None if upstream is None else np.empty(len(y), upstream.dtype)
    common, workspace = None if upstream is None else common_of(upstream), parallel.Scratch()
    middle = 0.5 * float(y[len(y) // 2]) if len(y) else 0.0

    def begin(part, _):
        if v is not None:
            put_in_order(upstream, place, part.begin, part.end, v)
            take_off(common, v[part.begin : part.end])
        sums = np.empty((2, 2))
        approach(y, part.begin, part.end, rate, v, part.ahead, buffers_of(workspace), sums)
        return Summary(y[part.end - 1], sums)

    def of_part(part, outside):
        given = (rate, base, descending, v, part.ahead, outside, buffers_of(workspace), ranks, gradient)
        return finish(y, place, part.begin, part.end, *given, middle)

    only = parts.Round(begin, lambda summaries: merge(summaries, rate))
    return np.sum(parts.run(stretches(y, cores.part, 2), [only], of_part, parallel.each(cores.threads)))


@uncounted
def _rank_block(
    scores,
    places,
    offsets,
    first,
    last,
    rates,
    base,
    descending,
    upstream,
    v,
    buffers,
    ranks,
    gradient,
    alpha_gradient,
):
    """Rankings first .. last of a batch that are no longer than a block: ranks, unless there is no room for them, and
    gradients unless they are None.

    scores, places  (size,), as order.Order sorts a block
    v, buffers      room: pulls in order, rows for a block of a sweep; v is filled for longer rankings too
    """
    begin, here, r = offsets[first], slice(offsets[first], offsets[last]), first
    out, slope = ranks[here] if ranks.size > 0 else ranks, of_these(gradient, here)
    if v is not None:
        put_in_order(upstream[here], places, 0, v.size, v)
    while r < last:
        stop = together(offsets, r, last)
        swept = slice(offsets[r] - begin, offsets[stop] - begin)
        if swept.stop - swept.start <= BLOCK:
            given = (offsets, r, stop, rates, base, descending, of_these(v, swept), buffers, out, slope)
            _rank_short(scores[swept], places[swept], *given, alpha_gradient)
        r = stop


@uncounted
def _rank_longer(
    scores,
    places,
    offsets,
    first,
    last,
    rates,
    base,
    descending,
    upstream,
    v,
    buffers,
    ahead,
    outside,
    ranks,
    gradient,
    alpha_gradient,
):
    """As _rank_block, and after it: the rankings that are longer than a block.

    ahead, outside  room for carries; nothing outside
    """
    begin, here = offsets[first], slice(offsets[first], offsets[last])
    out, slope = ranks[here] if ranks.size > 0 else ranks, of_these(gradient, here)
    for r in range(first, last):
        at, end = offsets[r] - begin, offsets[r + 1] - begin
        if end - at > BLOCK:
            _, start, stop, _ = finite_span(scores, offsets, first, r, descending)
            _tied(places[at:end], out, 0, start - at, base)
            _tied(places[at:end], out, stop - at, end - at, base)
            finite = slice(start, stop)
            y, mine = scores[finite], of_these(v, finite)
            if v is not None:
                take_off(common_of(mine), mine)
            approach(y, 0, y.size, rates[r], mine, ahead, buffers, outside[:0])
            given = (rates[r], base + start - at, descending, mine, ahead, outside, buffers, out, slope)
            total = finish(y, places[finite], 0, y.size, *given, _middle(y))
            if v is not None:
                alpha_gradient[r] = -total * rates[r]


@inner
def _rank_short(y, place, offsets, first, last, rates, base, descending, v, buffers, ranks, gradient, alpha_gradient):
    """Rankings first .. last, which are at most a block together, swept as one."""
    factor, weights, before, behind = buffers[0, : y.size], buffers[1:3], buffers[3:5], buffers[5:7]
    rate_of, rank_of = buffers[7, : y.size], buffers[8, : y.size]
    infinite = _spread(y, offsets, first, last, rates, base, rate_of, rank_of)
    factors_of_each(y, offsets, first, last, rate_of, factor)
    both_sums(factor, weights[0], y.size, 0.0, 0.0, before[0], behind[0])
    if v is not None:
        _weigh(y, offsets, first, last, descending, v, weights[1])
        both_sums(factor, weights[1], y.size, 0.0, 0.0, before[1], behind[1])
        _slopes(weights[1], before[0], behind[0], before[1], behind[1], factor)
        _totals(y, offsets, first, last, descending, rates, factor, alpha_gradient)
        _scale(factor, 0.5 if descending else -0.5, rate_of)
        _scatter(factor, place, gradient)
    if ranks.size > 0:
        _soft_counts(rank_of, before[0], behind[0])
        if y.size > 0 and _has_ties(y[1:], y[:-1]):
            _even_ties(y, offsets, first, last, before[0])
        if infinite:
            _even_infinite(y, offsets, first, last, base, descending, before[0])
        _scatter(before[0, : y.size], place, ranks)


@inner
def _spread(y, offsets, first, last, rates, base, rate_of, rank_of):
    """The rate of every score and its hard rank; whether any score is infinite."""
    infinite = False
    for r in range(first, last):
        at, stop = offsets[r] - offsets[first], offsets[r + 1] - offsets[first]
        rate, mine, ranks = rates[r], rate_of[at:stop], rank_of[at:stop]
        for i in range(mine.size):
            mine[i], ranks[i] = rate, base + _PLACES[i]
        infinite |= at < stop and (abs(y[at]) == np.inf or abs(y[stop - 1]) == np.inf)
    return infinite


@inner
def _weigh(y, offsets, first, last, descending, v, weight):
    """The pulls of finite scores, less what those of a ranking have in common; infinite scores have none."""
    for r in range(first, last):
        at, start, stop, end = finite_span(y, offsets, first, r, descending)
        mine = v[start:stop]
        take_off(common_of(mine), mine)
        v[at:start], v[stop:end] = 0, 0
    copy(v, weight)


@inner
def _totals(y, offsets, first, last, descending, rates, slopes, alpha_gradient):
    """The gradients for alpha, from those for the scores but for half their rate."""
    half = 0.5 if descending else -0.5
    for r in range(first, last):
        _, start, stop, _ = finite_span(y, offsets, first, r, descending)
        mine, slope, total = y[start:stop], slopes[start:stop], 0.0
        middle = 0.5 * np.float64(mine[mine.size // 2]) if mine.size > 0 else 0.0
        for i in range(mine.size):
            total += slope[i] * (0.5 * np.float64(mine[i]) - middle)
        alpha_gradient[r] = -(total * (2.0 * (half * rates[r]))) * rates[r]


@inner
def _even_ties(y, offsets, first, last, ranks):
    """A tie takes the rank of the score before it: the two sums agree only up to rounding."""
    for r in range(first, last):
        for i in range(offsets[r] - offsets[first] + 1, offsets[r + 1] - offsets[first]):
            ranks[i] = ranks[i - 1] if y[i] == y[i - 1] else ranks[i]


@inner
def _even_infinite(y, offsets, first, last, base, descending, ranks):
    """Infinite scores are tied at their end."""
    for r in range(first, last):
        at, start, stop, end = finite_span(y, offsets, first, r, descending)
        ranks[at:start] = base + 0.5 * (start - at - 1)
        ranks[stop:end] = base + 0.5 * (stop - at + end - at - 1)


@uncounted
def _tied(place, ranks, start, stop, base):
    for i in range(start, stop if ranks.size > 0 else start):
        ranks[place[i]] = base + 0.5 * (start + stop - 1)


@uncounted
def finish(y, place, begin, end, rate, base, descending, v, ahead, sums, buffers, ranks, gradient, middle):
    """Ranks of a part and, unless v is None, gradients; returns sum gradient_i x_i, from twice the middle.

    sums: what lies outside the part, as sweeps.merge tells it. As gradients sum to 0, any middle will do for all parts.
    """
    factor, weights, before, behind = buffers[0], buffers[1:3], buffers[3:5], buffers[5:7]
    carry, carry_v, total, last, rank = sums[0, 0], sums[1, 0], 0.0, np.nan, 0.0
    half = 0.5 * rate if descending else -0.5 * rate
    for b in range((end - begin + BLOCK - 1) // BLOCK):
        start, size = begin + b * BLOCK, min(BLOCK, end - begin - b * BLOCK)
        here, origin = y[start : start + size], place[start : start + size]
        to_end = fade(y, start + size - 1, end - 1, rate) if end < y.size else 0.0
        factors(y, start, size, rate, factor)
        outer = merged(ahead[0, b], sums[0, 1], to_end)
        carry = both_sums(factor, weights[0], size, carry, outer, before[0], behind[0])
        if v is not None:
            copy(v[start : start + size], weights[1])
            outer = merged(ahead[1, b], sums[1, 1], to_end)
            carry_v = both_sums(factor, weights[1], size, carry_v, outer, before[1], behind[1])
            total += _gradients(here, weights[1], half, middle, before[0], behind[0], before[1], behind[1], factor)
            _scatter(factor[:size], origin, gradient)
        if ranks.size > 0:
            last, rank = _ranks(here, base + start, before[0], behind[0], last, rank)
            _scatter(before[0, :size], origin, ranks)
    return total * (2.0 * half)


@inner
def _middle(y):
    return 0.5 * np.float64(y[y.size // 2]) if y.size > 0 else 0.0


@inner
def _ranks(y, base, before, behind, last, rank):
    """Turn the sums before each score of a block into ranks; last and rank are those of the score before it."""
    for i in range(y.size):
        before[i] = soft_count(base + i, before[i], behind[i])
    if y[0] != last and not _has_ties(y[1:], y[:-1]):
        return np.float64(y[y.size - 1]), before[y.size - 1]
    for i in range(y.size):
        # A tie takes the rank of the score before it: the two sums agree only up to rounding.
        if y[i] == last:
            before[i] = rank
        last, rank = np.float64(y[i]), before[i]
    return last, rank


@inner
def _has_ties(y, before):
    ties = np.int32(0)
    for i in range(y.size):
        ties += np.int32(y[i] == before[i])
    return ties > 0


@inner
def _soft_counts(number, before, behind):
    """Turn the sums before each score into soft counts."""
    for i in range(number.size):
        before[i] = soft_count(number[i], before[i], behind[i])


@inner
def _gradients(y, v, half, middle, before, behind, before_v, behind_v, out):
    """The gradients of a block, from its sums with weight 1 and with v; returns the sum of what `half` scales in them
    times half the distance of each score from twice `middle`, which stays finite where 1 / alpha or a difference does
    not.
    """
    total = 0.0
    _slopes(v, before, behind, before_v, behind_v, out[: y.size])
    for i in range(y.size):
        total += out[i] * (0.5 * np.float64(y[i]) - middle)
        out[i] = out[i] * half + 0.0  # no -0, which may be of another ranking's sign
    return total


@inner
def _slopes(v, before, behind, before_v, behind_v, out):
    """The gradients but for half their rate."""
    for i in range(out.size):
        out[i] = fma(-v[i], before[i] + behind[i], before_v[i] + behind_v[i])


@inner
def _scale(slopes, half, rate):
    for i in range(slopes.size):
        slopes[i] = slopes[i] * (half * rate[i]) + 0.0  # no -0, which may be of another ranking's sign


@inner
def _scatter(values, place, out):
    for i in range(values.size):
        out[place[i]] = values[i]
