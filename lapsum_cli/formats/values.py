"""Values as text, for the formats that are text: columns become strings in Arrow, and none loses what it says.

Floats are written in the shortest form that reads back the same; times to the digits of their unit; UUIDs as they are
usually written, and other types of extension as what they are stored as.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .nested import chosen, holder, is_extension, lengths, nulls
from .plain import converted, plain_type
from .types import is_list, is_number


def plain(column: pa.Array) -> pa.Array:
    """The text of values, as it is: nothing is quoted, and null stays null. What is nested is JSON.

    pa.ArrowInvalid for a value that has no text: bytes that are no UTF-8, a time beyond what a calendar counts.
    """
    column = converted(column, plain_type(column.type))
    for is_kind, text in _TEXTS:
        if is_kind(column.type):
            return text(column)
    return pc.cast(column, pa.string())


def as_json(column: pa.Array) -> pa.Array:
    """The JSON text of each value; null stays null, and so do floats that JSON has no number for."""
    column = converted(column, plain_type(column.type))
    kind = column.type
    if is_extension(kind) and pa.types.is_nested(kind.storage_type):
        return as_json(column.storage)
    if is_list(kind):
        return _json_lists(column)
    if pa.types.is_nested(kind):
        return pa.array([_dumped(value) for value in _python_values(column)], pa.string())
    text = plain(column)
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_finite(column), text, None)
    if is_number(kind) or pa.types.is_boolean(kind):
        return text
    if pc.any(pc.match_substring_regex(text, r'["\\\x00-\x1f]')).as_py():
        return pa.array([_dumped(value) for value in text.to_pylist()], pa.string())
    return pc.binary_join_element_wise('"', text, '"', "")


def _of_extension(column: pa.Array) -> pa.Array:
    text = _OF_EXTENSIONS.get(column.type.extension_name)
    return text(column.storage) if text else plain(column.storage)


def _uuids(column: pa.Array) -> pa.Array:
    """Hexadecimal digits, 8-4-4-4-12."""
    column = column if column.offset == 0 else pa.concat_arrays([column])
    raw = np.frombuffer(column.buffers()[1], np.uint8)[: 16 * len(column)].reshape(-1, 16)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.full((len(raw), 36), ord("-"), np.uint8)
    places = np.delete(np.arange(36), [8, 13, 18, 23])
    text[:, places[::2]], text[:, places[1::2]] = digits[raw >> 4], digits[raw & 15]
    made = pa.Array.from_buffers(pa.binary(36), len(raw), [None, pa.py_buffer(text.tobytes())]).cast(pa.string())
    return pc.if_else(column.is_valid(), made, None)


def _intervals(column: pa.Array) -> pa.Array:
    """Months, days and seconds as ISO 8601 writes a duration, such as P1M2DT0.000000003S; each with its sign."""

    def text(months: int, days: int, ns: int) -> str:
        seconds, rest = divmod(abs(ns), 10**9)
        return f"P{months}M{days}DT{'-' if ns < 0 else ''}{seconds}" + (f".{rest:09}" if rest else "") + "S"

    return pa.array([None if value is None else text(*value) for value in column.to_pylist()], pa.string())


def _moments(column: pa.Array) -> pa.Array:
    """Local time with its offset from UTC, or that of UTC where the zone is not known here."""
    try:
        text = pc.cast(column, pa.string())
    except pa.ArrowInvalid:
        text = pc.cast(column.cast(pa.timestamp(column.type.unit, "UTC")), pa.string())
    return _of_calendar(text)


def _of_calendar(text: pa.Array) -> pa.Array:
    """The texts, if each is a date of the calendar that Arrow writes, which ends with the year 32767."""
    beyond = pc.starts_with(text, "<")
    if pc.any(beyond).as_py():
        value = text.filter(beyond)[0].as_py()
        raise pa.ArrowInvalid(f"{value.strip('<>')} since 1970")
    return text


# In this order; others are cast.
_TEXTS: list[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]]] = [
    (is_extension, _of_extension),
    (pa.types.is_nested, as_json),
    (pa.types.is_boolean, lambda column: pc.if_else(column, "true", "false")),
    (pa.types.is_float16, lambda column: pc.cast(column.cast(pa.float32()), pa.string())),
    (pa.types.is_timestamp, _moments),
    (pa.types.is_date, lambda column: _of_calendar(pc.cast(column, pa.string()))),
    (pa.types.is_interval, _intervals),
]
_OF_EXTENSIONS = {"arrow.uuid": _uuids}


def _json_lists(column: pa.Array) -> pa.Array:
    values = column.flatten()
    counts = pc.fill_null(pc.list_value_length(column), 0)
    offsets = pc.cumulative_sum(pa.concat_arrays([pa.array([0], pa.int64()), counts.cast(pa.int64())])).cast(pa.int32())
    inner = pc.fill_null(as_json(values).cast(pa.string()), "null")
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, inner), ",")
    return pc.if_else(column.is_valid(), pc.binary_join_element_wise("[", joined, "]", ""), None)


def _python_values(column: pa.Array) -> list[object]:
    """What is nested as Python's objects, with text for all that JSON has no kind of its own for: Python's times end
    with the year 9999 and with microseconds.
    """
    kind = column.type
    if is_extension(kind) and pa.types.is_nested(kind.storage_type):
        return _python_values(column.storage)
    how = holder(kind)
    if how is None or is_extension(kind):
        is_own = is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
        return (column if is_own else plain(column)).to_pylist()
    parts = [_python_values(part) for part in how.parts(column)]
    if pa.types.is_union(kind):
        return _chosen(column, parts)
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        if len({*names}) < len(names):
            raise pa.ArrowInvalid(f"two fields of a struct have one name: {', '.join(names)}")
        rows: list[object] = [dict(zip(names, row, strict=True)) for row in zip(*parts, strict=True)]
        rows = rows if names else [{} for _ in range(len(column))]
    else:
        values = list(zip(*parts, strict=True)) if pa.types.is_map(kind) else parts[0]
        sizes = np.full(len(column), kind.list_size) if pa.types.is_fixed_size_list(kind) else lengths(column)
        ends = np.cumsum(sizes)
        rows = [values[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]
    if nulls(column) is not None:
        rows = [row if valid else None for row, valid in zip(rows, column.is_valid().to_pylist(), strict=True)]
    return rows


def _chosen(column: pa.Array, parts: list[list[object]]) -> list[object]:
    """The values of a union, of those of each of its types."""
    known = column.type.type_codes
    codes, at = chosen(column)
    return [parts[known.index(code)][i] for code, i in zip(codes.tolist(), at.tolist(), strict=True)]


def _dumped(value: object) -> str | None:
    return None if value is None else json.dumps(_finite(value), ensure_ascii=False)


def _finite(value: object) -> object:
    """The value with null for every float that JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
