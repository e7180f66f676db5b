"""Groups as what they are stored as: integers and bytes that are equal where the groups are. No group is made an object
of Python, which has none for a nanosecond, for a year after 9999, or for a zone that it does not know.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.cuts import sizes_before
from ..formats.nested import chosen, holder, is_extension, lengths
from ..formats.plain import converted, is_encoded, plain_type
from ..formats.values import plain

_ZERO, _ONE = pa.scalar(b"\0", pa.large_binary()), pa.scalar(b"\1", pa.large_binary())
_WITHIN_64_BITS = {32: pa.int32(), 64: pa.int64()}


def comparable(column: pa.Array) -> pa.Array:
    """The column with one form for each group, and of a type that Arrow can compare: -0.0 is 0.0, NaN is null, a time
    is its number, and what holds other values is all their bytes.
    """
    kind = column.type
    if is_extension(kind):
        return comparable(column.storage)
    if is_encoded(kind) or plain_type(kind) != kind:
        return comparable(converted(column, plain_type(kind)))
    if pa.types.is_null(kind):
        return column.cast(pa.int8())
    if holder(kind) is not None:
        return pc.if_else(column.is_valid(), row_bytes([column]), None)
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        return pc.add(pc.if_else(pc.is_nan(column), None, column), 0.0)
    if pa.types.is_interval(kind):
        return column.view(pa.binary(16))
    is_number_inside = pa.types.is_temporal(kind) or (pa.types.is_decimal(kind) and kind.bit_width <= 64)
    return column.view(_WITHIN_64_BITS[kind.bit_width]) if is_number_inside else column


def row_bytes(columns: list[pa.Array]) -> pa.Array:
    """large_binary, none null: bytes that are equal where all values of a row are, at any depth."""
    return reduce(_joined, map(_bytes_of, columns))


def _bytes_of(column: pa.Array) -> pa.Array:
    """The bytes of each value, which tell by themselves where they end: 0 for null, else 1 and those that it has."""
    kind = column.type
    if is_extension(kind):
        return _bytes_of(column.storage)
    how = holder(kind)
    if how is None:
        made = _bytes_of_leaf(comparable(column))
    elif pa.types.is_union(kind):
        return _bytes_of_union(column)
    elif pa.types.is_struct(kind):
        parts = how.parts(column)
        made = row_bytes(parts) if parts else _fixed(np.empty((len(column), 0), np.uint8))
    else:
        sizes = np.full(len(column), kind.list_size) if pa.types.is_fixed_size_list(kind) else lengths(column)
        made = _joined(_integers(sizes), _concatenated(row_bytes(how.parts(column)), sizes))
    one = pa.scalar(b"\1", pa.large_binary())
    return pc.if_else(made.is_valid() if how is None else column.is_valid(), _joined(one, made), b"\0").cast(
        pa.large_binary()
    )


def _bytes_of_leaf(column: pa.Array) -> pa.Array:
    """The bytes of values that hold no others; null stays null."""
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    if kind.id in _OF_ANY_LENGTH:
        return _joined(_integers(np.asarray(pc.fill_null(pc.binary_length(column), 0))), column.cast(pa.large_binary()))
    return column.view(pa.binary(column.type.bit_width // 8)).cast(pa.large_binary())


_OF_ANY_LENGTH = {kind.id for kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())}


def _bytes_of_union(column: pa.Array) -> pa.Array:
    """Of each value the number of its type, and its bytes."""
    codes, at = chosen(column)
    made, before = [], 0
    for i, code in enumerate(column.type.type_codes):
        made.append(_bytes_of(column.field(i)))
        at = np.where(codes == code, at + before, at)
        before += len(made[-1])
    return _joined(_integers(codes), pa.concat_arrays(made).take(pa.array(at)))


def _joined(first: pa.Array | pa.Scalar, second: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(first, second, pa.scalar(b"", pa.large_binary()))


def _integers(values: np.ndarray) -> pa.Array:
    return _fixed(np.ascontiguousarray(values, np.int64).view(np.uint8).reshape(-1, 8))


def _fixed(rows: np.ndarray) -> pa.Array:
    """(n, w) bytes as n values."""
    return _cut(pa.py_buffer(rows.tobytes()), np.arange(len(rows) + 1) * rows.shape[1])


def _concatenated(values: pa.Array, sizes: np.ndarray) -> pa.Array:
    """The bytes of so many consecutive values, one after another: where they lie already."""
    ends = np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values) + 1]
    return _cut(values.buffers()[2], ends[sizes_before(sizes)])


def _cut(data: pa.Buffer | None, offsets: np.ndarray) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets.astype(np.int64).tobytes()), data or pa.py_buffer(b"")]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def said(group: pa.Array) -> str:
    """A group, of which the array has one, in words for a message: as Python says it where Python can hold it."""
    try:
        value = group[0].as_py()
        if pa.array([value], group.type).equals(group):
            return str(value)
    except (ValueError, OverflowError, TypeError, NotImplementedError):
        pass
    try:
        return str(plain(group)[0])
    except ValueError:  # what has no text
        return str(comparable(group)[0])
