"""64 bits for each value of a column, equal where values are: what parts rows by their group, a column at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, odd
_PERIOD = 1 << 12
_WEIGHTS = np.random.default_rng(0).integers(1, 1 << 63, _PERIOD, np.uint64) * np.uint64(2) + np.uint64(1)
_NULL = np.uint64(0xD1B54A32D192ED03)


def hashes(columns: list[pa.Array]) -> np.ndarray:
    """(n,) uint64 for the rows of columns in comparable form (keys.py); different rows differ but by chance."""
    total = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        values = _of_column(column)
        if column.null_count:
            values = np.where(np.asarray(column.is_null()), _NULL, values)
        total = (total * _WEIGHTS[1]) ^ values
        total ^= total >> np.uint64(32)
        total *= _MIX
    return total ^ (total >> np.uint64(29))


def _of_column(column: pa.Array) -> np.ndarray:
    """A linear form of the bytes of each value, with fixed odd coefficients; those of null mean nothing."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind):
        column = column.cast(pa.large_binary())
    if pa.types.is_large_binary(column.type):
        offsets = np.frombuffer(column.buffers()[1], np.int64, column.offset + len(column) + 1)[column.offset :]
        data = np.frombuffer(column.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
        return _of_bytes(data, offsets - offsets[0])
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    width = column.type.bit_width // 8
    data = np.frombuffer(column.buffers()[1] or b"", np.uint8)[column.offset * width :][: len(column) * width]
    return _of_bytes(data, np.arange(len(column) + 1) * width)


def _of_bytes(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Sum of (byte + 1) times the weight of its place, of each of the runs that `offsets` (n + 1,) delimits."""
    lengths = np.diff(offsets)
    if len(lengths) and (lengths == lengths[0]).all() and lengths[0]:
        width = int(lengths[0])
        return (data.reshape(-1, width).astype(np.uint64) + np.uint64(1)) @ np.resize(_WEIGHTS, width)
    place = np.arange(len(data)) - np.repeat(offsets[:-1], lengths)
    terms = (data.astype(np.uint64) + np.uint64(1)) * _WEIGHTS[place % _PERIOD]
    sums = np.zeros(len(lengths), np.uint64)
    some = lengths > 0  # reduceat gives the element for a run of none
    if some.any():
        sums[some] = np.add.reduceat(terms, offsets[:-1][some])
    return sums
