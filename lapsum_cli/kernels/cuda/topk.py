"""Soft top-k and its gradients on a card: cpu.topk, a block for each short ranking, many for a long one.

A short ranking is read once from memory, and then from the cache, until its threshold is found (threshold.py) and its
memberships are written. A long one takes a pass that collapses it, some on what is left, and one that writes. Where the
upstream gradient is known by then that pass also makes the sums of the gradient, which otherwise takes a pass for them,
and a last one.
"""

import math
from typing import NamedTuple

import numpy as np

from ...core.rankings import Rankings
from ..scalars.cut import (
    LEAST_ALPHA_32,
    LOGARITHM,
    MEMBERSHIP,
    beyond_float32,
    log_membership,
    membership,
    settled,
    slope_of,
    threshold_of,
)
from ..scalars.functions import LOG_2
from . import tiles
from .adapter import Lane, cuda, device, float64, kernel, one_of
from .blocks import block_sums, put_results
from .doubts import Doubts
from .narrowing import Narrowing
from .numbers import rates
from .threshold import find_whole_cut, near
from .tiles import OnTiles


class Cuts(NamedTuple):
    """What a threshold leaves for a gradient, on the card."""

    cuts: object  # (m, 4) float64, as those of cpu.topk
    shares: object  # (m, 5) float64: of the cut below and above, the same relative to the larger, and that
    pulled: object = None  # (2, m) float64: the sums of h_i v_i and of e_i, where the upstream gradient was known


def soft_topk(lane: Lane, rankings, ks, alphas, largest=True, log=False, upstream=None, results=True, name="scores"):
    """Memberships (N,), or their logarithms, on the card; and the Cuts of the rankings. As cpu.topk.soft_topk.

    upstream: (N,) gradient with respect to the results, for a topk_gradient that follows and takes a pass less then.
    """
    values, layout = rankings.values, OnTiles.of(lane, rankings.offsets)
    dtype = np.dtype(values.dtype)
    x, sign, table = lane.put(values, name), dtype.type(1 if largest else -1), layout.large_tiles
    v = lane.room("no upstream", (0,), dtype) if upstream is None else lane.put(upstream, "upstream")
    out = lane.result(f"memberships of {name}", layout.size if results else 0, dtype, values)
    cuts = [lane.result(f"{part} of {name}", (layout.count, n), np.float64, values) for part, n in _PARTS]
    on_card = (lane.put(ks, "ks"), lane.put(alphas, "alphas"), rates(lane, alphas, dtype))
    if dtype == np.float32 and not isinstance(alphas, np.ndarray):
        Doubts.of(lane).outside(alphas, LEAST_ALPHA_32, 1 / LEAST_ALPHA_32)
    if layout.has_empty:
        lane.fill(cuts[0], -np.inf)
        lane.fill(cuts[1], 0.0)
    partials = lane.room("pulled by tiles", (2, table.count), np.float64)
    how = (sign, log, *cuts, out, v, LOGARITHM if log else MEMBERSHIP, partials)
    short, long_tiles = layout.kept(_by_length)
    for threads, chosen in short:
        given = (chosen, layout.offsets, table.first, x, *on_card)
        lane.launch(_topk_of_short, len(chosen), threads, 6, *given, *how)
    if long_tiles is not None:
        Narrowing(lane, layout, dtype).run(x, sign, *on_card, *cuts)
        given = (long_tiles, table.ranking, table.begin, table.end)
        lane.launch(_walk_tiles, len(given[0]), tiles.THREADS, 2, *given, x, on_card[2], *how)
    pulled = None if upstream is None else layout.totals(table, "pulled", partials)
    for r, part, whole in _beyond_float32(dtype, layout, alphas):
        wide, own = cast(lane, x[part], np.float64), (ks[r : r + 1], alphas[r : r + 1])
        exact, (cut, share, _) = soft_topk(lane, Rankings(wide, whole), *own, largest, log)
        if results:
            cast(lane, exact, dtype, out[part])
        cast(lane, cut.reshape(4), np.float64, cuts[0][r])
        cast(lane, share.reshape(5), np.float64, cuts[1][r])
    return (out if results else None), Cuts(*cuts, pulled)


_PARTS = (("cuts", 4), ("shares", 5))


def _by_length(layout):
    """Rankings that one block does, with how many threads it has, none without scores; and the tiles of the others,
    None where there are none. On the card.
    """
    short, above, lengths = [], 0, layout.lengths
    for threads, most in (
        (tiles.FEW_THREADS, tiles.SHORT),
        (tiles.THREADS, tiles.MEDIUM),
        (tiles.MANY_THREADS, tiles.LONG),
    ):
        chosen, above = np.flatnonzero((lengths > above) & (lengths <= most)), most
        if len(chosen):
            short.append((threads, layout.put(chosen)))
    is_long = lengths > tiles.LONG
    if not is_long.any():
        return short, None
    return short, layout.put(np.flatnonzero(is_long[layout.large_tiles.of]))


def topk_gradient(lane: Lane, rankings, upstream, cuts: Cuts, alphas, largest=True, slope=MEMBERSHIP):
    """Gradients for scores (N,), for k (m,) and for alpha (m,), on the card. As in cpu.topk."""
    values, layout = rankings.values, OnTiles.of(lane, rankings.offsets)
    dtype = np.dtype(values.dtype)
    x, v, sign = lane.put(values, "scores"), lane.put(upstream, "upstream"), dtype.type(1 if largest else -1)
    out, table = lane.result("gradient of scores", layout.size, dtype, values), layout.large_tiles
    rate = rates(lane, alphas, dtype)
    pulled = cuts.pulled
    if pulled is None:
        partials, none = lane.room("pulled by tiles", (2, table.count), np.float64), lane.room("none", (0,), dtype)
        given = (sign, False, cuts.cuts, cuts.shares, none, v, slope, partials)
        layout.each_tile(table, _walk_tiles, 2, x, rate, *given)
        pulled = layout.totals(table, "pulled", partials)
    partials = lane.room("moments by tiles", (3, table.count), np.float64)
    layout.each_tile(table, _settle, 3, x, rate, sign, slope, cuts.cuts, cuts.shares, v, pulled, out, partials)
    totals = layout.totals(table, "totals", partials)
    to_k, to_alpha = (
        lane.result(f"gradient of {name}", (layout.count,), np.float64, values) for name in ("k", "alpha")
    )
    given = (pulled, totals, cuts.cuts, cuts.shares, slope == MEMBERSHIP, np.float64(sign), to_k, to_alpha)
    lane.launch(_ends, -(-layout.count // 128), 128, 0, *given)
    for r, part, whole in _beyond_float32(dtype, layout, alphas):
        wide, pull = (cast(lane, array[part], np.float64) for array in (x, v))
        own = Cuts(*(cast(lane, array[r], np.float64).reshape((1, array.shape[1])) for array in cuts[:2]))
        given = (Rankings(wide, whole), pull, own, alphas[r : r + 1], largest, slope)
        for exact, to in zip(
            topk_gradient(lane, *given), (out[part], to_k[r : r + 1], to_alpha[r : r + 1]), strict=True
        ):
            cast(lane, exact, to.dtype, to)
    return out, to_k, to_alpha


def thresholds(lane: Lane, cuts: Cuts, alphas, largest=True):
    """The threshold b of each ranking (m,), on the card; as ..cpu.topk.thresholds."""
    out = lane.empty((cuts.cuts.shape[0],), np.float64)
    given = (cuts.cuts, lane.put(alphas, "alphas"), 1.0 if largest else -1.0, out)
    lane.launch(_thresholds, -(-out.size // 128), 128, 0, *given)
    return out


def _beyond_float32(dtype, layout, alphas):
    """As beyond_float32; nothing is known here of alphas on the card."""
    return beyond_float32(dtype, layout.here, alphas) if isinstance(alphas, np.ndarray) else ()


@kernel
def _thresholds(cuts, alphas, sign, out):
    r = cuda.grid(1)
    if r < out.size:
        out[r] = sign * threshold_of(cuts[r], one_of(alphas, r))


@kernel
def _ends(pulled, totals, cuts, shares, of_membership, sign, to_k, to_alpha):
    """The gradients for k and alpha, from the sums over each ranking; 0 where k takes nothing or everything."""
    r = cuda.grid(1)
    if r >= to_k.size:
        return
    log_below, log_above = cuts[r, 2], cuts[r, 3]
    to_k[r], to_alpha[r] = 0.0, 0.0
    if log_below == -np.inf and log_above == -np.inf:
        return
    if pulled[0, r] != 0.0:
        to_k[r] = pulled[0, r] / (pulled[1, r] if of_membership else pulled[1, r] * shares[r, 4])
    moment, above_b, below_b = totals[0, r], totals[1, r], totals[2, r]
    # From the neighbours to b it is log(2 share), which may be -inf on a side without scores.
    moment += -above_b * (log_above + LOG_2) if above_b != 0.0 else 0.0
    moment += below_b * (log_below + LOG_2) if below_b != 0.0 else 0.0
    to_alpha[r] = -moment * sign


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
def _topk_of_short(numbers, offsets, first, x, ks, alphas, rates, sign, log, cuts, shares, out, v, slope, partials):
    """A block for a ranking: its threshold, then its memberships."""
    s, r = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x]
    start, stop = offsets[r], offsets[r + 1]
    k, alpha, rate = one_of(ks, r), one_of(alphas, r), one_of(rates, r)
    find_whole_cut(s, x, start, stop - start, sign, k, alpha, rate, cuts[r], shares[r])
    cuda.syncthreads()
    block_sums(s, _walk(x, start, stop, sign, cuts[r], shares[r], rate, log, out, v, slope))
    put_results(s, 2, partials, first[r])
    for tile in range(first[r] + 1 + cuda.threadIdx.x, first[r + 1], cuda.blockDim.x):
        partials[0, tile], partials[1, tile] = 0.0, 0.0  # all of it stands at the first


@kernel
def _walk_tiles(numbers, ranking, begin, end, x, rates, sign, log, cuts, shares, out, v, slope, partials):
    s, tile = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x]
    r = ranking[tile]
    block_sums(s, _walk(x, begin[tile], end[tile], sign, cuts[r], shares[r], one_of(rates, r), log, out, v, slope))
    put_results(s, 2, partials, tile)


@device
def _walk(x, start, stop, sign, cut, share, rate, log, out, v, slope):
    """Write memberships, unless out is empty; and sum h_i v_i and the scaled e_i of a thread, unless v is empty.

    Memberships have h scaled as e is. Where the cut is hard all are in, none, or with equal shares; nothing pulls then.
    """
    kind, threads, pulled, total = x.dtype.type, cuda.blockDim.x, 0.0, 0.0
    is_hard = cut[2] == -np.inf and cut[3] == -np.inf
    below, above, log_below = kind(cut[0]), kind(cut[1]), kind(cut[2])
    share_below, share_above, scale = kind(share[0]), kind(share[1]), kind(share[4])
    scaled_below, scaled_above = kind(share[2]), kind(share[3])
    for block in range(start + cuda.threadIdx.x, stop, 64 * threads):  # few: a float32 sum of them keeps its digits
        part, part_total = kind(0), kind(0)
        for i in range(block, min(block + 64 * threads, stop), threads):
            score = kind(sign * x[i])
            if is_hard:
                if out.size > 0:
                    out[i] = _equal_share(score, share_below, share_above, log)
            else:
                up = score >= above
                z = (score - (above if up else below)) * rate
                e = near(score, above if up else below, rate)
                if out.size > 0:
                    out[i] = _membership(score, z, e, up, share_below, share_above, log_below, log)
                if v.size > 0:
                    e *= scaled_above if up else scaled_below
                    part, part_total = part + _slope(kind(v[i]), z, e, up, scale, slope), part_total + e
        pulled, total = pulled + part, total + part_total
    return pulled, total


@device
def _membership(score, z, e, up, share_below, share_above, log_below, log):
    if log:
        return log_membership(score, z, share_above * e, up, log_below)
    return membership(e, up, share_below, share_above)


@device
def _equal_share(score, of_best, of_others, log):
    kind = type(score)
    share = of_best if score == kind(np.inf) else (kind(0) if score == kind(-np.inf) else of_others)
    return _log(share) if log else share


@device
def _log(share):
    return type(share)(math.log(share)) if share > 0 else type(share)(-np.inf)


@device
def _distance(v, cut_below, cut_above, scaled_below, scaled_above, rate):
    """(x - neighbour) / alpha; the scaled e^-|x - b|/alpha; whether the score is above b."""
    up = v >= cut_above
    z = (v - (cut_above if up else cut_below)) * rate
    e = near(v, cut_above if up else cut_below, rate) * (scaled_above if up else scaled_below)
    return z, e, up


@device
def _slope(v, z, e, up, scale, slope):
    """h_i v_i; nothing for infinite scores."""
    kind = type(e)
    if not abs(z) < kind(np.inf):  # NaN where there is no neighbour either
        return kind(0)
    return slope_of(e, up, scale, slope) * v


@kernel
def _settle(numbers, ranking, begin, end, x, rates, sign, slope, cuts, shares, v, pulled, out, partials):
    """The gradient (h_i v_i - e_i mean) / alpha; and of each tile what that for alpha is made of: sum gradient_i
    distance_i to the neighbours, and the sums of gradients above and below b.
    """
    s, tile, kind = cuda.shared.array(0, float64), numbers[cuda.blockIdx.x], x.dtype.type
    r, threads = ranking[tile], cuda.blockDim.x
    cut, share, rate = cuts[r], shares[r], one_of(rates, r)
    below, above, low, high = kind(cut[0]), kind(cut[1]), kind(share[2]), kind(share[3])
    scale, moment, above_b, below_b = kind(share[4]), 0.0, 0.0, 0.0
    is_hard = cut[2] == -np.inf and cut[3] == -np.inf
    mean = kind(0) if is_hard else kind(pulled[0, r] / pulled[1, r])
    factor = sign * rate * (scale if slope == MEMBERSHIP else kind(1))
    for block in range(begin[tile] + cuda.threadIdx.x, end[tile], 64 * threads):
        part, part_above, part_below = kind(0), kind(0), kind(0)
        for i in range(block, min(block + 64 * threads, end[tile]), threads):
            g = kind(0)
            if not is_hard:
                z, e, up = _distance(kind(sign * x[i]), below, above, low, high, rate)
                g = factor * settled(_slope(kind(v[i]), z, e, up, scale, slope), e, mean)
                part += z * g if abs(z) < kind(np.inf) else kind(0)
                part_above, part_below = part_above + (g if up else kind(0)), part_below + (kind(0) if up else g)
            out[i] = g
        moment, above_b, below_b = moment + part, above_b + part_above, below_b + part_below
    block_sums(s, (moment, above_b, below_b))
    put_results(s, 3, partials, tile)
