"""Losses of soft ranks and memberships against targets on a card, with their gradients, as ..losses.

Each is what ..losses makes of the forward pass, one kernel that turns it into a loss and an upstream gradient, and the
pass back. A block takes a ranking, however long, in that kernel: little beside sorting it.
"""

import math

import numpy as np

from ...core.rankings import Rankings
from ..losses.losses import cross_entropy, gain_of
from ..scalars.cut import GIVEN, MEMBERSHIP
from ..scalars.laplace import HARD, LOG_2
from . import tiles
from .adapter import Lane, cuda, float64, kernel
from .blocks import block_maxima, block_sums
from .order import Order
from .permute import permutation
from .rank import soft_rank
from .tiles import Layout
from .topk import cast, soft_topk, topk_gradient

__all__ = ["ndcg", "permutation", "recall", "spearman", "topk"]


def spearman(lane: Lane, values, offsets, targets, alphas, gradient=True, descending=True):
    order, wanted = (
        Order(lane, Rankings(values, offsets), descending),
        Order(lane, Rankings(targets, offsets), name="target"),
    )
    ranks, *_ = soft_rank(order, alphas, dtype=np.float64)
    wanted, *_ = soft_rank(wanted, np.full(len(alphas), HARD))
    losses, upstream = _each_ranking(lane, offsets, _correlations, 3, (ranks, wanted))
    if not gradient:
        return losses, None, None
    return losses, *soft_rank(order, alphas, dtype=np.float64, upstream=upstream)[1:]


def topk(lane: Lane, values, offsets, targets, alphas, ks, gradient=True, descending=True):
    wide, members = cast(lane, lane.put(values, "scores"), np.float64), _places(lane, targets, offsets, ks)
    p, cuts = soft_topk(lane, Rankings(wide, offsets), ks, alphas, descending)
    given = (wide, p, members, cuts.cuts, lane.put(alphas, "alphas"), 1.0 if descending else -1.0)
    losses, upstream = _each_ranking(lane, offsets, _cross_entropies, 1, given)
    if not gradient:
        return losses, None, None
    to_scores, _, to_alpha = topk_gradient(lane, Rankings(wide, offsets), upstream, cuts, alphas, descending, GIVEN)
    return losses, to_scores, to_alpha


def recall(lane: Lane, values, offsets, targets, alphas, ks, gradient=True, descending=True):
    wide, members = cast(lane, lane.put(values, "scores"), np.float64), _places(lane, targets, offsets, ks)
    p, cuts = soft_topk(lane, Rankings(wide, offsets), ks, alphas, descending)
    losses, upstream = _each_ranking(lane, offsets, _misses, 1, (p, members, lane.put(ks, "ks")))
    if not gradient:
        return losses, None, None
    to_scores, _, to_alpha = topk_gradient(
        lane, Rankings(wide, offsets), upstream, cuts, alphas, descending, MEMBERSHIP
    )
    return losses, to_scores, to_alpha


def ndcg(lane: Lane, values, offsets, targets, alphas, at=None, exponential=True, gradient=True, descending=True):
    order = Order(lane, Rankings(values, offsets), descending)
    ranks, *_ = soft_rank(order, alphas, dtype=np.float64)
    positions = Order(lane, Rankings(targets, offsets), name="target").positions()
    limits = lane.put(np.full(len(alphas), np.inf) if at is None else np.ascontiguousarray(at))
    members, wide = lane.room("no members", (0,), np.float64), None
    if at is not None:
        wide = cast(lane, lane.put(values, "scores"), np.float64)
        members, cuts = soft_topk(lane, Rankings(wide, offsets), at, alphas, descending)
    to_members = lane.empty(len(wide) if at is not None else 0, np.float64)
    given = (ranks, members, lane.put(targets, "target"), positions, limits, exponential, to_members)
    losses, to_ranks = _each_ranking(lane, offsets, _discounted_gains, 2, given)
    if not gradient:
        return losses, None, None
    _, to_scores, to_alpha = soft_rank(order, alphas, dtype=np.float64, upstream=to_ranks)
    if at is not None:
        more, _, more_alpha = topk_gradient(
            lane, Rankings(wide, offsets), to_members, cuts, alphas, descending, MEMBERSHIP
        )
        layout = Layout.of(lane, offsets)
        layout.each_tile(layout.tiles, _add, 0, to_scores, more)
        to_alpha = to_alpha + more_alpha
    return losses, to_scores, to_alpha


def _places(lane: Lane, targets, offsets, ks):
    """The k largest targets; ties share what is left of k."""
    return soft_topk(lane, Rankings(targets, offsets), ks, np.full(len(ks), HARD), name="target")[0]


def _each_ranking(lane: Lane, offsets, function, rows, given):
    """Run a kernel with a block for each ranking: losses (m,) in memory here, an upstream gradient (N,) on the card."""
    layout = Layout.of(lane, offsets)
    losses, upstream = lane.room("losses", (layout.count,), np.float64), lane.empty(layout.size, np.float64)
    lane.launch(function, layout.count, tiles.THREADS, rows, layout.offsets, *given, losses, upstream)
    return lane.get(losses), upstream


@kernel
def _correlations(offsets, ranks, wanted, losses, upstream):
    """1 - correlation, whose gradient is -(wanted' / (|r'| |wanted'|) - correlation r' / |r'|^2), both centred."""
    s, t, threads, r = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x, cuda.blockIdx.x
    start, stop = offsets[r], offsets[r + 1]
    a, b, n = 0.0, 0.0, max(stop - start, 1)
    for i in range(start + t, stop, threads):
        a, b = a + ranks[i], b + wanted[i]
    block_sums(s, (a, b))
    mean, wanted_mean = s[0] / n, s[threads] / n
    aa, bb, ab = 0.0, 0.0, 0.0
    for i in range(start + t, stop, threads):
        a, b = ranks[i] - mean, wanted[i] - wanted_mean
        aa, bb, ab = aa + a * a, bb + b * b, ab + a * b
    block_sums(s, (aa, bb, ab))
    aa, bb = math.sqrt(s[0]), math.sqrt(s[threads])
    # Scores that are all alike correlate with nothing, and no direction is better than another.
    correlation = s[2 * threads] / (aa * bb) if aa > 0.0 else 0.0
    for i in range(start + t, stop, threads):
        a, b = ranks[i] - mean, wanted[i] - wanted_mean
        upstream[i] = (correlation * a / aa - b / bb) / aa if aa > 0.0 and bb > 0.0 else 0.0
    if t == 0:
        losses[r] = 1.0 - correlation if bb > 0.0 else np.nan


@kernel
def _cross_entropies(offsets, x, p, members, cuts, alphas, up, losses, upstream):
    s, t, r = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockIdx.x
    start, stop, total = offsets[r], offsets[r + 1], 0.0
    n = max(stop - start, 1)
    for i in range(start + t, stop, cuda.blockDim.x):
        entropy, slope = cross_entropy(up * x[i], p[i], np.float64(members[i]), cuts[r], alphas[r])
        total += entropy
        upstream[i] = slope / n
    block_sums(s, (total,))
    if t == 0:
        losses[r] = s[0] / n


@kernel
def _misses(offsets, p, members, ks, losses, upstream):
    """1 - sum of t_i p_i / k."""
    s, t, r = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockIdx.x
    start, stop, total = offsets[r], offsets[r + 1], 0.0
    k = min(ks[r], np.float64(stop - start))
    for i in range(start + t, stop, cuda.blockDim.x):
        slope = -members[i] / k if k > 0.0 else np.nan
        total += p[i] * slope
        upstream[i] = slope
    block_sums(s, (total,))
    if t == 0:
        losses[r] = 1.0 + s[0]


@kernel
def _discounted_gains(offsets, ranks, members, y, positions, limits, exponential, to_members, losses, to_ranks):
    s, t, threads, r = cuda.shared.array(0, float64), cuda.threadIdx.x, cuda.blockDim.x, cuda.blockIdx.x
    start, stop, best = offsets[r], offsets[r + 1], -np.inf
    for i in range(start + t, stop, threads):
        best = max(best, y[i])
    block_maxima(s, (best,))
    best, ideal, gained = s[0], 0.0, 0.0
    for i in range(start + t, stop, threads):
        gain, member = gain_of(y[i], best, exponential), members[i] if members.size > 0 else 1.0
        ideal += gain * min(max(limits[r] - positions[i], 0.0), 1.0) / math.log2(2.0 + positions[i])
        gained += gain * member / math.log2(1.0 + ranks[i])
    block_sums(s, (ideal, gained))
    ideal, gained = s[0], s[threads]
    for i in range(start + t, stop, threads):
        gain = gain_of(y[i], best, exponential) / ideal if ideal > 0.0 else np.nan
        depth, member = math.log2(1.0 + ranks[i]), members[i] if members.size > 0 else 1.0
        if members.size > 0:
            to_members[i] = -gain / depth
        to_ranks[i] = gain * member / (depth * depth * (1.0 + ranks[i]) * LOG_2)
    if t == 0:
        losses[r] = 1.0 - gained / ideal if ideal > 0.0 else np.nan


@kernel
def _add(numbers, ranking, begin, end, to, more):
    tile = numbers[cuda.blockIdx.x]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        to[i] += more[i]
