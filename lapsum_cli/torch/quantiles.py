"""Soft quantiles of tensors: one value for each ranking."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch

from ..operations.quantile import Quantile
from .axes import brought, lying, option_brought
from .made import hard_with_gradient_of, made
from .surroundings import seen_through


@seen_through
def soft_quantile(
    x: Any,
    q: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    dim: int = -1,
    keepdim: bool = False,
    mask: Any = None,
    straight_through: bool = False,
    method: str = "lapsum",
    **own: Any,
) -> torch.Tensor:
    """Soft quantile of every ranking, q from 0 to 1; approximates  x.quantile(q, dim); see lapsum_cli.soft_quantile."""
    where = lying(x, dim, mask)
    rows = brought(x, where, descending)
    if dim != -1:
        alpha, q = (option_brought(given, x, dim) for given in (alpha, q))
    options = {"method": method, **own}
    found = made(Quantile, rows, alpha, q, descending, options, offsets=where.offsets)
    if straight_through:
        found = hard_with_gradient_of(found, Quantile, rows, alpha, q, descending, where, options)
    return found.unsqueeze(dim) if keepdim else found


def _at(q: float, name: str, about: str) -> Callable[..., torch.Tensor]:
    """The quantile at one q as a function of its own; about: what it is, for its help."""

    @functools.wraps(soft_quantile)
    def found(x: torch.Tensor, **options: Any) -> torch.Tensor:
        return soft_quantile(x, q, **options)

    signature = inspect.signature(soft_quantile)
    given = [parameter for parameter in signature.parameters.values() if parameter.name != "q"]
    found.__name__ = found.__qualname__ = name
    found.__doc__ = about
    found.__signature__ = signature.replace(parameters=given)  # type: ignore[attr-defined]
    return found


soft_median = _at(
    0.5,
    "soft_median",
    "Soft median of every ranking, with the options of soft_quantile; approximates  x.quantile(0.5).",
)
soft_max = _at(
    1.0,
    "soft_max",
    "Soft maximum of every ranking: alpha (x / alpha).logsumexp(-1); with the options of soft_quantile.",
)
soft_min = _at(
    0.0, "soft_min", "Soft minimum of every ranking: -alpha (-x / alpha).logsumexp(-1); options of soft_quantile."
)
