"""The operations and losses as PyTorch autograd functions, for tensors on the CPU and on a GPU (extra `torch`).

In all of them

x      (..., n) float16, bfloat16, float32 or float64: rankings on the last axis, -inf for padding. It is read where it
       lies, without a copy if it is contiguous float32 or float64, and never modified
alpha  softness: a number, "0.1std" or "0.15mad" (held constant in gradients), or a tensor that broadcasts to (...):
       one for each ranking, which gets a gradient; k likewise. A last axis of one number, beside that of the scores,
       will do

A tensor on a GPU is computed there, on the current stream (extra `cuda`), and so are the gradients for alpha and k:
nothing waits, forward or backward, but a loss, whose scores cross to the host and back, and a k in percent. So nobody
is told in time of a NaN among the scores, of an alpha that is not positive, or of a k that is negative: then all
results are NaN, and all gradients. A top-k of float32 scores there takes alphas of 1e-30 to 1e30.

Results have the shape and dtype of x. float16 and bfloat16 are computed in float32; their ranks stay float32. A graph
may be walked backward more than once (retain_graph), and with create_graph=True, but second derivatives are not
computed: a graph that is differentiated twice raises. As many threads compute as PyTorch has; torch.compile leaves
these functions as they are. What cannot be used raises a LapsumError, such as a NaN among the scores.

>>> import torch
>>> from lapsum_cli.torch import soft_topk
>>> x = torch.tensor([3.0, 1.0, 2.0], requires_grad=True)
>>> soft_topk(x, 1, alpha=0.5)[0].backward()
>>> bool(x.grad[0] > 0), bool(x.grad.sum().abs() < 1e-6)
(True, True)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ..core.errors import DeviceError, OptionError
from ..core.quantities import Alpha, K
from ..core.renamed import formerly
from ..operations import LOSSES, METHODS, entry_of
from ..operations.loss import Loss, check_k, check_reduction, check_stages
from ..operations.operation import EACH, Operation, operation_of
from ..operations.permute import Permute
from ..operations.rank import Rank
from ..operations.sort import Sort
from ..operations.topk import TopK
from ..operations.warm import warm
from .function import Call, Function
from .places import NOTHING, device_of
from .surroundings import eagerly
from .tensors import check_option, check_scores, check_target, of_queries, refuse_transforms

__all__ = [
    "log_soft_topk",
    "ndcg_loss",
    "permutation_loss",
    "recall_loss",
    "soft_permutation",
    "soft_rank",
    "soft_sort",
    "soft_topk",
    "spearman_loss",
    "topk_loss",
]


@eagerly
def soft_rank(
    x: torch.Tensor,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    base: int = 1,
    method: str = "lapsum",
    **own: Any,
) -> torch.Tensor:
    """Soft rank of every score, best first from `base`; approximates  x.argsort(descending=True).argsort() + 1."""
    return _apply(operation_of(Rank, _constant(alpha, Alpha), descending, base=base, method=method, **own), x, alpha)


@eagerly
def soft_sort(
    x: torch.Tensor, *, alpha: Any = "0.1std", descending: bool = True, method: str = "lapsum", **own: Any
) -> torch.Tensor:
    """Soft-sorted scores, best first; approximates  x.sort(descending=True).values."""
    return _apply(operation_of(Sort, _constant(alpha, Alpha), descending, method=method, **own), x, alpha)


@eagerly
def soft_topk(
    x: torch.Tensor, k: Any, *, alpha: Any = "0.1std", largest: bool = True, method: str = "lapsum", **own: Any
) -> torch.Tensor:
    """Soft membership in the top k, in [0, 1], with the sum k; approximates  x >= x.topk(k).values[-1]."""
    operation = operation_of(TopK, _constant(alpha, Alpha), largest, k=_k(k, method), method=method, **own)
    return _apply(operation, x, alpha, k)


@eagerly
def log_soft_topk(
    x: torch.Tensor, k: Any, *, alpha: Any = "0.1std", largest: bool = True, method: str = "lapsum", **own: Any
) -> torch.Tensor:
    """Logarithm of soft_topk, with all its digits in both tails; -inf where the membership is 0."""
    operation = operation_of(TopK, _constant(alpha, Alpha), largest, k=_k(k, method), log=True, method=method, **own)
    return _apply(operation, x, alpha, k)


@eagerly
def soft_permutation(
    x: torch.Tensor, *, alpha: Any = "0.1std", descending: bool = True, method: str = "lapsum", **own: Any
) -> torch.Tensor:
    """Soft permutations (..., n, n): how likely each item (row) is at each position (column); of tensors on the CPU."""
    if isinstance(x, torch.Tensor) and x.is_cuda:
        raise DeviceError("soft permutations of tensors are computed on the CPU; pass x.cpu()")
    return _apply(operation_of(Permute, _constant(alpha, Alpha), descending, method=method, **own), x, alpha)


@eagerly
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


@eagerly
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


@eagerly
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


@formerly("at", "k")
@eagerly
def ndcg_loss(
    x: torch.Tensor,
    target: torch.Tensor,
    *,
    k: Any = None,
    gain: str = "exp2",
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
) -> torch.Tensor:
    """1 - NDCG at the soft ranks, of the k best alone if given; see lapsum_cli.ndcg_loss."""
    return loss("ndcg", x, target, k=k, gain=gain, alpha=alpha, descending=descending, reduction=reduction)


@eagerly
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


@eagerly
def loss(
    name: str,
    x: Any,
    target: torch.Tensor,
    *,
    k: Any = None,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
    **options: Any,
) -> torch.Tensor:
    """A loss of operations.LOSSES by its name; k and options as it takes them. Of a cascade x is a tuple of the scores
    of its two stages.
    """
    check_reduction(reduction)
    if entry_of(name).stages > 1:
        return _of_stages(name, x, target, k, alpha, descending, reduction, options)
    check_scores(x)
    check_target(target, x)
    operation = _loss_of(name, k, alpha, descending, options)
    return _apply(operation, x, alpha, k, target, reduction)


def _loss_of(name: str, k: Any, alpha: Any, descending: bool, options: dict[str, Any]) -> Operation:
    if isinstance(k, torch.Tensor) and k.requires_grad:
        raise OptionError("a loss has no gradient with respect to k; pass k.detach()")
    check_k(name, k)
    own_k = EACH if k is None else _constant(k, K)
    return operation_of(Loss, _constant(alpha, Alpha), descending, k=own_k, loss=name, **options)


def _of_stages(
    name: str, x: Any, target: Any, k: Any, alpha: Any, descending: bool, reduction: str, options: dict[str, Any]
) -> torch.Tensor:
    """A loss of a cascade: a ranking for each stage, those of a query together, all of which have its loss."""
    stages = list(x) if isinstance(x, list | tuple) else [x]
    check_stages(name, len(stages))
    for of_stage in stages:
        check_scores(of_stage)
        check_target(target, of_stage)
    scores = torch.stack(stages, -2)
    worst = torch.isinf(scores) if not descending else torch.isneginf(scores)
    scores = scores.masked_fill(worst.any(-2, keepdim=True), -math.inf)
    alpha, k = (of_queries(given, stages[0].ndim - 1) for given in (alpha, k))
    operation = _loss_of(name, k, alpha, descending, options)
    losses = _apply(operation, scores, alpha, k, target.unsqueeze(-2).expand(scores.shape), reduction)
    return losses[..., 0] if reduction == "none" else (losses / len(stages) if reduction == "sum" else losses)


def __getattr__(name: str) -> Callable[..., torch.Tensor]:
    """A loss that only the table knows, with _ for what is - there."""
    known = {f"{called.replace('-', '_')}_loss": called for called in LOSSES}
    if name not in known:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return lambda x, target, k=None, **options: loss(known[name], x, target, k=k, **options)


def __dir__() -> list[str]:
    return __all__


def _apply(
    operation: Operation, x: torch.Tensor, alpha: Any, k: Any = None, target: Any = None, reduction: str = "none"
) -> torch.Tensor:
    refuse_transforms()
    check_scores(x)
    alphas, ks = check_option("alpha", alpha, x), check_option("k", k, x)
    with torch.cuda.device(x.device) if x.is_cuda else NOTHING:
        warm(operation, "float64" if x.dtype == torch.float64 else "float32", device_of(x))
        made: torch.Tensor = Function.apply(x, alphas, ks, Call(operation, target, reduction))
    return made


def _constant(given: Any, kind: type[Alpha] | type[K]) -> Any:
    """An alpha or k that all rankings share, as operation_of takes it; EACH for a tensor. What is neither a number nor
    a text is parsed here: True is 1 where options that were given before are looked up.
    """
    if isinstance(given, torch.Tensor):
        return EACH
    return given if type(given) in (str, float, int) else kind.parse(given)


def _k(given: Any, method: str) -> Any:
    """The same of k; EACH for a method that takes none, too."""
    return EACH if given is None and method in METHODS and not METHODS[method].takes_k else _constant(given, K)
