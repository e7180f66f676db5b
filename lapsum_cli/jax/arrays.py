"""Arrays as operations read them: floats with rankings on the last axis, and what is given for each of these."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.errors import DataError, OptionError

FLOATS = ("float16", "bfloat16", "float32", "float64")


def scores_of(x: Any) -> jax.Array:
    """The scores as an array of JAX; DataError where they are no floats."""
    array = array_of(x, "x")
    if array.dtype.name not in FLOATS:
        hint = "" if jnp.iscomplexobj(array) else "; pass x.astype(float)"
        raise DataError(f"x must be floats, got {array.dtype}{hint}")
    if array.ndim == 0:
        raise DataError("x must have at least one dimension, got a single number")
    return array


def widened(array: jax.Array) -> jax.Array:
    """The numbers as float32, or as float64 where they are that."""
    return array.astype(jnp.float64 if array.dtype == np.float64 else jnp.float32)


def mask_of(mask: Any, x: jax.Array) -> jax.Array:
    """The mask in the shape of x; DataError where it is none."""
    where = array_of(mask, "mask")
    if where.dtype != bool:
        raise DataError(f"mask must be bool, True for scores that take part, got {where.dtype}")
    return _broadcast(where, x.shape, "mask", "x", DataError)


def is_each(given: Any) -> bool:
    """Whether an alpha or k is an array, and no number or text."""
    return isinstance(given, jax.Array | np.ndarray | list | tuple)


def option_of(name: str, given: Any, leading: tuple[int, ...], axis: int) -> jax.Array:
    """(...) an alpha or k for each ranking along an axis of scores; OptionError where it is none.

    Of as many axes as scores have that of the rankings has one number.
    """
    array = array_of(given, name)
    if array.dtype == bool or not jnp.issubdtype(array.dtype, np.number) or jnp.iscomplexobj(array):
        raise OptionError(f"{name} must be numbers, got {array.dtype}")
    if array.ndim == len(leading) + 1 and array.shape[axis] == 1:
        array = array.squeeze(axis)
    return _broadcast(widened(array), leading, name, "the rankings", OptionError)


def target_of(target: Any, x: jax.Array) -> jax.Array:
    """The target of every score, whole numbers as they are; DataError where it has another shape."""
    array = array_of(target, "the target")
    if array.shape != x.shape:
        raise DataError(f"the target must have the shape of x, {x.shape}, got {array.shape}")
    if jnp.issubdtype(array.dtype, np.integer):
        return array
    if jnp.iscomplexobj(array):
        raise DataError(f"the target must be numbers, got {array.dtype}")
    return widened(array)


def worst(best_first: bool) -> float:
    """The score of what takes no part."""
    return -math.inf if best_first else math.inf


def array_of(given: Any, name: str) -> jax.Array:
    """An array of JAX; DataError where it is none, or has an integer that JAX would not hold."""
    try:
        array = jnp.asarray(given)
    except (TypeError, ValueError, OverflowError) as error:
        line = " ".join(str(error).split())
        raise DataError(f"{name} is no array of numbers: {line}") from None
    if isinstance(given, np.ndarray) and given.size and given.dtype.kind in "iu" and array.dtype != given.dtype:
        ends = np.iinfo(array.dtype)
        if not ends.min <= given.min() <= given.max() <= ends.max:
            raise DataError(f"{name} has integers that {array.dtype} does not hold; set jax_enable_x64")
    return array


def _broadcast(array: jax.Array, shape: tuple[int, ...], name: str, other: str, error: Any) -> jax.Array:
    try:
        return jnp.broadcast_to(array, shape)
    except ValueError:
        raise error(
            f"{name} has the shape {array.shape}, which does not broadcast to that of {other}, {shape}"
        ) from None
