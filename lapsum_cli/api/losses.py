"""Losses of soft ranks, memberships and permutations, and their gradients, on arrays.

In all of them

x          rankings of scores, and the softness alpha, as in api.py; a score of -inf takes no part, and one of +inf is
           first whatever the target says: a cross-entropy may be infinite then
target     in the form of x: larger is better, whatever the direction of the scores; gradients flow through x alone
reduction  "mean" over the rankings that have a loss, "sum", or "none": a loss for each, NaN where the target defines
           none (fewer than two scores, all targets alike, no gain)
upstream   of a gradient: with respect to the reduced loss, so a number for each ranking where reduction is "none"
"""

from __future__ import annotations

import numpy as np

from ..core.quantities import K
from ..operations.menu import Loss, check_reduction
from ..operations.operation import GRADIENT
from .functions import Gradients, compute, softness


def spearman_loss(x, target, *, alpha="0.1std", descending=True, reduction="mean", threads=1, device=None):
    """1 - the correlation of the soft ranks with the ranks of the target, whose ties take their mean."""
    return _loss("spearman", x, target, alpha, descending, reduction, threads, device)


def spearman_loss_vjp(
    x, target, upstream=1.0, *, alpha="0.1std", descending=True, reduction="mean", threads=1, device=None
) -> Gradients:
    """Gradients of upstream * spearman_loss(x, target) with respect to the scores and alpha, in O(n) after sorts."""
    return _loss_vjp("spearman", x, target, upstream, alpha, descending, reduction, threads, device)


def topk_loss(x, target, k, *, alpha="0.1std", descending=True, reduction="mean", threads=1, device=None):
    """Cross-entropy of soft memberships: -(1/n) sum of t_i log p_i + (1 - t_i) log(1 - p_i).

    t are the places of the k largest targets; ties share those that are left, so that t sums to k.
    """
    return _loss("topk", x, target, alpha, descending, reduction, threads, device, k=k)


def topk_loss_vjp(
    x, target, k, upstream=1.0, *, alpha="0.1std", descending=True, reduction="mean", threads=1, device=None
) -> Gradients:
    """Gradients of upstream * topk_loss(x, target, k) with respect to the scores and alpha, in O(n)."""
    return _loss_vjp("topk", x, target, upstream, alpha, descending, reduction, threads, device, k=k)


def recall_loss(x, target, k, *, alpha="0.1std", descending=True, reduction="mean", threads=1, device=None):
    """1 - soft recall at k, which is the sum of t_i p_i over k, t as for topk_loss."""
    return _loss("recall", x, target, alpha, descending, reduction, threads, device, k=k)


def recall_loss_vjp(
    x, target, k, upstream=1.0, *, alpha="0.1std", descending=True, reduction="mean", threads=1, device=None
) -> Gradients:
    """Gradients of upstream * recall_loss(x, target, k) with respect to the scores and alpha, in O(n)."""
    return _loss_vjp("recall", x, target, upstream, alpha, descending, reduction, threads, device, k=k)


def ndcg_loss(
    x, target, *, at=None, gain="exp2", alpha="0.1std", descending=True, reduction="mean", threads=1, device=None
):
    """1 - NDCG at the soft ranks r: the sum of gain(y_i) / log2(1 + r_i), over that of the best order.

    gain  "exp2" for 2^y - 1, "linear" for y; y >= 0
    at    counts the best k alone: each term takes its soft membership in the top k
    """
    return _loss("ndcg", x, target, alpha, descending, reduction, threads, device, k=at, gain=gain)


def ndcg_loss_vjp(
    x,
    target,
    upstream=1.0,
    *,
    at=None,
    gain="exp2",
    alpha="0.1std",
    descending=True,
    reduction="mean",
    threads=1,
    device=None,
) -> Gradients:
    """Gradients of upstream * ndcg_loss(x, target) with respect to the scores and alpha, in O(n) after sorts."""
    return _loss_vjp("ndcg", x, target, upstream, alpha, descending, reduction, threads, device, k=at, gain=gain)


def permutation_loss(x, target, *, alpha="0.1std", descending=True, reduction="mean", threads=1, device=None):
    """Cross-entropy of the soft permutation: -(1/n) sum of log P[i, place of y_i], in O(n) memory.

    Equal targets take their places in the order of the input. Source: LapSum, ICML 2025, section 4.
    """
    return _loss("permutation", x, target, alpha, descending, reduction, threads, device)


def permutation_loss_vjp(
    x, target, upstream=1.0, *, alpha="0.1std", descending=True, reduction="mean", threads=1, device=None
) -> Gradients:
    """Gradients of upstream * permutation_loss(x, target) with respect to the scores and alpha, in O(n) after sorts."""
    return _loss_vjp("permutation", x, target, upstream, alpha, descending, reduction, threads, device)


def _loss(name, x, target, alpha, descending, reduction, threads, device, k=None, gain="exp2"):
    check_reduction(reduction)
    operation = _operation(name, alpha, descending, k, gain)
    form, result = compute(operation, x, alpha, threads, device, k, target=target)
    if reduction == "none":
        return form.each(result.losses)
    known = result.losses[~np.isnan(result.losses)]
    return known.sum() if reduction == "sum" else (known.mean() if len(known) else np.nan)


def _loss_vjp(
    name, x, target, upstream, alpha, descending, reduction, threads, device, k=None, gain="exp2"
) -> Gradients:
    check_reduction(reduction)
    operation = _operation(name, alpha, descending, k, gain, gradient=True, grad_alpha=True)
    form, result = compute(operation, x, alpha, threads, device, k, target=target)
    if reduction == "none":
        weights = form.per_ranking("upstream", np.broadcast_to(upstream, form.shape))
    else:
        count = max(1, int((~np.isnan(result.losses)).sum())) if reduction == "mean" else 1
        weights = np.full(len(form.rankings), float(upstream) / count)
    to_scores = result.scores[GRADIENT] * np.repeat(weights, form.rankings.lengths)
    to_alpha = result.rankings[f"{GRADIENT}_alpha"] * weights
    return Gradients(form.scores(to_scores.astype(form.dtype)), form.each(to_alpha))


def _operation(name, alpha, descending, k, gain, **options) -> Loss:
    ks = () if k is None or np.ndim(k) else (K.parse(k),)
    return Loss(**softness(alpha), loss=name, ks=ks, gain=gain, descending=descending, **options)
