"""Soft quantiles of arrays, and their gradients; arguments are those of functions.py.

A quantile is one number for each ranking, a single one for one ranking by itself. Its direction is that of the scores:
descending=False says that scores of +inf are padding too, as in ascending order, and which quantile it is stays.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..operations.kept import operation_of
from ..operations.operation import Operation
from ..operations.quantile import Quantile
from ..operations.slots import GRADIENT
from .functions import Gradients, as_dtype, compute, of_all, own_options
from .grouped import by_group


class QuantileGradients(NamedTuple):
    """Gradients with respect to the scores, in their form, and to q and alpha, one for each ranking."""

    scores: Any
    q: Any
    alpha: Any


def soft_quantile(
    x: Any,
    q: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    method: str = "lapsum",
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> Any:
    """Soft quantile of every ranking: at q = (n - l) / (n - 1) the l-th of its soft-sorted scores, and between these.

    Approximates  np.quantile(x, q)  and tends to it as alpha tends to 0 where q is at one of the n scores, or midway;
    elsewhere to the nearest of them. Scores of -inf take no part; without others it is NaN. O(n), without a sort.

    q   the share of the scores that lie below, from 0 to 1: a number, or one for each ranking
    Source: LapSum, ICML 2025, section 4: the threshold of the soft top 1/2 + (1 - q)(n - 1).
    """
    operation = _operation("soft_quantile", q, alpha, descending, method, options)
    form, result = compute(operation, by_group(x, groups), alpha, threads, device, q)
    [found] = result.values.values()
    with np.errstate(over="ignore"):  # at a huge alpha it may well be beyond the dtype: inf
        return form.each(as_dtype(found, form.dtype))


def soft_quantile_vjp(
    x: Any,
    q: Any,
    upstream: Any = 1.0,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    method: str = "lapsum",
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> QuantileGradients:
    """Gradients of sum(upstream * soft_quantile(x, q)) with respect to the scores, q and alpha, in O(n).

    s_i = softmax_i(-|x_i - b| / alpha) for the scores, b the quantile, which sum to 1; -sum s_i (x_i - b) / alpha for
    alpha; for q it is (n - 1) alpha over the sum of the densities e^(-|x_i - b| / alpha) / 2.

    upstream  a number, or one for each ranking
    """
    operation = _operation("soft_quantile_vjp", q, alpha, descending, method, options, gradient=True)
    form, result = compute(operation, by_group(x, groups), alpha, threads, device, q, results=False)
    weights = form.per_ranking("upstream", upstream)
    found = {slot.name: values for slot, values in result.values.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        scores = found[GRADIENT]
        if (weights != 1).any():
            scores *= np.repeat(weights, form.rankings.lengths).astype(scores.dtype, copy=False)
        ends = (np.where(weights != 0, found[f"{GRADIENT}_{name}"] * weights, 0.0) for name in ("q", "alpha"))
        return QuantileGradients(form.scores(as_dtype(scores, form.dtype)), *map(form.each, ends))


def _operation(
    function: str, q: Any, alpha: Any, descending: bool, method: str, options: dict[str, Any], gradient: bool = False
) -> Operation:
    """The operation of a call, whose q may be for each ranking."""
    own = {"k": of_all("q", q), "method": method, **own_options(function, options)}
    gradients = {"gradient": gradient, "grad_alpha": gradient, "grad_q": gradient}
    return operation_of(Quantile, of_all("alpha", alpha), descending, **own, **gradients)


def _at(q: float, name: str, about: str) -> tuple[Callable[..., Any], Callable[..., Gradients]]:
    """The quantile at one q, and its gradients, as functions of their own; about: what it is, for their help."""

    def called(function: Callable[..., Any], own: str, help: str) -> Callable[..., Any]:
        """The function, with the signature that it has without q."""
        signature = inspect.signature(function)
        given = [parameter for parameter in signature.parameters.values() if parameter.name != "q"]
        function.__name__ = function.__qualname__ = own
        function.__doc__ = help
        function.__signature__ = signature.replace(parameters=given)  # type: ignore[attr-defined]
        return function

    @functools.wraps(soft_quantile)
    def found(x: Any, **options: Any) -> Any:
        return soft_quantile(x, q, **options)

    @functools.wraps(soft_quantile_vjp)
    def gradients(x: Any, upstream: Any = 1.0, **options: Any) -> Gradients:
        scores, _, to_alpha = soft_quantile_vjp(x, q, upstream, **options)
        return Gradients(scores, to_alpha)

    of_it = f"Gradients of sum(upstream * {name}(x)) with respect to the scores and alpha; see soft_quantile_vjp."
    return called(found, name, about), called(gradients, f"{name}_vjp", of_it)


soft_median, soft_median_vjp = _at(
    0.5,
    "soft_median",
    """Soft median of every ranking: that of -x is minus that of x; tends to np.median(x) as alpha tends to 0.

    The quantile of soft_quantile at 1/2, with its arguments.
    """,
)
soft_max, soft_max_vjp = _at(
    1.0,
    "soft_max",
    """Soft maximum of every ranking: alpha log sum e^(x / alpha), whose gradient is softmax(x / alpha).

    The quantile of soft_quantile at 1, with its arguments; the first of the soft-sorted scores.
    """,
)
soft_min, soft_min_vjp = _at(
    0.0,
    "soft_min",
    """Soft minimum of every ranking: -alpha log sum e^(-x / alpha), whose gradient is softmax(-x / alpha).

    The quantile of soft_quantile at 0, with its arguments; the last of the soft-sorted scores.
    """,
)
