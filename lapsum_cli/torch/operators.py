"""The operations as operators of PyTorch, which torch.compile, torch.export and the transforms of torch.func see: a
forward and a backward one, with the shapes and dtypes of what they give, what either is to autograd, and what a batch
of them is. Whoever calls them eagerly has the autograd function (function.py), which keeps what a way back needs.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..operations.loss import Loss
from ..operations.operation import Operation
from ..operations.permute import Permute
from ..operations.quantile import Quantile
from ..operations.rank import Rank
from ..operations.sort import Sort
from ..operations.topk import TopK
from .asked import TENSOR, operation_asked
from .computed import Call, computed, gradients
from .second import along as derivatives_along
from .second import result_dtype, result_shape
from .tensors import in_dtype, leading_of
from .transforms import NO_NUMBERS, Back, Tangent, Transformed, if_given, moved_gradients, refuse_third, second_along
from .uneven import read_offsets

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


def _words(call: Call, alpha: Any, k: Any) -> str:
    """The same of a call that there is, with alpha and k if these are tensors."""
    operation: Any = call.operation
    options = operation.__getstate__()
    ks, of_all = options.pop(f"{operation.at.name}s", ()), options.pop("alpha", operation.alpha)
    options |= {name: getattr(operation, name) for name in ("method", "loss") if hasattr(operation, name)}
    said = str(of_all) if alpha is None else TENSOR
    said_k = (str(ks[0]) if ks else None) if k is None else TENSOR
    descending = options.pop("descending", operation.descending)
    return words_of(operation.name, said, said_k, descending, tuple(options.items()))


def _beside(call: Call) -> tuple[Tensor | None, Tensor | None]:
    """The target and the offsets of a call, as operators take them."""
    return call.target, None if call.offsets is None else torch.from_numpy(call.offsets)


def traced(
    kind: str, x: Tensor, alpha: Any, k: Any, descending: bool, options: tuple[tuple[str, Any], ...], *beside: Any
) -> Tensor:
    """What a compiler has in place of a call. beside: target and offsets, None where there are none."""
    of_alpha, of_k = (given if isinstance(given, Tensor) else None for given in (alpha, k))
    said, said_k = (TENSOR if isinstance(given, Tensor) else given for given in (alpha, k))
    words = words_of(kind, said, said_k, descending, options)
    made: Tensor = torch.ops.lapsum.forward(x, of_alpha, of_k, *beside, words)
    return made


def transformed(x: Tensor, alpha: Any, k: Any, call: Call) -> Tensor:
    """What the transforms of torch.func have."""
    made: Tensor = Transformed.apply(x, alpha, k, *_beside(call), _words(call, alpha, k))
    return made


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of the losses that there are, or all."""
    if reduction == "mean":
        return losses.nanmean()
    return losses.nansum() if reduction == "sum" else losses


def _asked(kept: Any) -> tuple[Any, Any, str]:
    """The scores, alpha and k of a call, its target and offsets, and its operation in words."""
    _, alpha, k = kept.given
    return kept.given, _beside(kept.call), _words(kept.call, alpha, k)


def gradients_of(upstream: Tensor, kept: Any) -> tuple[Any, ...]:
    """What computed.gradients gives, of a batch of upstream gradients too."""
    given, beside, words = _asked(kept)
    return if_given(given, Back.apply(upstream, *given, *beside, words))


def second_of(towards: tuple[Any, ...], upstream: Tensor, kept: Any) -> tuple[Any, ...]:
    """Of <towards, gradients> the gradients for upstream, and for the scores, alpha and k."""
    given, beside, words = _asked(kept)
    moved, *found = second_along(if_given(given, towards), upstream, given, beside, words)
    return moved, *if_given(given, found)


def moved_gradients_of(towards: tuple[Any, ...], upstream: Tensor, kept: Any) -> tuple[Any, ...]:
    """How gradients move along upstream, the scores, alpha and k."""
    given, beside, words = _asked(kept)
    return if_given(given, moved_gradients(towards, upstream, given, beside, words))


def moved_of(towards: tuple[Any, ...], kept: Any) -> Tensor:
    """How the result moves along the scores, alpha and k."""
    given, beside, words = _asked(kept)
    moved: Tensor = Tangent.apply(*towards, *given, *beside, words)
    return moved


def _call(x: Tensor, target: Tensor | None, offsets: Tensor | None, words: str) -> Call:
    """What an operator is to do; DataError unless offsets are those of x."""
    here = None if offsets is None else read_offsets(offsets, x)
    return Call(_operation(words), leading_of(x, here), target, "none", here)


_LIBRARY = torch.library.Library("lapsum", "FRAGMENT")  # with this module its operators go, and may be defined again


def _operator(schema: str) -> Callable[[Any], Any]:
    """Define the operator of a function, which computes it on every device.

    torch.library.custom_op would wrap it three times more, to see what comes out, at 25 us a call; opcheck sees to that
    in tests.
    """

    def of(function: Any) -> Any:
        name = f"lapsum::{function.__name__}"
        torch.library.define(name, schema, lib=_LIBRARY, tags=(torch.Tag.pt2_compliant_tag,))
        torch.library.impl(name, "default", function, lib=_LIBRARY)
        return function

    return of


_SCORES = "Tensor x, Tensor? alpha, Tensor? k, Tensor? target, Tensor? offsets, str words"


@_operator(f"({_SCORES}) -> Tensor")
def forward(
    x: Tensor, alpha: Tensor | None, k: Tensor | None, target: Tensor | None, offsets: Tensor | None, words: str
) -> Tensor:
    """What the operation makes of scores (..., n), or (N,) with offsets (m + 1,): as many results, or one for each
    ranking.
    """
    made = computed(x, alpha, k, _call(x, target, offsets, words), keep=False)[0]
    return made if offsets is None else in_dtype(made, result_dtype(_operation(words), x))


@_operator(f"(Tensor upstream, {_SCORES}) -> (Tensor, Tensor, Tensor)")
def backward(
    upstream: Tensor,
    x: Tensor,
    alpha: Tensor | None,
    k: Tensor | None,
    target: Tensor | None,
    offsets: Tensor | None,
    words: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients for scores, alpha and k of the sum of upstream times results; empty where one is no tensor."""
    _, kept, _ = computed(x, alpha, k, _call(x, target, offsets, words), keep=True)
    found = gradients(upstream, kept)
    return tuple(x.new_empty(0) if one is None else one for one in found)  # type: ignore[return-value]


_TOWARDS = "Tensor? to_x, Tensor? to_alpha, Tensor? to_k, Tensor? upstream"


@_operator(f"({_TOWARDS}, {_SCORES}) -> (Tensor, Tensor, Tensor, Tensor)")
def along(
    to_x: Tensor | None,
    to_alpha: Tensor | None,
    to_k: Tensor | None,
    upstream: Tensor | None,
    x: Tensor,
    alpha: Tensor | None,
    k: Tensor | None,
    target: Tensor | None,
    offsets: Tensor | None,
    words: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How the result moves in a direction of scores, alpha and k, and of <direction, what `backward` gives> the
    gradients for these; empty where one is no tensor, and all without upstream.
    """
    made, found = derivatives_along((x, alpha, k), _call(x, target, offsets, words), (to_x, to_alpha, to_k), upstream)
    return made, *(x.new_empty(0) if one is None else one for one in found)  # type: ignore[return-value]


@torch.library.register_fake("lapsum::forward", lib=_LIBRARY)
def _(x: Tensor, alpha: Any, k: Any, target: Any, offsets: Any, words: str) -> Tensor:
    return _result_of(x, offsets, words)


def _result_of(x: Tensor, offsets: Any, words: str) -> Tensor:
    operation = _operation(words)
    return x.new_empty(result_shape(operation, x, leading_of(x, offsets)), dtype=result_dtype(operation, x))


@torch.library.register_fake("lapsum::backward", lib=_LIBRARY)
def _(
    upstream: Tensor, x: Tensor, alpha: Any, k: Any, target: Any, offsets: Any, words: str
) -> tuple[Tensor, Tensor, Tensor]:
    of_x, of_alpha, of_k = (_contiguous(one, x) for one in (x, alpha, k))
    return of_x, of_alpha, of_k


@torch.library.register_fake("lapsum::along", lib=_LIBRARY)
def _(
    to_x: Any, to_alpha: Any, to_k: Any, upstream: Any, x: Tensor, alpha: Any, k: Any, target: Any, *rest: Any
) -> tuple[Tensor, ...]:
    given = ((one if upstream is not None else None) for one in (x, alpha, k))
    return _result_of(x, *rest), *(_contiguous(one, x) for one in given)


def _contiguous(given: Tensor | None, x: Tensor) -> Tensor:
    """A gradient of what was given, however that lies; empty where it is no tensor."""
    return x.new_empty(0) if given is None else given.new_empty(given.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.words = inputs
    ctx.save_for_backward(*tensors)


def _back(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
    found = torch.ops.lapsum.backward(upstream.contiguous(), *ctx.saved_tensors, ctx.words)
    return *if_given(ctx.saved_tensors[:3], found), *NO_NUMBERS


def _back_again(ctx: Any, *towards: Tensor) -> tuple[Any, ...]:
    given = ctx.saved_tensors[1:4]
    moved, *found = torch.ops.lapsum.along(*if_given(given, towards), *ctx.saved_tensors, ctx.words)
    return moved, *if_given(given, found), *NO_NUMBERS


torch.library.register_autograd("lapsum::forward", _back, setup_context=_keep, lib=_LIBRARY)
torch.library.register_autograd("lapsum::backward", _back_again, setup_context=_keep, lib=_LIBRARY)
torch.library.register_autograd("lapsum::along", refuse_third, lib=_LIBRARY)


def _over_forward(info: Any, in_dims: tuple[Any, ...], *given: Any) -> tuple[Tensor, int]:
    *tensors, offsets, words = given
    if offsets is not None or _operation(words).by_number:
        return torch.stack([torch.ops.lapsum.forward(*one, words) for one in _each(info, in_dims, given[:-1])]), 0
    return torch.ops.lapsum.forward(*_batched(info.batch_size, in_dims, tensors), None, words), 0


def _over_backward(info: Any, in_dims: tuple[Any, ...], *given: Any) -> tuple[Any, Any]:
    upstream, *tensors, offsets, words = given
    if offsets is not None or _operation(words).by_number:
        each = [torch.ops.lapsum.backward(*one, words) for one in _each(info, in_dims, given[:-1])]
        return tuple(map(torch.stack, zip(*each, strict=True))), (0, 0, 0)
    first = _to_front(upstream, in_dims[0], info.batch_size).contiguous()
    found = torch.ops.lapsum.backward(first, *_batched(info.batch_size, in_dims[1:], tensors), None, words)
    return found, tuple(0 if one.numel() else None for one in found)


def _over_along(info: Any, in_dims: tuple[Any, ...], *given: Any) -> tuple[Any, Any]:
    """One after the other: whoever takes Hessians has few rankings at once."""
    each = [torch.ops.lapsum.along(*one, given[-1]) for one in _each(info, in_dims, given[:-1])]
    return tuple(map(torch.stack, zip(*each, strict=True))), (0, 0, 0, 0)


def _each(info: Any, in_dims: tuple[Any, ...], given: Any) -> Iterator[list[Any]]:
    """The calls of a batch, of an operation that depends on which ranking of a call it is, or with offsets."""
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


if hasattr(torch.library, "register_vmap"):  # from PyTorch 2.5 on
    torch.library.register_vmap("lapsum::forward", _over_forward, lib=_LIBRARY)
    torch.library.register_vmap("lapsum::backward", _over_backward, lib=_LIBRARY)
    torch.library.register_vmap("lapsum::along", _over_along, lib=_LIBRARY)
