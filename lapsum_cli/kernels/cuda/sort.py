"""Soft sort and its gradient on a card: cpu.sort from the sums of sweeps.py, one target a thread.

Where the CPU marks the scores that reach each target, a thread here finds its gap by bisection of the soft counts. All
compare with the same counts, so gaps rise with their targets, whatever rounding does to the counts: those of one gap
stand together. The gradient sums what they put down there by the recurrence itself, with gaps for scores: 1 within a
gap and 0 across.
"""

import functools
from typing import NamedTuple

import numpy as np

from ...core.rankings import one_for_all
from ..scalars.laplace import LARGEST_RATE, log_nearness, to_neighbours
from ..scalars.summary import nearer, soft_count, softmax_parts
from .adapter import cuda, device, float64, kernel, one_of
from .blocks import block_sums, put_results
from .numbers import per_alpha, rates_up_to
from .order import Order, value_of
from .rank import middle_of
from .sweeps import AS_THEY_ARE, put_factors, put_sums, put_walk_factors, reach_within, run_of, sums
from .tiles import ROWS_OF_SHORT, ROWS_OF_TILE
from .walks import ranking_of, score_of, slots_of_block, take


class Solved(NamedTuple):
    """Targets 1/2, 3/2 ... or 1, 2 ... of every ranking, from the place of its first finite score on: (N,) each."""

    anchors: object  # the score next to each
    steps: object  # from there, in the unit of the scores
    gaps: object  # how many finite scores are above it; -1 elsewhere
    to_above: object  # logarithm of e^-distance/alpha to the score above it
    to_below: object
    sums: object  # (before, behind) of the scores
    spans: object  # (m, 2) int64: places from .. to of the finite scores


def soft_sort(order: Order, alphas, upstream=None, results=True):
    """Soft-sorted scores (N,) on the card, and with `upstream` gradients for scores (N,), alpha (m,); as cpu.sort."""
    lane, layout, table = order.lane, order.layout, order.layout.tiles
    if upstream is None:
        return _values(order, alphas) if results else None, None, None
    y, places = order.sorted()
    at, out = solve(order, alphas, 0.5), None
    if results:
        out = lane.result("sorted softly", layout.size, order.dtype, order.values)
        layout.each_tile(table, _emit, 0, layout.offsets, at.spans, y, at.anchors, at.steps, out)
    v = lane.room("v", (layout.size,), np.float64)
    layout.each_tile(table, _widen, 0, layout.offsets, at.spans, lane.put(upstream, "upstream"), v)
    g = pull_back(order, alphas, at, v)
    gradient = lane.result("gradient of scores", layout.size, upstream.dtype, order.values)
    moments = lane.room("moments", (1, table.count), np.float64)
    given = (layout.offsets, y, places, at.spans, at.anchors, at.steps, v, g, gradient, moments)
    layout.each_tile(table, _gradients, 1, *given)
    totals = layout.totals(table, "totals", moments)
    return out, gradient, per_alpha(lane, totals, alphas, 1.0, order.values)


def _values(order, alphas):
    """Soft-sorted scores alone: a ranking of one tile needs no array of what is known of its scores."""
    lane, layout = order.lane, order.layout
    out = lane.result("sorted softly", layout.size, order.dtype, order.values)
    keys, _ = order.keys()
    spans, rates = _spans_of(order, keys, order.bits), rates_up_to(lane, alphas, LARGEST_RATE)
    given = (layout.offsets, keys, order.bits, spans, lane.put(alphas, "alphas"), rates, order.descending, out)
    layout.sweep(_sorted, _sorted_of_short, (2, 3), given)
    if len(layout.tiles.several):
        at = solve(order, alphas, 0.5, parts=True)
        layout.each_part(_emit, 0, layout.offsets, at.spans, order.sorted()[0], at.anchors, at.steps, out)
    return out


def _spans_of(order, y, bits):
    """Where the finite ones of sorted scores, or of their keys, begin and end."""
    lane, layout = order.lane, order.layout
    spans = lane.room("spans", (layout.count, 2), np.int64)
    lane.launch(_spans, -(-layout.count // 128), 128, 0, layout.offsets, y, bits, spans)
    return spans


def solve(order: Order, alphas, first: float, parts: bool = False) -> Solved:
    """Where the soft count meets first, first + 1, ...: as many as there are finite scores, one less from 1 on.

    parts: of the rankings of several tiles alone
    """
    lane, layout = order.lane, order.layout
    y, _ = order.sorted()
    spans, rates = _spans_of(order, y, AS_THEY_ARE), rates_up_to(lane, alphas, LARGEST_RATE)
    around = sums(lane, layout, y, rates, parts=parts)
    found = [lane.room(name, (layout.size,), np.float64) for name in ("anchors", "steps", "gaps", "above", "below")]
    given = (layout.offsets, spans, y, *around, lane.put(alphas, "alphas"), rates, order.descending, first)
    each = layout.each_part if parts else functools.partial(layout.each_tile, layout.tiles)
    each(_solve, 0, *given, *found)
    return Solved(*found, around, spans)


def pull_back(order: Order, alphas, at: Solved, v):
    """The gradient (N,) for the sorted scores of sum v_l target_l; v (N,) float64, 0 where there is no target."""
    lane, layout, table = order.lane, order.layout, order.layout.tiles
    y, _ = order.sorted()
    weights = [lane.room(f"weight {side}", (layout.size,), np.float64) for side in ("above", "below")]
    layout.each_tile(table, _put_down, 0, layout.offsets, at.spans, *at.sums, *at[2:5], v, *weights)
    # e^-1e300 is 0: of the sums before a target those of its own gap alone remain.
    apart, moved = lane.put(one_for_all(1e300, layout.count)), []
    for side, weight in enumerate(weights):
        within, _ = sums(lane, layout, at.gaps, apart, weight, " within")
        put = lane.zeros(f"put {side}", (layout.size,), np.float64)
        layout.each_tile(table, _gather, 0, layout.offsets, at.spans, at.gaps, within, weight, side, put)
        moved.append(put)
    rates = rates_up_to(lane, alphas, LARGEST_RATE)
    _, up = sums(lane, layout, y, rates, moved[0], " up")
    down, _ = sums(lane, layout, y, rates, moved[1], " down")
    layout.each_tile(table, _add, 0, up, down, *moved)
    return moved[0]


@kernel
def _sorted(numbers, ranking, begin, end, offsets, keys, order, spans, alphas, rates, descending, out):
    """Soft-sorted scores of a ranking of one tile; infinite ones keep their places."""
    s, t, threads = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x
    tile = numbers[cuda.blockIdx.x]
    r, low, high = ranking[tile], begin[tile], end[tile]
    if low != offsets[r] or high != offsets[r + 1]:
        return
    factors, before = ROWS_OF_TILE * threads, ROWS_OF_TILE * threads + (high - low)
    put_factors(s, factors, keys, order, low, low, high, one_of(rates, r))
    first, last = run_of(high - low)
    _, carry, _, ahead = reach_within(s, factors, None, first, last)
    put_sums(s, factors, None, before, first, last, carry, ahead)
    cuda.syncthreads()
    start, stop, up = low + spans[r, 0], low + spans[r, 1], one_of(alphas, r) * (1.0 if descending else -1.0)
    for i in range(low + t, high, threads):
        out[i] = _value(keys, order, s, before - low, factors - low, start, stop, up, one_of(rates, r), i)


@kernel
def _sorted_of_short(short, slots, offsets, keys, order, spans, alphas, rates, descending, out):
    """The same of a short ranking for each thread."""
    s, t, threads = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x
    count, r = slots_of_block(slots), ranking_of(short)
    factors = ROWS_OF_SHORT * threads
    owners, before = factors + count, factors + 2 * count
    first, last = take(s, owners, r, slots, offsets, one_of(rates, r) if r >= 0 else 0.0)
    put_walk_factors(s, factors, owners, count, keys, order)
    put_sums(s, factors, None, before, first, last, 0.0, 0.0)
    cuda.syncthreads()
    for slot in range(t, count, threads):
        owner = int(s[owners + slot])
        if owner >= 0:
            i, low, _ = score_of(s, owner, slot)
            r = int(s[4 * threads + owner])
            start, stop, up = low + spans[r, 0], low + spans[r, 1], one_of(alphas, r) * (1.0 if descending else -1.0)
            shift = slot - i
            out[i] = _value(keys, order, s, before + shift, factors + shift, start, stop, up, one_of(rates, r), i)


@device
def _value(y, order, s, before, behind, start, stop, up, rate, i):
    """Where the soft count meets place i, 1/2 at first; the sums of score i are at s[before + i] and s[behind + i]."""
    if i < start or i >= stop:
        return np.float64(value_of(y[i], order))
    _, anchor, step, _, _ = _meeting(y, order, s, before, s, behind, start, stop, up, rate, 0.5 + (i - start))
    return anchor + step


@kernel
def _spans(offsets, y, order, spans):
    """Where the finite scores of each sorted ranking begin and end."""
    r = cuda.grid(1)
    if r < spans.shape[0]:
        start, stop = offsets[r], offsets[r + 1]
        low, high = start, stop
        best = value_of(y[start], order) if stop > start else 0.0
        while low < high and abs(best) == np.inf:  # the infinity that comes first, if any
            middle = (low + high) // 2
            if value_of(y[middle], order) == best:
                low = middle + 1
            else:
                high = middle
        begin, high = (low if abs(best) == np.inf else start), stop
        low = begin
        while low < high:
            middle = (low + high) // 2
            if abs(value_of(y[middle], order)) < np.inf:
                low = middle + 1
            else:
                high = middle
        spans[r, 0], spans[r, 1] = begin - start, low - start


@kernel
def _solve(
    numbers,
    ranking,
    begin,
    end,
    offsets,
    spans,
    y,
    before,
    behind,
    alphas,
    rates,
    descending,
    first,
    anchors,
    steps,
    gaps,
    to_above,
    to_below,
):
    """Every target of a tile: its gap by bisection, then the closed form there. A column each of `Solved`."""
    tile = numbers[cuda.blockIdx.x]
    r = ranking[tile]
    start, stop = offsets[r] + spans[r, 0], offsets[r] + spans[r, 1]
    up = one_of(alphas, r) * (1.0 if descending else -1.0)
    count = stop - start - (first == 1.0)
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        gaps[i] = -1.0
        if start <= i < start + count:
            target = first + (i - start)
            at, anchor, step, above, below = _meeting(
                y, AS_THEY_ARE, before, 0, behind, 0, start, stop, up, one_of(rates, r), target
            )
            gaps[i], anchors[i], steps[i], to_above[i], to_below[i] = at - start, anchor, step, above, below


@device
def _meeting(y, order, before, b, behind, c, start, stop, up, rate, target):
    """The gap of finite scores start .. stop where their soft count meets a target, by bisection; a score beside it and
    the step from there; and the logarithms of e^-distance/alpha to the scores above and below.

    The sums before and behind score i are before[b + i] and behind[c + i].
    """
    at = _gap(before, b, behind, c, start, stop, target)
    sum_above = before[b + at - 1] + 1.0 if at > start else 0.0
    sum_below = behind[c + at] + 1.0 if at < stop else 0.0
    gap = np.inf
    if start < at < stop:
        gap = abs(np.float64(value_of(y[at - 1], order)) - np.float64(value_of(y[at], order))) * rate
    gap = min(gap, 1e300)
    excess = target - (at - start)
    near = log_nearness(excess, sum_above, sum_below, gap)
    below, above = to_neighbours(near, excess, gap)
    anchor = np.float64(value_of(y[at if below >= above else at - 1], order))  # the other may lie beyond the scores
    return at, anchor, nearer(above, below, up * above, -up * below), above, below


@device
def _gap(before, b, behind, c, start, stop, target):
    """The first score whose soft count reaches the target."""
    low, high = start, stop
    while low < high:
        middle = (low + high) // 2
        if soft_count(middle - start, before[b + middle], 1.0 + behind[c + middle]) < target:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _emit(numbers, ranking, begin, end, offsets, spans, y, anchors, steps, out):
    """Targets as values; infinite scores keep their places."""
    tile = numbers[cuda.blockIdx.x]
    r = ranking[tile]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        is_finite = spans[r, 0] <= i - offsets[r] < spans[r, 1]
        out[i] = anchors[i] + steps[i] if is_finite else y[i]


@kernel
def _widen(numbers, ranking, begin, end, offsets, spans, upstream, v):
    """The upstream gradient of finite places, as float64; 0 at the others."""
    tile = numbers[cuda.blockIdx.x]
    r = ranking[tile]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        v[i] = upstream[i] if spans[r, 0] <= i - offsets[r] < spans[r, 1] else 0.0


@kernel
def _put_down(numbers, ranking, begin, end, offsets, spans, before, behind, gaps, to_above, to_below, v, above, below):
    """The gradient of each target at the scores on either side, by their weights among all in its softmax."""
    tile = numbers[cuda.blockIdx.x]
    r = ranking[tile]
    start, stop = offsets[r] + spans[r, 0], offsets[r] + spans[r, 1]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        above[i], below[i] = 0.0, 0.0
        if gaps[i] >= 0.0:
            at = start + np.int64(gaps[i])
            sum_above = before[at - 1] + 1.0 if at > start else 0.0
            sum_below = behind[at] + 1.0 if at < stop else 0.0
            above[i], below[i] = softmax_parts(v[i], sum_above, sum_below, to_above[i], to_below[i])


@kernel
def _gather(numbers, ranking, begin, end, offsets, spans, gaps, within, weight, side, put):
    """The sum of a gap's targets, known at the last of them, at the score above the gap (side 0) or below it (1)."""
    tile = numbers[cuda.blockIdx.x]
    r = ranking[tile]
    start, stop = offsets[r] + spans[r, 0], offsets[r] + spans[r, 1]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        if gaps[i] >= 0.0 and (i + 1 == offsets[r + 1] or gaps[i + 1] != gaps[i]):
            at = start + np.int64(gaps[i]) - (1 if side == 0 else 0)
            if start <= at < stop:
                put[at] = within[i] + weight[i]


@kernel
def _add(numbers, ranking, begin, end, up, down, moved_up, moved_down):
    """What reaches each score from both directions, in place of moved_up."""
    tile = numbers[cuda.blockIdx.x]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        moved_up[i] = up[i] + moved_up[i] + (down[i] + moved_down[i])


@kernel
def _gradients(numbers, ranking, begin, end, offsets, y, places, spans, anchors, steps, v, g, gradient, moments):
    """The gradient for scores, where they came from; and of each tile sum v_l y_l - sum g_i x_i."""
    s, tile = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x]
    r = ranking[tile]
    low = offsets[r]
    middle, moment = middle_of(y, low, offsets[r + 1]), 0.0
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        slope = 0.0
        if spans[r, 0] <= i - low < spans[r, 1]:
            slope = g[i]
            moment += v[i] * (anchors[i] - middle + steps[i]) - slope * (np.float64(y[i]) - middle)
        gradient[low + places[i]] = slope
    block_sums(s, (moment,))
    put_results(s, 1, moments, tile)
