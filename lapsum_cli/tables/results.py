"""One operation on the rankings of one input: batches of rows in, tables out.

Transform has what all results share; Beside puts a value beside every score. losstable.py and pairs.py have the other
forms: a row for each ranking, and one for each item and position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import BadRanking, DataError, OptionError
from ..core.rankings import Rankings, has_nan
from ..flow.batching import Batch
from ..formats.sources import Sources
from ..operations.operation import Given
from .layout import Layout


class Total:
    """A sum of numbers that does not depend on how they arrive: added in blocks of a fixed number."""

    BLOCK = 4096

    def __init__(self):
        self.sum, self.count, self.rest = 0.0, 0, np.empty(0)

    def add(self, values: np.ndarray) -> None:
        self.count += len(values)
        self.rest = np.concatenate([self.rest, values])
        while len(self.rest) >= self.BLOCK:
            self.sum += float(self.rest[: self.BLOCK].sum())
            self.rest = self.rest[self.BLOCK :]

    def __float__(self):
        return self.sum + float(self.rest.sum())


@dataclass
class Summary:
    """What a run did; `total` sums the losses of the rankings that have one."""

    rows: int = 0
    rankings: int = 0
    scores: int = 0
    short: int = 0
    nan: int = 0
    written: int = 0
    total: Total = field(default_factory=Total)

    @property
    def loss(self) -> float:
        return float(self.total)

    @property
    def losses(self) -> int:
        """How many rankings have a loss."""
        return self.total.count


class Transform:
    """What an operation makes of a table: the schema of the result, its cost in memory, and its rows."""

    keeps_rows = True  # a row of the result for every row of the input
    is_array = False  # where nothing says otherwise, the result is written as NPY
    of_matrices = False  # a row of the result is a line of one of several square matrices

    def __init__(self, operation, layout: Layout, source: Sources, nan: str, on):
        if nan not in ("error", "last", "drop"):
            raise OptionError(f"--nan must be error, last or drop, got {nan!r}")
        self.operation, self.layout, self.nan, self.on = operation, layout, nan, on
        self.source, self.input = source, source.schema
        self.kind = layout.value_type(self.input)
        self.dtype = layout.dtype(self.input)
        alone = not layout.closes_with_row and not layout.group
        longest = (source.rows or 0) if alone else layout.width(self.input)
        self.result_dtype = operation.dtype(self.kind.to_pandas_dtype().__name__, longest)
        kept, self.new_fields = self._fields()
        self.results = [new.name for new in self.new_fields]
        for i, name in enumerate(self.results):
            if not name:
                raise OptionError("--column needs a name")
            if name in kept.names or name in self.results[:i]:
                renamed = name in operation.result_columns or name == operation.column
                hint = "choose another --column" if renamed else "rename it"
                raise OptionError(f'{source.first.name}: has a column "{name}" already; {hint}')
        self.schema = kept
        for new in self.new_fields:
            self.schema = self.schema.append(new)
        width = self.dtype.itemsize
        # The scores copied out of the table, the work, what is given beside them, the results, and a byte for NaN.
        beside = 8 if operation.needs else (width if operation.gradient else 0)
        results = width * len(operation.score_columns)
        # On a card the work is done there; what crosses the bus is copied to pinned memory, both ways.
        work = operation.work_bytes(width) if on.name == "cpu" else 2 * (width + beside + results)
        self.score_cost = width + work + beside + results + 1

    def _fields(self) -> tuple[pa.Schema, list[pa.Field]]:
        """The columns of the input that stay, and those that are new."""
        raise NotImplementedError

    def check(self, format: str) -> None:
        """Raise OptionError where the result has no place in this format."""

    def compute(self, batch: Batch, summary: Summary) -> Iterator[pa.Table]:
        """The rows that a batch gives."""
        raise NotImplementedError

    def last(self, summary: Summary) -> Iterator[pa.Table]:
        """Rows that are known only at the end."""
        yield from ()

    def apply(self, batch: Batch, summary: Summary):
        """The rankings of a batch, what the operation makes of them, and which scores they hold (None: all)."""
        values, offsets = self.layout.scores(batch, self.dtype)
        values, offsets, valid = self._without_nan(batch, values, offsets)
        names, rankings = self.layout.names, Rankings(values, offsets)
        given = Given(
            self.layout.option(names.alpha, batch),
            self.layout.option(names.k, batch),
            self._beside("upstream", names.upstream, batch, valid, self.dtype),
            self._beside("target", names.target, batch, valid, np.dtype(np.float64)),
        )
        dtype = np.float64 if self.result_dtype == "float64" else np.float32
        try:
            result = self.on.run(self.operation, rankings, given, dtype)
        except BadRanking as error:
            raise DataError(f"{self.layout.name(batch, error.ranking)}: {error.problem}") from None
        summary.rows += batch.rows
        summary.rankings += len(offsets) - 1
        summary.scores += len(values)
        summary.nan += 0 if valid is None else int(len(valid) - valid.sum())
        return rankings, result, valid

    def _beside(self, what, name, batch, valid, dtype):
        """The column of values that go with the scores."""
        if name is None:
            return None
        values = self.layout.beside(name, batch, dtype)
        wrong = np.isnan(values) if valid is None else np.isnan(values) & valid
        if wrong.any():
            where = self.layout.place(batch, int(np.argmax(wrong)))
            raise DataError(f'{where}: the {what} in "{name}" is NaN or null; it must be a number for every score')
        return values if valid is None else values[valid]

    def _without_nan(self, batch, values, offsets):
        """NaN and null refused, made the worst score, or taken out; in the last case also which scores remain."""
        if not has_nan(values):
            return values, offsets, None
        wrong = np.isnan(values)
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


class Beside(Transform):
    """Every row of the input, with the results beside it."""

    def __init__(self, operation, layout, source, nan, on):
        super().__init__(operation, layout, source, nan, on)
        self.minimum = getattr(operation, "minimum", None)
        if self.minimum is not None and layout.closes_with_row:
            raise OptionError("--min leaves out rows, and so needs a table with a row for each item")
        self.keeps_rows = self.minimum is None
        self.is_array = source.is_array

    def _fields(self):
        operation, layout = self.operation, self.layout
        kind = pa.from_numpy_dtype(self.result_dtype)
        results = layout.fields(self.input, operation.result_columns, kind)
        gradients = layout.fields(self.input, operation.gradient_columns, self.kind)
        return self.input, [*results, *gradients, *layout.ranking_fields(operation.ranking_columns)]

    def compute(self, batch, summary):
        _, result, valid = self.apply(batch, summary)
        summary.short += result.short
        if result.losses is not None:
            summary.total.add(result.losses[~np.isnan(result.losses)])
        columns = []
        for name, values in result.scores.items():
            if valid is not None:
                spread = np.zeros(len(valid), values.dtype)
                spread[valid] = values
                values = spread
            is_result = name in self.operation.result_columns
            kind = pa.from_numpy_dtype(self.result_dtype) if is_result else self.kind
            columns += self.layout.columns(batch, values, valid, kind)
        columns += [[self.layout.ranking_column(batch, values)] for values in result.rankings.values()]
        table = pa.Table.from_batches([chunk.batch for chunk in batch.chunks])
        for new, chunks in zip(self.new_fields, columns, strict=True):
            table = table.append_column(new, pa.chunked_array(chunks, new.type))
        if not self.keeps_rows:
            table = table.filter(pc.greater_equal(table.column(self.operation.column), self.minimum))
        yield table.replace_schema_metadata(self.schema.metadata)
