"""The spine: read, batch, compute, write. It knows no format and no kernel; each stage runs ahead of the next."""

from __future__ import annotations

import contextlib
import math

import pyarrow as pa

from . import __version__, devices
from .flow.ahead import ahead
from .flow.batching import whole_rankings
from .flow.process import memory_budget, memory_size, returning_memory
from .formats import output_format
from .formats.files import Output
from .formats.sinks import Made, Sink, open_sink
from .formats.sources import Sources
from .operations.operation import prepare
from .tables.detect import detect, find_item
from .tables.layout import Layout
from .tables.losstable import LossTable
from .tables.pairs import Pairs
from .tables.results import Beside, Summary, Transform
from .tables.roles import Names


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
    reduction: str = "none",
    from_format: str | None = None,
    to_format: str | None = None,
    force: bool = False,
    memory: str | int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    words: Silent = Silent(),
) -> Summary:
    """Apply the operation to every ranking of the sources and write the sink, holding at most `memory` bytes."""
    size = memory_size(memory)
    opened = Sources(sources, from_format, names.is_number, names.beside)
    with returning_memory(size), contextlib.closing(opened) as source:
        threads = threads or devices.cores()
        on = devices.choose(device, threads, words.say)
        names = names.for_array() if source.is_array else names
        layout = detect(source.schema, names, source.is_array, source.first.name, words.say)
        output = Output(sink, force)
        free = math.nan if force else output.free()
        transform = _transform(operation, layout, source, nan, on, threads, reduction, words.say, free)
        format = output_format(sink, to_format, transform.is_array)
        transform.check(format)
        prepare(operation, transform.dtype, on, words.say)  # kernels stay resident: memory is measured with them
        budget = memory_budget(size, on.batch)
        layout.keep_within(budget.size // 4)
        summary = Summary()
        with output, contextlib.closing(budget):
            shown = words.preview(transform.schema) if sink is None and to_format is None else None
            rows = source.rows if transform.keeps_rows else None
            how = _how(operation, layout, names, nan, on)
            made = Made(format, transform.schema, transform.results, rows, how, transform.of_matrices)
            out = shown or open_sink(output, made)
            try:
                cost = transform.score_cost
                batches = ahead(whole_rankings(source.chunks(budget.chunk), layout, cost, budget), budget)
                for table, done in ahead(_tables(transform, batches, summary), budget):
                    out.write(table)
                    budget.give(done)
                    summary.written += len(table)
                    words.progress(summary.written, rows)
                    del table
                out.close({**how, **_what(source, summary)})
            except BaseException:
                out.abandon()
                raise
    return summary


def _transform(operation, layout, source, nan, on, threads, reduction, say, free) -> Transform:
    """What the operation makes of the table: values beside the scores, losses, or rows of a permutation."""
    if operation.name == "permute":
        item = find_item(source.schema, layout, source.first.name, say)
        return Pairs(operation, layout, source, nan, on, threads, item, say, free)
    if operation.score_columns:
        return Beside(operation, layout, source, nan, on)
    return LossTable(operation, layout, source, nan, on, reduction)


def _tables(transform: Transform, batches, summary: Summary):
    """The rows of the result, and how much of the budget is free once they are written."""
    for batch in batches:
        tables = transform.compute(batch, summary)
        table = next(tables, transform.schema.empty_table())
        for following in tables:
            yield table, 0
            table = following
        yield table, batch.cost
        del batch, table
    for table in transform.last(summary):
        yield table, 0


def _how(operation, layout: Layout, names: Names, nan: str, on) -> dict:
    """How a result is made: whatever changes its numbers, and nothing that varies from run to run."""
    columns = {"alpha": names.alpha, "k": names.k, **names.beside}
    given = {name: {"column": column} for name, column in columns.items() if column}
    return {**operation.describe(), **given, **layout.describe(), "nan": nan, "device": on.name, "version": __version__}


def _what(source: Sources, summary: Summary) -> dict:
    """What it was made of."""
    inputs = [{"name": name, "rows": rows} for name, rows in source.read]
    return {"inputs": inputs, "rankings": summary.rankings, "scores": summary.scores}
