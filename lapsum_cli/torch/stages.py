"""Cascades: the scores that the stages of a loss give the same items, as rankings of one batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..operations.stages import places
from .axes import Lying


def together(
    stages: list[torch.Tensor], target: torch.Tensor, alpha: Any, k: Any, lying: Lying, descending: bool
) -> tuple[torch.Tensor, torch.Tensor, Any, Any, np.ndarray | None]:
    """Scores, targets, alpha, k and offsets of a ranking for each stage, those of a query one after the other; what is
    masked in one stage is masked in all.
    """
    masked = torch.stack([torch.isneginf(one) if descending else torch.isinf(one) for one in stages]).any(0)
    stages = [one.masked_fill(masked, -math.inf) for one in stages]
    offsets: Any = lying.offsets
    if offsets is None:
        scores = torch.stack(stages, -2)
        alpha, k = (_of_each(given, stages[0].ndim - 1) for given in (alpha, k))
        return scores, target.unsqueeze(-2).expand(scores.shape), alpha, k, None
    at = torch.from_numpy(np.argsort(np.concatenate(places(offsets)))).to(target.device)
    alpha, k = (_repeated(given, len(offsets) - 1) for given in (alpha, k))
    lengths = np.repeat(np.diff(offsets), len(stages))
    return torch.cat(stages)[at], target.repeat(len(stages))[at], alpha, k, np.cumsum([0, *lengths])


def _of_each(given: Any, axes: int) -> Any:
    """An alpha or k of each query, with so many axes, as that of each of its stages, which are an axis more."""
    is_for_each = isinstance(given, torch.Tensor) and 0 < given.ndim <= axes
    return given.unsqueeze(-1) if is_for_each else given


def _repeated(given: Any, count: int) -> Any:
    """The same of queries of several lengths."""
    is_for_each = isinstance(given, torch.Tensor) and given.shape in ((count,), (count, 1))
    return given.repeat_interleave(2, 0) if is_for_each else given
