"""The operators of operators.py as the transforms of torch.func take them, which see no operator's own way back.

    Transformed   the result            back: Back           forward: Tangent
    Back          its gradients         back: Second         forward: Second, Back
    Tangent       how the result moves  back: Back, Second
    Second        how both move         back and forward: Back and Second along the direction, no further

Each calls the operator of its name, and what it is to autograd is made of the others.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..core.errors import NotDifferentiable

NO_NUMBERS = (None, None, None)  # gradients for target, offsets and words


def refuse_third(ctx: Any, *upstream: Any) -> Any:
    """NotDifferentiable."""
    raise NotDifferentiable(
        "third derivatives are not computed: a second derivative was differentiated; detach it, or leave out "
        "create_graph=True"
    )


def if_given(given: Any, found: Any) -> tuple[Any, ...]:
    """What was found for tensors that there are, None for the others."""
    return tuple(None if one is None else of_it for one, of_it in zip(given, found, strict=True))


class _Seen(torch.autograd.Function):
    """What all have in common: tensors, and words last. beside: what is no number to move along, target and offsets."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *tensors, ctx.words = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)


class Transformed(_Seen):
    """(x, alpha, k, *beside, words) -> the result."""

    @staticmethod
    def forward(*given: Any) -> Tensor:
        made: Tensor = torch.ops.lapsum.forward(*given)
        return made

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        x, alpha, k, *beside = ctx.saved_tensors
        given = (x, alpha, k)
        return *if_given(given, Back.apply(upstream, *given, *beside, ctx.words)), *NO_NUMBERS

    @staticmethod
    def jvp(ctx: Any, to_x: Any, to_alpha: Any, to_k: Any, *_: Any) -> Any:
        return Tangent.apply(to_x, to_alpha, to_k, *ctx.saved_tensors, ctx.words)


class Back(_Seen):
    """(upstream, x, alpha, k, *beside, words) -> the gradients for x, alpha and k, empty for what is no tensor."""

    @staticmethod
    def forward(upstream: Tensor, *given: Any) -> Any:
        return torch.ops.lapsum.backward(upstream.contiguous(), *given)

    @staticmethod
    def backward(ctx: Any, *towards: Any) -> Any:
        upstream, x, alpha, k, *beside = ctx.saved_tensors
        given = (x, alpha, k)
        moved, *found = second_along(if_given(given, towards), upstream, given, beside, ctx.words)
        return moved, *if_given(given, found), *NO_NUMBERS

    @staticmethod
    def jvp(ctx: Any, to_upstream: Any, to_x: Any, to_alpha: Any, to_k: Any, *_: Any) -> Any:
        upstream, x, alpha, k, *beside = ctx.saved_tensors
        return moved_gradients((to_upstream, to_x, to_alpha, to_k), upstream, (x, alpha, k), beside, ctx.words)


def moved_gradients(towards: Any, upstream: Tensor, given: Any, beside: Any, words: str) -> tuple[Tensor, ...]:
    """How gradients move along upstream, x, alpha and k: along the latter three as Hessians are symmetric, along the
    first as they are.
    """
    to_upstream, *along = towards
    found = [torch.zeros_like(one) if one is not None else upstream.new_empty(0) for one in given]
    if any(one is not None for one in along):
        found = list(second_along(along, upstream, given, beside, words)[1:])
    if to_upstream is not None:
        found = [a + b for a, b in zip(found, Back.apply(to_upstream, *given, *beside, words), strict=True)]
    return tuple(found)


class Tangent(_Seen):
    """(to_x, to_alpha, to_k, x, alpha, k, *beside, words) -> how the result moves."""

    @staticmethod
    def forward(to_x: Any, to_alpha: Any, to_k: Any, *given: Any) -> Tensor:
        moved: Tensor = torch.ops.lapsum.along(to_x, to_alpha, to_k, None, *given)[0]
        return moved

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        to_x, to_alpha, to_k, x, alpha, k, *beside = ctx.saved_tensors
        towards, given = (to_x, to_alpha, to_k), (x, alpha, k)
        first = Back.apply(upstream, *given, *beside, ctx.words)
        _, *second = second_along(towards, upstream, given, beside, ctx.words)
        return *if_given(towards, first), *if_given(given, second), *NO_NUMBERS

    @staticmethod
    def jvp(ctx: Any, *towards: Any) -> Any:
        return refuse_third(ctx)


class Second(_Seen):
    """(to_x, to_alpha, to_k, upstream, x, alpha, k, *beside, words) -> how the result moves, and the gradients for x,
    alpha and k of how its own do. It may be differentiated for the direction, in which it is linear, and no further.
    """

    @staticmethod
    def forward(*given: Any) -> Any:
        return torch.ops.lapsum.along(*given)

    @staticmethod
    def backward(ctx: Any, of_moved: Any, *of_found: Any) -> Any:
        to_x, to_alpha, to_k, upstream, x, alpha, k, *beside = ctx.saved_tensors
        towards, given = (to_x, to_alpha, to_k), (x, alpha, k)
        first = Back.apply(of_moved, *given, *beside, ctx.words)
        _, *second = second_along(if_given(given, of_found), upstream, given, beside, ctx.words)
        of_towards = tuple(a + b for a, b in zip(first, second, strict=True))
        rest = (None if one is None else torch.zeros_like(one) for one in (upstream, *given))  # which Last refuses
        return *if_given(towards, of_towards), *rest, *NO_NUMBERS

    @staticmethod
    def jvp(ctx: Any, *towards: Any) -> Any:
        upstream, x, alpha, k, *beside = ctx.saved_tensors[3:]
        if any(one is not None for one in towards[3:7]):
            return refuse_third(ctx)
        return second_along(towards[:3], upstream, (x, alpha, k), beside, ctx.words)


class Last(torch.autograd.Function):
    """A tensor as it is, of whose gradient nothing is known: where one is asked for, that is refused."""

    generate_vmap_rule = True

    @staticmethod
    def forward(tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        return refuse_third(ctx)

    @staticmethod
    def jvp(ctx: Any, towards: Any) -> Any:
        return refuse_third(ctx)


def second_along(towards: Any, upstream: Any, given: Any, beside: Any, words: str) -> Any:
    """Second, in a graph that ends there, but for the direction."""
    ends = (None if one is None else Last.apply(one) for one in (upstream, *given))
    return Second.apply(*towards, *ends, *beside, words)
