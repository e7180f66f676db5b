"""Where rankings lie in what was given: along which axis or in which form, and which of their scores take part."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from ..core.errors import DataError, OptionError
from .tensors import check_scores
from .uneven import Uneven, uneven


class Lying(NamedTuple):
    """How the rankings of a call lie.

    dim      the axis along which a ranking goes
    mask     bool, of a shape that broadcasts to that of the scores: False for what takes no part; None where all do
    form     of rankings of several lengths; None for those of a tensor
    offsets  those of flat scores, in this form; None where rankings are on an axis
    """

    dim: int = -1
    mask: Any = None
    form: Uneven | None = None
    offsets: np.ndarray | torch.Tensor | None = None

    def like(self, made: torch.Tensor) -> Any:
        """What there is for every score, as the scores lie."""
        if self.form is not None:
            return self.form.like(made)
        return made if self.dim == -1 else made.movedim(-1, self.dim)


_LAST = Lying()  # of most calls: on the last axis, all of them


def lying(x: Any, dim: int = -1, mask: Any = None) -> Lying:
    """How the rankings in x lie."""
    form = uneven(x)
    if form is None:
        return _LAST if mask is None and type(dim) is int and dim == -1 else Lying(dim, mask)
    if dim != -1:
        raise OptionError(f"dim must be -1 for rankings of several lengths, which have one axis, got {dim!r}")
    return Lying(dim, mask, form, form.offsets)


def brought(x: Any, lying: Lying, descending: bool) -> torch.Tensor:
    """The scores with rankings on the last axis, or flat, those that take no part as padding."""
    if lying.form is not None:
        x = lying.form.beside(x, "x")
    check_scores(x)
    if lying is _LAST:
        return x
    dim = axis_of(x, lying.dim)
    if lying.mask is not None:
        x = x.masked_fill(~_mask_of(x, lying), -math.inf if descending else math.inf)
    return x if lying.dim == -1 else x.movedim(dim, -1)


def option_brought(given: Any, x: Any, dim: int) -> Any:
    """An alpha or k with the axis of rankings last, where it has all axes of the scores."""
    return given.movedim(dim, -1) if isinstance(given, torch.Tensor) and given.ndim == x.ndim else given


def target_brought(target: Any, lying: Lying) -> Any:
    """The targets as the scores are; of those that take no part they are 0."""
    if lying.mask is not None:
        target = target.masked_fill(~_mask_of(target, lying), 0)
    return target if lying.dim == -1 else target.movedim(lying.dim, -1)


def axis_of(x: torch.Tensor, dim: Any) -> int:
    """The axis, from 0; OptionError where there is none."""
    if not isinstance(dim, int) or isinstance(dim, bool) or not -x.ndim <= dim < x.ndim:
        raise OptionError(f"dim must be from {-x.ndim} to {x.ndim - 1} for x of {x.ndim} axes, got {dim!r}")
    return dim % x.ndim


def _mask_of(x: torch.Tensor, lying: Lying) -> torch.Tensor:
    mask = lying.mask if lying.form is None else lying.form.beside(lying.mask, "mask")
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
        raise DataError(f"mask must be a tensor of bool, True for scores that take part, got {_kind(mask)}")
    try:
        return mask.to(x.device).expand(x.shape)
    except RuntimeError:
        raise DataError(
            f"mask has the shape {tuple(mask.shape)}, which does not broadcast to that of x, {tuple(x.shape)}"
        ) from None


def _kind(given: Any) -> str:
    return str(given.dtype) if isinstance(given, torch.Tensor) else type(given).__name__


class StraightThrough(torch.autograd.Function):
    """The hard result, with the gradient of the soft one (Bengio, Léonard, Courville, 2013)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(soft: torch.Tensor, hard: torch.Tensor) -> torch.Tensor:
        return hard.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None]:
        return upstream, None


class StraightThroughForward(StraightThrough):
    """The same with derivatives forward, of which compilers know none."""

    @staticmethod
    def jvp(ctx: Any, to_soft: torch.Tensor, to_hard: Any) -> torch.Tensor:
        return to_soft.clone()  # PyTorch takes no view of what went in
