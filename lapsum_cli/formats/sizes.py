"""How many bytes rows take in memory: exactly additive, so that a cut by bytes does not depend on how rows arrived."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.cuts import sizes_before
from .nested import chosen, lengths
from .types import is_list, is_number

_OFFSETS = {pa.string(): np.int32, pa.binary(): np.int32, pa.large_string(): np.int64, pa.large_binary(): np.int64}


def cumulative_bytes(batch: pa.RecordBatch) -> np.ndarray:
    """Bytes of rows 0 .. i-1 in plain form (plain.py) for i from 0 to the number of rows, int64; validity bits left
    out.
    """
    kinds = batch.schema.types
    if all(map(is_number, kinds)):  # what most tables are
        width = sum(kind.bit_width // 8 for kind in kinds)
        return np.arange(0, (batch.num_rows + 1) * width, width, dtype=np.int64)[: batch.num_rows + 1]
    total = np.zeros(batch.num_rows + 1, np.int64)
    rows = np.arange(batch.num_rows + 1, dtype=np.int64)
    for column in batch.columns:
        total += _bytes_at(column, rows)
    return total


def dictionary_bytes(rows: pa.RecordBatch | pa.Array) -> int:
    """Bytes of the dictionaries of columns, at any depth, which every slice of their rows holds whole."""
    if isinstance(rows, pa.RecordBatch):
        return sum(map(dictionary_bytes, rows.columns))
    kind = rows.type
    if pa.types.is_dictionary(kind):
        return rows.dictionary.nbytes
    if pa.types.is_struct(kind):
        return sum(map(dictionary_bytes, rows.flatten()))
    if pa.types.is_map(kind):
        return dictionary_bytes(rows.keys) + dictionary_bytes(rows.items)
    return dictionary_bytes(rows.values) if is_list(kind) else 0


def _bytes_at(array: pa.Array, rows: np.ndarray) -> np.ndarray:
    """Bytes of the elements before each of the given positions of an array."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _bytes_at(array.storage, rows)
    if pa.types.is_struct(kind):
        return sum((_bytes_at(child, rows) for child in array.flatten()), np.zeros(len(rows), np.int64))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        offsets = np.asarray(array.offsets).astype(np.int64)
        parts = [array.keys, array.items] if pa.types.is_map(kind) else [array.values]
        return 8 * rows + sum(_bytes_at(part, offsets[rows]) - _bytes_at(part, offsets[:1]) for part in parts)
    if pa.types.is_fixed_size_list(kind):
        values = array.values.slice(array.offset * kind.list_size, len(array) * kind.list_size)
        return _bytes_at(values, rows * kind.list_size)
    if pa.types.is_null(kind):
        return np.zeros(len(rows), np.int64)
    if pa.types.is_boolean(kind):
        return rows.astype(np.int64)
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        first = np.where(array.is_valid(), np.asarray(array.offsets), 0)
        return 8 * rows + sizes_before(_between(array.values, first, first + lengths(array)))[rows]
    if pa.types.is_run_end_encoded(kind):
        run, runs = array.find_physical_offset(), array.find_physical_length()
        ends = np.asarray(array.run_ends)[run : run + runs].astype(np.int64) - array.offset
        each = _between(array.values, np.arange(run, run + runs), np.arange(run + 1, run + runs + 1))
        return sizes_before(np.repeat(each, np.diff(np.minimum(ends, len(array)), prepend=0)))[rows]
    if pa.types.is_union(kind):
        return sizes_before(_union_sizes(array))[rows]
    if pa.types.is_dictionary(kind):
        values, null = array.dictionary, _bytes_at(pa.nulls(1, kind.value_type), np.arange(2))[1]
        at = np.asarray(pc.fill_null(array.indices.cast(pa.int64()), -1))
        first, last = np.maximum(at, 0), np.minimum(np.maximum(at, 0) + 1, len(values))
        return sizes_before(np.where(at < 0, null, _bytes_at(values, last) - _bytes_at(values, first)))[rows]
    if kind in _OFFSETS and len(array) and not array.null_count:  # under a null may lie text that is none
        count = array.offset + len(array) + 1  # a damaged file's buffer may end within an element
        offsets = np.frombuffer(array.buffers()[1], _OFFSETS[kind], count)[array.offset :]
        return 8 * rows + (offsets[rows] - offsets[0])
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        count = 4 * (array.offset + len(array)) if len(array) else 0
        views = np.frombuffer(array.buffers()[1] or b"", np.int32, count)[::4]  # 16 bytes each, of which 4 the length
        each = np.where(np.asarray(array.is_valid()), views[array.offset : array.offset + len(array)], 0)
        return 8 * rows + sizes_before(each)[rows]
    try:
        return rows * (kind.bit_width // 8)
    except ValueError:
        pass
    return 8 * rows + sizes_before(np.asarray(pc.fill_null(pc.binary_length(array), 0), np.int64))[rows]


def _between(array: pa.Array, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Bytes of the elements of each range."""
    return _bytes_at(array, last) - _bytes_at(array, first)


def _union_sizes(array: pa.Array) -> np.ndarray:
    """(n,) bytes of each value of a union, and of what says of which type it is."""
    codes, at = chosen(array)
    sizes = np.full(len(array), 8, np.int64)
    for i, code in enumerate(array.type.type_codes):
        places = at[codes == code]
        sizes[codes == code] += _between(array.field(i), places, places + 1)
    return sizes
