"""Second derivatives of losses, for whoever takes Newton's steps: the Hessian times a direction, and its diagonal.

x, target, alpha, k, reduction, groups and threads are those of a loss (losses.py); alpha is held constant. Computed on
a CPU, in float64, and in O(n) after sorts. Source: derived from LapSum, ICML 2025, sections 3 and 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operations import along
from ..operations.loss import check_reduction
from ..operations.slots import Derivatives
from .functions import as_dtype, asked
from .grouped import by_group
from .losses import loss_as_asked


def loss_hvp(
    name: str,
    x: Any,
    target: Any,
    direction: Any,
    *,
    k: Any = None,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
    groups: Any = None,
    threads: int = 1,
    **options: Any,
) -> Any:
    """The Hessian of a loss by the scores, times a direction in their form; 0 where a ranking has no loss.

    name  spearman, topk, recall, ndcg, permutation or graded-topk; NotDifferentiable for any other. A Hessian jumps
          where two scores are equal: this is the mean of both sides.
    """
    call = (k, alpha, descending, reduction, groups, threads, options)

    def make(operation: Any, rankings: Any, form: Any, upstream: Any, on: Any) -> Any:
        towards = Derivatives(form.per_score("direction", by_group(direction, groups), np.float64), None)
        found = along.derivatives(operation, rankings, upstream, towards, on).gradients
        assert found is not None
        return found.scores

    return _made(make, name, x, target, *call)


def loss_hessian_diagonal(
    name: str,
    x: Any,
    target: Any,
    *,
    k: Any = None,
    alpha: Any = "0.1std",
    descending: bool = True,
    reduction: str = "mean",
    groups: Any = None,
    threads: int = 1,
    **options: Any,
) -> Any:
    """The diagonal of the Hessian of a loss by the scores, in their form; it may be negative, and is 0 without a loss.

    name  spearman, topk, recall, ndcg or graded-topk; NotDifferentiable for any other.
    """
    call = (k, alpha, descending, reduction, groups, threads, options)
    return _made(
        lambda operation, rankings, form, *on: along.diagonal(operation, rankings, *on), name, x, target, *call
    )


def _made(
    make: Any,
    name: str,
    x: Any,
    target: Any,
    k: Any,
    alpha: Any,
    descending: bool,
    reduction: str,
    groups: Any,
    threads: int,
    options: dict[str, Any],
) -> Any:
    """What is made of a loss that is reduced."""
    check_reduction(reduction)
    operation = loss_as_asked(name, alpha, descending, k, options)
    form, rankings, on = asked(operation, by_group(x, groups), alpha, threads, "cpu", k, target=target)
    upstream = np.ones(len(rankings))
    if reduction == "mean":
        upstream /= max(1, int((~np.isnan(on.compute(operation, rankings).losses)).sum()))
    found = make(operation, rankings, form, upstream, on)
    with np.errstate(over="ignore"):  # at a tiny alpha it may well be beyond its dtype: inf
        return form.scores(as_dtype(found, form.dtype))
