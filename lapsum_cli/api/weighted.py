"""What rankings count, one against the other: weights of their losses, and the mean and the sum of these."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import OptionError
from ..operations.weights import weighed
from .forms import Form


def weights_of(form: Form, given: Any) -> np.ndarray | None:
    """(m,) what each ranking counts; None where all count alike. OptionError for what is below 0 or no number."""
    if given is None:
        return None
    weights = form.per_ranking("weights", given)
    wrong = ~((weights >= 0) & (weights < np.inf))
    if wrong.any():
        r = int(wrong.argmax())
        raise OptionError(f"weights must be 0 or more, got {weights[r]:g} for ranking {r}")
    return weights


def reduced(form: Form, losses: np.ndarray, reduction: str, weights: np.ndarray | None) -> Any:
    """Losses of rankings (m,), as they are asked for: times their weights, or the mean or sum of these."""
    known = ~np.isnan(losses)
    if weights is not None:
        losses = weighed(losses, weights)
    if reduction == "none":
        return form.each(losses)
    total = losses[known].sum()
    if reduction == "sum":
        return total
    count = _count(known, weights)
    return total / count if count > 0 else np.nan


def pulls(losses: np.ndarray, upstream: Any, reduction: str, weights: np.ndarray | None) -> np.ndarray:
    """(m,) what a gradient has of that of each ranking; upstream: with respect to the reduced loss."""
    if weights is not None:
        upstream = upstream * weights
    if reduction == "mean":
        count = _count(~np.isnan(losses), weights)
        upstream = upstream / (count if count > 0 else 1.0)
    return np.broadcast_to(upstream, losses.shape)


def times(values: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """Gradients times what is pulled at them, float64: 0 where that is 0, though they may be infinite."""
    if len(pull) == 1 or pull.all():
        return np.multiply(values, pull, dtype=np.float64)
    return np.multiply(values, pull, out=np.zeros(values.shape), where=pull != 0)


def _count(known: np.ndarray, weights: np.ndarray | None) -> float:
    """How many rankings have a loss, each as its weight says."""
    return float(known.sum() if weights is None else weights[known].sum())
