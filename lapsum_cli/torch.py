"""The operations and losses as PyTorch autograd functions, for tensors on the CPU and on a GPU (extra `torch`).

In all of them

x      (..., n) float16, bfloat16, float32 or float64: rankings on the last axis, -inf for padding. It is read where it
       lies, without a copy if it is contiguous float32 or float64, and never modified
alpha  softness: a number, "0.1std" (held constant in gradients), or a tensor that broadcasts to (...): one for each
       ranking, which gets a gradient; k likewise

A tensor on a GPU is computed there, on the current stream (extra `cuda`), and so are the gradients for alpha and k:
nothing waits, forward or backward, but a loss, whose scores cross to the host and back, and a k in percent. So nobody
is told in time of a NaN among the scores, of an alpha that is not positive, or of a k that is negative: then all
results are NaN, and all gradients. A top-k of float32 scores there takes alphas of 1e-30 to 1e30.

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
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from . import devices
from .core.errors import DataError, DeviceError, OptionError
from .core.quantities import Alpha, K
from .core.rankings import Rankings, equal_offsets
from .devices.cpu import Cpu
from .operations import LOSSES
from .operations.loss import Loss, check_reduction
from .operations.operation import Operation
from .operations.rank import Rank
from .operations.sort import Sort
from .operations.topk import TopK
from .operations.warm import warm

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


def soft_rank(
    x: torch.Tensor, *, alpha: Any = "0.1std", descending: bool = True, base: int = 1, method: str = "lapsum"
) -> torch.Tensor:
    """Soft rank of every score, best first from `base`; approximates  x.argsort(descending=True).argsort() + 1."""
    return _apply(Rank(_constant_alpha(alpha), descending, base=base, method=method), x, alpha)


def soft_sort(
    x: torch.Tensor, *, alpha: Any = "0.1std", descending: bool = True, method: str = "lapsum"
) -> torch.Tensor:
    """Soft-sorted scores, best first; approximates  x.sort(descending=True).values."""
    return _apply(Sort(_constant_alpha(alpha), descending, method=method), x, alpha).to(x.dtype)


def soft_topk(
    x: torch.Tensor, k: Any, *, alpha: Any = "0.1std", largest: bool = True, method: str = "lapsum"
) -> torch.Tensor:
    """Soft membership in the top k, in [0, 1], with the sum k; approximates  x >= x.topk(k).values[-1]."""
    operation = TopK(_constant_alpha(alpha), largest, ks=_constant_k(k), method=method)
    return _apply(operation, x, alpha, k).to(x.dtype)


def log_soft_topk(
    x: torch.Tensor, k: Any, *, alpha: Any = "0.1std", largest: bool = True, method: str = "lapsum"
) -> torch.Tensor:
    """Logarithm of soft_topk, with all its digits in both tails; -inf where the membership is 0."""
    operation = TopK(_constant_alpha(alpha), largest, ks=_constant_k(k), log=True, method=method)
    return _apply(operation, x, alpha, k).to(x.dtype)


def spearman_loss(
    x: torch.Tensor,
    target: torch.Tensor,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
) -> torch.Tensor:
    """1 - the correlation of the soft ranks with the ranks of the target; see lapsum_cli.spearman_loss."""
    return loss("spearman", x, target, alpha=alpha, descending=descending, reduction=reduction)


def topk_loss(
    x: torch.Tensor,
    target: torch.Tensor,
    k: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
) -> torch.Tensor:
    """Cross-entropy of soft memberships against the target's top k; see lapsum_cli.topk_loss."""
    return loss("topk", x, target, k=k, alpha=alpha, descending=descending, reduction=reduction)


def recall_loss(
    x: torch.Tensor,
    target: torch.Tensor,
    k: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
) -> torch.Tensor:
    """1 - soft recall at k; see lapsum_cli.recall_loss."""
    return loss("recall", x, target, k=k, alpha=alpha, descending=descending, reduction=reduction)


def ndcg_loss(
    x: torch.Tensor,
    target: torch.Tensor,
    *,
    at: Any = None,
    gain: str = "exp2",
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
) -> torch.Tensor:
    """1 - NDCG at the soft ranks, of the `at` best alone if given; see lapsum_cli.ndcg_loss."""
    return loss("ndcg", x, target, k=at, gain=gain, alpha=alpha, descending=descending, reduction=reduction)


def permutation_loss(
    x: torch.Tensor,
    target: torch.Tensor,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
) -> torch.Tensor:
    """Cross-entropy of the soft permutation against the target's order; see lapsum_cli.permutation_loss."""
    return loss("permutation", x, target, alpha=alpha, descending=descending, reduction=reduction)


def loss(
    name: str,
    x: torch.Tensor,
    target: torch.Tensor,
    *,
    k: Any = None,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
    **options: Any,
) -> torch.Tensor:
    """A loss of operations.LOSSES by its name; k and options as it takes them."""
    check_reduction(reduction)
    if not isinstance(target, torch.Tensor) or target.shape != x.shape:
        raise DataError(f"the target must be a tensor of the shape of x, {tuple(x.shape)}")
    if isinstance(k, torch.Tensor) and k.requires_grad:
        raise OptionError("a loss has no gradient with respect to k; pass k.detach()")
    ks = _constant_k(k) if k is not None else ()
    operation = Loss(_constant_alpha(alpha), descending, loss=name, ks=ks, **options)
    losses = _apply(operation, x, alpha, k, target.detach())
    if reduction == "none":
        return losses.to(x.dtype)
    return (losses.nanmean() if reduction == "mean" else losses.nansum()).to(x.dtype)


def __getattr__(name: str) -> Callable[..., torch.Tensor]:
    """A loss that only the table knows."""
    base = name.removesuffix("_loss")
    if base == name or base not in LOSSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return lambda x, target, **options: loss(base, x, target, **options)


# Shapes, dtypes and broadcasting are left to PyTorch, which knows their gradients: the function below sees contiguous
# (m, n) float32 or float64 scores and float64 (m,) tensors of alpha and k.


class _Operation(torch.autograd.Function):
    """Any operation: its forward pass, whose state is kept for the way back."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        alphas: torch.Tensor | None,
        ks: torch.Tensor | None,
        operation: Operation,
        target: Any,
    ) -> torch.Tensor:
        on, rankings = _device(rows), _rankings(rows, {"alpha": alphas, "k": ks}, target)
        with _alone(on, operation, rankings):
            ctx.doubts = _doubts(on, rankings)
            [(_, ctx.rankings)] = operation.by_k(operation.ready(rankings, on))
            made = operation.forward(ctx.rankings, on, keep=any(ctx.needs_input_grad))
            _spoil(ctx.doubts, made.values)
        ctx.operation, ctx.state, ctx.wanted = operation, made.state, (alphas is not None, ks is not None)
        ctx.save_for_backward(rows)  # PyTorch refuses the way back if the scores were changed in place
        if made.values is None:
            return _tensor(made.numbers[operation.result], rows, rows.shape[:1]).to(rows.dtype)
        return _tensor(made.values, rows, rows.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[Any, ...]:
        (rows,) = ctx.saved_tensors
        on, of_scores = _device(rows), upstream.ndim == 2
        given = _flat(upstream.to(rows.dtype)) if of_scores else _flat(upstream.double().cpu())
        with _alone(on, ctx.operation, ctx.rankings):
            found = ctx.operation.backward(ctx.rankings, ctx.state, given, on)
            _spoil(ctx.doubts, *found)
        scores, *rest = found
        to_alpha, to_k = (
            _tensor(end, rows, rows.shape[:1]) if wanted else None for wanted, end in zip(ctx.wanted, rest, strict=True)
        )
        return _tensor(scores, rows, rows.shape), to_alpha, to_k, None, None


def _apply(operation: Operation, x: torch.Tensor, alpha: Any, k: Any = None, target: Any = None) -> torch.Tensor:
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
    alphas, ks = (_per_ranking(name, given, leading, x.device) for name, given in (("alpha", alpha), ("k", k)))
    warm(operation, str(rows.dtype).removeprefix("torch."), _device(rows))
    with torch.cuda.device(rows.device) if rows.is_cuda else contextlib.nullcontext():
        result = _Operation.apply(rows, alphas, ks, operation, target)
    return result.reshape(x.shape if result.ndim == 2 else leading)


def _per_ranking(name: str, given: Any, leading: torch.Size, device: torch.device) -> torch.Tensor | None:
    if not isinstance(given, torch.Tensor):
        return None
    try:
        return given.to(device).double().expand(leading).reshape(-1)
    except RuntimeError:
        raise OptionError(
            f"{name} has the shape {tuple(given.shape)}, which does not broadcast to that of the rankings, "
            f"{tuple(leading)}"
        ) from None


def _constant_alpha(alpha: Any) -> Alpha:
    return Alpha(1.0) if isinstance(alpha, torch.Tensor) else Alpha.parse(alpha)


def _constant_k(k: Any) -> tuple[K, ...]:
    return () if isinstance(k, torch.Tensor) else (K.parse(k),)


def _device(rows: torch.Tensor) -> Any:
    """The CPU with as many threads as PyTorch has, or the card that holds the rows, on PyTorch's current stream."""
    if not rows.is_cuda:
        return Cpu(torch.get_num_threads())
    stream = torch.cuda.current_stream(rows.device).cuda_stream
    return devices.lane((rows.device.index, stream), lambda: _lane_of_torch(rows.device, stream))


def _alone(on: Any, operation: Operation, rankings: Rankings) -> Any:
    return on.alone(operation, rankings) if on.has_own_memory else contextlib.nullcontext()


def _lane_of_torch(device: torch.device, stream: int) -> Any:
    """A lane whose arrays come from PyTorch's allocator, which gives memory out again in the order of the stream."""
    from .kernels.cuda import adapter

    class Lane(adapter.Lane):
        def empty(self, shape: Any, dtype: Any) -> Any:
            size = int(np.prod(shape, dtype=np.int64))
            room = torch.empty(max(size, 1) * np.dtype(dtype).itemsize, dtype=torch.uint8, device=device)
            return adapter.as_array(room).view(np.dtype(dtype))[:size].reshape(shape)

    return Lane(adapter.external_stream(stream))


def _rankings(rows: torch.Tensor, each: dict[str, torch.Tensor | None], target: torch.Tensor | None) -> Rankings:
    """The rows as rankings, where they are, with what was given for each of them and a target beside them."""
    count, length = rows.shape
    if not _stays(rows, target) and bool(torch.isnan(rows).any()):
        raise DataError("a score is NaN; mask it with -inf")
    beside = {}
    if target is not None:
        beside["target"] = target.double().cpu().contiguous().numpy().reshape(-1)
        if np.isnan(beside["target"]).any():
            raise DataError("a target is NaN; it must be a number for every score")
    there = _stays(rows, target)
    numbers = {
        name: _flat(given) if there else _flat(given.cpu()).copy() for name, given in each.items() if given is not None
    }
    offsets = equal_offsets(count, length) if rows.is_cuda else np.arange(count + 1, dtype=np.int64) * length
    return Rankings(_flat(rows), offsets, beside, numbers)


def _stays(rows: torch.Tensor, target: torch.Tensor | None) -> bool:
    """Whether all that is computed of the rows stays on a card, and nothing waits: a loss looks at them here."""
    return rows.is_cuda and target is None


def _doubts(on: Any, rankings: Rankings) -> Any:
    """What may be wrong with rankings that stay on the card, found out there; None where all is known to be right."""
    if not rankings.is_on_card or "target" in rankings.beside:
        return None
    doubts = on.kernels.doubts.Doubts.of(on.place)
    doubts.nan(rankings.values)
    if "k" in rankings.each:
        doubts.outside(rankings.each["k"], 0.0, np.inf)
    return doubts


def _spoil(doubts: Any, *results: Any) -> None:
    """Results (some None) of what is wrong are NaN: nobody has waited to be told."""
    for result in results:
        if doubts is not None and result is not None:
            doubts.spoil(result)


def _flat(tensor: torch.Tensor) -> Any:
    """The numbers of a tensor where they are, as an array."""
    tensor = tensor.detach().contiguous().reshape(-1)
    if not tensor.is_cuda:
        return tensor.numpy()
    from .kernels.cuda import adapter

    return adapter.as_array(tensor)


def _tensor(array: Any, like: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """An array as a tensor of this shape on the device of another."""
    if isinstance(array, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(array)).to(like.device).reshape(shape)
    return torch.as_tensor(array, device=like.device).reshape(shape)
