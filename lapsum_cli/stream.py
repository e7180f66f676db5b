"""The spine: read, whole rankings, compute, write. It knows no format and no kernel; stages run ahead of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import cast

import pyarrow as pa

from .core.device import Device, DeviceWithKernels
from .core.errors import BadRanking, DataError
from .core.spelling import in_python
from .flow.ahead import ahead
from .flow.batching import Batch
from .flow.budget import Budget
from .flow.giant import Giant
from .formats.sinks import Sink
from .formats.sources import Rows
from .operations.operation import Operation
from .operations.suspicions import of_padding
from .tables.giants import Giants, Told
from .tables.results import Counts, Table


class Silent:
    """Who is told about a run: here, nobody. The command line has one that talks."""

    def spell(self, line: str) -> str:
        """A line with options as they are called where it is read: here, in Python."""
        return in_python(line)

    def say(self, line: str) -> None:
        """One line: what was detected, why the first run waits."""

    def progress(self, rows: int, total: int | None) -> None:
        """So many rows are written, of so many if that is known."""

    def read(self, share: float | None) -> None:
        """How much of the input these rows are of, from 0 to 1; None where it is a pipe, whose end nobody knows."""

    def passes(self, number: int, rows: int, total: int | None) -> None:
        """In the so-manieth pass over a ranking that is larger than memory so many rows are done, of so many if that is
        known; how many passes there will be depends on the scores.
        """

    def files(self, done: int, total: int) -> None:
        """So many files of a data set are finished, of so many."""

    def preview(self, schema: pa.Schema, results: list[str], found: list[str]) -> Sink | None:
        """What shows a result, with these new columns and those that were found in the input, groups and scores, that
        was given no place to go, in place of standard output; None for standard output.
        """


def run(
    source: Rows,
    operation: Operation,
    table: Table,
    out: Sink,
    how: dict,
    on: Device,
    budget: Budget,
    words: Silent,
    temp_dir: str | None = None,
    settle: Callable[[], None] = lambda: None,
) -> Counts:
    """Apply the operation to every ranking of a source and write what the table makes of it, within the budget.

    how       the record of how the result is made, to which is added what it was made of
    temp_dir  where a ranking that is larger than the budget has its temporary files, by default the system's
    settle    measures again what the budget may take, when more is loaded that stays
    """
    counts = Counts(without_score=table.without_score, called=operation.called)
    total = source.rows if table.keeps_rows else None
    try:
        words.read(source.share(0))
        told = Told(lambda line: words.say(words.spell(line)), settle, temp_dir, words.passes)
        giants = Giants(source, operation, table, cast(DeviceWithKernels, on), budget, told)
        batches = ahead(giants.batches(), budget)
        for rows, freed in ahead(results(operation, table, batches, on, counts, giants), budget):
            if rows is not None:
                out.write(rows)
                counts.written += len(rows)
                words.progress(counts.written, total)
            words.read(source.share(counts.rows))
            budget.give(freed)
            del rows
        inputs = [{"name": name, "rows": rows} for name, rows in source.read]
        out.close({**how, "inputs": inputs, "rankings": counts.rankings, "scores": counts.scores})
    except BaseException:
        out.abandon()
        raise
    return counts


def results(
    operation: Operation,
    table: Table,
    batches: Iterable[Batch],
    on: Device,
    counts: Counts,
    giants: Giants | None = None,
) -> Iterator[tuple[pa.Table | None, int]]:
    """The rows of the result, and behind those of a batch how much of the budget is free once they are written."""
    for batch in batches:
        if isinstance(batch, Giant):
            assert giants is not None
            for rows in giants.results(batch, counts):
                yield rows, 0
                del rows
            yield None, batch.cost
            continue
        rankings = operation.numbered(table.rankings(batch), table.asked.before + counts.rankings)
        try:
            result = on.compute(operation, rankings)
        except BadRanking as error:
            raise DataError(f"{table.layout.name(batch, error.ranking)}: {error.problem}") from None
        counts.add(batch, rankings, operation.short(rankings), result)
        counts.how_soft.add(operation, rankings, result)
        counts.padding = counts.padding or of_padding(operation, rankings)
        for rows in table.put_back(batch, rankings, result):
            yield rows, 0
            del rows
        yield None, batch.cost
        del batch, rankings, result
    for rows in table.last(counts):
        yield rows, 0
