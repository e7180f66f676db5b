"""The first k places alone, of tensors: their soft-sorted scores, and who has them."""

from __future__ import annotations

from typing import Any

import torch

from ..core.errors import DeviceError
from ..operations.permute import Permute, check_places
from .axes import brought, lying
from .made import made
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

    check_places("soft_topk_values", k, uneven(x) is not None)
    how = {"alpha": alpha, "descending": largest, "dim": dim, "mask": mask, "method": method, **own}
    made = soft_sort(x, straight_through=straight_through, **how)
    return made.narrow(dim, 0, min(k, made.shape[dim])).clone()


@seen_through
def soft_topk_indices(
    x: torch.Tensor,
    k: int,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    mask: torch.Tensor | None = None,
    method: str = "lapsum",
    **own: Any,
) -> torch.Tensor:
    """Soft indices of the first k places (..., k, n), of tensors on the CPU; approximates  one_hot(x.topk(k).indices).

    The first k columns of soft_permutation, transposed, in O(n k) after the sort; each place has the sum 1. Times
    (..., n, d) they are the soft best k of n vectors.

    k: a whole number; above the length of a ranking it counts as that
    """
    check_places("soft_topk_indices", k, uneven(x) is not None)
    rows = brought(x, lying(x, -1, mask), largest)
    if rows.is_cuda:
        raise DeviceError("soft permutations of tensors are computed on the CPU; pass x.cpu()")
    return made(Permute, rows, alpha, None, largest, {"method": method, "places": k, **own}).transpose(-1, -2)
