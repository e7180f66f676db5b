"""What rankings count, one against the other: weights of their losses, and the mean and the sum of these."""

from __future__ import annotations

from typing import Any

import torch

from ..core.errors import OptionError
from .tensors import check_option, is_transformed


def weights_of(given: Any, losses: torch.Tensor) -> torch.Tensor:
    """A weight for each of the losses (...), of what broadcasts to them, or has a last axis of one number besides.

    OptionError for what does not, and for one below 0, unless a compiler or a transform is to see it.
    """
    try:
        weights = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise OptionError(f"weights must be numbers, got {given!r}") from None
    if not torch.compiler.is_compiling():
        check_option("weights", weights, losses.shape)
        if not is_transformed() and bool(((weights < 0) | ~weights.isfinite()).any()):
            raise OptionError(f"weights must be 0 or more, got {weights[~(weights >= 0)].reshape(-1)[:1].tolist()}")
    weights = weights.to(losses)
    return weights.reshape(losses.shape) if weights.shape == (*losses.shape, 1) else weights.expand(losses.shape)


def weighted(losses: torch.Tensor, given: Any, reduction: str) -> torch.Tensor:
    """Losses (...), NaN of rankings without one, times their weights; or their sum, or that over the sum of weights."""
    weights = weights_of(given, losses)
    known = losses.isnan().logical_not()
    counts = known & (weights != 0)
    each = torch.where(counts, losses, 0) * weights  # of a weight of 0 it is 0, though the loss may be infinite
    if reduction == "none":
        return torch.where(known, each, losses)
    total = torch.where(known, each, 0).sum()
    return total / torch.where(known, weights, 0).sum() if reduction == "mean" else total
