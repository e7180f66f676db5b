"""How a table holds rankings: long (a row is an item), lists or wide (a row is a ranking).

A layout says where rankings begin, takes their scores out of record batches, and puts results back beside them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import DataError, OptionError
from ..formats.sources import Chunk
from ..formats.types import floats, holds_numbers, is_list, score_type
from .groups import ClosedGroups, comparable, run_starts
from .roles import Names, matching


class Layout:
    """What the three layouts share: the score type, and the per-ranking columns of alpha and k."""

    names: Names
    closes_with_row = True  # a ranking ends with its row

    def value_type(self, schema: pa.Schema) -> pa.DataType:
        raise NotImplementedError

    def dtype(self, schema: pa.Schema):
        """The dtype of the kernels: float16 is computed as float32."""
        return np.dtype(np.float64 if self.value_type(schema) == pa.float64() else np.float32)

    def width(self, schema: pa.Schema) -> int:
        """How many scores every ranking has, where the columns alone tell; else 0."""
        return 0

    def describe(self) -> dict:
        """Where the rankings are, for the record of how a result was made."""
        raise NotImplementedError

    def keep_within(self, limit: int) -> None:
        """Bytes for what the layout remembers of earlier rankings."""

    def starts(self, chunk: Chunk) -> np.ndarray:
        """Rows of the chunk at which a ranking begins."""
        return np.arange(chunk.batch.num_rows)

    def name(self, batch, ranking: int) -> str:
        """What a ranking of the batch is called in a message."""
        chunk, row = batch.locate(ranking)
        return f"{chunk.file}, row {chunk.row + row}"

    def option(self, name: str | None, batch) -> np.ndarray | None:
        """The value that a column gives to each ranking of the batch, float64."""
        if name is None:
            return None
        column = pa.chunked_array([chunk.batch.column(name) for chunk in batch.chunks])
        if not holds_numbers(column.type) or is_list(column.type):
            raise DataError(f'{batch.chunks[0].file}: column "{name}" has type {column.type}; it must hold numbers')
        values = np.asarray(pc.fill_null(column.cast(pa.float64()), float("nan")))
        return self._one_per_ranking(values, name, batch)

    def _one_per_ranking(self, values, name, batch):
        return values

    def offsets(self, batch) -> np.ndarray:
        """Where the rankings of the batch begin and end among its scores."""
        raise NotImplementedError

    def beside(self, name: str, batch, dtype) -> np.ndarray:
        """The values of a column, or of those a pattern matches, that go with the scores: one for each, null as NaN."""
        raise NotImplementedError

    def item_field(self, name: str, schema: pa.Schema) -> pa.Field:
        """The column that says what an item is called."""
        raise NotImplementedError

    def items(self, name: str, batch) -> pa.ChunkedArray:
        """What the item of each score is called."""
        raise NotImplementedError

    def ranking_fields(self, names: list[str]) -> list[pa.Field]:
        """Columns for values of whole rankings, such as thresholds."""
        return [pa.field(name, pa.float64()) for name in names]

    def ranking_column(self, batch, values: np.ndarray) -> pa.Array:
        return pa.array(values)


class Long(Layout):
    """A row is an item; consecutive rows of equal group are a ranking. Without a group all rows are one."""

    closes_with_row = False

    def __init__(self, score: str, group: tuple[str, ...], names: Names):
        self.score, self.group, self.names = score, group, names
        self.previous: list[pa.Array] | None = None
        self.closed: ClosedGroups | None = None

    def value_type(self, schema):
        return score_type(schema.field(self.score).type, self.score, "")

    def describe(self):
        return {"score": self.score, "group": list(self.group)}

    def keep_within(self, limit: int) -> None:
        self.closed = ClosedGroups(limit)

    def starts(self, chunk: Chunk) -> np.ndarray:
        if not self.group:
            first = np.arange(0 if self.previous is not None else min(1, chunk.batch.num_rows))
            self.previous = []
            return first
        columns = [comparable(chunk.batch.column(name)) for name in self.group]
        starts = run_starts(columns, self.previous)
        self.previous = [column[-1:] for column in columns]
        keys = [column.take(pa.array(starts)) for column in columns]
        returned = self.closed.add(keys)
        if returned is not None:
            self._refuse(returned, keys, starts, chunk)
        return starts

    def _refuse(self, returned, keys, starts, chunk):
        too_many = isinstance(returned, tuple)
        at = returned[1] if too_many else returned
        row = chunk.row + int(starts[at])
        name = self._key([key[at] for key in keys])
        by = ",".join(self.group)
        if too_many:
            raise DataError(
                f"{chunk.file}, row {row}: {name} is out of order, and there are too many groups to check within "
                f'--memory that none returns; sort by "{by}" first, or raise --memory'
            )
        raise DataError(
            f'{chunk.file}, row {row}: {name} appears again after its ranking was closed; sort by "{by}" first'
        )

    def _key(self, values) -> str:
        return ", ".join(f'{name} "{value.as_py()}"' for name, value in zip(self.group, values, strict=True))

    def lengths(self, batch: pa.RecordBatch) -> np.ndarray | int:
        return 1

    def scores(self, batch, dtype):
        parts = [floats(c.batch.column(self.score), dtype, c.file) for c in batch.chunks]
        return np.concatenate(parts), self.offsets(batch)

    def offsets(self, batch):
        return np.append(batch.starts, batch.rows).astype(np.int64)

    def beside(self, name, batch, dtype):
        return np.concatenate([floats(c.batch.column(name), dtype, c.file) for c in batch.chunks])

    def item_field(self, name, schema):
        return schema.field(name)

    def items(self, name, batch):
        return pa.chunked_array([chunk.batch.column(name) for chunk in batch.chunks])

    def place(self, batch, score: int) -> str:
        """Where a score stands, for a message."""
        chunk, row = batch.locate(score)
        keys = [chunk.batch.column(name)[row] for name in self.group]
        return f"{chunk.file}, row {chunk.row + row}" + (f" ({self._key(keys)})" if keys else "")

    def name(self, batch, ranking: int) -> str:
        return self.place(batch, int(batch.starts[ranking]))

    def _one_per_ranking(self, values, name, batch):
        starts = np.append(batch.starts, len(values))
        first = values[starts[:-1]]
        expected = np.repeat(first, np.diff(starts))
        unlike = ~((values == expected) | (np.isnan(values) & np.isnan(expected)))
        if unlike.any():
            raise DataError(
                f'{self.place(batch, int(np.argmax(unlike)))}: "{name}" changes within a ranking; it must be one value'
            )
        return first

    def fields(self, schema, names, kind):
        return [pa.field(name, kind) for name in names]

    def columns(self, batch, values, valid, kind):
        return [[_array(values, valid, kind)]]

    def ranking_column(self, batch, values):
        return pa.array(np.repeat(values, np.diff(np.append(batch.starts, batch.rows))))


class Lists(Layout):
    """A row is a ranking: a list of scores. A null list is an empty ranking, its result null."""

    def __init__(self, score: str, names: Names):
        self.score, self.names = score, names

    def value_type(self, schema):
        return score_type(schema.field(self.score).type.value_type, self.score, "")

    def width(self, schema):
        kind = schema.field(self.score).type
        return kind.list_size if pa.types.is_fixed_size_list(kind) else 0

    def describe(self):
        return {"score": self.score}

    def lengths(self, batch):
        return np.asarray(pc.fill_null(pc.list_value_length(batch.column(self.score)), 0)).astype(np.int64)

    def scores(self, batch, dtype):
        parts = [floats(c.batch.column(self.score).flatten(), dtype, c.file) for c in batch.chunks]
        return np.concatenate(parts), self.offsets(batch)

    def offsets(self, batch):
        lengths = np.concatenate([self.lengths(c.batch) for c in batch.chunks])
        return np.concatenate([[0], np.cumsum(lengths)])

    def beside(self, name, batch, dtype):
        return np.concatenate([floats(part, dtype, c.file) for c, part in self._flat(name, batch)])

    def item_field(self, name, schema):
        return pa.field(name, schema.field(name).type.value_type)

    def items(self, name, batch):
        return pa.chunked_array([part for _, part in self._flat(name, batch)])

    def _flat(self, name, batch):
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

    def place(self, batch, score: int) -> str:
        lengths = np.concatenate([self.lengths(c.batch) for c in batch.chunks])
        ends = np.cumsum(lengths)
        row = int(np.searchsorted(ends, score, side="right"))
        return f"{self.name(batch, row)}, score {score - int(ends[row] - lengths[row]) + 1}"

    def fields(self, schema, names, kind):
        outer = schema.field(self.score).type
        if pa.types.is_fixed_size_list(outer):
            made = pa.list_(kind, outer.list_size)
        else:
            made = pa.large_list(kind) if pa.types.is_large_list(outer) else pa.list_(kind)
        return [pa.field(name, made) for name in names]

    def columns(self, batch, values, valid, kind):
        chunks, start = [], 0
        for chunk in batch.chunks:
            lists = chunk.batch.column(self.score)
            lengths = self.lengths(chunk.batch)
            stop = start + int(lengths.sum())
            inner = _array(values[start:stop], None if valid is None else valid[start:stop], kind)
            chunks.append(_relisted(lists, lengths, inner))
            start = stop
        return [chunks]


class Wide(Layout):
    """A row is a ranking: one score in each of the named columns."""

    def __init__(self, scores: list[str], names: Names):
        self.score_names, self.names = scores, names

    def value_type(self, schema):
        kinds = {score_type(schema.field(name).type, name, "") for name in self.score_names}
        return kinds.pop() if len(kinds) == 1 else (pa.float64() if pa.float64() in kinds else pa.float32())

    def width(self, schema):
        return len(self.score_names)

    def describe(self):
        return {"columns": self.score_names}

    def lengths(self, batch):
        return len(self.score_names)

    def scores(self, batch, dtype):
        return self._matrix(self.score_names, batch, dtype), self.offsets(batch)

    def offsets(self, batch):
        return np.arange(batch.rows + 1, dtype=np.int64) * len(self.score_names)

    def _matrix(self, names, batch, dtype):
        matrix = np.empty((batch.rows, len(names)), dtype)
        start = 0
        for chunk in batch.chunks:
            for j, name in enumerate(names):
                matrix[start : start + chunk.batch.num_rows, j] = floats(chunk.batch.column(name), dtype, chunk.file)
            start += chunk.batch.num_rows
        return matrix.reshape(-1)

    def beside(self, name, batch, dtype):
        found = matching(name, batch.chunks[0].batch.schema.names)
        if len(found) != len(self.score_names):
            raise OptionError(f'"{name}" matches {len(found)} columns for {len(self.score_names)} of scores')
        return self._matrix(found, batch, dtype)

    def item_field(self, name, schema):
        return pa.field("item", pa.string())

    def items(self, name, batch):
        return pa.chunked_array([pa.array(self.score_names * batch.rows)])

    def place(self, batch, score: int) -> str:
        row, column = divmod(score, len(self.score_names))
        return f'{self.name(batch, row)}, column "{self.score_names[column]}"'

    def fields(self, schema, names, kind):
        return [pa.field(f"{name}_{score}", kind) for name in names for score in self.score_names]

    def columns(self, batch, values, valid, kind):
        width = len(self.score_names)
        matrix = values.reshape(-1, width)
        mask = None if valid is None else valid.reshape(-1, width)
        return [
            [_array(np.ascontiguousarray(matrix[:, j]), None if mask is None else mask[:, j], kind)]
            for j in range(width)
        ]


def _array(values: np.ndarray, valid: np.ndarray | None, kind: pa.DataType) -> pa.Array:
    return pa.array(values.astype(kind.to_pandas_dtype(), copy=False), kind, mask=None if valid is None else ~valid)


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
