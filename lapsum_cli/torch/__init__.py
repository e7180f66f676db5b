"""The operations and losses as PyTorch autograd functions, for tensors on the CPU and on a GPU (extra `torch`).

In all of them

x      (..., n) float16, bfloat16, float32 or float64: rankings on the last axis, -inf for padding. It is read where it
       lies, without a copy if it is contiguous float32 or float64, and never modified
alpha  softness: a number, "0.1std" or "0.15mad" (held constant in gradients), or a tensor that broadcasts to (...):
       one for each ranking, which gets a gradient; k likewise. A last axis of one number, beside that of the scores,
       will do
       or m rankings of several lengths: jagged and nested, a pair of flat scores (N,) and offsets (m + 1,), or a list
       of tensors (n,), which results are too; a target or a mask is in the same form, or flat (uneven.py)
dim    the axis along which rankings go, by default the last; of alpha and k too where they have as many axes as x
mask   bool, of a shape that broadcasts to that of x: False for scores that take no part, which come last
straight_through: the hard result, with the gradient of the soft one
weights  of losses: 0 or more for each ranking, as alpha, by which its loss is multiplied; the mean is that over the sum
         of the weights of rankings that have a loss. A tensor that requires it gets a gradient

A tensor on a GPU is computed there, on the current stream (extra `cuda`), and so are the gradients for alpha and k:
nothing waits, forward or backward, but a loss, whose scores cross to the host and back, and a k in percent. So nobody
is told in time of a NaN among the scores, of an alpha that is not positive, or of a k that is negative: then all
results are NaN, and all gradients. A top-k of float32 scores there takes alphas of 1e-30 to 1e30.

Results have the shape and dtype of x. float16 and bfloat16 are computed in float32; their ranks stay float32. A graph
may be walked backward more than once (retain_graph) and differentiated twice (create_graph=True, double backward), and
there are derivatives forward (jvp, jacfwd), of ranks, sorts, top-k and quantiles by lapsum and of its own losses: in
float64 on the CPU, and in O(n) after a sort. All else raises where it is differentiated twice, and so do third
derivatives. Second derivatives jump where two scores are equal, or one lies at a threshold: the page `torch` says what
there is then. As many threads compute as PyTorch has. torch.compile and torch.export see operators, lapsum::forward and
lapsum::backward, which the transforms of torch.func (vmap, grad, vjp, jacrev, jacfwd, hessian) and batches of gradients
go through too; these compute the forward pass again on the way back. Of rankings of several lengths they do not see
soft permutations and cascades that are compiled, nested tensors that are transformed, and other offsets for each of a
batch. What cannot be used raises a LapsumError, such as a NaN among the scores.

>>> import torch
>>> from lapsum_cli.torch import soft_topk
>>> x = torch.tensor([3.0, 1.0, 2.0], requires_grad=True)
>>> soft_topk(x, 1, alpha=0.5)[0].backward()
>>> bool(x.grad[0] > 0), bool(x.grad.sum().abs() < 1e-6)
(True, True)
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

import torch

from ..core.errors import DeviceError, OptionError
from ..core.renamed import formerly
from ..operations import LOSSES, entry_of
from ..operations.loss import Loss, check_reduction, check_stages
from ..operations.loss_choices import LossChoices
from ..operations.permute import Permute
from ..operations.rank import Rank
from ..operations.sort import Sort
from ..operations.topk import TopK
from .apply import applied, soft
from .axes import Lying, brought, lying, option_brought, target_brought
from .best import soft_topk_indices, soft_topk_values
from .quantiles import soft_max, soft_median, soft_min, soft_quantile
from .stages import together
from .surroundings import seen_through
from .target import Target
from .tensors import check_target
from .uneven import refuse_compiled
from .weighted import weighted

__all__ = [
    "Target",
    "log_soft_topk",
    "ndcg_loss",
    "permutation_loss",
    "recall_loss",
    "soft_max",
    "soft_median",
    "soft_min",
    "soft_permutation",
    "soft_quantile",
    "soft_rank",
    "soft_sort",
    "soft_topk",
    "soft_topk_indices",
    "soft_topk_values",
    "spearman_loss",
    "topk_loss",
]


@seen_through
def soft_rank(
    x: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    base: int = 1,
    dim: int = -1,
    mask: Any = None,
    straight_through: bool = False,
    method: str = "lapsum",
    **own: Any,
) -> Any:
    """Soft rank of every score, best first from `base`; approximates  x.argsort(descending=True).argsort() + 1."""
    options = {"base": base, "method": method, **own}
    return soft(Rank, x, alpha, None, descending, lying(x, dim, mask), straight_through, options)


@seen_through
def soft_sort(
    x: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    dim: int = -1,
    mask: Any = None,
    straight_through: bool = False,
    method: str = "lapsum",
    **own: Any,
) -> Any:
    """Soft-sorted scores, best first; approximates  x.sort(descending=True).values."""
    return soft(Sort, x, alpha, None, descending, lying(x, dim, mask), straight_through, {"method": method, **own})


@seen_through
def soft_topk(
    x: Any,
    k: Any,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    dim: int = -1,
    mask: Any = None,
    straight_through: bool = False,
    method: str = "lapsum",
    **own: Any,
) -> Any:
    """Soft membership in the top k, in [0, 1], with the sum k; approximates  x >= x.topk(k).values[-1]."""
    return soft(TopK, x, alpha, k, largest, lying(x, dim, mask), straight_through, {"method": method, **own})


@seen_through
def log_soft_topk(
    x: Any,
    k: Any,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    dim: int = -1,
    mask: Any = None,
    method: str = "lapsum",
    **own: Any,
) -> Any:
    """Logarithm of soft_topk, with all its digits in both tails; -inf where the membership is 0."""
    return soft(TopK, x, alpha, k, largest, lying(x, dim, mask), False, {"method": method, "log": True, **own})


@seen_through
def soft_permutation(
    x: Any, *, alpha: Any = "0.1std", descending: bool = True, method: str = "lapsum", **own: Any
) -> Any:
    """Soft permutations (..., n, n): how likely each item (row) is at each position (column); of tensors on the CPU.

    Of rankings of several lengths a list, one (n, n) for each.
    """
    where = lying(x)
    refuse_compiled(where.form, "soft permutations")
    rows = brought(x, where, descending)
    if rows.is_cuda:
        raise DeviceError("soft permutations of tensors are computed on the CPU; pass x.cpu()")
    made = applied(Permute, rows, alpha, None, descending, {"method": method, **own}, offsets=where.offsets)
    return made if where.form is None else where.form.squares(made)


@seen_through
def spearman_loss(
    x: Any,
    target: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
    weights: Any = None,
    dim: int = -1,
    mask: Any = None,
) -> torch.Tensor:
    """1 - the correlation of the soft ranks with the ranks of the target; see lapsum_cli.spearman_loss."""
    how = {"alpha": alpha, "descending": descending, "reduction": reduction, "weights": weights}
    return loss("spearman", x, target, dim=dim, mask=mask, **how)


@seen_through
def topk_loss(
    x: Any,
    target: Any,
    k: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
    weights: Any = None,
    dim: int = -1,
    mask: Any = None,
) -> torch.Tensor:
    """Cross-entropy of soft memberships against the target's top k; see lapsum_cli.topk_loss."""
    how = {"alpha": alpha, "descending": descending, "reduction": reduction, "weights": weights}
    return loss("topk", x, target, k=k, dim=dim, mask=mask, **how)


@seen_through
def recall_loss(
    x: Any,
    target: Any,
    k: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
    weights: Any = None,
    dim: int = -1,
    mask: Any = None,
) -> torch.Tensor:
    """1 - soft recall at k; see lapsum_cli.recall_loss."""
    how = {"alpha": alpha, "descending": descending, "reduction": reduction, "weights": weights}
    return loss("recall", x, target, k=k, dim=dim, mask=mask, **how)


@formerly("at", "k")
@seen_through
def ndcg_loss(
    x: Any,
    target: Any,
    *,
    k: Any = None,
    gain: str = "exp2",
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
    weights: Any = None,
    dim: int = -1,
    mask: Any = None,
) -> torch.Tensor:
    """1 - NDCG at the soft ranks, of the k best alone if given; see lapsum_cli.ndcg_loss."""
    how = {"alpha": alpha, "descending": descending, "reduction": reduction, "weights": weights}
    return loss("ndcg", x, target, k=k, gain=gain, dim=dim, mask=mask, **how)


@seen_through
def permutation_loss(
    x: Any,
    target: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
    weights: Any = None,
    dim: int = -1,
    mask: Any = None,
) -> torch.Tensor:
    """Cross-entropy of the soft permutation against the target's order; see lapsum_cli.permutation_loss."""
    how = {"alpha": alpha, "descending": descending, "reduction": reduction, "weights": weights}
    return loss("permutation", x, target, dim=dim, mask=mask, **how)


@seen_through
def loss(
    name: str,
    x: Any,
    target: Any,
    *,
    k: Any = None,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
    weights: Any = None,
    dim: int = -1,
    mask: Any = None,
    **options: Any,
) -> torch.Tensor:
    """A loss of operations.LOSSES by its name; k and options as it takes them. Of a cascade x is a tuple of the scores
    of its two stages. Where the mask is False, targets mean nothing.
    """
    check_reduction(reduction)
    stages = entry_of(name).stages > 1
    given = (list(x) if isinstance(x, list | tuple) else [x]) if stages else [x]
    check_stages(name, len(given))
    where, rows = lying(given[0], dim, mask), []
    if where.form is not None and not isinstance(target, Target):
        target = where.form.beside(target, "the target")
    for scores in given:
        rows.append(brought(scores, where, descending))
        if not isinstance(target, Target):
            check_target(target, scores if where.form is None else target)
    if dim != -1:
        alpha, k, weights = (option_brought(one, given[0], dim) for one in (alpha, k, weights))
    target = target.beside(rows[0]) if isinstance(target, Target) else target_brought(target, where)
    for called, one in (("k", k), ("the target", target)):
        if isinstance(one, torch.Tensor) and one.requires_grad:
            what = called.split()[-1]
            raise OptionError(f"a loss has no gradient with respect to {called}; pass {what}.detach()")
    options, of_each = {"loss": name, **options}, reduction if weights is None else "none"
    if stages:
        refuse_compiled(where.form, "cascades")
        losses = _of_stages(rows, target, alpha, k, where, descending, of_each, options)
    else:
        losses = applied(Loss, rows[0], alpha, k, descending, options, target, of_each, where.offsets)
    return losses if weights is None else weighted(losses, weights, reduction)


def _of_stages(
    rows: list[torch.Tensor],
    target: torch.Tensor,
    alpha: Any,
    k: Any,
    where: Lying,
    descending: bool,
    reduction: str,
    options: dict[str, Any],
) -> torch.Tensor:
    """A loss of a cascade: a ranking for each stage, those of a query together, all of which have its loss."""
    scores, target, alpha, k, offsets = together(rows, target, alpha, k, where, descending)
    losses = applied(Loss, scores, alpha, k, descending, options, target, reduction, offsets)
    if reduction == "none":
        return losses[..., 0] if offsets is None else losses[:: len(rows)]
    return losses / len(rows) if reduction == "sum" else losses


def __getattr__(name: str) -> Callable[..., torch.Tensor]:
    """A loss that only the table knows, with _ for what is - there."""
    known = {f"{called.replace('-', '_')}_loss": called for called in LOSSES}
    if name not in known:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _door(known[name], name)


@functools.cache  # pickle asks for the same function again
def _door(named: str, called: str) -> Callable[..., torch.Tensor]:
    """The loss of this name as a function, with what it takes for help to show."""
    entry = LOSSES[named]
    shared = [one for one in inspect.signature(loss).parameters.values() if one.kind == one.KEYWORD_ONLY]
    own = [Parameter(option, Parameter.KEYWORD_ONLY, default=getattr(LossChoices, option)) for option in entry.options]

    def call(x: Any, target: Any, k: Any = None, **options: Any) -> torch.Tensor:
        return loss(named, x, target, k=k, **options)

    first = [one for one in inspect.signature(call).parameters.values() if one.kind == one.POSITIONAL_OR_KEYWORD]
    call.__signature__ = inspect.Signature([*first, *own, *shared[1:]])  # type: ignore[attr-defined]
    call.__name__ = call.__qualname__ = called
    call.__doc__ = entry.about
    return call


def __dir__() -> list[str]:
    return __all__
