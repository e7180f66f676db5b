"""One operation on the rankings of one input: batches of rows in, tables with the result beside them out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .batching import Batch
from .errors import DataError, OptionError
from .formats import Sources
from .layouts import Layout
from .operators import BadRanking, Result
from .rankings import Rankings


@dataclass
class Summary:
    """What a run did."""

    rows: int = 0
    rankings: int = 0
    scores: int = 0
    short: int = 0
    nan: int = 0
    written: int = 0


class Transform:
    """What an operation makes of a table: its schema, its cost in memory, and its rows."""

    def __init__(self, operation, layout: Layout, source: Sources, nan: str, threads: int):
        if nan not in ("error", "last", "drop"):
            raise OptionError(f"--nan must be error, last or drop, got {nan!r}")
        self.operation, self.layout, self.nan, self.threads = operation, layout, nan, threads
        schema = source.schema
        self.kind = layout.value_type(schema)
        self.dtype = layout.dtype(schema)
        alone = not layout.closes_with_row and not layout.group
        longest = (source.rows or 0) if alone else layout.width(schema)
        self.result_dtype = operation.dtype(self.kind.to_pandas_dtype().__name__, longest)
        self.result_kind = pa.from_numpy_dtype(self.result_dtype)
        self.result_fields = layout.fields(schema, operation.score_columns, self.result_kind)
        self.ranking_fields = layout.ranking_fields(operation.ranking_columns)
        self.new_fields = [*self.result_fields, *self.ranking_fields]
        self.results = [field.name for field in self.new_fields]
        for i, name in enumerate(self.results):
            if not name:
                raise OptionError("--column needs a name")
            if name in schema.names or name in self.results[:i]:
                raise OptionError(f'{source.first.name}: has a column "{name}" already; choose another --column')
        self.schema = schema
        for field in self.new_fields:
            self.schema = self.schema.append(field)
        minimum = getattr(operation, "minimum", None)
        if minimum is not None and layout.closes_with_row:
            raise OptionError("--min leaves out rows, and so needs a table with a row for each item")
        self.keeps_rows = minimum is None
        width = self.dtype.itemsize
        # The scores copied out of the table, the work, the results in it, and a byte for NaN.
        self.score_cost = width + operation.work_bytes(width) + width * len(operation.score_columns) + 1

    def _apply(self, rankings: Rankings, alphas, ks) -> Result:
        dtype = np.float64 if self.result_dtype == "float64" else np.float32
        return self.operation.apply(rankings, alphas, ks, dtype=dtype, threads=self.threads)

    def compute(self, batch: Batch, summary: Summary) -> pa.Table:
        values, offsets = self.layout.scores(batch, self.dtype)
        values, offsets, valid = self._without_nan(batch, values, offsets)
        names = self.layout.names
        alphas, ks = self.layout.option(names.alpha, batch), self.layout.option(names.k, batch)
        try:
            result = self._apply(Rankings(values, offsets), alphas, ks)
        except BadRanking as error:
            raise DataError(f"{self.layout.name(batch, error.ranking)}: {error.problem}") from None
        summary.rows += batch.rows
        summary.rankings += len(offsets) - 1
        summary.scores += len(values)
        summary.short += result.short
        summary.nan += 0 if valid is None else int(len(valid) - valid.sum())
        return self._table(batch, result, valid)

    def _without_nan(self, batch, values, offsets):
        """NaN and null refused, made the worst score, or taken out; in the last case also which scores remain."""
        wrong = np.isnan(values)
        if not wrong.any():
            return values, offsets, None
        if self.nan == "error":
            where = self.layout.place(batch, int(np.argmax(wrong)))
            raise DataError(
                f"{where}: the score is NaN or null; --nan last ranks such scores last, --nan drop leaves them out"
            )
        if self.nan == "last":
            worst = -np.inf if self.operation.descending else np.inf
            return np.where(wrong, values.dtype.type(worst), values), offsets, None
        kept_before = np.concatenate([[0], np.cumsum(~wrong)])
        return values[~wrong], kept_before[offsets], ~wrong

    def _table(self, batch: Batch, result: Result, valid) -> pa.Table:
        columns = []
        for values in result.scores.values():
            if valid is not None:
                spread = np.zeros(len(valid), values.dtype)
                spread[valid] = values
                values = spread
            columns += self.layout.columns(batch, values, valid, self.result_kind)
        columns += [[self.layout.ranking_column(batch, values)] for values in result.rankings.values()]
        table = pa.Table.from_batches([chunk.batch for chunk in batch.chunks])
        for field, chunks in zip(self.new_fields, columns, strict=True):
            table = table.append_column(field, pa.chunked_array(chunks, field.type))
        if not self.keeps_rows:
            table = table.filter(pc.greater_equal(table.column(self.operation.column), self.operation.minimum))
        return table.replace_schema_metadata(self.schema.metadata)
