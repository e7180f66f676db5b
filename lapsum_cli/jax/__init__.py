"""The operations and losses as functions of JAX, computed on the CPU (extra `jax`).

In all of them

x      (..., n) float16, bfloat16, float32 or, where jax_enable_x64 is set, float64: rankings, -inf for padding;
       or m rankings of several lengths: a pair of flat scores (N,) and offsets (m + 1,), or a list of arrays (n,),
       which results are too; a target or a mask is in the same form, or flat (uneven.py)
alpha  softness: a number, "0.1std" or "0.15mad" (held constant in gradients), or an array that broadcasts to (...), of
       several lengths (m,): one for each ranking, which gets a gradient; k likewise, but in losses
axis   the axis along which rankings go, by default the last; of alpha and k too where they have as many axes as x
mask   bool, of a shape that broadcasts to that of x: False for scores that take no part, which come last
straight_through: the hard result, with the gradient of the soft one

Under jit, vmap, grad, jacrev, checkpoint and scan they are callbacks to this process with a way back of their own,
which computes the forward pass again; options that are no arrays are static. Gradients of ranks, sorts, top-k,
quantiles and the losses of lapsum may be differentiated again, backward: a product with the Hessian is
grad(lambda x: vdot(grad(f)(x), v)), and all of it jacrev(jacrev(f)). Derivatives forward (jvp, jacfwd, hessian) are
refused by JAX. float16 and bfloat16 are computed in float32; their ranks and losses stay that, and ranks beyond 2^24
are rounded to the dtype of x. Offsets may be traced, but those of soft permutations and cascades; under vmap calls with
offsets are computed one after the other. What cannot be used raises a LapsumError; a number that is not known before
compiled code runs, such as a NaN there, an error of JAX's that has its line in it.

>>> import jax
>>> from lapsum_cli.jax import soft_topk
>>> slope = jax.grad(lambda x: soft_topk(x, 1, alpha=0.5)[0])(jax.numpy.array([3.0, 1.0, 2.0]))
>>> bool(slope[0] > 0), bool(abs(slope.sum()) < 1e-6)
(True, True)
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

import jax
import jax.numpy as jnp

from ..operations import LOSSES, entry_of
from ..operations.loss import Loss, check_reduction, check_stages
from ..operations.loss_choices import LossChoices
from ..operations.permute import Permute
from ..operations.rank import Rank
from ..operations.sort import Sort
from ..operations.topk import TopK
from .apply import applied, soft
from .arrays import is_each, scores_of, target_of, worst
from .axes import lying
from .best import soft_topk_indices, soft_topk_values
from .callback import constant
from .quantiles import soft_max, soft_median, soft_min, soft_quantile
from .stages import together
from .weighted import weighted

__all__ = [
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


def soft_rank(
    x: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    base: int = 1,
    axis: int = -1,
    mask: Any = None,
    straight_through: bool = False,
    method: str = "lapsum",
    **own: Any,
) -> Any:
    """Soft rank of every score, best first from `base`; approximates  jnp.argsort(jnp.argsort(-x)) + 1."""
    options = {"base": base, "method": method, **own}
    return soft(Rank, x, alpha, None, descending, axis, mask, straight_through, options)


def soft_sort(
    x: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    axis: int = -1,
    mask: Any = None,
    straight_through: bool = False,
    method: str = "lapsum",
    **own: Any,
) -> Any:
    """Soft-sorted scores, best first; approximates  -jnp.sort(-x)."""
    return soft(Sort, x, alpha, None, descending, axis, mask, straight_through, {"method": method, **own})


def soft_topk(
    x: Any,
    k: Any,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    axis: int = -1,
    mask: Any = None,
    straight_through: bool = False,
    method: str = "lapsum",
    **own: Any,
) -> Any:
    """Soft membership in the top k, in [0, 1], with the sum k; approximates  x >= jax.lax.top_k(x, k)[0][-1]."""
    return soft(TopK, x, alpha, k, largest, axis, mask, straight_through, {"method": method, **own})


def log_soft_topk(
    x: Any,
    k: Any,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    axis: int = -1,
    mask: Any = None,
    method: str = "lapsum",
    **own: Any,
) -> Any:
    """Logarithm of soft_topk, with all its digits in both tails; -inf where the membership is 0."""
    return soft(TopK, x, alpha, k, largest, axis, mask, False, {"method": method, "log": True, **own})


def soft_permutation(
    x: Any, *, alpha: Any = "0.1std", descending: bool = True, method: str = "lapsum", **own: Any
) -> Any:
    """Soft permutations (..., n, n): how likely each item (row) is at each position (column).

    Of rankings of several lengths a list, one (n, n) for each.
    """
    return soft(Permute, x, alpha, None, descending, -1, None, False, {"method": method, **own})


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
    axis: int = -1,
    mask: Any = None,
    **options: Any,
) -> jax.Array:
    """A loss of operations.LOSSES by its name; k and options as it takes them. Of a cascade x is a tuple of the scores
    of its two stages. Where the mask is False, targets mean nothing.
    """
    check_reduction(reduction)
    has_stages = entry_of(name).stages > 1
    given = x if has_stages and isinstance(x, list | tuple) else [x]
    check_stages(name, len(given))
    first, where = lying(given[0], axis, mask)
    stages = [first, *(scores_of(where.beside(one, "x")) for one in given[1:])]
    target = where.beside(target, "the target")
    [target, *_] = [target_of(target, one) for one in stages]
    target, rows = where.rows(target, 0), [where.rows(one, worst(descending)) for one in stages]
    alpha, k = where.option("alpha", alpha), where.option("k", k)
    k, scores, cut = constant(k) if is_each(k) else k, rows[0], where.cut
    if has_stages:  # a ranking for each stage, those of a query one after the other
        scores, target, alpha, k, cut = together(rows, target, alpha, k, where, descending)
    losses = applied(Loss, scores, alpha, k, descending, {"loss": name, **options}, target, cut)
    losses = losses.reshape(*where.leading, len(stages))[..., 0] if has_stages else losses
    if weights is not None:
        return weighted(losses, where.option("weights", weights), reduction)
    return losses if reduction == "none" else (jnp.nanmean(losses) if reduction == "mean" else jnp.nansum(losses))


@functools.cache  # pickle asks for the same function again
def _door(name: str, about: str) -> Callable[..., jax.Array]:
    """The loss of this name as a function: k is an argument after the target where the loss needs one, and a keyword
    where it can do without.
    """
    entry = LOSSES[name]
    shared = [one for one in inspect.signature(loss).parameters.values() if one.kind == one.KEYWORD_ONLY]
    own = [Parameter(option, Parameter.KEYWORD_ONLY, default=getattr(LossChoices, option)) for option in entry.options]
    needed = [Parameter("k", Parameter.POSITIONAL_OR_KEYWORD)] if entry.k == "needed" else []
    keywords = [one for one in shared if one.name != "k" or entry.k == "optional"] + own
    if entry.is_square:
        keywords.append(Parameter("force", Parameter.KEYWORD_ONLY, default=False))
    positional = [Parameter(given, Parameter.POSITIONAL_OR_KEYWORD) for given in ("x", "target")]
    signature = inspect.Signature([*positional, *needed, *keywords])

    def call(*args: Any, **given: Any) -> jax.Array:
        try:
            bound = signature.bind(*args, **given)
        except TypeError as error:
            raise TypeError(f"{call.__name__}() {error}") from None
        return loss(name, **bound.arguments)

    call.__name__ = call.__qualname__ = f"{name.replace('-', '_')}_loss"
    call.__doc__, call.__signature__ = about, signature  # type: ignore[attr-defined]
    return call


spearman_loss = _door("spearman", "1 - the correlation of the soft ranks with the ranks of the target.")
topk_loss = _door("topk", "Cross-entropy of soft memberships against the target's top k.")
recall_loss = _door("recall", "1 - soft recall at k.")
ndcg_loss = _door("ndcg", "1 - NDCG at the soft ranks, of the k best alone if given.")
permutation_loss = _door("permutation", "Cross-entropy of the soft permutation against the target's order.")


def __getattr__(name: str) -> Callable[..., jax.Array]:
    """A loss that only the table knows, with _ for what is - there."""
    known = {f"{called.replace('-', '_')}_loss": called for called in LOSSES}
    if name not in known:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _door(known[name], LOSSES[known[name]].about)


def __dir__() -> list[str]:
    return __all__
