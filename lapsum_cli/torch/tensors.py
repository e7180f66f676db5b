"""Tensors as the arrays that operations read, and arrays as tensors; what cannot be read is refused in one line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..core import numbers
from ..core.errors import DataError, DeviceError, OptionError
from ..core.tensors import unreadable

# Those of scores, by the names that arrays have for them.
DTYPES = {
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float32: "float32",
    torch.float64: "float64",
}
# Of arrays on a card that are tensors' memory.
_NUMPY: dict[torch.dtype, Any] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
_TENSORS = {there: here for here, there in _NUMPY.items()}
# What tells of torch.func, and of a tensor that is a batch of them, where this version of PyTorch has it.
_TRANSFORMS_ARE_ACTIVE = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
_IS_BATCH, _IS_OLD_BATCH = (
    getattr(torch._C._functorch, name, lambda tensor: False) for name in ("is_batchedtensor", "is_legacy_batchedtensor")
)


def check_scores(x: Any) -> None:
    """DataError or DeviceError for what is no tensor of scores. What a compiler sees is looked at when it runs."""
    if torch.compiler.is_compiling():
        return
    if not isinstance(x, torch.Tensor):
        raise DataError(f"x must be a tensor of floats, got {type(x).__name__}; pass torch.as_tensor(x)")
    if x.is_meta:
        raise DeviceError("x is on meta; the CPU and NVIDIA GPUs compute: a tensor has no numbers there")
    if problem := unreadable(x):
        raise DataError(f"x {problem}")
    if x.dtype not in DTYPES:
        hint = "" if x.is_complex() or x.is_quantized else "; pass x.float()"
        raise DataError(f"x must be a tensor of floats, got {x.dtype}{hint}")
    if not (x.is_cpu or x.is_cuda):
        raise DeviceError(f"x is on {x.device}; the CPU and NVIDIA GPUs compute: pass x.cpu()")
    if x.ndim == 0:
        raise DataError("x must have at least one dimension, got a single number")


def check_target(target: Any, x: torch.Tensor) -> None:
    """DataError for what is no tensor like x."""
    if torch.compiler.is_compiling():
        return
    if isinstance(target, torch.Tensor) and (problem := unreadable(target)):
        raise DataError(f"the target {problem}")
    if not isinstance(target, torch.Tensor) or target.shape != x.shape:
        got = tuple(target.shape) if isinstance(target, torch.Tensor) else type(target).__name__
        raise DataError(f"the target must be a tensor of the shape of x, {tuple(x.shape)}, got {got}")


def leading_of(x: torch.Tensor, offsets: Any) -> Any:
    """The shape of what there is for each ranking, of scores (..., n), or of flat ones with offsets (m + 1,)."""
    return x.shape[:-1] if offsets is None else (offsets.shape[0] - 1,)


def check_option(name: str, given: Any, leading: torch.Size) -> torch.Tensor | None:
    """An alpha or k that is a tensor, None for any other; OptionError if it is no number for each of the rankings."""
    if not isinstance(given, torch.Tensor):
        return None
    if problem := unreadable(given):
        raise OptionError(f"{name} {problem}")
    if given.dtype == torch.bool or given.is_complex() or given.is_quantized:
        raise OptionError(f"{name} must be numbers, got {given.dtype}")
    behind = leading[max(0, len(leading) - given.ndim) :]
    fits = given.ndim <= len(leading) and all(own in (1, n) for own, n in zip(given.shape, behind, strict=True))
    if not fits and given.shape != (*leading, 1):
        raise OptionError(
            f"{name} has the shape {tuple(given.shape)}, which does not broadcast to that of the rankings, "
            f"{tuple(leading)}"
        )
    return given


def per_ranking(given: torch.Tensor, leading: torch.Size, device: torch.device) -> torch.Tensor:
    """(m,) float64: an option that check_option has seen, for each ranking."""
    given = given.detach().to(device).double()
    return (given if given.shape == (*leading, 1) else given.expand(leading)).reshape(-1)


def to_option(gradient: torch.Tensor, given: torch.Tensor, leading: torch.Size) -> torch.Tensor:
    """The gradient for an option of that for each ranking (m,): the way back of per_ranking."""
    gradient = gradient.reshape(leading)
    has_axis = given.shape == (*leading, 1)
    return (gradient.reshape(given.shape) if has_axis else gradient.sum_to_size(given.shape)).to(given)


PREPARED = "lapsum_prepared"  # an attribute of a tensor that is a Target's: what target_of made of it


def target_of(given: torch.Tensor) -> np.ndarray:
    """(N,) float64, the target of every score, in memory here."""
    kept: np.ndarray | None = getattr(given, PREPARED, None)
    if kept is not None:
        return kept
    if problem := unreadable(given):
        raise DataError(f"the target {problem}")
    if given.is_complex() or given.is_quantized:
        raise DataError(f"the target must be numbers, got {given.dtype}")
    given = given.detach().cpu()
    if given.dtype.is_floating_point or given.dtype == torch.bool:
        given = given.double()
    values = numbers.widened(given.resolve_neg().contiguous().numpy().reshape(-1), "the target")
    if np.isnan(values).any():
        raise DataError("a target is NaN; it must be a number for every score")
    return values


def rows_of(x: torch.Tensor) -> torch.Tensor:
    """(..., n) contiguous float32 or float64: the scores where they are, if they are that."""
    return (x.float() if x.dtype in (torch.float16, torch.bfloat16) else x).resolve_neg().contiguous()


def flat(tensor: torch.Tensor) -> Any:
    """The numbers of a tensor where they are, as an array."""
    tensor = tensor.detach().resolve_neg().contiguous()
    if not tensor.is_cuda:
        return tensor.numpy().reshape(-1)
    from ..kernels.cuda import adapter

    if tensor.dtype in _NUMPY and tensor.numel():
        return adapter.lent(tensor, tensor.data_ptr(), (tensor.numel(),), _NUMPY[tensor.dtype])
    return adapter.as_array(tensor.reshape(-1))


def tensor_of(array: Any, like: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """An array as a tensor of this shape, on the device of another, and no view: it may be changed in place."""
    if isinstance(array, np.ndarray):
        made = torch.from_numpy(np.ascontiguousarray(array).reshape(shape))
        return made.to(like.device) if like.is_cuda else made
    of_tensor = _of_lender(array, like.device, shape)
    return torch.as_tensor(array.reshape(tuple(shape)), device=like.device) if of_tensor is None else of_tensor


def _of_lender(array: Any, device: torch.device, shape: torch.Size) -> torch.Tensor | None:
    """An array in a tensor's memory, as a tensor; None for any other. It costs a third of what any array does."""
    from ..kernels.cuda import adapter

    owner, at = adapter.lender_of(array)
    if not (isinstance(owner, torch.Tensor) and array.dtype in _TENSORS and array.is_c_contiguous()):
        return None
    storage = owner.untyped_storage()
    first, rest = divmod(at - storage.data_ptr(), array.dtype.itemsize)
    if rest or not array.size:
        return None
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return torch.empty(0, dtype=_TENSORS[array.dtype], device=device).set_(storage, first, shape, strides)


def in_dtype(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The tensor in a dtype; itself where it is that, which PyTorch takes longer to find."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def is_transformed(upstream: torch.Tensor | None = None) -> bool:
    """Whether torch.func wraps tensors, or a gradient is a batch of them: no numbers can be read of either."""
    return _TRANSFORMS_ARE_ACTIVE() or (upstream is not None and (_IS_BATCH(upstream) or _IS_OLD_BATCH(upstream)))


def is_batched(tensor: torch.Tensor) -> bool:
    """Whether vmap has another tensor for each of a batch, through whatever transforms."""
    inside = torch._C._functorch
    while inside.is_functorch_wrapped_tensor(tensor):
        if inside.is_batchedtensor(tensor):
            return True
        tensor = inside.get_unwrapped(tensor)
    return False


def as_plain() -> Any:
    """While tensors that no transform changes are read within transforms."""
    return torch._C._DisableFuncTorch()
