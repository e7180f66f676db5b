"""Soft quantiles of tensors: one value for each ranking."""

from __future__ import annotations

from typing import Any

import torch

from ..operations.quantile import Quantile
from .axes import Lying, StraightThrough, brought, option_brought
from .surroundings import seen_through


@seen_through
def soft_quantile(
    x: torch.Tensor,
    q: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    dim: int = -1,
    keepdim: bool = False,
    mask: torch.Tensor | None = None,
    straight_through: bool = False,
    method: str = "lapsum",
    **own: Any,
) -> torch.Tensor:
    """Soft quantile of every ranking, q from 0 to 1; approximates  x.quantile(q, dim); see lapsum_cli.soft_quantile."""
    from . import _made

    rows = brought(x, Lying(dim, mask), descending)
    if dim != -1:
        alpha, q = (option_brought(given, x, dim) for given in (alpha, q))
    options = {"method": method, **own}
    made = _made(Quantile, rows, alpha, q, descending, options)
    if straight_through:
        with torch.no_grad():
            hard = _made(Quantile, rows, alpha, q, descending, {**options, "method": "hard"})
        made = StraightThrough.apply(made, hard)
    return made.unsqueeze(dim) if keepdim else made


@seen_through
def soft_median(x: torch.Tensor, **options: Any) -> torch.Tensor:
    """Soft median of every ranking, with the options of soft_quantile; approximates  x.quantile(0.5)."""
    return soft_quantile(x, 0.5, **options)


@seen_through
def soft_max(x: torch.Tensor, **options: Any) -> torch.Tensor:
    """Soft maximum of every ranking, alpha (x / alpha).logsumexp(-1), with the options of soft_quantile."""
    return soft_quantile(x, 1.0, **options)


@seen_through
def soft_min(x: torch.Tensor, **options: Any) -> torch.Tensor:
    """Soft minimum of every ranking, -alpha (-x / alpha).logsumexp(-1), with the options of soft_quantile."""
    return soft_quantile(x, 0.0, **options)
