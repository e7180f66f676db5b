"""Numbers out of whatever holds them: the one check of scores, and of all that is given beside them.

NumPy makes numbers of much that is none: of masked values, strings, truth values, dates, the real parts of complex
numbers, and of integers that no float64 holds. All of these are refused, in whatever they come, but for a target of
truth values, which are 1 and 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from .errors import DataError, LapsumError
from .tensors import is_tensor, unreadable

MOST_EXACT = 2**53  # from here on a float64 holds some integers only
Refusal = type[LapsumError]


def floats(given: Any, name: str = "x", error: Refusal = DataError) -> np.ndarray:
    """The numbers in their shape, as float32 if they are floats no finer than that, else as float64.

    given  an array, a tensor, a number, a list of numbers, or whatever else NumPy reads
    name   of the argument that it was given for: "x" for scores
    `error` where there are no numbers, or some that a float64 does not hold; TypeError or ValueError where NumPy cannot
    even make an array.
    """
    return widened(read(given, name, error), name, error)


def read(given: Any, name: str = "x", error: Refusal = DataError) -> np.ndarray:
    """What was given as an array, of whatever dtype; of what it holds nothing is lost."""
    if type(given) is np.ndarray:
        return given
    if is_tensor(given):
        return _of_tensor(given, name, error)
    if isinstance(given, np.ma.MaskedArray):
        if np.ma.is_masked(given):
            masked = "the array is masked; put -inf where its mask is, or take those scores out"
            raise error(masked if name == "x" else f"{name} is masked; it must be a number everywhere")
        return given.data
    array = np.asarray(given)
    return _unmixed(given, array) if isinstance(given, list | tuple) else array


def widened(array: np.ndarray, name: str = "x", error: Refusal = DataError) -> np.ndarray:
    """An array of any dtype as float32 or float64, as `floats` has it."""
    kind, char = array.dtype.kind, array.dtype.char
    if char in "fe" or array.dtype.name == "bfloat16":
        return array.astype(np.float32, copy=False)
    if kind == "b" and name == "target":  # what was clicked, as columns and tensors have it too
        return array.astype(np.float64)
    if char == "d":
        return array.astype(np.float64, copy=False)
    if kind in "iu":
        return _of_integers(array, name, error)
    if char == "g":
        values = array.astype(np.float64)
        _refuse_first(np.isfinite(array) & (values != array) & (np.floor(array) == array), array, name, error)
        return values
    if kind == "O":
        return _of_objects(array, name, error)
    raise _no_numbers(name, array.dtype, error)


def taken(how: Callable[[Any, str, Refusal], Any], given: Any, name: str, error: Refusal = DataError) -> Any:
    """how(given, name, error), such as `floats`; `error` too where NumPy cannot even make an array."""
    try:
        return how(given, name, error)
    except LapsumError:
        raise
    except (TypeError, ValueError) as problem:
        line = " ".join(str(problem).split())
        raise error(f"{name} is a {type(given).__name__} that holds no numbers: {line}") from None


def row(given: Any, r: int, name: str = "x") -> np.ndarray:
    """The numbers of ranking r, one of a list of rankings; a refusal tells which it is."""
    if type(given) is np.ndarray and given.ndim == 1 and given.dtype.char in "fd":
        return given
    try:
        array = read(given, name)
        if array.dtype == object:  # None is a missing score, as it is in a column
            array = np.array([np.nan if number is None else number for number in array.flat], object).reshape(
                array.shape
            )
        values = widened(array, name)
    except LapsumError as error:
        raise type(error)(f"ranking {r}: {error}") from None
    except (TypeError, ValueError) as error:
        raise TypeError(f"ranking {r}: {error}") from None
    if not values.ndim:
        raise TypeError(f"ranking {r} is a single number")
    if values.ndim > 1:
        raise TypeError(f"ranking {r} has {values.ndim} dimensions, and one of a list has a single one")
    return values


def _no_numbers(name: str, found: Any, error: Refusal) -> LapsumError:
    return error(f"{'scores' if name == 'x' else name} must be numbers, got {found}")


def _refuse_first(wrong: np.ndarray, values: np.ndarray, name: str, error: Refusal) -> None:
    if wrong.any():
        raise _not_held(name, values[wrong].flat[0], error)


def _not_held(name: str, value: Any, error: Refusal) -> LapsumError:
    text = str(value)
    shown = text if len(text) <= 40 else f"{text[:20]}... of {len(text)} digits"
    return error(f"{name} holds {shown}, a number that no float64 holds; subtract a constant from all, or scale them")


def _of_integers(array: np.ndarray, name: str, error: Refusal) -> np.ndarray:
    if array.dtype.itemsize == 8 and array.size and not -MOST_EXACT <= array.min() <= array.max() <= MOST_EXACT:
        _refuse_first(beyond_float64(array), array, name, error)
    return array.astype(np.float64)


def beyond_float64(integers: np.ndarray) -> np.ndarray:
    """Which integers no float64 holds: those that have more than 53 bits from their first 1 to their last."""
    size = np.where(integers < 0, -integers.astype(np.uint64), integers.astype(np.uint64))
    lowest_bit = np.maximum(size & -size, 1)
    return size // lowest_bit > MOST_EXACT


def _of_objects(array: np.ndarray, name: str, error: Refusal) -> np.ndarray:
    """Integers of any size, decimals and fractions too."""
    values = np.empty(array.shape)
    for i, given in enumerate(array.flat):
        if given is None:
            raise TypeError(f"number {i} is None")
        if isinstance(given, bool | np.timedelta64) or not isinstance(given, Real | Decimal):
            raise _no_numbers(name, type(given).__name__, error)
        try:
            value = float(given)
        except OverflowError:
            raise _not_held(name, given, error) from None
        if abs(value) >= MOST_EXACT and given != value and (math.isinf(value) or given == given // 1):
            raise _not_held(name, given, error)
        values.flat[i] = value
    return values


def _unmixed(given: Any, array: np.ndarray) -> np.ndarray:
    """The array of a list, as objects where it may have hidden what the list holds: beside other numbers True is 1 to
    NumPy, and beside floats an integer is a float.
    """
    if array.dtype.kind not in "iuf" or not array.size:
        return array
    if (array.dtype.kind == "f" and np.abs(array).max() >= MOST_EXACT) or ((array == 0) | (array == 1)).any():
        objects = np.array(given, object)
        kinds = set(map(type, objects.flat))
        if kinds & {bool, np.bool_} or (array.dtype.kind == "f" and any(issubclass(kind, int) for kind in kinds)):
            return objects
    return array


def _of_tensor(tensor: Any, name: str, error: Refusal) -> np.ndarray:
    if tensor.requires_grad:
        raise error(
            f"{name} is a tensor that requires a gradient, which NumPy cannot give it: use lapsum_cli.torch, or pass "
            f"{name}.detach()"
        )
    if problem := unreadable(tensor):
        raise error(f"{name} is a tensor that {problem}")
    if tensor.device.type != "cpu":
        raise error(f"{name} is a tensor on {tensor.device}; pass {name}.cpu()")
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind == "bfloat16":
        tensor = tensor.float()
    elif tensor.is_quantized or (kind.startswith("float") and kind not in ("float16", "float32", "float64")):
        raise _no_numbers(name, kind, error)
    array: np.ndarray = tensor.detach().resolve_conj().resolve_neg().numpy()
    return array
