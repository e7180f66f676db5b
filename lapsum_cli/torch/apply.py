"""An operation on tensors, however its rankings lie: what all public functions call."""

from __future__ import annotations

from typing import Any

import torch

from ..operations.asked import hardened
from ..operations.operation import Operation
from ..operations.quantile import Quantile
from ..operations.warm import warm
from . import operators
from .asked import operation_asked
from .axes import Lying, StraightThrough, StraightThroughForward, brought, option_brought
from .computed import Call
from .function import Function
from .places import NOTHING, device_of
from .tensors import check_option, is_transformed, leading_of


def applied(
    kind: type[Operation],
    x: torch.Tensor,
    alpha: Any,
    k: Any,
    descending: bool,
    options: dict[str, Any],
    target: Any = None,
    reduction: str = "none",
    offsets: Any = None,
) -> torch.Tensor:
    """What an operation makes of rankings on the last axis, or flat with offsets: eagerly by an autograd function,
    which keeps what its way back needs; where PyTorch compiles or transforms what is called, by operators that it sees
    through.
    """
    if torch.compiler.is_compiling():
        given = (kind.name, x, alpha, k, descending, tuple(options.items()), target, offsets)
        return operators.reduced(operators.traced(*given), reduction)
    operation = operation_asked(kind, alpha, k, descending, options)
    leading = leading_of(x, offsets)
    call = Call(operation, leading, target, reduction, offsets)
    alphas, ks = check_option("alpha", alpha, leading), check_option(kind.at.name, k, leading)
    if is_transformed():
        return operators.reduced(operators.transformed(x, alphas, ks, call), reduction)
    with torch.cuda.device(x.device) if x.is_cuda else NOTHING:
        warm(operation, "float64" if x.dtype == torch.float64 else "float32", device_of(x))
        made: torch.Tensor = Function.apply(x, alphas, ks, call)
    return made


def soft(
    kind: type[Operation],
    x: Any,
    alpha: Any,
    k: Any,
    descending: bool,
    where: Lying,
    straight_through: bool,
    options: dict[str, Any],
) -> Any:
    """An operation on rankings however they lie; straight_through: its hard result, with its gradient."""
    rows = brought(x, where, descending)
    if where.dim != -1:
        alpha, k = (option_brought(given, x, where.dim) for given in (alpha, k))
    made = applied(kind, rows, alpha, k, descending, options, offsets=where.offsets)
    if straight_through:
        row, a, b = (one.detach() if isinstance(one, torch.Tensor) else one for one in (rows, alpha, k))
        hard = applied(kind, row, a, b, descending, hardened(options), offsets=where.offsets)
        how = StraightThrough if torch.compiler.is_compiling() else StraightThroughForward
        made = how.apply(made, hard)
    return made if kind is Quantile else where.like(made)
