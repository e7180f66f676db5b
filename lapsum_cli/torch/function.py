"""The autograd function of all operations: it sees tensors as they were given, and gives each its gradient back."""

from __future__ import annotations

from typing import Any

import torch

from . import operators
from .computed import Call, Kept, computed, gradients, of_each
from .surroundings import eagerly
from .tensors import is_transformed


class Function(torch.autograd.Function):
    """Any operation: its forward pass, whose state is kept for the way back."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, alpha: torch.Tensor | None, k: torch.Tensor | None, call: Call
    ) -> torch.Tensor:
        result, ctx.kept, rows = computed(x, alpha, k, call, keep=any(ctx.needs_input_grad))
        # PyTorch refuses the way back if the scores were changed in place, where they are read as they lie.
        ctx.save_for_backward(x if rows.data_ptr() == x.data_ptr() else rows)
        return result

    @staticmethod
    @eagerly
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[Any, ...]:
        ctx.saved_tensors  # noqa: B018  raises for scores that were changed in place, and for a graph that is freed
        upstream = of_each(upstream, ctx.kept)
        if is_transformed(upstream):
            return *operators.gradients_of(upstream, ctx.kept), None
        if torch.is_grad_enabled():  # create_graph=True
            return *Gradient.apply(upstream, *ctx.kept.given, ctx.kept), None
        return *gradients(upstream, ctx.kept), None

    @staticmethod
    def jvp(ctx: Any, *towards: Any) -> Any:
        kept = ctx.kept
        moved = operators.moved_of(towards[:3], kept)
        if kept.call.reduction == "none":
            return moved
        total = moved.nansum()
        return total if kept.defined is None else total / kept.defined


class Gradient(torch.autograd.Function):
    """Gradients that are made of what the forward pass has left, in a graph that may be differentiated again."""

    @staticmethod
    def forward(ctx: Any, upstream: torch.Tensor, x: Any, alpha: Any, k: Any, kept: Kept) -> tuple[Any, ...]:
        ctx.save_for_backward(upstream, x, alpha, k)
        ctx.upstream, ctx.kept = upstream, kept  # for `jvp`, which nothing is unpacked for
        return gradients(upstream, kept)

    @staticmethod
    def backward(ctx: Any, *towards: Any) -> Any:
        upstream, *given = ctx.saved_tensors
        return *operators.second_of(towards, upstream, ctx.kept._replace(given=tuple(given))), None

    @staticmethod
    def jvp(ctx: Any, *towards: Any) -> Any:
        return operators.moved_gradients_of(towards[:4], ctx.upstream, ctx.kept)
