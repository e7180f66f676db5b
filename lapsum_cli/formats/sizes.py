"""How many bytes rows take in memory: exactly additive, so that a cut by bytes does not depend on how rows arrived."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.cuts import sizes_before
from .types import is_number


def cumulative_bytes(batch: pa.RecordBatch) -> np.ndarray:
    """Bytes of rows 0 .. i-1 for i from 0 to the number of rows, int64; validity bits and dictionaries left out."""
    kinds = batch.schema.types
    if all(map(is_number, kinds)):  # what most tables are
        width = sum(kind.bit_width // 8 for kind in kinds)
        return np.arange(0, (batch.num_rows + 1) * width, width, dtype=np.int64)[: batch.num_rows + 1]
    total = np.zeros(batch.num_rows + 1, np.int64)
    rows = np.arange(batch.num_rows + 1, dtype=np.int64)
    for column in batch.columns:
        total += _bytes_at(column, rows)
    return total


def _bytes_at(array: pa.Array, rows: np.ndarray) -> np.ndarray:
    """Bytes of the elements before each of the given positions of an array."""
    kind = array.type
    if pa.types.is_struct(kind):
        return sum((_bytes_at(child, rows) for child in array.flatten()), np.zeros(len(rows), np.int64))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        offsets = np.asarray(array.offsets).astype(np.int64)
        children = array.values if not pa.types.is_map(kind) else array.items
        return 8 * rows + _bytes_at(children, offsets[rows]) - _bytes_at(children, offsets[:1])
    if pa.types.is_fixed_size_list(kind):
        values = array.values.slice(array.offset * kind.list_size, len(array) * kind.list_size)
        return _bytes_at(values, rows * kind.list_size)
    if pa.types.is_null(kind):
        return np.zeros(len(rows), np.int64)
    if pa.types.is_boolean(kind):
        return rows.astype(np.int64)
    if pa.types.is_dictionary(kind):
        return rows * (kind.index_type.bit_width // 8)
    try:
        return rows * (kind.bit_width // 8)
    except ValueError:  # strings and binary values of any layout
        lengths = pc.fill_null(pc.binary_length(array), 0) if not _is_view(kind) else pa.array([16] * len(array))
        return 8 * rows + sizes_before(np.asarray(lengths, np.int64))[rows]


def _is_view(kind: pa.DataType) -> bool:
    return pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)
