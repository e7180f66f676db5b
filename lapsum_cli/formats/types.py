"""Types of Arrow: what can be a score, what is a list, and scores as NumPy arrays."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import DataError
from ..core.numbers import MOST_EXACT, beyond_float64


def is_held(text: str, number: float) -> bool:
    """Whether a float64 that was read from a text is what the text says: no integer rounded, and nothing become
    infinite.
    """
    digits = text.strip().lstrip("+-")
    if math.isinf(number):
        return digits.lower() in ("inf", "infinity")
    return not digits.isdecimal() or int(digits) == abs(int(number))


def unlisted(schema: pa.Schema) -> pa.Schema:
    """The columns of the values in columns of lists."""
    return pa.schema([(field.name, field.type.value_type) for field in schema])


def numpy_dtype(kind: pa.DataType) -> np.dtype:
    """The dtype of numbers of this type. PyArrow's own answer takes pandas, up to its version 25."""
    return pa.array([], kind).to_numpy(zero_copy_only=False).dtype


def is_number(kind: pa.DataType) -> bool:
    """Whether values are floats or integers, which take the same bytes each."""
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether values are lists, of any length or of one."""
    is_view = pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
    return is_view or pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def holds_numbers(kind: pa.DataType) -> bool:
    """Whether values are numbers, booleans among them (1 and 0), or lists of them."""
    kind = without_dictionary(kind.value_type if is_list(kind) else kind)
    return is_number(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind)


def without_dictionary(kind: pa.DataType) -> pa.DataType:
    """The type of the values that a dictionary, or runs, stand for."""
    return kind.value_type if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind) else kind


def score_type(kind: pa.DataType, name: str, source: str, what: str = "scores") -> pa.DataType:
    """The float type in which scores of this type are returned; DataError where they are no numbers."""
    if pa.types.is_floating(without_dictionary(kind)):
        return without_dictionary(kind)
    if holds_numbers(kind) and not is_list(kind):
        return pa.float64()
    raise DataError(f'{source}: column "{name}" has type {kind}; {what} must be numbers')


def together(parts: list[np.ndarray]) -> np.ndarray:
    """Arrays as one; the only one is itself, without a copy."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def floats(
    array: pa.Array, dtype: np.typing.DTypeLike, where: str, what: str = "scores", row: int | None = None
) -> np.ndarray:
    """Numbers as float32 or float64, null as NaN; an integer that no float64 holds is refused, a decimal one too.

    where, what, row: for that refusal, the last the number of the first, where each is a row.
    """
    if not pa.types.is_floating(array.type):
        given, array = array, array.cast(pa.float64(), safe=False)
        large = np.flatnonzero(np.abs(np.asarray(array)) >= MOST_EXACT)
        if pa.types.is_integer(given.type):  # all may be: nanoseconds since 1970, of whole seconds
            large = large[beyond_float64(np.asarray(given.take(pa.array(large))))]
        for i in large:
            value = given[int(i)].as_py()
            if value == int(value) and int(value) != int(float(value)):
                at = where if row is None else f"{where}, row {row + i}"
                rule = "are integers that no float64 holds"
                raise DataError(f"{at}: {what} {rule}: {value}; subtract a constant from all, or scale them")
    if array.null_count:
        array = array.cast(pa.float32() if pa.types.is_float16(array.type) else array.type)
        array = pc.fill_null(array, float("nan"))
    return np.asarray(array).astype(dtype, copy=False)
