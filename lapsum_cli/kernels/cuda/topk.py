"""Soft top-k and its gradients on a card: cpu.topk, a team of threads for each ranking, many blocks for a long one.

A ranking that a team has alone is alone.py's. A long one takes a pass that collapses it, some on what is left
(narrowing.py), and one that writes. Where the upstream gradient is known by then that pass also makes the sums of the
gradient, which otherwise takes a pass for them, and a last one. Where few scores are next to the threshold these are
sums of differences from the upstream at the nearest one (cpu.topk_gradient), which is looked for first.
"""

from typing import Any, NamedTuple

import numpy as np

from ...core.rankings import Rankings
from ..scalars.cut import LEAST_ALPHA_32, MEMBERSHIP, beyond_float32, threshold_of
from . import alone, tiles
from .adapter import Lane, cuda, kernel, one_of
from .blocks import block_sums, put_results
from .doubts import Doubts
from .members import beside, ends_of, factor_of, nearest_to
from .narrowing import Narrowing
from .numbers import rates
from .passes import first_at, give_tile, has_few, off_of, settle_tile, walk_tile
from .teams import block_for, launch_teams
from .threshold import UNKNOWN, put_shares
from .tiles import OnTiles


class Cuts(NamedTuple):
    """What a threshold leaves for a gradient, on the card."""

    cuts: Any  # (m, 4) float64, as those of cpu.topk
    shares: Any  # (m, 6) float64: threshold.put_found; of long rankings
    nearest: Any  # (m,) int64, where the first score next to the threshold is; of long rankings
    gradient: Any = None  # where the upstream gradient was known: Gradient

    @property
    def kept(self):
        """For kernels."""
        return self.cuts, self.shares, self.nearest


class Gradient(NamedTuple):
    """The gradients for scores (N,), k (m,) and alpha (m,), on the card; of long rankings not yet."""

    scores: Any
    to_k: Any
    to_alpha: Any
    pulled: Any = None  # (2, m) float64: of long rankings the sums of pulls and of the scaled e_i


def soft_topk(lane: Lane, rankings, ks, alphas, largest=True, log=False, upstream=None, results=True, name="scores"):
    """Memberships (N,), or their logarithms, on the card; and the Cuts of the rankings. As cpu.topk.soft_topk.

    upstream: (N,) gradient with respect to the results, for a topk_gradient that follows and takes a pass less then.
    """
    values, layout = rankings.values, OnTiles.of(lane, rankings.offsets)
    dtype = np.dtype(values.dtype)
    x, sign, table = lane.put(values, name), dtype.type(1 if largest else -1), layout.tiles_of_long
    out = lane.result(f"memberships of {name}", layout.size if results else 0, dtype, values)
    cuts = Cuts(*(lane.result(f"{part} of {name}", (layout.count, *n), of, values) for part, n, of in _PARTS))
    on_card, slope = (lane.put(ks, "ks"), lane.put(alphas, "alphas"), rates(lane, alphas, dtype)), int(log)
    if dtype == np.float32 and not isinstance(alphas, np.ndarray):
        Doubts.of(lane).outside(alphas, LEAST_ALPHA_32, 1 / LEAST_ALPHA_32)
    if layout.has_empty:
        lane.fill(cuts.cuts, -np.inf)
    of_each = (layout.offsets, x, sign, *on_card, log, cuts.cuts, out)
    if upstream is None:
        v, function = lane.room("no upstream", (0,), dtype), alone._topk
    else:
        v, function = lane.put(upstream, "upstream"), alone._topk_and_gradient
        gradient = _room_for_gradient(lane, layout, values)
        of_each = (*of_each, v, slope, *gradient[:3])
    for numbers, who in layout.kept(alone.classes):
        launch_teams(lane, function, who, numbers, *of_each)
    if table.count:
        Narrowing(lane, layout, dtype).run(x, sign, *on_card, cuts.kept)
        table = layout.written_of_long
        if upstream is not None:
            layout.each_tile(table, _find_nearest, 1, x, on_card[2], sign, cuts.kept)
        partials = lane.room("pulled by tiles", (2, table.count), np.float64)
        layout.each_tile(table, _walk_tiles, 2, x, on_card[2], sign, log, cuts.kept, out, v, slope, partials)
        if upstream is not None:
            gradient = gradient._replace(pulled=layout.totals(table, "pulled", partials))
    if upstream is not None:
        cuts = cuts._replace(gradient=gradient)
    for r, part, whole in _beyond_float32(dtype, layout, alphas):
        wide, own = cast(lane, x[part], np.float64), (ks[r : r + 1], alphas[r : r + 1])
        exact, of_wide = soft_topk(lane, Rankings(wide, whole), *own, largest, log)
        if results:
            cast(lane, exact, dtype, out[part])
        cast(lane, of_wide.cuts.reshape(4), np.float64, cuts.cuts[r])
    return (out if results else None), cuts


_PARTS = (("cuts", (4,), np.float64), ("shares", (6,), np.float64), ("nearest", (), np.int64))


def _room_for_gradient(lane: Lane, layout: OnTiles, values) -> Gradient:
    ends = [lane.result(f"gradient of {name}", (layout.count,), np.float64, values) for name in ("k", "alpha")]
    if layout.has_empty:
        for end in ends:
            lane.fill(end, 0)
    return Gradient(lane.result("gradient of scores", layout.size, values.dtype, values), *ends)


def _long(layout: OnTiles):
    """The rankings that no team has alone, on the card."""
    return layout.put(np.flatnonzero(layout.lengths > tiles.LONG))


def topk_gradient(lane: Lane, rankings, upstream, cuts: Cuts, alphas, largest=True, slope=MEMBERSHIP):
    """Gradients for scores (N,), for k (m,) and for alpha (m,), on the card. As in cpu.topk."""
    values, layout = rankings.values, OnTiles.of(lane, rankings.offsets)
    dtype = np.dtype(values.dtype)
    x, v, sign = lane.put(values, "scores"), lane.put(upstream, "upstream"), dtype.type(1 if largest else -1)
    table, rate, gradient = layout.written_of_long, rates(lane, alphas, dtype), cuts.gradient
    if gradient is None:
        gradient = _room_for_gradient(lane, layout, values)
        for numbers, who in layout.kept(alone.classes):
            launch_teams(
                lane, alone._gradient, who, numbers, layout.offsets, x, sign, rate, cuts.cuts, v, slope, *gradient[:3]
            )
        if table.count:
            layout.each_tile(table, _find_nearest, 1, x, rate, sign, cuts.kept)
            partials, none = lane.room("pulled by tiles", (2, table.count), np.float64), lane.room("none", (0,), dtype)
            layout.each_tile(table, _walk_tiles, 2, x, rate, sign, False, cuts.kept, none, v, slope, partials)
            gradient = gradient._replace(pulled=layout.totals(table, "pulled", partials))
    out, *ends, pulled = gradient
    if table.count:
        partials = lane.room("moments by tiles", (3, table.count), np.float64)
        layout.each_tile(table, _settle, 3, x, rate, sign, slope, cuts.kept, v, pulled, out, partials)
        chosen, totals = layout.kept(_long), layout.totals(table, "totals", partials)
        given = (chosen, x, rate, slope, cuts.kept, v, pulled, totals, *ends)
        lane.launch(_ends, -(-len(chosen) // 128), 128, 0, *given)
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
def _find_nearest(numbers, ranking, begin, end, x, rates, sign, kept):
    """Where the first of the scores next to the threshold is, for rankings of which few are."""
    tile, (cuts, shares, nearest) = numbers[cuda.blockIdx.x], kept
    r = ranking[tile]
    b = beside(x, one_of(rates, r), cuts[r], shares[r])
    if has_few(b, shares[r]):
        low, high = begin[tile], end[tile]
        at = low + first_at(block_for(r), x[low:high], sign * nearest_to(b))
        if cuda.threadIdx.x == 0 and at < high:
            cuda.atomic.min(nearest, r, at)


@kernel
def _walk_tiles(numbers, ranking, begin, end, x, rates, sign, log, kept, out, v, slope, partials):
    tile, (cuts, shares, nearest) = numbers[cuda.blockIdx.x], kept
    r = ranking[tile]
    block, b = block_for(r), beside(x, one_of(rates, r), cuts[r], shares[r])
    low, high = begin[tile], end[tile]
    own, to = x[low:high], out[low:high]
    if v.size == 0:
        give_tile(block, own, sign, b, log, to)
        return
    off = off_of(b, shares[r], nearest[r], v, slope)
    block_sums(block.s, walk_tile(block, own, sign, b, log, to, v[low:high], slope, off))
    put_results(block.s, 2, partials, tile)


@kernel
def _settle(numbers, ranking, begin, end, x, rates, sign, slope, kept, v, pulled, out, partials):
    """The gradients of the scores of a tile, and what those of its ranking for k and alpha are made of."""
    tile, kind, (cuts, shares, nearest) = numbers[cuda.blockIdx.x], x.dtype.type, kept
    r = ranking[tile]
    block, b = block_for(r), beside(x, one_of(rates, r), cuts[r], shares[r])
    off, factor = off_of(b, shares[r], nearest[r], v, slope), factor_of(b, sign, slope)
    mean = kind(0) if b.is_hard else kind(pulled[0, r] / pulled[1, r])
    low, high = begin[tile], end[tile]
    own, pulls, to = x[low:high], v[low:high], out[low:high]
    block_sums(block.s, settle_tile(block, own, sign, b, pulls, slope, off, mean, factor, to))
    put_results(block.s, 3, partials, tile)


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
        off, found = off_of(b, shares[r], nearest[r], v, slope), (moments[0, r], moments[1, r], moments[2, r])
        to_k[r], to_alpha[r] = ends_of(b, cuts[r], shares[r, 4], pulled[0, r] / pulled[1, r], off, found, slope)
