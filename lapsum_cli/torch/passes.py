"""An operation forward and backward on the numbers of tensors, wherever they lie."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from ..core.errors import DataError
from ..core.rankings import Rankings, has_nan
from ..operations import suspicions
from ..operations.operation import Operation
from .places import alone, doubts, spoil
from .tensors import flat, target_of


class Passed(NamedTuple):
    """What a forward pass leaves for the way back."""

    operation: Operation
    rankings: Rankings
    state: Any
    doubts: Any


def forward(
    operation: Operation,
    rows: torch.Tensor,
    each: dict[str, torch.Tensor],
    target: torch.Tensor | None,
    on: Any,
    keep: bool,
    offsets: np.ndarray | None = None,
) -> tuple[Any, Passed]:
    """What the operation makes of rows (..., n), or of flat scores (N,) with offsets (m + 1,), and what it leaves for a
    way back, if that is kept.

    each: alpha and k (m,) float64, where they are tensors
    """
    rankings = rankings_of(rows, each, target, offsets)
    if not rows.is_cuda:
        suspicions.warn(operation, rankings)
    with alone(on, operation, rankings):
        doubted = doubts(on, rankings)
        [(_, rankings)] = operation.by_k(operation.ready(rankings, on))
        made = operation.forward(rankings, on, keep=keep)
        spoil(doubted, made.values)
    return made, Passed(operation, rankings, made.state, doubted)


def backward(passed: Passed, upstream: torch.Tensor, on: Any) -> tuple[Any, ...]:
    """The gradients for scores, alpha and k, arrays, of the sum of upstream times the results."""
    with alone(on, passed.operation, passed.rankings):
        found: tuple[Any, ...] = passed.operation.backward(passed.rankings, passed.state, flat(upstream), on)
        spoil(passed.doubts, *found)
    return found


def rankings_of(
    rows: torch.Tensor, each: dict[str, torch.Tensor], target: torch.Tensor | None, offsets: np.ndarray | None = None
) -> Rankings:
    """The rows as rankings, where they are, with what was given for each of them and a target beside them."""
    there, values = _stays(rows, target), flat(rows)
    if not there and (bool(torch.isnan(rows).any()) if rows.is_cuda else has_nan(values)):
        raise DataError("a score is NaN; mask it with -inf")
    beside = {} if target is None else {"target": target_of(target)}
    numbers = {name: flat(given) if there else flat(given.cpu()).copy() for name, given in each.items()}
    if offsets is not None:
        return Rankings(values, offsets).with_each(numbers, beside)
    count, length = math.prod(rows.shape[:-1]), rows.shape[-1]
    return Rankings.equal_length(values, count, length).with_each(numbers, beside)


def _stays(rows: torch.Tensor, target: torch.Tensor | None) -> bool:
    """Whether all that is computed of the rows stays on a card, and nothing waits: a loss looks at them here."""
    return rows.is_cuda and target is None
