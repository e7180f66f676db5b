"""The spine: read, batch, compute, write. It knows no format and no kernel; each stage runs ahead of the next."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import __version__, devices
from .batching import MIB, Batch, Budget, parse_memory, whole_rankings
from .columns import Names
from .detection import detect
from .errors import DataError, OptionError
from .formats import Sink, Sources, open_sink, output_format
from .formats.files import Output
from .layouts import Layout
from .operators import BadRanking, Result, prepare
from .rankings import Rankings

# What a process needs beyond its resident size at the start and the batches in flight: a row group being gathered,
# encoded and compressed, the page buffers of the reader, and what allocators keep. Measured with rows of 24 bytes;
# see test_memory.py.
RESERVE = 80 * MIB
LEAST = 200 * MIB
LEAN = 1024 * MIB


@dataclass
class Summary:
    """What a run did."""

    rows: int = 0
    rankings: int = 0
    scores: int = 0
    short: int = 0
    nan: int = 0


class Silent:
    """Who is told about a run: here, nobody. The command line has one that talks."""

    def say(self, line: str) -> None:
        """One line: what was detected, why the first run waits."""

    def progress(self, rows: int, total: int | None) -> None:
        """So many rows are written, of so many if that is known."""

    def preview(self, schema: pa.Schema) -> Sink | None:
        """What shows a result that was given no place to go, in place of standard output; None for standard output."""


def run(
    operation,
    sources: list[str],
    sink: str | None = None,
    *,
    names: Names = Names(),
    nan: str = "error",
    from_format: str | None = None,
    to_format: str | None = None,
    force: bool = False,
    memory: str | int | None = None,
    threads: int | None = None,
    words: Silent = Silent(),
) -> Summary:
    """Apply the operation to every ranking of the sources and write the sink, holding at most `memory` bytes."""
    size = _memory(memory)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_returning_memory(at_once=size < LEAN))
        source = stack.enter_context(contextlib.closing(Sources(sources, from_format, names.is_number)))
        layout = detect(source.schema, names, source.is_array, source.first.name, words.say)
        form = _Form(operation, layout, source, nan, threads or devices.cores())
        output = Output(sink, force)
        format = output_format(sink, to_format, source.is_array)
        prepare(operation.name, form.dtype, words.say)  # kernels stay resident: memory is measured with them
        budget = _budget(size, layout)
        summary = Summary()
        with output, contextlib.closing(budget):
            shown = words.preview(form.schema) if sink is None and to_format is None else None
            rows = source.rows if form.keeps_rows else None
            made = _how(operation, names, nan)
            out = shown or open_sink(output, format, form.schema, form.results, rows, made)
            try:
                batches = ahead(whole_rankings(source.chunks(budget.chunk), layout, form.score_cost, budget), budget)
                for batch, table in ahead(((batch, form.compute(batch, summary)) for batch in batches), budget):
                    out.write(table)
                    words.progress(summary.rows, source.rows)
                    budget.give(batch.cost)
                    del batch, table
                out.close({**made, **_what(source, summary)})
            except BaseException:
                out.abandon()
                raise
    return summary


class _Form:
    """One operation on one layout: what a table becomes."""

    def __init__(self, operation, layout: Layout, source: Sources, nan: str, threads: int):
        if nan not in ("error", "last", "drop"):
            raise OptionError(f"--nan must be error, last or drop, got {nan!r}")
        self.operation, self.layout, self.nan, self.threads = operation, layout, nan, threads
        schema = source.schema
        self.kind = layout.value_type(schema)
        self.dtype = layout.dtype(schema)
        alone = not layout.closes_with_row and not layout.group
        longest = (source.rows or 0) if alone else 0
        self.result_dtype = operation.dtype(self.kind.to_pandas_dtype().__name__, longest)
        self.result_kind = pa.from_numpy_dtype(self.result_dtype)
        self.result_fields = layout.fields(schema, operation.score_columns, self.result_kind)
        self.ranking_fields = layout.ranking_fields(operation.ranking_columns)
        self.new_fields = [*self.result_fields, *self.ranking_fields]
        self.results = [field.name for field in self.new_fields]
        for i, name in enumerate(self.results):
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
        columns += [[self.layout.ranking_columns(batch, values)[0]] for values in result.rankings.values()]
        table = pa.Table.from_batches([chunk.batch for chunk in batch.chunks])
        for field, chunks in zip(self.new_fields, columns, strict=True):
            table = table.append_column(field, pa.chunked_array(chunks, field.type))
        if not self.keeps_rows:
            table = table.filter(pc.greater_equal(table.column(self.operation.column), self.operation.minimum))
        return table.replace_schema_metadata(self.schema.metadata)


def _memory(memory: str | int | None) -> int:
    size = devices.default_memory() if memory is None else parse_memory(memory)
    if size < LEAST:
        raise OptionError(
            f"--memory {memory} is too little: the program itself needs {LEAST // MIB} MiB before the first score"
        )
    return size


def _budget(size: int, layout: Layout) -> Budget:
    """The bytes for batches: most of what the loaded program and the reserve leave."""
    if size < LEAN:
        devices.hold_little()
    budget = Budget(size, RESERVE + devices.resident())
    layout.keep_within(budget.size // 4)
    return budget


@contextlib.contextmanager
def _returning_memory(at_once: bool):
    """Arrow's memory from jemalloc, which gives it back, where Arrow has it; the default is restored after.

    With 256 MiB a long Parquet file peaked at 225 MiB so, at 234 with malloc, 251 without `at_once`, and 281 with
    mimalloc. The command sets ARROW_DEFAULT_MEMORY_POOL too, which Arrow's C++ obeys in places that this does not
    reach: 199.
    """
    before = pa.default_memory_pool()
    with contextlib.suppress(NotImplementedError):
        pa.set_memory_pool(pa.jemalloc_memory_pool())
        pa.jemalloc_set_decay_ms(0 if at_once else 1000)
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def ahead(items: Iterable, budget: Budget) -> Iterator:
    """The items, made on a thread of their own one ahead of who asks for them. An exception there comes out here.

    Once the budget is closed, both ends let go within a tenth of a second.
    """
    ready: queue.Queue = queue.Queue(1)

    def put(item, error) -> None:
        while not budget.closed:
            with contextlib.suppress(queue.Full):
                return ready.put((item, error), timeout=0.1)

    def work():
        try:
            for item in items:
                put(item, None)
                del item
                if budget.closed:
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    threading.Thread(target=work, daemon=True).start()
    while not budget.closed:
        with contextlib.suppress(queue.Empty):
            item, error = ready.get(timeout=0.1)
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
            del item


def _how(operation, names: Names, nan: str) -> dict:
    """How a result is made: whatever changes its numbers, and nothing that varies from run to run."""
    columns = {key: value for key, value in (("alpha_column", names.alpha), ("k_column", names.k)) if value}
    return {**operation.describe(), **columns, "nan": nan, "device": "cpu", "version": __version__}


def _what(source: Sources, summary: Summary) -> dict:
    """What it was made of."""
    inputs = [{"name": name, "rows": rows} for name, rows in source.read]
    return {"inputs": inputs, "rankings": summary.rankings, "scores": summary.scores}
