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
from ..jit import uncounted
from ..scalars.functions import exp_nonpositive, fma
from ..scalars.summary import merged, soft_count
from . import parallel
from .sweeps import Summary, approach, blocks_of, both_sums, factors, fade, finite_part, merge, stretches
from .vectors import BLOCK, copy


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
    wanted = upstream is not None
    upstream = frozen(upstream if wanted else np.empty(0, ranks.dtype))
    gradient, alpha_gradient = np.zeros(len(upstream), upstream.dtype), np.zeros(len(alphas))
    rates, workspace = np.minimum(1.0 / alphas, np.finfo(np.float64).max), parallel.Workspace()

    def room(length):
        return (
            workspace.array("v", (max(length, BLOCK) if wanted else 0,), upstream.dtype),
            workspace.array("ahead", (2, blocks_of(length)), np.float64),
            np.zeros((2, 2)),
            _buffers(workspace),
        )

    def work(group):
        scores, places = order.sorted(group)
        given = (offsets, group, rates, float(base), descending, upstream)
        _rank_rows(scores, places, *given, *room(scores.shape[1]), ranks, gradient, alpha_gradient)

    def of_long(r):
        whole = slice(offsets[r], offsets[r + 1])
        scores, places = order.sorted(np.array([r]), order.cores.threads)
        given = (rates[r], float(base), descending, upstream[whole] if wanted else upstream)
        out = (ranks[whole] if results else ranks, gradient[whole] if wanted else gradient)
        total = _rank_of_parts(scores[0], places[0], *given, *out, order.cores)
        alpha_gradient[r] = -total * rates[r]

    parallel.each_ranking(order.groups, offsets, order.cores, work, of_long)
    return (ranks if results else None), *((gradient, alpha_gradient) if wanted else (None, None))


def _buffers(workspace):
    """Factors; weights, the first of which is 1; sums before and behind: rows for a block."""
    buffers = workspace.array("buffers", (7, BLOCK), np.float64)
    buffers[1] = 1.0
    return buffers


def _rank_of_parts(scores, places, rate, base, descending, upstream, ranks, gradient, cores):
    """One long ranking, as _rank_rows does short ones, in parts that no tie lies across; returns sum gradient_i x_i."""
    start, stop = finite_part(scores, np.inf if descending else -np.inf)
    _tied(places, ranks, 0, start, base)
    _tied(places, ranks, stop, len(scores), base)
    y, place, base = scores[start:stop], places[start:stop], base + start
    v, workspace = np.empty(len(y) if len(upstream) else 0, upstream.dtype), parallel.Workspace()
    common = _common(upstream)

    def begin(part, _):
        if len(v):
            _put_in_order(upstream, place, part.begin, part.end, v)
            _take_off(common, v[part.begin : part.end])
        sums = np.empty((2, 2))
        approach(y, part.begin, part.end, rate, v, part.ahead, _buffers(workspace), sums)
        return Summary(y[part.end - 1], sums)

    def finish(part, outside):
        given = (rate, base, descending, v, part.ahead, outside, _buffers(workspace), ranks, gradient)
        return _finish(y, place, part.begin, part.end, *given)

    only = parts.Round(begin, lambda summaries: merge(summaries, rate))
    return np.sum(parts.run(stretches(y, cores.part, 2), [only], finish, parallel.each(cores.threads)))


@uncounted
def _rank_rows(
    scores,
    places,
    offsets,
    group,
    rates,
    base,
    descending,
    upstream,
    v,
    ahead,
    outside,
    buffers,
    ranks,
    gradient,
    alpha_gradient,
):
    """Rankings `group` of a batch: ranks, unless there is no room for them, and gradients if wanted.

    scores, places  (rows, width), best first, as order.Order gives them; a row's padding comes last
    v, ahead, outside, buffers  room for the longest or a block: pulls in order, carries, nothing outside, rows for a
                    block
    """
    width, infinity = scores.shape[1], np.inf if descending else -np.inf
    at_once = BLOCK // width
    for row in range(group.size):
        if at_once > 0 and row % at_once == 0:
            rows = min(at_once, group.size - row)
            _block_sums(scores, places, offsets, group, row, rows, rates, infinity, upstream, v, buffers)
        r = group[row]
        here = slice(offsets[r], offsets[r + 1])
        length = here.stop - here.start
        start, stop = finite_part(scores[row, :length], infinity)
        y, place = scores[row, start:stop], places[row, start:stop]
        out, slope = ranks[here] if ranks.size > 0 else ranks, gradient[here] if upstream.size > 0 else gradient
        _tied(places[row], out, 0, start, base)
        _tied(places[row], out, stop, length, base)
        if at_once > 0:
            at = row % at_once * width + start
            total = _finish_row(y, place, at, rates[r], base + start, descending, buffers, out, slope)
        else:
            pull = upstream[here] if upstream.size > 0 else upstream
            mine = v[: y.size] if v.size > 0 else v
            _put_in_order(pull, place, 0, mine.size, mine)
            _take_off(_common(mine), mine)
            approach(y, 0, y.size, rates[r], mine, ahead, buffers, outside[:0])
            given = (rates[r], base + start, descending, mine, ahead, outside, buffers, out, slope)
            total = _finish(y, place, 0, y.size, *given)
        alpha_gradient[r] = -total * rates[r]


@uncounted
def _block_sums(scores, places, offsets, group, first, rows, rates, infinity, upstream, v, buffers):
    """The sums before and behind each score of so many rankings, swept as one: into buffers, row after row.

    Where the finite scores of a ranking begin, and behind their end, the factor is 0.
    """
    width = scores.shape[1]
    size, factor, weights, before, behind = rows * width, buffers[0], buffers[1:3], buffers[3:5], buffers[5:7]
    for row in range(rows):
        r, y, z = group[first + row], scores[first + row], factor[row * width : (row + 1) * width]
        start, stop = finite_part(y[: offsets[r + 1] - offsets[r]], infinity)
        _exponents(y[1:], y[:-1], rates[r], z[1:])
        z[0] = -np.inf
        if start < width:
            z[start] = -np.inf
        if stop < width:
            z[stop] = -np.inf
    _exponentials(factor[:size])
    both_sums(factor, weights[0], size, 0.0, 0.0, before[0], behind[0])
    if upstream.size == 0:
        return
    for row in range(rows):
        r = group[first + row]
        start, stop = finite_part(scores[first + row, : offsets[r + 1] - offsets[r]], infinity)
        pull, mine = upstream[offsets[r] : offsets[r + 1]], v[: stop - start]
        _put_in_order(pull, places[first + row, start:stop], 0, mine.size, mine)
        _take_off(_common(mine), mine)
        weight = weights[1, row * width : (row + 1) * width]
        weight[:] = 0.0
        copy(mine, weight[start:stop])
    both_sums(factor, weights[1], size, 0.0, 0.0, before[1], behind[1])


@uncounted
def _exponents(y, before, rate, out):
    for i in range(out.size):
        out[i] = -abs(np.float64(before[i]) - np.float64(y[i])) * rate


@uncounted
def _exponentials(z):
    for i in range(z.size):
        z[i] = exp_nonpositive(z[i])


@uncounted
def _finish_row(y, place, at, rate, base, descending, buffers, ranks, gradient):
    """Ranks and, unless there is no room for them, gradients of one ranking of a block, whose sums are in buffers from
    `at` on; returns sum gradient_i x_i.
    """
    here, total = slice(at, at + y.size), 0.0
    before, behind = buffers[3, here], buffers[5, here]
    if y.size == 0:
        return total
    if gradient.size > 0:
        half = 0.5 * rate if descending else -0.5 * rate
        slope = buffers[0, here]
        given = (half, 0.5 * np.float64(y[y.size // 2]), before, behind, buffers[4, here], buffers[6, here], slope)
        total = _gradients(y, buffers[2, here], *given) * (2.0 * half)
        _scatter(slope, place, gradient)
    if ranks.size > 0:
        _ranks(y, base, before, behind, np.nan, 0.0)
        _scatter(before, place, ranks)
    return total


@uncounted
def _tied(place, ranks, start, stop, base):
    for i in range(start, stop if ranks.size > 0 else start):
        ranks[place[i]] = base + 0.5 * (start + stop - 1)


@uncounted
def _put_in_order(upstream, place, begin, end, v):
    for i in range(begin, end):
        v[i] = upstream[place[i]]


@uncounted
def _common(v):
    """What is taken off an upstream gradient: its number nearest to 0, if all are on one side and none is beyond twice
    that; else 0.

    Ranks have a sum that no score moves, so gradients do not see it, and that difference is exact: of numbers that are
    nearly alike the sums that cancel would leave little more than their rounding.
    """
    zero = v.dtype.type(0)
    near = far = v[0] if v.size > 0 else zero
    for i in range(v.size):
        near = v[i] if abs(v[i]) < abs(near) else near
        far = v[i] if abs(v[i]) > abs(far) else far
        if not near * v[i] > zero or abs(far) > abs(near + near):
            return zero
    return near


@uncounted
def _take_off(common, v):
    for i in range(v.size if common != 0 else 0):
        v[i] -= common


@uncounted
def _finish(y, place, begin, end, rate, base, descending, v, ahead, sums, buffers, ranks, gradient):
    """Ranks of a part and, unless v is empty, gradients; returns sum gradient_i x_i.

    sums: what lies outside the part, as sweeps.merge tells it.
    """
    factor, weights, before, behind = buffers[0], buffers[1:3], buffers[3:5], buffers[5:7]
    carry, carry_v, total, last, rank = sums[0, 0], sums[1, 0], 0.0, np.nan, 0.0
    middle = 0.5 * np.float64(y[y.size // 2]) if y.size > 0 else 0.0
    half = 0.5 * rate if descending else -0.5 * rate
    for b in range((end - begin + BLOCK - 1) // BLOCK):
        start, size = begin + b * BLOCK, min(BLOCK, end - begin - b * BLOCK)
        here, origin = y[start : start + size], place[start : start + size]
        to_end = fade(y, start + size - 1, end - 1, rate) if end < y.size else 0.0
        factors(y, start, size, rate, factor)
        outer = merged(ahead[0, b], sums[0, 1], to_end)
        carry = both_sums(factor, weights[0], size, carry, outer, before[0], behind[0])
        if v.size > 0:
            copy(v[start : start + size], weights[1])
            outer = merged(ahead[1, b], sums[1, 1], to_end)
            carry_v = both_sums(factor, weights[1], size, carry_v, outer, before[1], behind[1])
            total += _gradients(here, weights[1], half, middle, before[0], behind[0], before[1], behind[1], factor)
            _scatter(factor[:size], origin, gradient)
        if ranks.size > 0:
            last, rank = _ranks(here, base + start, before[0], behind[0], last, rank)
            _scatter(before[0, :size], origin, ranks)
    return total * (2.0 * half)


@uncounted
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


@uncounted
def _has_ties(y, before):
    ties = np.int32(0)
    for i in range(y.size):
        ties += np.int32(y[i] == before[i])
    return ties > 0


@uncounted
def _gradients(y, v, half, middle, before, behind, before_v, behind_v, out):
    """The gradients of a block, from its sums with weight 1 and with v; returns the sum of what `half` scales in them
    times half the distance of each score from twice `middle`, which stays finite where 1 / alpha or a difference does
    not.
    """
    total = 0.0
    for i in range(y.size):
        out[i] = fma(-v[i], before[i] + behind[i], before_v[i] + behind_v[i])
    for i in range(y.size):
        total += out[i] * (0.5 * np.float64(y[i]) - middle)
        out[i] = out[i] * half + 0.0  # no -0, which may be of another ranking's sign
    return total


@uncounted
def _scatter(values, place, out):
    for i in range(values.size):
        out[place[i]] = values[i]
