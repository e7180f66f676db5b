"""Soft ranks and their gradients on a card: cpu.rank from the sums of sweeps.py, one score a thread.

On scores sorted best first, the i-th (from 0) has rank base + i - A_i / 2 + B_i / 2; ties have that of the first among
them, infinite scores the mean of their places.
"""

import numpy as np

from ..scalars.summary import merged, soft_count, step
from .adapter import cuda, device, float64, kernel, one_of
from .blocks import block_sums, put_results, uint32
from .numbers import per_alpha, rates_up_to
from .order import Order, value_of
from .sweeps import carries, no_weights, put_factors, put_walk_factors, reach, run_of
from .tiles import ROWS_OF_SHORT, ROWS_OF_TILE
from .walks import ranking_of, score_of, slots_of_block, take


def soft_rank(order: Order, alphas, base=1, dtype=None, upstream=None, results=True):
    """Ranks (N,) on the card, and where `upstream` is given the gradients for scores (N,) and alpha (m,), else None.

    As cpu.rank.soft_rank; alphas (m,) are here or on the card, upstream (N,) is wherever the scores are.
    """
    lane, layout = order.lane, order.layout
    keys, places = order.keys()
    rates = rates_up_to(lane, alphas, np.finfo(np.float64).max)
    sorted_scores = (layout.offsets, keys, order.bits, places)
    outer, ranks = carries(lane, layout, keys, order.bits, rates, no_weights(lane)), None
    if results:
        ranks = lane.result(f"ranks of {order.name}", layout.size, dtype or order.dtype, order.values)
        layout.sweep(_ranks, _ranks_of_short, (2, 2), (*sorted_scores, rates, float(base), ranks), outer)
        layout.each_part(_ranks_of_ties, 0, *sorted_scores, ranks)
    if upstream is None:
        return ranks, None, None
    pulls, table = lane.put(upstream, "upstream"), layout.tiles
    v = lane.room("v", (layout.size if len(table.several) else 0,), upstream.dtype)
    layout.each_part(_pick, 0, *sorted_scores, pulls, v)
    outer_v = carries(lane, layout, keys, order.bits, rates, v, "carries v")
    gradient = lane.result(f"gradient of {order.name}", layout.size, upstream.dtype, order.values)
    moments = lane.room("moments", (1, table.count), np.float64)
    given = (*sorted_scores, rates, order.descending, pulls, gradient, moments, table.first)
    layout.sweep(_gradients, _gradients_of_short, (3, 3), given, v, outer, outer_v)
    totals = layout.totals(table, "totals", moments)
    return ranks, gradient, per_alpha(lane, totals, alphas, -1.0, order.values)


@kernel
def _ranks(numbers, ranking, begin, end, offsets, keys, order, places, rates, base, ranks, outer):
    """Ranks, where the scores came from; but for ties that a tile before has the first of."""
    s, t, threads = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x
    tile = numbers[cuda.blockIdx.x]
    r, low, high = ranking[tile], begin[tile], end[tile]
    start, stop = offsets[r], offsets[r + 1]
    factors, results = ROWS_OF_TILE * threads, ROWS_OF_TILE * threads + (high - low)
    put_factors(s, factors, keys, order, start, low, high, one_of(rates, r))
    first, last = run_of(high - low)
    carry, ahead = reach(s, factors, None, first, last, outer, tile, low == start and high == stop)
    _differences(s, factors, results, first, last, carry, ahead)
    cuda.syncthreads()
    own, own_places, to = keys[low:high], places[low:high], ranks[start:stop]
    follows, i, size, step = low > start and keys[low - 1] == keys[low], uint32(t), uint32(high - low), uint32(threads)
    while i < size:
        rank = _rank(s, results, own, order, low - start, follows, i, base)
        if abs(value_of(own[i], order)) == np.inf:
            rank = _rank_of_infinite(keys, start, stop, low + i, base)
        if rank == rank:
            to[own_places[i]] = rank
        i = uint32(i + step)


@kernel
def _ranks_of_short(short, slots, offsets, keys, order, places, rates, base, ranks):
    """Ranks, where the scores came from, of a short ranking for each thread."""
    s, t, threads = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x
    count, r = slots_of_block(slots), ranking_of(short)
    factors, results = ROWS_OF_SHORT * threads, ROWS_OF_SHORT * threads + count
    first, last = take(s, results, r, slots, offsets, one_of(rates, r) if r >= 0 else 0.0)
    put_walk_factors(s, factors, results, count, keys, order)
    _differences(s, factors, results, first, last, 0.0, 0.0)
    for i in range(first, last):
        s[factors + i] = t  # the owner, once more
    cuda.syncthreads()
    for slot in range(t, count, threads):
        owner = int(s[factors + slot])
        if owner >= 0:
            i, start, stop = score_of(s, owner, slot)
            rank = _rank(s, uint32(results + slot - (i - start)), keys[start:stop], order, 0, False, i - start, base)
            if abs(value_of(keys[i], order)) == np.inf:
                rank = _rank_of_infinite(keys, start, stop, i, base)
            ranks[start + places[i]] = rank


@kernel
def _ranks_of_ties(numbers, ranking, begin, end, offsets, keys, order, places, ranks):
    """Ranks of the scores of a tile that are tied with the last one before it: that of the first of the tie."""
    tile = numbers[cuda.blockIdx.x]
    low, high = begin[tile], end[tile]
    start = offsets[ranking[tile]]
    if low == start or keys[low - 1] != keys[low] or abs(value_of(keys[low], order)) == np.inf:
        return
    first, last = tie(keys, start, high, low)
    for i in range(low + cuda.threadIdx.x, last, cuda.blockDim.x):
        ranks[start + places[i]] = ranks[start + places[first]]


@device
def _differences(s, factors, results, first, last, carry, ahead):
    """The sum behind less that before each score of a thread's run, as results; carry and ahead: of `reach`."""
    i = uint32(first)
    while i < last:
        f = s[uint32(factors + i)]
        s[uint32(results + i)] = carry * f
        carry = merged(1.0, carry, f)
        i = uint32(i + uint32(1))
    while i > first:
        i = uint32(i - uint32(1))
        s[uint32(results + i)] = ahead - s[uint32(results + i)]
        ahead = step(ahead, 1.0, s[uint32(factors + i)])


@device
def _rank(s, results, keys, order, before, follows, i, base):
    """Of a finite score, the i-th of those whose keys and differences are at hand, with so many of its ranking before.

    Of a tie that of its first, NaN where that comes before, as it does for the first if that `follows`.
    """
    first = uint32(i)
    if first > uint32(0) and keys[uint32(first - uint32(1))] == keys[first]:
        first = uint32(tie(keys, 0, first, first)[0])
    if follows and first == uint32(0):
        return np.nan
    return soft_count(base + np.float64(before + first), 0.0, s[uint32(results + first)])


@device
def _rank_of_infinite(keys, start, stop, i, base):
    """Of score i of a ranking start .. stop, which is infinite: the mean of the places of these."""
    first, last = tie(keys, start, stop, i)
    return base + 0.5 * (first - start + last - start - 1)


@device
def tie(y, low, high, at):
    """First and last + 1 of the sorted scores low .. high that equal the one at `at`."""
    first, last = low, at
    while first < last:
        middle = (first + last) // 2
        if y[middle] == y[at]:
            last = middle
        else:
            first = middle + 1
    start, stop = at + 1, high
    while start < stop:
        middle = (start + stop) // 2
        if y[middle] == y[at]:
            start = middle + 1
        else:
            stop = middle
    return first, start


@kernel
def _pick(numbers, ranking, begin, end, offsets, keys, order, places, upstream, v):
    """The upstream gradient in the order of the scores; nothing for infinite ones."""
    tile = numbers[cuda.blockIdx.x]
    low = offsets[ranking[tile]]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        v[i] = _pull(keys, order, places, upstream[low:], i)


@device
def _pull(keys, order, places, upstream, i):
    """That of score i; upstream: of its ranking."""
    return upstream[places[i]] if abs(value_of(keys[i], order)) < np.inf else 0.0


@device
def middle_of(y, low, high):
    """A finite score about which moments are taken: no offset of the scores costs a digit."""
    return finite(y[(low + high) // 2])


@device
def finite(score):
    """The score, or 0 for an infinite one."""
    return np.float64(score) if abs(score) < np.inf else 0.0


@kernel
def _gradients(
    numbers,
    ranking,
    begin,
    end,
    offsets,
    keys,
    order,
    places,
    rates,
    descending,
    upstream,
    gradient,
    moments,
    tiles,
    v,
    outer,
    outer_v,
):
    """The gradient for scores, where they came from; and of each tile sum gradient_i x_i, from a score in the middle.

    v: the upstream gradient in the order of the scores, of rankings of several tiles.
    """
    s, t, threads = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x
    tile = numbers[cuda.blockIdx.x]
    r, low, high = ranking[tile], begin[tile], end[tile]
    start, stop = offsets[r], offsets[r + 1]
    is_alone, size = low == start and high == stop, uint32(high - low)
    factors = ROWS_OF_TILE * threads
    pulls, slopes = factors + size, factors + 2 * size
    own, own_places, i, each = keys[low:high], places[low:high], uint32(t), uint32(threads)
    of_ranking, of_tile = upstream[start:stop], v[low:high]  # the latter of none but rankings of several tiles
    while i < size:
        s[uint32(pulls + i)] = _pull(own, order, own_places, of_ranking, i) if is_alone else of_tile[i]
        i = uint32(i + each)
    put_factors(s, factors, keys, order, start, low, high, one_of(rates, r))
    first, last = run_of(size)
    carry, ahead = reach(s, factors, None, first, last, outer, tile, is_alone)
    carry_v, ahead_v = reach(s, factors, pulls, first, last, outer_v, tile, is_alone)
    _slopes(s, factors, pulls, slopes, first, last, carry, ahead, carry_v, ahead_v)
    cuda.syncthreads()
    half, middle = (0.5 if descending else -0.5) * one_of(rates, r), finite(value_of(keys[(start + stop) // 2], order))
    moment, to, i = 0.0, gradient[start:stop], uint32(t)
    while i < size:
        g = 0.0
        y = value_of(own[i], order)
        if abs(y) < np.inf:
            g = half * s[uint32(slopes + i)]
            moment += g * (np.float64(y) - middle)
        to[own_places[i]] = g
        i = uint32(i + each)
    block_sums(s, (moment,))
    put_results(s, 1, moments, tile)


@kernel
def _gradients_of_short(
    short, slots, offsets, keys, order, places, rates, descending, upstream, gradient, moments, tiles
):
    """The same of a short ranking for each thread; tiles (m + 1,): the first tile of each."""
    s, t, threads = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x
    count, r = slots_of_block(slots), ranking_of(short)
    factors = ROWS_OF_SHORT * threads
    pulls, slopes = factors + count, factors + 2 * count
    first, last = take(s, slopes, r, slots, offsets, one_of(rates, r) if r >= 0 else 0.0)
    for slot in range(t, count, threads):
        owner = int(s[slopes + slot])
        if owner >= 0:
            i, start, _ = score_of(s, owner, slot)
            s[pulls + slot] = _pull(keys, order, places, upstream[start:], i)
    put_walk_factors(s, factors, slopes, count, keys, order)
    _slopes(s, factors, pulls, slopes, first, last, 0.0, 0.0, 0.0, 0.0)
    for i in range(first, last):
        s[factors + i] = t  # the owner, once more
    cuda.syncthreads()
    half = 0.5 if descending else -0.5
    for slot in range(t, count, threads):
        owner = int(s[factors + slot])
        if owner >= 0:
            i, start, stop = score_of(s, owner, slot)
            y, g, moment = value_of(keys[i], order), 0.0, 0.0
            if abs(y) < np.inf:
                g = half * s[3 * threads + owner] * s[slopes + slot]
                moment = g * (np.float64(y) - finite(value_of(keys[(start + stop) // 2], order)))
            gradient[start + places[i]] = g
            s[pulls + slot] = moment
    cuda.syncthreads()
    if r >= 0:
        moment = 0.0
        for i in range(first, last):
            moment += s[pulls + i]
        moments[0, tiles[r]] = moment


@device
def _slopes(s, factors, pulls, slopes, first, last, carry, ahead, carry_v, ahead_v):
    """Sums of weight v around each score of a thread's run less v times those of weight 1, in place of slopes."""
    i = uint32(first)
    while i < last:
        factor, v = s[uint32(factors + i)], s[uint32(pulls + i)]
        s[uint32(slopes + i)] = carry_v * factor - v * (carry * factor)
        carry, carry_v = merged(1.0, carry, factor), merged(v, carry_v, factor)
        i = uint32(i + uint32(1))
    while i > first:
        i = uint32(i - uint32(1))
        factor, v = s[uint32(factors + i)], s[uint32(pulls + i)]
        s[uint32(slopes + i)] += ahead_v - v * ahead
        ahead, ahead_v = step(ahead, 1.0, factor), step(ahead_v, v, factor)
