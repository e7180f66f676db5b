"""What a call computes, and what its way back does: tensors in, tensors out, without autograd."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from ..operations import suspicions
from ..operations.operation import Operation
from ..operations.permute import Permute
from . import passes, replayed
from .places import device_of
from .surroundings import by_one_thread_after_fork
from .tensors import DTYPES, in_dtype, per_ranking, rows_of, tensor_of, to_option


class Call(NamedTuple):
    """What is to be done with the scores of a call, besides the tensors that get gradients.

    leading    the shape of what there is for each ranking
    reduction  of losses; "none" for a result of each score
    offsets    (m + 1,) int64, in memory here, of flat scores (N,); None where rankings are on the last axis
    """

    operation: Operation
    leading: torch.Size
    target: torch.Tensor | None
    reduction: str = "none"
    offsets: np.ndarray | None = None


class Kept(NamedTuple):
    """What a forward pass leaves for the way back.

    given    the tensors of the call, None where alpha or k was none
    passed   passes.Passed, or a replayed.Lease
    defined  how many rankings have a loss, where a mean was taken
    """

    given: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
    passed: Any
    defined: torch.Tensor | None
    call: Call


def computed(
    x: torch.Tensor, alpha: torch.Tensor | None, k: torch.Tensor | None, call: Call, keep: bool
) -> tuple[torch.Tensor, Kept, torch.Tensor]:
    """The result of a call, what it leaves for the way back, if that is kept, and the scores as they were read."""
    operation, leading, offsets, given, defined = call.operation, call.leading, call.offsets, (x, alpha, k), None
    with by_one_thread_after_fork():
        rows = rows_of(x)
        each = {
            name: per_ranking(given, leading, x.device)
            for name, given in (("alpha", alpha), (operation.at.name, k))
            if given is not None
        }
        longest = x.shape[-1] if offsets is None else int(np.diff(offsets).max(initial=0))
        dtype = getattr(torch, operation.dtype(DTYPES[x.dtype], longest))
        can_be_replayed = x.is_cuda and call.target is None and offsets is None
        passed: Any = replayed.lease(operation, rows, each, keep) if can_be_replayed else None
        if passed is not None:
            result = passed.forward(rows, each)
        else:
            made, passed = passes.forward(operation, rows, each, call.target, device_of(x), keep, offsets)
            if made.values is not None:
                result = tensor_of(made.values, x, x.shape)
            elif isinstance(operation, Permute):
                matrices = operation.flat(made.numbers[operation.result], passed.rankings)
                shape = [*x.shape, operation.columns(x.shape[-1])] if offsets is None else [len(matrices)]
                result = tensor_of(matrices, x, torch.Size(shape))
            else:
                losses = tensor_of(made.numbers[operation.result], x, leading).to(rows.dtype)
                result, defined = _reduced(losses, call.reduction)
        return in_dtype(result, dtype), Kept(given, passed, defined, call), rows


def _reduced(losses: torch.Tensor, reduction: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The mean or sum of the losses that are not NaN, or all of them; and how many these are, for a mean."""
    if reduction == "mean":
        return losses.nanmean(), losses.isnan().logical_not().sum()
    return (losses.nansum() if reduction == "sum" else losses), None


def of_each(upstream: torch.Tensor, kept: Kept) -> torch.Tensor:
    """The upstream gradient with respect to the result; of a loss that was reduced, to that of each ranking."""
    if "target" in kept.call.operation.takes:
        upstream = upstream if kept.defined is None else upstream / kept.defined
        upstream = upstream.expand(kept.call.leading)
    return upstream


def gradients(upstream: torch.Tensor, kept: Kept) -> tuple[Any, ...]:
    """Gradients for the scores, alpha and k as they were given, None where one was not; upstream as by of_each."""
    x, alpha, k = kept.given
    with by_one_thread_after_fork():
        if isinstance(kept.passed, replayed.Lease):
            scores, ends = kept.passed.backward(upstream)  # tensors
        else:
            upstream = in_dtype(upstream, getattr(torch, kept.passed.rankings.dtype))
            if "target" in kept.passed.operation.takes:
                known = np.where(kept.passed.state.known, 0.0, np.nan)
                suspicions.warn_of_start(kept.passed.operation, kept.passed.rankings, known)
                upstream = upstream.double().cpu()
            found, *ends = passes.backward(kept.passed, upstream, device_of(x))
            scores = tensor_of(found, x, x.shape)
        of_options = [
            None if given is None or end is None else to_option(_flat_tensor(end, x), given, kept.call.leading)
            for given, end in zip((alpha, k), ends, strict=True)
        ]
        return in_dtype(scores, x.dtype), *of_options


def _flat_tensor(end: Any, x: torch.Tensor) -> torch.Tensor:
    """Numbers of each ranking (m,), an array or a tensor, as a tensor where x is."""
    return end if isinstance(end, torch.Tensor) else tensor_of(end, x, torch.Size([len(end)]))
