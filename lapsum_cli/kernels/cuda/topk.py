"""Soft top-k and its gradients on a card: cpu.topk, a thread for each short ranking, a block or many for a long one.

A short ranking is alone.py's. Others are read once from memory, and then from the cache, until the threshold is found
(threshold.py) and memberships are written. A long one takes a pass that collapses it, some on what is left, and one
that writes. Where the upstream gradient is known by then that pass also makes the sums of the gradient, which otherwise
takes a pass for them, and a last one. Where few scores are next to the threshold these are sums of differences from the
upstream at the nearest one (cpu.topk_gradient), which is looked for first.
"""

from typing import Any, NamedTuple

import numpy as np

from ...core.rankings import Rankings
from ..scalars.cut import FEW, LEAST_ALPHA_32, MEMBERSHIP, beyond_float32, threshold_of
from ..scalars.team import team_maxima
from . import alone, tiles
from .adapter import Lane, cuda, device, float64, kernel, one_of
from .blocks import block_sums, put_results
from .doubts import Doubts
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
from .numbers import rates
from .teams import block_for
from .threshold import UNKNOWN, find_whole_cut, put_found, put_shares, sample_quantile
from .tiles import OnTiles


class Cuts(NamedTuple):
    """What a threshold leaves for a gradient, on the card."""

    cuts: Any  # (m, 4) float64, as those of cpu.topk
    shares: Any  # (m, 6) float64: threshold.put_found; none of short rankings
    nearest: Any  # (m,) int64, where the first score next to the threshold is; none of short rankings
    gradient: Any = None  # where the upstream gradient was known: Gradient

    @property
    def kept(self):
        """For kernels."""
        return self.cuts, self.shares, self.nearest


class Gradient(NamedTuple):
    """The gradients for scores (N,), k (m,) and alpha (m,) of short rankings, on the card; of others what they take."""

    scores: Any
    to_k: Any
    to_alpha: Any
    pulled: Any = None  # (2, m) float64: the sums of pulls and of the scaled e_i


def soft_topk(lane: Lane, rankings, ks, alphas, largest=True, log=False, upstream=None, results=True, name="scores"):
    """Memberships (N,), or their logarithms, on the card; and the Cuts of the rankings. As cpu.topk.soft_topk.

    upstream: (N,) gradient with respect to the results, for a topk_gradient that follows and takes a pass less then.
    """
    values, layout = rankings.values, OnTiles.of(lane, rankings.offsets)
    dtype, size = np.dtype(values.dtype), values.dtype.itemsize
    x, sign, table = lane.put(values, name), dtype.type(1 if largest else -1), layout.tiles_beyond(size)
    out = lane.result(f"memberships of {name}", layout.size if results else 0, dtype, values)
    cuts = Cuts(*(lane.result(f"{part} of {name}", (layout.count, *n), of, values) for part, n, of in _PARTS))
    on_card, slope = (lane.put(ks, "ks"), lane.put(alphas, "alphas"), rates(lane, alphas, dtype)), int(log)
    if dtype == np.float32 and not isinstance(alphas, np.ndarray):
        Doubts.of(lane).outside(alphas, LEAST_ALPHA_32, 1 / LEAST_ALPHA_32)
    if layout.has_empty:
        lane.fill(cuts.cuts, -np.inf)
    partials = lane.room("pulled by tiles", (2, table.count), np.float64)
    if upstream is None:
        v, none = lane.room("no upstream", (0,), dtype), lane.room("no ends", (0,), np.float64)
        gradient = Gradient(v, none, none)
    else:
        v, gradient = lane.put(upstream, "upstream"), _room_for_gradient(lane, layout, values)
    given = (layout.offsets, x, sign, *on_card, log, cuts.cuts, out, v, slope, *gradient[:3])
    for short in layout.kept(alone.classes, size):
        short.launch(lane, alone._topk, 1 + (upstream is not None), size, *given)
    how = (sign, log, cuts.kept, out, v, slope, partials)
    of_one, long_tiles, _ = layout.kept(_by_length, size)
    for threads, chosen in of_one:
        lane.launch(_topk_of_one, len(chosen), threads, 3, chosen, layout.offsets, table.first, x, *on_card, *how)
    if long_tiles is not None:
        Narrowing(lane, layout, dtype).run(x, sign, *on_card, cuts.kept)
        given = (long_tiles, table.ranking, table.begin, table.end, x, on_card[2])
        if upstream is not None:
            lane.launch(_find_nearest, len(long_tiles), tiles.THREADS, 1, *given, sign, cuts.kept)
        lane.launch(_walk_tiles, len(long_tiles), tiles.THREADS, 2, *given, *how)
    if upstream is not None:
        cuts = cuts._replace(gradient=gradient._replace(pulled=layout.totals(table, "pulled", partials)))
    for r, part, whole in _beyond_float32(dtype, layout, alphas):
        wide, own = cast(lane, x[part], np.float64), (ks[r : r + 1], alphas[r : r + 1])
        exact, of_wide = soft_topk(lane, Rankings(wide, whole), *own, largest, log)
        if results:
            cast(lane, exact, dtype, out[part])
        cast(lane, of_wide.cuts.reshape(4), np.float64, cuts.cuts[r])
    return (out if results else None), cuts


_PARTS = (("cuts", (4,), np.float64), ("shares", (6,), np.float64), ("nearest", (), np.int64))


def _room_for_gradient(lane: Lane, layout: OnTiles, values) -> Gradient:
    ends = (lane.result(f"gradient of {name}", (layout.count,), np.float64, values) for name in ("k", "alpha"))
    return Gradient(lane.result("gradient of scores", layout.size, values.dtype, values), *ends)


def _by_length(layout: OnTiles, itemsize: int):
    """Rankings that one block does, with how many threads it has; the tiles of longer ones, None where there are none;
    and all rankings that no thread has alone, or that have no scores. On the card.
    """
    of_one, shortest, lengths = [], tiles.own_lengths(itemsize)[-1], layout.lengths
    above = shortest
    for threads, most in (
        (tiles.FEW_THREADS, tiles.SHORT),
        (tiles.THREADS, tiles.MEDIUM),
        (tiles.MANY_THREADS, tiles.LONG),
    ):
        chosen, above = np.flatnonzero((lengths > above) & (lengths <= most)), max(above, most)
        if len(chosen):
            of_one.append((threads, layout.put(chosen)))
    is_long = lengths > tiles.LONG
    of_long = np.flatnonzero(is_long[layout.tiles_beyond(itemsize).of]) if is_long.any() else None
    others = layout.put(np.flatnonzero((lengths > shortest) | (lengths == 0)))
    return of_one, None if of_long is None else layout.put(of_long), others


def topk_gradient(lane: Lane, rankings, upstream, cuts: Cuts, alphas, largest=True, slope=MEMBERSHIP):
    """Gradients for scores (N,), for k (m,) and for alpha (m,), on the card. As in cpu.topk."""
    values, layout = rankings.values, OnTiles.of(lane, rankings.offsets)
    dtype, size = np.dtype(values.dtype), values.dtype.itemsize
    x, v, sign = lane.put(values, "scores"), lane.put(upstream, "upstream"), dtype.type(1 if largest else -1)
    table, rate, gradient = layout.tiles_beyond(size), rates(lane, alphas, dtype), cuts.gradient
    if gradient is None:
        gradient = _room_for_gradient(lane, layout, values)
        for short in layout.kept(alone.classes, size):
            given = (layout.offsets, x, sign, rate, cuts.cuts, v, slope, *gradient[:3])
            short.launch(lane, alone._gradient, 2, size, *given)
        layout.each_tile(table, _find_nearest, 1, x, rate, sign, cuts.kept)
        partials, none = lane.room("pulled by tiles", (2, table.count), np.float64), lane.room("none", (0,), dtype)
        layout.each_tile(table, _walk_tiles, 2, x, rate, sign, False, cuts.kept, none, v, slope, partials)
        gradient = gradient._replace(pulled=layout.totals(table, "pulled", partials))
    out, *ends, pulled = gradient
    partials = lane.room("moments by tiles", (3, table.count), np.float64)
    layout.each_tile(table, _settle, 3, x, rate, sign, slope, cuts.kept, v, pulled, out, partials)
    others = layout.kept(_by_length, size)[2]
    given = (others, x, rate, slope, cuts.kept, v, pulled, layout.totals(table, "totals", partials), *ends)
    lane.launch(_ends, -(-len(others) // 128), 128, 0, *given)
    for r, part, whole in _beyond_float32(dtype, layout, alphas):
        wide, pull = (cast(lane, array[part], np.float64) for array in (x, v))
        given = (Rankings(wide, whole), pull, _as_wide(lane, cuts, r), alphas[r : r + 1], largest, slope)
        exact = topk_gradient(lane, *given)
        for found, to in zip(exact, (out[part], *(end[r : r + 1] for end in ends)), strict=True):
            cast(lane, found, to.dtype, to)
    return out, *ends


def thresholds(lane: Lane, cuts: Cuts, alphas, largest=True):
    """The threshold b of each ranking (m,), on the card; as ..cpu.topk.thresholds."""
    out = lane.empty((cuts.cuts.shape[0],), np.float64)
    given = (cuts.cuts, lane.put(alphas, "alphas"), 1.0 if largest else -1.0, out)
    lane.launch(_thresholds, -(-out.size // 128), 128, 0, *given)
    return out


def _beyond_float32(dtype, layout, alphas):
    """As beyond_float32; nothing is known here of alphas on the card."""
    return beyond_float32(dtype, layout.here, alphas) if isinstance(alphas, np.ndarray) else ()


def _as_wide(lane: Lane, cuts: Cuts, r: int) -> Cuts:
    """The cut of a ranking, for a gradient of its scores as float64."""
    cut = cast(lane, cuts.cuts[r], np.float64).reshape((1, 4))
    own = Cuts(cut, lane.empty((1, 6), np.float64), lane.empty((1,), np.int64))
    lane.launch(_put_shares, 1, 1, 0, own.kept)
    return own


@kernel
def _put_shares(kept):
    """Those that a cut says; no more is known of it, not where the nearest score is."""
    cuts, shares, nearest = kept
    put_shares(cuts[0], shares[0])
    nearest[0] = UNKNOWN


@kernel
def _thresholds(cuts, alphas, sign, out):
    r = cuda.grid(1)
    if r < out.size:
        out[r] = sign * threshold_of(cuts[r], one_of(alphas, r))


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
    start, stop, k, rate = offsets[r], offsets[r + 1], one_of(ks, r), one_of(rates, r)
    guess = sample_quantile(s, x, start, stop - start, sign, k)
    found = find_whole_cut(block, x, start, stop - start, sign, guess, k, one_of(alphas, r), rate)
    if block.t == 0:
        put_found(found, cuts[r], shares[r])
        nearest[r] = UNKNOWN
    cuda.syncthreads()
    b = beside(x, rate, cuts[r], shares[r])
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
    b = beside(x, one_of(rates, r), cuts[r], shares[r])
    if has_few(b, shares[r]):
        at = _first_at(block_for(r), x, begin[tile], end[tile], sign * nearest_to(b))
        if cuda.threadIdx.x == 0 and at < end[tile]:
            cuda.atomic.min(nearest, r, at)


@kernel
def _walk_tiles(numbers, ranking, begin, end, x, rates, sign, log, kept, out, v, slope, partials):
    s, tile, (cuts, shares, nearest) = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x], kept
    r = ranking[tile]
    b = beside(x, one_of(rates, r), cuts[r], shares[r])
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
    b, moment, above_b, below_b = beside(x, one_of(rates, r), cuts[r], shares[r]), 0.0, 0.0, 0.0
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
def _ends(numbers, x, rates, slope, kept, v, pulled, moments, to_k, to_alpha):
    """The gradients for k and alpha from the sums over each ranking, a thread for one; 0 where a cut is hard."""
    i, (cuts, shares, nearest) = cuda.grid(1), kept
    if i >= numbers.size:
        return
    r = numbers[i]
    to_k[r], to_alpha[r] = 0.0, 0.0
    b = beside(x, one_of(rates, r), cuts[r], shares[r])
    if not b.is_hard:
        off, found = _off(b, shares[r], nearest[r], v, slope), (moments[0, r], moments[1, r], moments[2, r])
        to_k[r], to_alpha[r] = ends_of(b, cuts[r], shares[r, 4], pulled[0, r] / pulled[1, r], off, found, slope)
