"""Losses of soft ranks, memberships and permutations, and their gradients, on arrays.

In all of them

x          rankings of scores, and the softness alpha, as in functions.py; a score of -inf takes no part, and one of
           +inf is first whatever the target says: a cross-entropy may be infinite then
target     in the form of x: larger is better, whatever the direction of the scores; gradients flow through x alone
reduction  "mean" over the rankings that have a loss, "sum", or "none": a loss for each, NaN where the target defines
           none (fewer than two scores, all targets alike, no gain)
weights    0 or more for each ranking, by which its loss is multiplied: the mean is sum of w loss / sum of w over the
           rankings that have a loss, and "none" gives w loss, as PyTorch's `weight` does
stages     of a cascade x is the scores of its two stages, a tuple of what x is elsewhere; so are gradients
upstream   of a gradient: with respect to the reduced loss, so a number for each ranking where reduction is "none"

Any other loss of operations.LOSSES has such a pair of functions too, by its name, as `loss` and `loss_vjp` make them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

import numpy as np

from ..core.errors import OptionError
from ..core.renamed import renamed
from ..operations import LOSSES, METRICS, entry_of, suspicions
from ..operations.kept import operation_of
from ..operations.loss import Loss, check_k, check_reduction, check_stages
from ..operations.losses import Losses, losses_of
from ..operations.operation import EACH
from ..operations.slots import GRADIENT
from .forms import in_memory, option
from .functions import Gradients, compute, of_all
from .grouped import by_group
from .weighted import pulls, reduced, times, weights_of


class LossGradients(Gradients):
    """Gradients with respect to the scores and alpha, and beside these two `losses`, what the function of the loss
    returns.
    """

    losses: Any = None

    def __new__(cls, scores: Any, alpha: Any, losses: Any = None) -> LossGradients:
        made = super().__new__(cls, scores, alpha)
        made.losses = losses
        return made


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
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> Any:
    """A loss of operations.LOSSES by its name; k and options as it takes them."""
    check_reduction(reduction)
    operation = loss_as_asked(name, alpha, descending, k, options)
    x, stage = _stages(name, x, groups)
    form, result = compute(operation, x, alpha, threads, device, k, target=target, stage=stage)
    return reduced(form, result.losses, reduction, weights_of(form, weights))


def loss_vjp(
    name: str,
    x: Any,
    target: Any,
    upstream: Any = 1.0,
    *,
    k: Any = None,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
    weights: Any = None,
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> LossGradients:
    """Gradients of upstream * loss(name, x, target) with respect to the scores and alpha, in O(n) after sorts.

    They are two, and have the loss itself beside them, `losses`, which cost no further pass.
    """
    check_reduction(reduction)
    operation = loss_as_asked(name, alpha, descending, k, {**options, "gradient": True, "grad_alpha": True})
    x, stage = _stages(name, x, groups)
    form, result = compute(operation, x, alpha, threads, device, k, target=target, stage=stage)
    suspicions.warn_of_start(operation, form.rankings, result.losses)
    counted = weights_of(form, weights)
    upstream = form.per_ranking("upstream", upstream) if reduction == "none" else _one("upstream", upstream)
    pull = pulls(result.losses, upstream, reduction, counted)
    of_each = pull[:1] if reduction != "none" and counted is None else np.repeat(pull, form.rankings.lengths)
    to_scores, to_alpha = [], []
    with np.errstate(over="ignore"):  # at a tiny alpha a gradient may well be beyond its dtype: inf
        for slot, values in result.values.items():  # one of each stage
            if slot.name == GRADIENT:
                found = times(values, of_each)
                to_scores.append(form.scores(found.astype(form.dtype, copy=False)))
            else:
                to_alpha.append(form.each(times(values, pull)))
    of_both = [of_it[0] if stage is None else tuple(of_it) for of_it in (to_scores, to_alpha)]
    return LossGradients(of_both[0], of_both[1], reduced(form, result.losses, reduction, counted))


def metric(
    name: str,
    x: Any,
    target: Any,
    *,
    descending: bool = True,
    reduction: str = "mean",
    weights: Any = None,
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> Any:
    """The metric of this name, of hard orders: ndcg@10, recall@10, mrr, map, kendall ... (operations.METRICS).

    Larger is better. Equal scores have no order: it is the mean over all that they may have. options: such as gain.
    """
    check_reduction(reduction)
    operation = losses_of(name, descending=descending, **options)
    if not isinstance(operation, Losses) or len(operation.several) > 1:
        raise OptionError(f"{name} is no metric; known are {', '.join(METRICS)}")
    form, result = compute(operation, by_group(x, groups), 1.0, threads, device, target=target)
    return reduced(form, result.losses[:, 0], reduction, weights_of(form, weights))


def _one(name: str, given: Any) -> float:
    """What was given for a loss that is one number."""
    found = option(name, in_memory(given))
    if found.size != 1:
        raise OptionError(f"{name} has the shape {found.shape}, and a reduced loss is one number; pass one")
    return float(found.reshape(()))


def _stages(name: str, x: Any, groups: Any) -> tuple[Any, Any]:
    """The scores, and those of the second stage of a cascade."""
    if entry_of(name).stages == 1:
        return by_group(x, groups), None
    given = x if isinstance(x, list | tuple) else [x]
    check_stages(name, len(given))
    return by_group(given[0], groups), given[1]


def loss_as_asked(name: str, alpha: Any, descending: bool, k: Any, options: dict[str, Any]) -> Loss:
    """A loss as it is asked for; EACH stands for an alpha or a k of each ranking."""
    check_k(name, k)
    if entry_of(name).stages > 1:
        options = {"stages": ("1", "2"), **options}
    made = operation_of(
        Loss, of_all("alpha", alpha), descending, k=EACH if k is None else of_all("k", k), loss=name, **options
    )
    assert isinstance(made, Loss)
    return made


@functools.cache  # pickle asks for the same function again
def doors(name: str, about: str) -> tuple[Callable[..., Any], Callable[..., Gradients]]:
    """The loss of this name, and its gradients, as functions of arrays; about: what it is, for their help.

    k is an argument after the target where the loss needs one, and a keyword where it can do without.
    """
    entry = LOSSES[name]
    needed = {"k": ()} if entry.k == "needed" else {}
    own: dict[str, Any] = {"k": None} if entry.k == "optional" else {}
    own |= {option: Loss.__dataclass_fields__[option].default for option in entry.options}
    own |= {"force": False} if entry.is_square else {}
    shared: dict[str, Any] = {"alpha": "0.1std", "descending": True, "reduction": "mean", "weights": None}
    shared |= {"groups": None, "threads": 1, "device": None}

    def door(function: Callable[..., Any], first: dict[str, Any], called: str, help: str) -> Callable[..., Any]:
        """The function, with the signature of this loss."""
        positional = {"x": (), "target": (), **needed, **first}
        keywords = {**own, **shared}
        signature = inspect.Signature(
            [Parameter(n, Parameter.POSITIONAL_OR_KEYWORD, default=_default(d)) for n, d in positional.items()]
            + [Parameter(n, Parameter.KEYWORD_ONLY, default=_default(d)) for n, d in keywords.items()]
        )

        def call(*args: Any, **given: Any) -> Any:
            given = renamed(given, "at", "k") if "k" in own else given
            try:
                bound = signature.bind(*args, **given)
            except TypeError as error:
                raise TypeError(f"{called}() {error}") from None
            return function(name, **bound.arguments)

        call.__name__ = call.__qualname__ = called
        call.__doc__, call.__signature__ = help, signature  # type: ignore[attr-defined]
        return call

    of_it = f"{name.replace('-', '_')}_loss"
    gradients = f"Gradients of upstream * {of_it}(x, target) with respect to the scores and alpha, in O(n) after sorts."
    return door(loss, {}, of_it, about), door(loss_vjp, {"upstream": 1.0}, f"{of_it}_vjp", gradients)


def _default(given: Any) -> Any:
    return Parameter.empty if given == () else given


spearman_loss, spearman_loss_vjp = doors(
    "spearman", "1 - the correlation of the soft ranks with the ranks of the target, whose ties take their mean."
)
topk_loss, topk_loss_vjp = doors(
    "topk",
    """Cross-entropy of soft memberships: -(1/n) sum of t_i log p_i + (1 - t_i) log(1 - p_i).

    t are the places of the k largest targets; ties share those that are left, so that t sums to k.
    """,
)
recall_loss, recall_loss_vjp = doors(
    "recall", "1 - soft recall at k, which is the sum of t_i p_i over k, t as for topk_loss."
)
ndcg_loss, ndcg_loss_vjp = doors(
    "ndcg",
    """1 - NDCG at the soft ranks r: the sum of gain(y_i) / log2(1 + r_i), over that of the best order.

    gain  "exp2" for 2^y - 1, "linear" for y; y >= 0
    k     counts the best k alone: each term takes its soft membership in the top k
    """,
)
permutation_loss, permutation_loss_vjp = doors(
    "permutation",
    """Cross-entropy of the soft permutation: -(1/n) sum of log P[i, place of y_i], in O(n) memory.

    Equal targets take each of their places in turn: it is the mean over their orders.
    Source: LapSum, ICML 2025, section 4.
    """,
)


def __getattr__(name: str) -> Callable[..., Any]:
    """The doors of a loss that only the table knows, with _ for what is - there."""
    base = name.removesuffix("_vjp").removesuffix("_loss")
    known = {called.replace("-", "_"): called for called in LOSSES}
    if not name.endswith(("_loss", "_loss_vjp")) or base not in known:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return doors(known[base], LOSSES[known[base]].about)[name.endswith("_vjp")]
