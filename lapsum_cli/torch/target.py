"""A target prepared once, for the many steps of a training."""

from __future__ import annotations

from typing import Any

import torch

from ..core.errors import DataError
from ..core.targets import prepared
from .axes import Lying, target_brought
from .tensors import PREPARED, as_plain, target_of


class Target:
    """A target of losses whose places, order and cuts are computed once, and not at every call.

    y     (..., n) of the shape of the scores that it will go with
    dim   the axis along which rankings go
    mask  as losses take it: where it is False targets mean nothing

    Any loss takes it as its `target`, with the same numbers to the bit; see lapsum_cli.Target. On a GPU, for a cascade,
    and where PyTorch compiles or transforms what is called, it is a target like any other.
    """

    def __init__(self, y: torch.Tensor, *, dim: int = -1, mask: torch.Tensor | None = None):
        if not isinstance(y, torch.Tensor):
            raise DataError(f"the target must be a tensor, got {type(y).__name__}")
        if torch._C._functorch.is_functorch_wrapped_tensor(y):
            raise DataError("the target moves with a transform of torch.func; pass it as it is, nothing would be kept")
        with as_plain():
            rows = target_brought(y, Lying(dim, mask)).detach().clone()
            setattr(rows, PREPARED, prepared(target_of(rows)))
        self.rows = rows

    def beside(self, rows: torch.Tensor) -> Any:
        """The targets of scores (..., n); DataError where they have another shape."""
        if self.rows.shape != rows.shape:
            raise DataError(
                f"the target has the shape {tuple(self.rows.shape)}, the scores have {tuple(rows.shape)}, rankings last"
            )
        return self.rows
