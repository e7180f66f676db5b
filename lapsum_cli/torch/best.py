"""The soft-sorted scores of tensors, of the first k places alone."""

from __future__ import annotations

from typing import Any

import torch

from ..core.errors import OptionError
from .surroundings import seen_through
from .uneven import uneven


@seen_through
def soft_topk_values(
    x: torch.Tensor,
    k: int,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    dim: int = -1,
    mask: torch.Tensor | None = None,
    straight_through: bool = False,
    method: str = "lapsum",
    **own: Any,
) -> torch.Tensor:
    """Soft-sorted scores of the first k places, best first; approximates  x.topk(k, dim).values.

    k: a whole number; above the length of a ranking it counts as that
    """
    from . import soft_sort

    if isinstance(k, bool) or not isinstance(k, int) or k < 0:
        raise OptionError(f"k of soft_topk_values must be a whole number of 0 or more, got {k!r}")
    how = {"alpha": alpha, "descending": largest, "dim": dim, "mask": mask, "method": method, **own}
    if uneven(x) is not None:
        raise OptionError("soft_topk_values has as many values of every ranking; pad rankings with -inf, (m, n)")
    made = soft_sort(x, straight_through=straight_through, **how)
    return made.narrow(dim, 0, min(k, made.shape[dim])).clone()
