"""The operations and losses as PyTorch autograd functions, for tensors on the CPU and on a GPU (extra `torch`).

In all of them

x      (..., n) float16, bfloat16, float32 or float64: rankings on the last axis, -inf for padding. It is read where it
       lies, without a copy if it is contiguous float32 or float64, and never modified
alpha  softness: a number, "0.1std" (held constant in gradients), or a tensor that broadcasts to (...): one for each
       ranking, which gets a gradient; k likewise

A tensor on a GPU is computed there, on the current stream (extra `cuda`); what a ranking has one of, such as alpha,
crosses to the host and back, as do the scores of a loss.

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

import contextlib

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from . import devices
from .core.errors import DataError, DeviceError, OptionError
from .core.quantities import Alpha, K
from .core.rankings import Rankings
from .devices.processors import Cpu
from .operations.menu import Loss, Rank, Sort, TopK, check_reduction
from .operations.operation import GRADIENT, Given, Operation, alphas_of, k_of, prepare, refuse

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
    if x.device.type not in ("cpu", "cuda"):
        raise DeviceError(f"x is on {x.device}; the CPU and NVIDIA GPUs compute: pass x.cpu()")
    if x.ndim == 0:
        raise DataError("x must have at least one dimension, got a single number")
    leading = x.shape[:-1]
    rows = (
        (x.float() if x.dtype in (torch.float16, torch.bfloat16) else x)
        .reshape(leading.numel(), x.shape[-1])
        .contiguous()
    )
    alphas, ks = (_per_ranking(name, given, leading) for name, given in (("alpha", alpha), ("k", k)))
    prepare(operation, str(rows.dtype).removeprefix("torch."), _processor(rows))
    with torch.cuda.device(rows.device) if rows.is_cuda else contextlib.nullcontext():
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


def _processor(rows: torch.Tensor):
    """The CPU with as many threads as PyTorch has, or the card that holds the rows, on PyTorch's current stream."""
    if not rows.is_cuda:
        return Cpu(torch.get_num_threads())
    stream = torch.cuda.current_stream(rows.device).cuda_stream
    return devices.lane((rows.device.index, stream), lambda: _lane_of_torch(rows.device, stream))


def _lane_of_torch(device, stream):
    """A lane whose arrays come from PyTorch's allocator, which gives memory out again in the order of the stream."""
    from .kernels.cuda import adapter

    class Lane(adapter.Lane):
        def empty(self, shape, dtype):
            size = int(np.prod(shape, dtype=np.int64))
            room = torch.empty(max(size, 1) * np.dtype(dtype).itemsize, dtype=torch.uint8, device=device)
            return adapter.as_array(room).view(np.dtype(dtype))[:size].reshape(shape)

    return Lane(adapter.external_stream(stream))


def _rankings(rows: torch.Tensor) -> Rankings:
    count, length = rows.shape
    if bool(torch.isnan(rows).any()):
        raise DataError("a score is NaN; mask it with -inf")
    if not rows.is_cuda:
        return Rankings.equal_length(rows.detach().numpy(), count, length)
    return Rankings(_flat(rows), np.arange(count + 1, dtype=np.int64) * length)


def _flat(tensor: torch.Tensor):
    """The numbers of a tensor where they are, as an array."""
    tensor = tensor.detach().contiguous().reshape(-1)
    if not tensor.is_cuda:
        return tensor.numpy()
    from .kernels.cuda import adapter

    return adapter.as_array(tensor)


def _number(given):
    return None if given is None else given.detach().cpu().numpy()


def _tensor(array, like):
    if isinstance(array, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(array)).to(like.device).reshape(like.shape)
    return torch.as_tensor(array, device=like.device).reshape(like.shape)


def _numbers(array, like):
    """A number for each ranking, as a tensor on the device of another."""
    return torch.from_numpy(array.copy()).to(like.device)


class _RankOrSort(torch.autograd.Function):
    """What is sorted on the way forward is kept for the way back."""

    @staticmethod
    def forward(ctx, rows, alphas, ks, operation, target):
        from .kernels.scalars import laplace

        rankings, on = _rankings(rows), _processor(rows)
        of_constant = laplace.HARD if operation.name == "sort" else 1.0
        ctx.alphas, ctx.constant = alphas_of(operation.alpha, rankings, _number(alphas), on, of_constant)
        ctx.operation, ctx.wants_alpha, ctx.rankings = operation, alphas is not None, rankings
        ctx.order = on.order(rankings, operation.descending, keep=any(ctx.needs_input_grad))
        ctx.save_for_backward(rows)  # PyTorch refuses the way back if the scores were changed in place
        return _tensor(_RankOrSort._run(ctx, on)[0], rows)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        (rows,) = ctx.saved_tensors
        on = _processor(rows)
        _, gradient, to_alpha = _RankOrSort._run(ctx, on, _flat(upstream.to(rows.dtype)))
        if ctx.operation.name == "rank":
            on.without_constant(ctx.constant, ctx.rankings, gradient, to_alpha)
        return _tensor(gradient, rows), _numbers(to_alpha, rows) if ctx.wants_alpha else None, None, None, None

    @staticmethod
    def _run(ctx, on, upstream=None):
        if ctx.operation.name == "sort":
            return on.soft_sort(ctx.order, ctx.alphas, upstream)
        dtype = ctx.operation.dtype(str(ctx.rankings.values.dtype), int(ctx.rankings.lengths.max(initial=0)))
        return on.soft_rank(ctx.order, ctx.alphas, ctx.operation.base, dtype, upstream)


class _TopK(torch.autograd.Function):
    """The cut that is found on the way forward is kept for the way back."""

    @staticmethod
    def forward(ctx, rows, alphas, ks, operation, target):
        rankings, on = _rankings(rows), _processor(rows)
        ctx.operation, ctx.rankings = operation, rankings
        ctx.alphas, ctx.constant = alphas_of(operation.alpha, rankings, _number(alphas), on)
        k = k_of(operation.ks[0], rankings.lengths) if ks is None else _number(ks).copy()
        refuse(~(k >= 0), "k must be 0 or more, got {:g}", k)
        ctx.wanted = alphas is not None, ks is not None
        result, ctx.cuts = on.soft_topk(rankings, k, ctx.alphas, operation.descending, operation.log)
        ctx.save_for_backward(rows)
        return _tensor(result, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        (rows,) = ctx.saved_tensors
        on, operation = _processor(rows), ctx.operation
        given = (_flat(upstream.to(rows.dtype)), ctx.cuts, ctx.alphas, operation.descending, operation.log)
        gradient, to_k, to_alpha = on.topk_gradient(ctx.rankings, *given)
        on.without_constant(ctx.constant, ctx.rankings, gradient, to_alpha)
        to_alpha, to_k = (
            _numbers(end, rows) if wanted else None for wanted, end in zip(ctx.wanted, (to_alpha, to_k), strict=True)
        )
        return _tensor(gradient, rows), to_alpha, to_k, None, None


class _Loss(torch.autograd.Function):
    """A loss is computed with its gradient, which the way back only scales."""

    @staticmethod
    def forward(ctx, rows, alphas, ks, operation, target):
        rankings, on = _rankings(rows), _processor(rows)
        wanted = target.double().cpu().contiguous().numpy().reshape(-1)
        if np.isnan(wanted).any():
            raise DataError("a target is NaN; it must be a number for every score")
        given = Given(_number(alphas), None if ks is None else _number(ks).copy(), target=wanted)
        result = on.run(operation, rankings, given)
        ctx.wants_alpha = alphas is not None
        ctx.save_for_backward(
            _tensor(result.scores[GRADIENT], rows), _numbers(result.rankings[f"{GRADIENT}_alpha"], rows)
        )
        return _numbers(result.losses, rows).to(rows.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        gradient, to_alpha = ctx.saved_tensors
        # An undefined loss has gradient 0, whatever comes back for it: no NaN leaks into the others.
        scale = torch.where(gradient.abs().sum(1) > 0, upstream.to(gradient.dtype), 0.0)
        to_alpha = torch.where(to_alpha != 0, to_alpha * upstream.double(), 0.0) if ctx.wants_alpha else None
        return gradient * scale[:, None], to_alpha, None, None, None
