"""The operations and losses as PyTorch autograd functions, for tensors on the CPU (extra `torch`).

In all of them

x      (..., n) float16, bfloat16, float32 or float64: rankings on the last axis, -inf for padding. It is read where it
       lies, without a copy if it is contiguous float32 or float64, and never modified
alpha  softness: a number, "0.1std" (held constant in gradients), or a tensor that broadcasts to (...): one for each
       ranking, which gets a gradient; k likewise

Results have the shape and dtype of x. float16 and bfloat16 are computed in float32; their ranks stay float32. A graph
may be walked backward more than once (retain_graph), not differentiated twice. As many threads compute as PyTorch has.
What cannot be used raises a LapsumError, such as a NaN among the scores.

>>> import torch
>>> from lapsum_cli.torch import soft_topk
>>> x = torch.tensor([3.0, 1.0, 2.0], requires_grad=True)
>>> soft_topk(x, 1, alpha=0.5)[0].backward()
>>> bool(x.grad[0] > 0), bool(x.grad.sum().abs() < 1e-6)
(True, True)
"""

from __future__ import annotations

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from .errors import DataError, DeviceError, OptionError
from .operation import GRADIENT, Given, Operation, alphas_of, k_of, prepare, refuse, without_constant
from .operators import Loss, Rank, Sort, TopK, check_reduction
from .quantities import Alpha, K
from .rankings import Rankings

__all__ = [
    "log_soft_topk",
    "ndcg_loss",
    "permutation_loss",
    "recall_loss",
    "soft_rank",
    "soft_sort",
    "soft_topk",
    "spearman_loss",
    "topk_loss",
]


def soft_rank(x, *, alpha="0.1std", descending=True, base=1):
    """Soft rank of every score, best first from `base`; approximates  x.argsort(descending=True).argsort() + 1."""
    operation = Rank(**_constant_alpha(alpha), descending=descending, base=base)
    return _apply(_RankOrSort, operation, x, alpha)


def soft_sort(x, *, alpha="0.1std", descending=True):
    """Soft-sorted scores, best first; approximates  x.sort(descending=True).values."""
    operation = Sort(**_constant_alpha(alpha), descending=descending)
    return _apply(_RankOrSort, operation, x, alpha).to(x.dtype)


def soft_topk(x, k, *, alpha="0.1std", largest=True):
    """Soft membership in the top k, in [0, 1], with the sum k; approximates  x >= x.topk(k).values[-1]."""
    operation = TopK(**_constant_alpha(alpha), ks=_constant_k(k), descending=largest)
    return _apply(_TopK, operation, x, alpha, k).to(x.dtype)


def log_soft_topk(x, k, *, alpha="0.1std", largest=True):
    """Logarithm of soft_topk, with all its digits in both tails; -inf where the membership is 0."""
    operation = TopK(**_constant_alpha(alpha), ks=_constant_k(k), descending=largest, log=True)
    return _apply(_TopK, operation, x, alpha, k).to(x.dtype)


def spearman_loss(x, target, *, alpha="0.1std", descending=True, reduction="mean"):
    """1 - the correlation of the soft ranks with the ranks of the target; see lapsum_cli.spearman_loss."""
    return _loss("spearman", x, target, alpha, descending, reduction)


def topk_loss(x, target, k, *, alpha="0.1std", descending=True, reduction="mean"):
    """Cross-entropy of soft memberships against the target's top k; see lapsum_cli.topk_loss."""
    return _loss("topk", x, target, alpha, descending, reduction, k)


def recall_loss(x, target, k, *, alpha="0.1std", descending=True, reduction="mean"):
    """1 - soft recall at k; see lapsum_cli.recall_loss."""
    return _loss("recall", x, target, alpha, descending, reduction, k)


def ndcg_loss(x, target, *, at=None, gain="exp2", alpha="0.1std", descending=True, reduction="mean"):
    """1 - NDCG at the soft ranks, of the `at` best alone if given; see lapsum_cli.ndcg_loss."""
    return _loss("ndcg", x, target, alpha, descending, reduction, at, gain)


def permutation_loss(x, target, *, alpha="0.1std", descending=True, reduction="mean"):
    """Cross-entropy of the soft permutation against the target's order; see lapsum_cli.permutation_loss."""
    return _loss("permutation", x, target, alpha, descending, reduction)


def _loss(name, x, target, alpha, descending, reduction, k=None, gain="exp2"):
    check_reduction(reduction)
    if not isinstance(target, torch.Tensor) or target.shape != x.shape:
        raise DataError(f"the target must be a tensor of the shape of x, {tuple(x.shape)}")
    if isinstance(k, torch.Tensor) and k.requires_grad:
        raise OptionError("a loss has no gradient with respect to k; pass k.detach()")
    ks = _constant_k(k) if k is not None else ()
    options = {"loss": name, "ks": ks, "gain": gain, "gradient": True, "grad_alpha": True}
    operation = Loss(**_constant_alpha(alpha), descending=descending, **options)
    losses = _apply(_Loss, operation, x, alpha, k, target.detach())
    if reduction == "none":
        return losses.to(x.dtype)
    return (losses.nanmean() if reduction == "mean" else losses.nansum()).to(x.dtype)


# Shapes, dtypes and broadcasting are left to PyTorch, which knows their gradients: the functions below see contiguous
# (m, n) float32 or float64 scores and float64 (m,) tensors of alpha and k.


def _apply(function, operation: Operation, x, alpha, k=None, target=None):
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        raise DataError(f"x must be a tensor of floats, got {getattr(x, 'dtype', type(x).__name__)}")
    if x.device.type != "cpu":
        raise DeviceError(f"x is on {x.device}, and this version computes on the CPU; pass x.cpu()")
    if x.ndim == 0:
        raise DataError("x must have at least one dimension, got a single number")
    leading = x.shape[:-1]
    rows = (
        (x.float() if x.dtype in (torch.float16, torch.bfloat16) else x)
        .reshape(leading.numel(), x.shape[-1])
        .contiguous()
    )
    alphas, ks = (_per_ranking(name, given, leading) for name, given in (("alpha", alpha), ("k", k)))
    prepare(operation, str(rows.dtype).removeprefix("torch."))
    result = function.apply(rows, alphas, ks, operation, target)
    return result.reshape(x.shape if result.ndim == 2 else leading)


def _per_ranking(name, given, leading):
    if not isinstance(given, torch.Tensor):
        return None
    try:
        return given.double().expand(leading).reshape(-1)
    except RuntimeError:
        raise OptionError(
            f"{name} has the shape {tuple(given.shape)}, which does not broadcast to that of the rankings, "
            f"{tuple(leading)}"
        ) from None


def _constant_alpha(alpha) -> dict:
    return {"alpha": Alpha(1.0) if isinstance(alpha, torch.Tensor) else Alpha.parse(alpha)}


def _constant_k(k) -> tuple[K, ...]:
    return () if isinstance(k, torch.Tensor) else (K.parse(k),)


def _rankings(rows: torch.Tensor) -> Rankings:
    values = rows.detach().numpy()
    rankings = Rankings.equal_length(values, *values.shape)
    if np.isnan(rankings.values).any():
        raise DataError("a score is NaN; mask it with -inf")
    return rankings


def _number(given):
    return None if given is None else given.detach().numpy()


def _tensor(array, like):
    return torch.from_numpy(np.ascontiguousarray(array)).reshape(like.shape)


class _RankOrSort(torch.autograd.Function):
    """What is sorted on the way forward is kept for the way back."""

    @staticmethod
    def forward(ctx, rows, alphas, ks, operation, target):
        from .kernels import laplace, order

        rankings = _rankings(rows)
        of_constant = laplace.HARD if operation.name == "sort" else 1.0
        ctx.alphas, ctx.constant = alphas_of(
            operation.alpha, rankings, _number(alphas), torch.get_num_threads(), of_constant
        )
        ctx.operation, ctx.wants_alpha = operation, alphas is not None
        keep = any(ctx.needs_input_grad)
        ctx.order = order.Order(rankings.values, rankings.offsets, operation.descending, keep)
        ctx.save_for_backward(rows)  # PyTorch refuses the way back if the scores were changed in place
        return _tensor(_RankOrSort._run(ctx)[0], rows)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        (rows,) = ctx.saved_tensors
        _, gradient, to_alpha = _RankOrSort._run(ctx, upstream.to(rows.dtype).numpy().reshape(-1))
        if ctx.operation.name == "rank":
            without_constant(ctx.constant, ctx.order.offsets, gradient, to_alpha)
        return _tensor(gradient, rows), torch.from_numpy(to_alpha) if ctx.wants_alpha else None, None, None, None

    @staticmethod
    def _run(ctx, upstream=None):
        from .kernels import rank, sort

        threads = torch.get_num_threads()
        if ctx.operation.name == "sort":
            return sort.soft_sort(ctx.order, ctx.alphas, upstream, threads)
        dtype = ctx.operation.dtype(str(ctx.order.values.dtype), int(np.max(np.diff(ctx.order.offsets), initial=0)))
        return rank.soft_rank(ctx.order, ctx.alphas, ctx.operation.base, dtype, upstream, threads)


class _TopK(torch.autograd.Function):
    """The cut that is found on the way forward is kept for the way back."""

    @staticmethod
    def forward(ctx, rows, alphas, ks, operation, target):
        from .kernels import topk

        rankings, threads = _rankings(rows), torch.get_num_threads()
        ctx.operation, ctx.offsets = operation, rankings.offsets
        ctx.alphas, ctx.constant = alphas_of(operation.alpha, rankings, _number(alphas), threads)
        k = k_of(operation.ks[0], rankings.lengths) if ks is None else _number(ks).copy()
        refuse(~(k >= 0), "k must be 0 or more, got {:g}", k)
        ctx.wanted = alphas is not None, ks is not None
        result, ctx.cuts = topk.soft_topk(
            rankings.values, rankings.offsets, k, ctx.alphas, operation.descending, operation.log, threads
        )
        ctx.save_for_backward(rows)
        return _tensor(result, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        from .kernels import topk

        (rows,) = ctx.saved_tensors
        slope = topk.LOGARITHM if ctx.operation.log else topk.MEMBERSHIP
        gradient, to_k, to_alpha = topk.topk_gradient(
            Rankings.equal_length(rows.detach().numpy(), *rows.shape).values,
            ctx.offsets,
            upstream.to(rows.dtype).numpy().reshape(-1),
            ctx.cuts,
            ctx.alphas,
            ctx.operation.descending,
            slope,
            torch.get_num_threads(),
        )
        without_constant(ctx.constant, ctx.offsets, gradient, to_alpha)
        to_alpha, to_k = (
            torch.from_numpy(end.copy()) if wanted else None
            for wanted, end in zip(ctx.wanted, (to_alpha, to_k), strict=True)
        )
        return _tensor(gradient, rows), to_alpha, to_k, None, None


class _Loss(torch.autograd.Function):
    """A loss is computed with its gradient, which the way back only scales."""

    @staticmethod
    def forward(ctx, rows, alphas, ks, operation, target):
        rankings = _rankings(rows)
        wanted = np.ascontiguousarray(target.double().numpy()).reshape(-1)
        if np.isnan(wanted).any():
            raise DataError("a target is NaN; it must be a number for every score")
        given = Given(_number(alphas), None if ks is None else _number(ks).copy(), target=wanted)
        result = operation.apply(rankings, given, threads=torch.get_num_threads())
        ctx.wants_alpha = alphas is not None
        ctx.save_for_backward(
            _tensor(result.scores[GRADIENT], rows), torch.from_numpy(result.rankings[f"{GRADIENT}_alpha"])
        )
        return torch.from_numpy(result.losses).to(rows.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        gradient, to_alpha = ctx.saved_tensors
        # An undefined loss has gradient 0, whatever comes back for it: no NaN leaks into the others.
        scale = torch.where(gradient.abs().sum(1) > 0, upstream.to(gradient.dtype), 0.0)
        to_alpha = torch.where(to_alpha != 0, to_alpha * upstream.double(), 0.0) if ctx.wants_alpha else None
        return gradient * scale[:, None], to_alpha, None, None, None
