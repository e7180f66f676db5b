"""The operations as operators of PyTorch, which torch.compile, torch.export and the transforms of torch.func see: a
forward and a backward one, with the shapes and dtypes of what they give, what either is to autograd, and what a batch
of them is. Whoever calls them eagerly has the autograd function (function.py), which keeps what a way back needs.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..core.errors import NotDifferentiable
from ..operations.loss import Loss
from ..operations.operation import PAIR, RANKING, Operation
from ..operations.permute import Permute
from ..operations.quantile import Quantile
from ..operations.rank import Rank
from ..operations.sort import Sort
from ..operations.topk import TopK
from .asked import TENSOR, operation_asked
from .function import Call, Function, computed, gradients
from .tensors import DTYPES

KINDS: dict[str, type[Operation]] = {kind.name: kind for kind in (Rank, Sort, TopK, Quantile, Permute, Loss)}


def words_of(kind: str, alpha: Any, k: Any, descending: bool, options: tuple[tuple[str, Any], ...]) -> str:
    """An operation in words, as operators take it. alpha, k: TENSOR where they are tensors."""
    words = json.dumps([kind, alpha, k, descending, dict(options)])
    _operation(words)  # refused here, if it is
    return words


words_of._dynamo_marked_constant = True  # type: ignore[attr-defined]  # a compiler calls it once, and keeps the text


@functools.lru_cache(1024)
def _operation(words: str) -> Operation:
    kind, *given = json.loads(words)
    return operation_asked(KINDS[kind], *given)


def _words(operation: Any, has_alpha: bool, has_k: bool) -> str:
    """The same of an operation that there is."""
    options = operation.__getstate__()
    ks, alpha = options.pop(f"{operation.at.name}s", ()), options.pop("alpha", operation.alpha)
    options |= {name: getattr(operation, name) for name in ("method", "loss") if hasattr(operation, name)}
    k = TENSOR if has_k else (str(ks[0]) if ks else None)
    descending = options.pop("descending", operation.descending)
    return words_of(operation.name, TENSOR if has_alpha else str(alpha), k, descending, tuple(options.items()))


def traced(
    kind: str, x: Tensor, alpha: Any, k: Any, descending: bool, options: tuple[tuple[str, Any], ...], target: Any
) -> Tensor:
    """What a compiler has in place of a call."""
    of_alpha, of_k = (given if isinstance(given, Tensor) else None for given in (alpha, k))
    said, said_k = (TENSOR if isinstance(given, Tensor) else given for given in (alpha, k))
    words = words_of(kind, said, said_k, descending, options)
    made: Tensor = torch.ops.lapsum.forward(x, of_alpha, of_k, target, words)
    return made


def transformed(operation: Operation, x: Tensor, alpha: Any, k: Any, target: Any) -> Tensor:
    """What the transforms of torch.func have."""
    made: Tensor = Transformed.apply(x, alpha, k, target, _words(operation, alpha is not None, k is not None))
    return made


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of the losses that there are, or all."""
    if reduction == "mean":
        return losses.nanmean()
    return losses.nansum() if reduction == "sum" else losses


def gradients_of_batch(upstream: Tensor, kept: Any) -> tuple[Any, ...]:
    """What function.gradients gives, of a batch of upstream gradients, which is a tensor as those of a transform."""
    (x, alpha, k), operation = kept.given, kept.call.operation
    if "target" in operation.takes:
        upstream = upstream if kept.defined is None else upstream / kept.defined
        upstream = upstream.expand(x.shape[:-1])
    words = _words(operation, alpha is not None, k is not None)
    found = torch.ops.lapsum.backward(upstream, x, alpha, k, kept.call.target, words)
    return tuple(None if given is None else one for one, given in zip(found, (x, alpha, k), strict=True))


@torch.library.custom_op("lapsum::forward", mutates_args=())
def forward(x: Tensor, alpha: Tensor | None, k: Tensor | None, target: Tensor | None, words: str) -> Tensor:
    """What the operation makes of scores (..., n): as many results, or a loss for each ranking."""
    return computed(x, alpha, k, Call(_operation(words), target, "none"), keep=False)[0].clone()


@torch.library.custom_op("lapsum::backward", mutates_args=())
def backward(
    upstream: Tensor, x: Tensor, alpha: Tensor | None, k: Tensor | None, target: Tensor | None, words: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients for scores, alpha and k of the sum of upstream times results; empty where one is no tensor."""
    _, kept, _ = computed(x, alpha, k, Call(_operation(words), target, "none"), keep=True)
    found = gradients(upstream, kept)
    return tuple(x.new_empty(0) if one is None else one.clone() for one in found)  # type: ignore[return-value]


@forward.register_fake
def _(x: Tensor, alpha: Tensor | None, k: Tensor | None, target: Tensor | None, words: str) -> Tensor:
    operation = _operation(words)
    if "target" in operation.takes:
        dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
        return x.new_empty(x.shape[:-1], dtype=dtype)
    of_others = {PAIR: [*x.shape, x.shape[-1]], RANKING: x.shape[:-1]}
    shape = of_others.get(operation.gives[0].per, x.shape)
    return x.new_empty(shape, dtype=getattr(torch, operation.dtype(DTYPES[x.dtype], x.shape[-1])))


@backward.register_fake
def _(
    upstream: Tensor, x: Tensor, alpha: Tensor | None, k: Tensor | None, target: Tensor | None, words: str
) -> tuple[Tensor, Tensor, Tensor]:
    of_alpha, of_k = (x.new_empty(0) if one is None else torch.empty_like(one) for one in (alpha, k))
    return torch.empty_like(x), of_alpha, of_k


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.words = inputs
    ctx.save_for_backward(*tensors)


def _back(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
    x, alpha, k, target = ctx.saved_tensors
    found = torch.ops.lapsum.backward(upstream.contiguous(), x, alpha, k, target, ctx.words)
    of_x, of_alpha, of_k = found
    return of_x, None if alpha is None else of_alpha, None if k is None else of_k, None, None


def _back_again(ctx: Any, *upstream: Any) -> Any:
    raise NotDifferentiable(
        "second derivatives are not computed: this graph was differentiated twice, as a Hessian, a penalty on a "
        "gradient or an inner step of training does; detach the gradient"
    )


forward.register_autograd(_back, setup_context=_keep)
backward.register_autograd(_back_again)


def _over_forward(info: Any, in_dims: tuple[Any, ...], *given: Any) -> tuple[Tensor, int]:
    *tensors, words = given
    if _operation(words).by_number:
        return torch.stack([torch.ops.lapsum.forward(*one, words) for one in _each(info, in_dims, tensors)]), 0
    return torch.ops.lapsum.forward(*_batched(info.batch_size, in_dims, tensors), words), 0


def _over_backward(info: Any, in_dims: tuple[Any, ...], *given: Any) -> tuple[Any, Any]:
    upstream, *tensors, words = given
    if _operation(words).by_number:
        each = [torch.ops.lapsum.backward(*one, words) for one in _each(info, in_dims, given[:-1])]
        return tuple(map(torch.stack, zip(*each, strict=True))), (0, 0, 0)
    first = _to_front(upstream, in_dims[0], info.batch_size).contiguous()
    found = torch.ops.lapsum.backward(first, *_batched(info.batch_size, in_dims[1:], tensors), words)
    return found, tuple(0 if one.numel() else None for one in found)


def _each(info: Any, in_dims: tuple[Any, ...], given: Any) -> Iterator[list[Any]]:
    """The calls of a batch, of an operation that depends on which ranking of a call it is."""
    for i in range(info.batch_size):
        yield [one if dim is None else one.select(dim, i) for one, dim in zip(given, in_dims, strict=False)]


def _batched(size: int, in_dims: tuple[Any, ...], given: Any) -> list[Any]:
    """Scores, alphas, ks and targets of a batch of calls as those of one, whose first axis is the batch."""
    x, *options, target = given
    leading = x.ndim - (in_dims[0] is not None) - 1
    rows = _to_front(x, in_dims[0], size)
    found: list[Any] = [rows]
    for option, dim in zip(options, in_dims[1:], strict=False):
        if option is None:
            found.append(None)
            continue
        option = _to_front(option, dim, size)
        own = option.shape[1:]
        if tuple(own) != (*rows.shape[1:-1], 1):
            option = option.reshape(size, *([1] * (leading - len(own))), *own)
        found.append(option)
    return [*found, None if target is None else _to_front(target, in_dims[3], size)]


def _to_front(given: Tensor, dim: int | None, size: int) -> Tensor:
    return given.unsqueeze(0).expand(size, *given.shape) if dim is None else given.movedim(dim, 0)


class Transformed(torch.autograd.Function):
    """The same for the transforms of torch.func, which see no operator's way back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, alpha: Any, k: Any, target: Any, words: str) -> Tensor:
        made: Tensor = torch.ops.lapsum.forward(x, alpha, k, target, words)
        return made

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _keep(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        x, alpha, k, target = ctx.saved_tensors
        of_x, of_alpha, of_k = _Back.apply(upstream, x, alpha, k, target, ctx.words)
        return of_x, None if alpha is None else of_alpha, None if k is None else of_k, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return Function.jvp(ctx, *tangents)


class _Back(torch.autograd.Function):
    """Its way back, which ends there."""

    generate_vmap_rule = True

    @staticmethod
    def forward(upstream: Tensor, x: Tensor, alpha: Any, k: Any, target: Any, words: str) -> Any:
        return torch.ops.lapsum.backward(upstream, x, alpha, k, target, words)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        return _back_again(ctx, *upstream)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return Function.jvp(ctx, *tangents)


if hasattr(torch.library, "register_vmap"):  # from PyTorch 2.5 on
    torch.library.register_vmap("lapsum::forward", _over_forward)
    torch.library.register_vmap("lapsum::backward", _over_backward)
