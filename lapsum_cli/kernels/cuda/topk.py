"""Soft top-k and its gradients on a card: cpu.topk, a thread for each short ranking, a block or many for a long one.

A short ranking is alone.py's. Others are read once from memory, and then from the cache, until the threshold is found
(threshold.py) and memberships are written. A long one takes a pass that collapses it, some on what is left, and one
that writes. Where the upstream gradient is known by then that pass also makes the sums of the gradient, which otherwise
takes a pass for them, and a last one. Where few scores are next to the threshold these are sums of differences from the
upstream at the nearest one (cpu.topk_gradient), which is looked for first.
"""

from typing import NamedTuple

import numpy as np

from ...core.rankings import Rankings
from ..scalars.cut import FEW, LOGARITHM, MEMBERSHIP, beyond_float32, rates_of, thresholds_of
from ..scalars.team import team_maxima
from . import alone, tiles
from .adapter import Lane, cuda, device, float64, kernel
from .blocks import block_sums, put_results
from .members import (
    AT_ONCE,
    KEPT,
    beside,
    ends_of,
    factor_of,
    moment_of,
    nearest_to,
    off_by,
    pull_of,
    read,
    result_of,
    scaled,
    seen_from,
    settled_one,
)
from .narrowing import Narrowing
from .teams import block_for
from .threshold import find_whole_cut, put_found, sample_quantile
from .tiles import OnTiles


class Cuts(NamedTuple):
    """What a threshold leaves for a gradient, on the card."""

    cuts: object  # (m, 4) float64, as those of cpu.topk
    shares: object  # (m, 6) float64: threshold.put_shares; none of short rankings
    nearest: object  # (m,) int64, where the first score next to the threshold is; none of short rankings
    gradient: object = None  # where the upstream gradient was known: Gradient

    @property
    def kept(self):
        """For kernels."""
        return self.cuts, self.shares, self.nearest


class Gradient(NamedTuple):
    """What a forward pass makes of the gradient, on the card."""

    scores: object  # (N,) of short rankings
    ends: object  # (2, m) float64, for k and for alpha, of short rankings
    pulled: object  # (2, m) float64: the sums of pulls and of the scaled e_i, of the others


def soft_topk(lane: Lane, rankings, ks, alphas, largest=True, log=False, upstream=None, results=True, name="scores"):
    """Memberships (N,), or their logarithms, on the card; and the Cuts of the rankings. As cpu.topk.soft_topk.

    upstream: (N,) gradient with respect to the results, for a topk_gradient that follows and takes a pass less then.
    """
    values, layout = rankings.values, OnTiles.of(lane, rankings.offsets)
    dtype = np.dtype(values.dtype)
    x, sign, table = lane.put(values, name), dtype.type(1 if largest else -1), layout.tiles_beyond(dtype.itemsize)
    out = lane.result(f"memberships of {name}", layout.size if results else 0, dtype, values)
    kept = [lane.result(f"{part} of {name}", (layout.count, *n), kind, values) for part, n, kind in _PARTS]
    on_card = (lane.put(ks, "ks"), lane.put(alphas, "alphas"), lane.put(rates_of(alphas, dtype), "rates"))
    if not layout.lengths.all():  # no block is there for an empty ranking
        lane.fill(kept[0], -np.inf)
    slope, v, gradient = LOGARITHM if log else MEMBERSHIP, lane.room("no upstream", (0,), dtype), None
    of_scores, ends = v, lane.room("no ends", (0, 0), np.float64)
    partials = lane.room("pulled by tiles", (2, table.count), np.float64)
    if upstream is not None:
        v = lane.put(upstream, "upstream")
        of_scores, ends = _room_for_gradient(lane, layout, values)
    given = (layout.offsets, x, sign, *on_card, log, kept[0], out, v, slope, of_scores, ends)
    for how, chosen in alone.each_class(lane, layout.lengths, dtype.itemsize, 1 + (upstream is not None)):
        lane.launch(alone._topk, *how, *chosen, *given)
    kept, how = tuple(kept), (sign, log, tuple(kept), out, v, slope, partials)
    for threads, chosen in _by_length(layout.lengths, dtype.itemsize):
        given = (lane.put(chosen), layout.offsets, table.first, x, *on_card)
        lane.launch(_topk_of_one, len(chosen), threads, 3, *given, *how)
    long = np.flatnonzero(layout.lengths > tiles.LONG)
    if len(long):
        Narrowing(lane, layout, table, long, dtype).run(x, sign, *on_card, kept)
        given = (
            lane.put(np.flatnonzero(np.isin(table.of, long))),
            table.ranking,
            table.begin,
            table.end,
            x,
            on_card[2],
        )
        if upstream is not None:
            lane.launch(_find_nearest, len(given[0]), tiles.THREADS, 1, *given, sign, kept)
        lane.launch(_walk_tiles, len(given[0]), tiles.THREADS, 2, *given, *how)
    if upstream is not None:
        gradient = Gradient(of_scores, ends, layout.totals(table, "pulled", partials))
    for r, part, whole in beyond_float32(dtype, layout.here, alphas):
        wide = cast(lane, x[part], np.float64)
        exact, cut = soft_topk(lane, Rankings(wide, whole), ks[[r]], alphas[[r]], largest, log)
        if results:
            cast(lane, exact, dtype, out[part])
        cast(lane, cut.cuts.reshape(4), np.float64, kept[0][r])
    return (out if results else None), Cuts(*kept, gradient)


_PARTS = (("cuts", (4,), np.float64), ("shares", (6,), np.float64), ("nearest", (), np.int64))


def _room_for_gradient(lane: Lane, layout: OnTiles, values):
    """For the gradients of scores (N,), and those of k and alpha (2, m)."""
    ends = lane.room("gradients of k and alpha", (2, layout.count), np.float64)
    return lane.result("gradient of scores", layout.size, values.dtype, values), ends


def _by_length(lengths, itemsize: int):
    """Rankings that one block does, by how many threads it has."""
    above = tiles.own_lengths(itemsize)[-1]
    for threads, most in (
        (tiles.FEW_THREADS, tiles.SHORT),
        (tiles.THREADS, tiles.MEDIUM),
        (tiles.MANY_THREADS, tiles.LONG),
    ):
        chosen, above = np.flatnonzero((lengths > above) & (lengths <= most)), max(above, most)
        if len(chosen):
            yield threads, chosen


def topk_gradient(lane: Lane, rankings, upstream, cuts: Cuts, alphas, largest=True, slope=MEMBERSHIP):
    """Gradients for scores (N,) on the card, for k (m,) and for alpha (m,) in memory here. As in cpu.topk."""
    values, layout = rankings.values, OnTiles.of(lane, rankings.offsets)
    dtype = np.dtype(values.dtype)
    x, v, sign = lane.put(values, "scores"), lane.put(upstream, "upstream"), dtype.type(1 if largest else -1)
    table, rates, kept = layout.tiles_beyond(dtype.itemsize), lane.put(rates_of(alphas, dtype), "rates"), cuts.kept
    if cuts.gradient is None:
        out, ends = _room_for_gradient(lane, layout, values)
        for how, chosen in alone.each_class(lane, layout.lengths, dtype.itemsize, 2):
            given = (layout.offsets, x, sign, rates, cuts.cuts, v, slope, out, ends)
            lane.launch(alone._gradient, *how, *chosen, *given)
        layout.each_tile(table, _find_nearest, 1, x, rates, sign, kept)
        partials, none = lane.room("pulled by tiles", (2, table.count), np.float64), lane.room("none", (0,), dtype)
        layout.each_tile(table, _walk_tiles, 2, x, rates, sign, False, kept, none, v, slope, partials)
        pulled = layout.totals(table, "pulled", partials)
    else:
        out, ends, pulled = cuts.gradient
    partials = lane.room("moments by tiles", (3, table.count), np.float64)
    layout.each_tile(table, _settle, 3, x, rates, sign, slope, kept, v, pulled, out, partials)
    moments = layout.totals(table, "totals", partials)
    others = np.flatnonzero((layout.lengths > tiles.own_lengths(dtype.itemsize)[-1]) | (layout.lengths == 0))
    given = (lane.put(others), x, rates, slope, kept, v, pulled, moments, ends)
    lane.launch(_ends, -(-len(others) // tiles.THREADS), tiles.THREADS, 0, *given)
    to_k, to_alpha = lane.get(ends)
    for r, part, whole in beyond_float32(dtype, layout.here, alphas):
        wide, pull = (cast(lane, array[part], np.float64) for array in (x, v))
        own = _of_one(lane, lane.get(cuts.cuts)[[r]], whole[1:])
        given = (Rankings(wide, whole), pull, own, alphas[[r]], largest, slope)
        exact, to_k[[r]], to_alpha[[r]] = topk_gradient(lane, *given)
        cast(lane, exact, dtype, out[part])
    return out, to_k, to_alpha


def _of_one(lane: Lane, cut, size) -> Cuts:
    """A cut that is known to be of a ranking of this size, whatever finds it."""
    scaled = np.exp(cut[:, 2:] - cut[:, 2:].max())
    shares = np.concatenate([np.exp(cut[:, 2:]), scaled, np.exp(cut[:, 2:].max(1, keepdims=True)), [[0.0]]], 1)
    return Cuts(lane.put(cut), lane.put(shares), lane.put(size))


def thresholds(lane: Lane, cuts: Cuts, alphas, largest=True):
    """The threshold b of each ranking (m,), in memory here; as ..cpu.topk.thresholds."""
    return thresholds_of(lane.get(cuts.cuts), alphas, largest)


def cast(lane: Lane, array, dtype, out=None):
    """The array (n,) in another dtype, on the card."""
    out = lane.empty(array.shape[0], dtype) if out is None else out
    lane.launch(_copy, -(-out.shape[0] // 256), 256, 0, array, out)
    return out


@kernel
def _copy(values, out):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = values[i]


@kernel
def _topk_of_one(numbers, offsets, first, x, ks, alphas, rates, sign, log, kept, out, v, slope, partials):
    """A block for a ranking: its threshold, then its memberships."""
    block = block_for(numbers[cuda.blockIdx.x])
    s, r, (cuts, shares, nearest) = block.s, block.first, kept
    start, stop, k = offsets[r], offsets[r + 1], ks[r]
    guess = sample_quantile(s, x, start, stop - start, sign, k)
    found = find_whole_cut(block, x, start, stop - start, sign, guess, k, alphas[r], rates[r])
    if block.t == 0:
        put_found(found, cuts[r], shares[r])
        nearest[r] = stop
    cuda.syncthreads()
    b = beside(x, rates[r], cuts[r], shares[r])
    if v.size > 0 and has_few(b, shares[r]):
        at = _first_at(block, x, start, stop, sign * nearest_to(b))
        if block.t == 0:
            nearest[r] = at
        cuda.syncthreads()
    block_sums(s, _walk(x, start, stop, sign, b, log, out, v, slope, _off(b, shares[r], nearest[r], v, slope)))
    put_results(s, 2, partials, first[r])
    for tile in range(first[r] + 1 + cuda.threadIdx.x, first[r + 1], cuda.blockDim.x):
        partials[0, tile], partials[1, tile] = 0.0, 0.0  # all of it stands at the first


@kernel
def _find_nearest(numbers, ranking, begin, end, x, rates, sign, kept):
    """Where the first of the scores next to the threshold is, for rankings of which few are."""
    tile, (cuts, shares, nearest) = numbers[cuda.blockIdx.x], kept
    r = ranking[tile]
    b = beside(x, rates[r], cuts[r], shares[r])
    if has_few(b, shares[r]):
        at = _first_at(block_for(r), x, begin[tile], end[tile], sign * nearest_to(b))
        if cuda.threadIdx.x == 0 and at < end[tile]:
            cuda.atomic.min(nearest, r, at)


@kernel
def _walk_tiles(numbers, ranking, begin, end, x, rates, sign, log, kept, out, v, slope, partials):
    s, tile, (cuts, shares, nearest) = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x], kept
    r = ranking[tile]
    b = beside(x, rates[r], cuts[r], shares[r])
    off = _off(b, shares[r], nearest[r], v, slope)
    block_sums(s, _walk(x, begin[tile], end[tile], sign, b, log, out, v, slope, off))
    put_results(s, 2, partials, tile)


@device
def has_few(b, shares):
    """Whether few scores are next to the threshold: their pulls are then summed as differences."""
    return not b.is_hard and shares[5] < FEW


@device
def _off(b, shares, nearest, v, slope):
    """What is taken off the pulls of a ranking; nothing where many scores are next to the threshold."""
    kind = type(b.rate)
    if v.size > 0 and has_few(b, shares):
        return off_by(b, kind(v[min(nearest, v.size - 1)]), slope)
    return kind(0), kind(0)


@device
def _first_at(block, x, start, stop, score):
    """The first place of a score from start to stop; stop where it is not."""
    found = stop
    for i in range(start + block.t, stop, block.threads):
        if x[i] == score:
            found = i
            break
    (at,) = team_maxima(block, (-np.float64(found),))
    return -np.int64(at)


@device
def _walk(x, start, stop, sign, b, log, out, v, slope, off):
    """Write memberships, unless out is empty; and sum the pulls and the scaled e_i of a thread, unless v is empty."""
    kind, threads, pulled, total = x.dtype.type, cuda.blockDim.x, 0.0, 0.0
    scores, pulls = cuda.local.array(AT_ONCE, x.dtype), cuda.local.array(AT_ONCE, x.dtype)
    for block in range(start + cuda.threadIdx.x, stop, KEPT * threads):
        part, part_total = kind(0), kind(0)
        for first in range(block, min(block + KEPT * threads, stop), AT_ONCE * threads):
            read(x, first, threads, stop, scores)
            if v.size > 0:
                read(v, first, threads, stop, pulls)
            for j in range(AT_ONCE):
                i = first + j * threads
                if i < stop:
                    score = kind(sign * scores[j])
                    z, e, up = seen_from(b, score)
                    if out.size > 0:
                        out[i] = result_of(b, score, z, e, up, log)
                    if v.size > 0:
                        e = scaled(b, e, up)
                        part, part_total = part + pull_of(b, pulls[j], z, e, up, slope, off), part_total + e
        pulled, total = pulled + part, total + part_total
    return pulled, total


@kernel
def _settle(numbers, ranking, begin, end, x, rates, sign, slope, kept, v, pulled, out, partials):
    """The gradient (h_i v_i - e_i mean) / alpha; and of each tile what that for alpha is made of: sums of settled pulls
    times distances to the neighbours, and of those above and below b.
    """
    s, tile, kind, (cuts, shares, nearest) = block_for(0).s, numbers[cuda.blockIdx.x], x.dtype.type, kept
    r, threads, stop = ranking[tile], cuda.blockDim.x, end[tile]
    b, moment, above_b, below_b = beside(x, rates[r], cuts[r], shares[r]), 0.0, 0.0, 0.0
    off = _off(b, shares[r], nearest[r], v, slope)
    mean, factor = kind(0) if b.is_hard else kind(pulled[0, r] / pulled[1, r]), factor_of(b, sign, slope)
    scores, pulls = cuda.local.array(AT_ONCE, x.dtype), cuda.local.array(AT_ONCE, x.dtype)
    for block in range(begin[tile] + cuda.threadIdx.x, stop, KEPT * threads):
        part, part_above, part_below = kind(0), kind(0), kind(0)
        for first in range(block, min(block + KEPT * threads, stop), AT_ONCE * threads):
            read(x, first, threads, stop, scores)
            read(v, first, threads, stop, pulls)
            for j in range(AT_ONCE):
                i, g = first + j * threads, kind(0)
                if i < stop:
                    if not b.is_hard:
                        z, e, up = seen_from(b, kind(sign * scores[j]))
                        g = settled_one(b, pulls[j], z, scaled(b, e, up), up, slope, off, mean)
                        part += moment_of(z, g)
                        part_above += g if up else kind(0)
                        part_below += kind(0) if up else g
                    out[i] = factor * g
        moment, above_b, below_b = moment + part, above_b + part_above, below_b + part_below
    block_sums(s, (moment, above_b, below_b))
    put_results(s, 3, partials, tile)


@kernel
def _ends(numbers, x, rates, slope, kept, v, pulled, moments, ends):
    """The gradients for k and alpha from the sums over each ranking, a thread for one; 0 where a cut is hard."""
    i, (cuts, shares, nearest) = cuda.grid(1), kept
    if i >= numbers.size:
        return
    r = numbers[i]
    ends[0, r], ends[1, r] = 0.0, 0.0
    b = beside(x, rates[r], cuts[r], shares[r])
    if not b.is_hard:
        off, found = _off(b, shares[r], nearest[r], v, slope), (moments[0, r], moments[1, r], moments[2, r])
        ends[0, r], ends[1, r] = ends_of(b, cuts[r], shares[r, 4], pulled[0, r] / pulled[1, r], off, found, slope)
