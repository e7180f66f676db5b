"""Derivatives forward, and second derivatives, of operations on tensors: their numbers, on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import devices
from ..operations.along import derivatives
from ..operations.operation import Operation
from ..operations.permute import Permute
from ..operations.slots import RANKING, Derivatives
from . import passes
from .computed import Call
from .surroundings import by_one_thread_after_fork
from .tensors import DTYPES, in_dtype, per_ranking, rows_of, tensor_of, to_option

Given = tuple[Tensor, Tensor | None, Tensor | None]  # x, alpha and k


def along(
    given: Given,
    call: Call,
    towards: tuple[Tensor | None, Tensor | None, Tensor | None],
    upstream: Tensor | None,
) -> tuple[Tensor, tuple[Tensor | None, Tensor | None, Tensor | None]]:
    """How the result moves along `towards`; and of <towards, gradients of sum(upstream * result)> the gradients for x,
    alpha and k, None where one was none, and without an upstream.
    """
    x, leading = given[0], call.leading
    with by_one_thread_after_fork():
        here = x.detach().cpu()
        each = {
            name: per_ranking(one, leading, here.device)
            for name, one in zip(("alpha", call.operation.at.name), given[1:], strict=True)
            if one is not None
        }
        rankings = passes.rankings_of(rows_of(here), each, call.target, call.offsets)
        to_x, *to_options = towards
        along_x = None if to_x is None else _numbers(to_x)
        along_options = (
            None if one is None else _numbers(per_ranking(one, leading, here.device)) for one in to_options
        )
        pulled = None if upstream is None else _numbers(upstream)
        on: Any = devices.choose("cpu", torch.get_num_threads())
        moved, found = derivatives(call.operation, rankings, pulled, Derivatives(along_x, *along_options), on)
        shape = torch.Size(result_shape(call.operation, x, leading))
        made = _like(moved, x, shape, result_dtype(call.operation, x))
        if found is None:
            return made, (None, None, None)
        ends = (
            None if one is None else to_option(tensor_of(end, x, torch.Size([len(end)])), one, leading)
            for one, end in zip(given[1:], found[1:], strict=True)
        )
        of_alpha, of_k = ends
        return made, (_like(found.scores, x, x.shape, x.dtype), of_alpha, of_k)


def result_dtype(operation: Operation, x: Tensor) -> torch.dtype:
    """Of what an operation makes of such scores; of flat ones as if they were one ranking, whatever the offsets."""
    if "target" in operation.takes:
        return x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    dtype: torch.dtype = getattr(torch, operation.dtype(DTYPES[x.dtype], x.shape[-1]))
    return dtype


def result_shape(operation: Operation, x: Tensor, leading: Any) -> list[int]:
    """The same: a number for each ranking (leading), a matrix, or as many results as scores."""
    if "target" in operation.takes:
        return list(leading)
    if isinstance(operation, Permute):
        return [*x.shape, operation.columns(x.shape[-1])]
    return list(leading if operation.gives[0].per == RANKING else x.shape)


def _numbers(tensor: Tensor) -> Any:
    return tensor.detach().double().cpu().resolve_neg().contiguous().numpy().reshape(-1)


def _like(array: Any, x: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    return in_dtype(tensor_of(array, x, shape), dtype)
