"""A table with a ranking in each row: a list of scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import DataError
from ..formats.sources import Chunk
from ..formats.types import floats, score_type, together
from .layout import Layout, as_array
from .roles import Names


class Lists(Layout):
    """A row is a ranking: a list of scores. A null list is an empty ranking, its result null."""

    def __init__(self, score: str, names: Names):
        self.score, self.names = score, names

    def value_type(self, schema: pa.Schema) -> pa.DataType:
        return score_type(schema.field(self.score).type.value_type, self.score, "")

    def width(self, schema: pa.Schema) -> int:
        kind = schema.field(self.score).type
        return kind.list_size if pa.types.is_fixed_size_list(kind) else 0

    def describe(self) -> dict[str, Any]:
        return {"score": self.score}

    def lengths(self, batch: pa.RecordBatch) -> np.ndarray:
        return np.asarray(pc.fill_null(pc.list_value_length(batch.column(self.score)), 0)).astype(np.int64)

    def scores(self, batch: Any, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        return self.beside(self.score, batch, dtype), self.offsets(batch)

    def offsets(self, batch: Any) -> np.ndarray:
        lengths = np.concatenate([self.lengths(c.batch) for c in batch.chunks])
        return np.concatenate([[0], np.cumsum(lengths)])

    def beside(self, name: str, batch: Any, dtype: np.dtype) -> np.ndarray:
        return together([floats(part, dtype, c.file, f'values of "{name}"') for c, part in self._flat(name, batch)])

    def item_field(self, name: str, schema: pa.Schema) -> pa.Field:
        return pa.field(name, schema.field(name).type.value_type)

    def items(self, name: str, batch: Any) -> pa.ChunkedArray:
        return pa.chunked_array([part for _, part in self._flat(name, batch)])

    def _flat(self, name: str, batch: Any) -> Iterator[tuple[Chunk, pa.Array]]:
        """The values in the lists of a column, chunk by chunk; they must be as long as those of the scores."""
        for chunk in batch.chunks:
            lists = chunk.batch.column(name)
            lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
            unlike = lengths != self.lengths(chunk.batch)
            if unlike.any():
                row = int(np.argmax(unlike))
                raise DataError(
                    f'{chunk.file}, row {chunk.row + row}: "{name}" has {lengths[row]} values for '
                    f"{self.lengths(chunk.batch)[row]} scores"
                )
            yield chunk, lists.flatten()

    def place(self, batch: Any, score: int) -> str:
        lengths = np.concatenate([self.lengths(c.batch) for c in batch.chunks])
        ends = np.cumsum(lengths)
        row = int(np.searchsorted(ends, score, side="right"))
        return f"{self.name(batch, row)}, score {score - int(ends[row] - lengths[row]) + 1}"

    def fields(self, schema: pa.Schema, name: str, kind: pa.DataType) -> list[pa.Field]:
        outer = schema.field(self.score).type
        if pa.types.is_fixed_size_list(outer):
            made = pa.list_(kind, outer.list_size)
        else:
            made = pa.large_list(kind) if pa.types.is_large_list(outer) else pa.list_(kind)
        return [pa.field(name, made)]

    def columns(
        self, batch: Any, values: np.ndarray, valid: np.ndarray | None, kind: pa.DataType
    ) -> list[list[pa.Array]]:
        chunks, start = [], 0
        for chunk in batch.chunks:
            lists = chunk.batch.column(self.score)
            lengths = self.lengths(chunk.batch)
            stop = start + int(lengths.sum())
            inner = as_array(values[start:stop], None if valid is None else valid[start:stop], kind)
            chunks.append(_relisted(lists, lengths, inner))
            start = stop
        return [chunks]


def _relisted(lists: pa.Array, lengths: np.ndarray, inner: pa.Array) -> pa.Array:
    """The inner values in lists shaped like `lists`, null where those are."""
    kind = lists.type
    null = np.asarray(lists.is_null()) if lists.null_count else None
    if pa.types.is_fixed_size_list(kind) and null is None:
        if kind.list_size == 0:
            return pa.array([[]] * len(lists), pa.list_(inner.type, 0))
        return pa.FixedSizeListArray.from_arrays(inner, kind.list_size)
    large = pa.types.is_large_list(kind)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64 if large else np.int32)
    make = pa.LargeListArray if large else pa.ListArray
    made = make.from_arrays(pa.array(offsets), inner, mask=None if null is None else pa.array(null))
    return made.cast(pa.list_(inner.type, kind.list_size)) if pa.types.is_fixed_size_list(kind) else made
