"""Losses of soft ranks, memberships and permutations against targets, with their gradients in O(n).

A loss takes rankings of two scores or more, none of them masked, with targets that are not all alike, and gives a
number for each ranking, the gradient of that number for every score, and for alpha. Targets y are better the larger
they are, t_i are the places of the k largest targets (ties share what is left of k), r soft ranks from 1, p soft
memberships:

    spearman      1 - the correlation of r with the ranks of y (ties take their mean)
    topk          -(1/n) sum of t_i log p_i + (1 - t_i) log(1 - p_i)
    recall        1 - sum of t_i p_i / k
    ndcg          1 - DCG / ideal, DCG = sum of gain_i / log2(1 + r_i), each term times p_i for the `at` best alone

The fifth, of the soft permutation, is in permutation_loss.py.

Each is a forward pass, one loop over the scores that turns it into a loss and an upstream gradient, and the pass back
of rank.py or topk.py. All of it is float64; the scores stay as they are. A loss is NaN where the targets define none
after all: no gain, or k = 0.
"""

import math

import numpy as np

from ...core.rankings import Rankings
from ..cpu import parallel
from ..cpu.order import Order
from ..cpu.parallel import Cores
from ..cpu.rank import soft_rank
from ..cpu.topk import soft_topk, topk_gradient
from ..jit import kernel, uncounted
from ..scalars.cut import GIVEN, MEMBERSHIP
from ..scalars.laplace import HARD, LOG_2, log_or_minus_inf


def spearman(values, offsets, targets, alphas, gradient=True, descending=True, threads=1):
    order = Order(Cores(threads), Rankings(values, offsets), descending, keep=gradient)
    ranks, *_ = soft_rank(order, alphas, dtype=np.float64)
    wanted, *_ = soft_rank(Order(Cores(threads), Rankings(targets, offsets)), np.full(len(alphas), HARD))
    losses, upstream = np.empty(len(alphas)), np.empty(len(values))
    _correlations(ranks, wanted, offsets, losses, upstream)
    if not gradient:
        return losses, None, None
    return losses, *soft_rank(order, alphas, dtype=np.float64, upstream=upstream)[1:]


def topk(values, offsets, targets, alphas, ks, gradient=True, descending=True, threads=1):
    wide, members = Rankings(values.astype(np.float64), offsets), _places(targets, offsets, ks, threads)
    p, cuts = soft_topk(Cores(threads), wide, ks, alphas, descending)
    losses, upstream = np.empty(len(alphas)), np.empty(len(values))
    _cross_entropies(wide.values, p, offsets, members, cuts, alphas, descending, losses, upstream)
    if not gradient:
        return losses, None, None
    to_scores, _, to_alpha = topk_gradient(Cores(threads), wide, upstream, cuts, alphas, descending, GIVEN)
    return losses, to_scores, to_alpha


def recall(values, offsets, targets, alphas, ks, gradient=True, descending=True, threads=1):
    wide, members = Rankings(values.astype(np.float64), offsets), _places(targets, offsets, ks, threads)
    p, cuts = soft_topk(Cores(threads), wide, ks, alphas, descending)
    ks = np.minimum(ks, np.diff(offsets))
    upstream = -members / np.repeat(np.where(ks > 0, ks, np.nan), np.diff(offsets))
    losses = 1.0 + _sums(p * upstream, offsets)
    if not gradient:
        return losses, None, None
    to_scores, _, to_alpha = topk_gradient(Cores(threads), wide, upstream, cuts, alphas, descending, MEMBERSHIP)
    return losses, to_scores, to_alpha


def ndcg(values, offsets, targets, alphas, at=None, exponential=True, gradient=True, descending=True, threads=1):
    """at: (m,) float64, how many of the best count, or None for all; gain 2^y - 1 if exponential, else y."""
    order = Order(Cores(threads), Rankings(values, offsets), descending, keep=gradient)
    ranks, *_ = soft_rank(order, alphas, dtype=np.float64)
    places, wide = positions(targets, offsets, threads), Rankings(values.astype(np.float64), offsets)
    members, cuts, limits = np.ones(len(values)), None, np.full(len(alphas), np.inf)
    if at is not None:
        limits = at
        members, cuts = soft_topk(Cores(threads), wide, at, alphas, descending)
    losses, to_ranks, to_members = np.empty(len(alphas)), np.empty(len(values)), np.empty(len(values))
    _discounted_gains(ranks, members, targets, places, offsets, limits, exponential, losses, to_ranks, to_members)
    if not gradient:
        return losses, None, None
    _, to_scores, to_alpha = soft_rank(order, alphas, dtype=np.float64, upstream=to_ranks)
    if at is not None:
        more, _, more_alpha = topk_gradient(Cores(threads), wide, to_members, cuts, alphas, descending, MEMBERSHIP)
        to_scores, to_alpha = to_scores + more, to_alpha + more_alpha
    return losses, to_scores, to_alpha


def positions(targets, offsets, threads=1):
    """The place of every target in its ranking, from 0, largest first; equal targets in the order of the input."""
    order = Order(Cores(threads), Rankings(targets, offsets))
    out = np.empty(len(targets), np.int64)

    def work(group):
        _, origins = order.sorted(group)
        _scatter(origins, offsets, group, out)

    parallel.for_each(work, [(group,) for group in order.groups], threads)
    return out


def _places(targets, offsets, ks, threads):
    return soft_topk(Cores(threads), Rankings(targets, offsets), ks, np.full(len(ks), HARD))[0]


def _sums(values, offsets):
    return np.add.reduceat(values, offsets[:-1]) if len(values) else np.empty(0)


@kernel
def _scatter(origins, offsets, group, out):
    for row in range(group.size):
        first, stop = offsets[group[row]], offsets[group[row] + 1]
        for i in range(stop - first):
            out[first + np.int64(origins[row, i])] = i


@kernel
def _correlations(ranks, wanted, offsets, losses, upstream):
    """1 - correlation, whose gradient is -(wanted' / (|r'| |wanted'|) - correlation r' / |r'|^2), both centred."""
    for r in range(losses.size):
        part = slice(offsets[r], offsets[r + 1])
        a, b = ranks[part] - np.mean(ranks[part]), wanted[part] - np.mean(wanted[part])
        aa, bb = np.sqrt(np.sum(a * a)), np.sqrt(np.sum(b * b))
        # Scores that are all alike correlate with nothing, and no direction is better than another.
        correlation = np.sum(a * b) / (aa * bb) if aa > 0 else 0.0
        losses[r] = 1.0 - correlation if bb > 0 else np.nan
        for i in range(a.size):
            slope = (correlation * a[i] / aa - b[i] / bb) / aa if aa > 0 and bb > 0 else 0.0
            upstream[offsets[r] + i] = slope


@kernel
def _cross_entropies(x, p, offsets, members, cuts, alphas, descending, losses, upstream):
    """upstream: with respect to x / alpha at a fixed threshold."""
    up = 1.0 if descending else -1.0
    for r in range(losses.size):
        total, n = 0.0, offsets[r + 1] - offsets[r]
        for i in range(offsets[r], offsets[r + 1]):
            entropy, slope = cross_entropy(up * x[i], p[i], members[i], cuts[r], alphas[r])
            total += entropy
            upstream[i] = slope / n
        losses[r] = total / n


@uncounted
def cross_entropy(v, p, t, cut, alpha):
    """-(t log p + (1 - t) log(1 - p)) of a score v, larger being better, and its slope along v / alpha at a fixed
    threshold, where log p rises by (1 - p) / p or 1, and so on.
    """
    log_below, log_above, slope = cut[2], cut[3], 0.0
    if log_below == -np.inf and log_above == -np.inf:
        log_in, log_out = log_or_minus_inf(p), log_or_minus_inf(1.0 - p)
    elif v >= cut[1]:
        log_out = log_above - (v - cut[1]) / alpha
        tail = math.exp(log_out)
        log_in = math.log1p(-tail)
        slope = 1.0 - t - t * tail / (1.0 - tail)
    else:
        log_in = log_below - (cut[0] - v) / alpha
        tail = math.exp(log_in)
        log_out = math.log1p(-tail)
        slope = (1.0 - t) * tail / (1.0 - tail) - t
    return -(t * log_in if t > 0.0 else 0.0) - ((1.0 - t) * log_out if t < 1.0 else 0.0), slope


@kernel
def _discounted_gains(ranks, members, y, places, offsets, limits, exponential, losses, to_ranks, to_members):
    for r in range(losses.size):
        first, stop = offsets[r], offsets[r + 1]
        best = np.max(y[first:stop])
        ideal, gained = 0.0, 0.0
        for i in range(first, stop):
            gain = gain_of(y[i], best, exponential)
            ideal += gain * min(max(limits[r] - places[i], 0.0), 1.0) / math.log2(2.0 + places[i])
            gained += gain * members[i] / math.log2(1.0 + ranks[i])
        losses[r] = 1.0 - gained / ideal if ideal > 0.0 else np.nan
        for i in range(first, stop):
            gain, depth = gain_of(y[i], best, exponential) / ideal, math.log2(1.0 + ranks[i])
            to_members[i] = -gain / depth
            to_ranks[i] = gain * members[i] / (depth * depth * (1.0 + ranks[i]) * LOG_2)


@uncounted
def gain_of(y, best, exponential):
    """2^y - 1 relative to 2^best, which may be more than a float holds; or y relative to best."""
    if best <= 0.0:
        return 0.0
    return math.exp2(y - best) - math.exp2(-best) if exponential else y / best
