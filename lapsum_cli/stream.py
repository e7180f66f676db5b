"""The spine: read, batch, compute, write. It knows no format and no kernel; each stage runs ahead of the next."""

from __future__ import annotations

import contextlib

import pyarrow as pa

from . import __version__, devices
from .batching import whole_rankings
from .columns import Names
from .detection import detect
from .formats import Sink, Sources, open_sink, output_format
from .formats.files import Output
from .layouts import Layout
from .memory import memory_budget, memory_size, returning_memory
from .operators import prepare
from .pipeline import ahead
from .transform import Summary, Transform


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
    size = memory_size(memory)
    with returning_memory(size), contextlib.closing(Sources(sources, from_format, names.is_number)) as source:
        layout = detect(source.schema, names, source.is_array, source.first.name, words.say)
        transform = Transform(operation, layout, source, nan, threads or devices.cores())
        output = Output(sink, force)
        format = output_format(sink, to_format, source.is_array)
        prepare(operation.name, transform.dtype, words.say)  # kernels stay resident: memory is measured with them
        budget = memory_budget(size)
        layout.keep_within(budget.size // 4)
        summary = Summary()
        with output, contextlib.closing(budget):
            shown = words.preview(transform.schema) if sink is None and to_format is None else None
            rows = source.rows if transform.keeps_rows else None
            made = _how(operation, layout, names, nan)
            out = shown or open_sink(output, format, transform.schema, transform.results, rows, made)
            try:
                cost = transform.score_cost
                batches = ahead(whole_rankings(source.chunks(budget.chunk), layout, cost, budget), budget)
                for batch, table in ahead(((batch, transform.compute(batch, summary)) for batch in batches), budget):
                    out.write(table)
                    budget.give(batch.cost)
                    summary.written += len(table)
                    words.progress(summary.written, rows)
                    del batch, table
                out.close({**made, **_what(source, summary)})
            except BaseException:
                out.abandon()
                raise
    return summary


def _how(operation, layout: Layout, names: Names, nan: str) -> dict:
    """How a result is made: whatever changes its numbers, and nothing that varies from run to run."""
    columns = {"alpha": names.alpha, "k": names.k}
    given = {name: {"column": column} for name, column in columns.items() if column}
    return {**operation.describe(), **given, **layout.describe(), "nan": nan, "device": "cpu", "version": __version__}


def _what(source: Sources, summary: Summary) -> dict:
    """What it was made of."""
    inputs = [{"name": name, "rows": rows} for name, rows in source.read]
    return {"inputs": inputs, "rankings": summary.rankings, "scores": summary.scores}
