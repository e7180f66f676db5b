"""One ranking in the files of a data set: the passes over it (operations/giant.py) are tasks, a file each, and so are
its results. What comes of a pass is small, and meets in the process that asked.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..core.errors import BadRanking, DataError, OptionError
from ..flow.batching import Batch
from ..flow.giant import in_pieces, over
from ..flow.laid import Here
from ..flow.process import memory_size, settle
from ..formats import output_format
from ..formats.files import Part
from ..formats.sinks import Made, open_sink
from ..formats.sources import Sources
from ..operations import giant
from ..operations.warm import warm_in_parts
from ..tables.layout import Layout
from ..tables.results import Counts, Table
from . import passes
from .job import Job, Shard
from .passes import Files, Shared, packed, unpacked

PASSES = (
    "all scores, two to six times, to find the threshold and what a gradient takes; or up to 17 times, to part them by "
    "value and compute every band",
    "all rows, to write results",
)


def is_one(source: Sources, layout: Layout) -> bool:
    """Whether several files are one ranking."""
    return layout.is_one_ranking and not source.is_array and len(source.inputs) > 1


def refuse(job: Job, source: Sources, table: Table) -> None:
    """OptionError where one ranking in several files cannot be computed by tasks."""
    why = giant.refusal(job.operation, table.on.name) or job.operation.needs_one_process
    if why is not None:
        raise OptionError(
            f"{source.inputs[0].name}: without a group all files are one ranking ({why}); name ⟨group⟩, or one file "
            "with ⟨sink⟩"
        )


class Found(NamedTuple):
    """What all tasks that write know: the ranking, its last passes, packed; rows before each file; and how many of its
    rankings, which is one, are shorter than k.
    """

    packed: bytes
    firsts: list[int]
    short: int


def found(
    run: Callable[[Any, Any], Iterable[Any]],
    job: Job,
    parts: list[Part],
    table: Table,
    shared: Shared,
    asked: Job,
) -> Found:
    """All passes but the last. DataError for a ranking that cannot be computed. job: of a task; asked: of this process,
    with its memory and whom it tells.
    """
    warm_in_parts(job.operation, str(table.dtype), table.on, job.wait)
    files = Files(run, job, parts, shared, memory_size(asked.memory), asked.words)
    try:
        ranking = giant.begin(job.operation, files, table.on)
        last = job.operation.passes(ranking)
    except BadRanking as error:
        raise DataError(f"{parts[0].path}, row 1: {error.problem}") from None
    short = job.operation.short(ranking)  # type: ignore[arg-type]
    return Found(packed((ranking, last)), [one.first for one in files.passes], short)


def write(made_of: Found, job: Job, shard: Shard) -> Counts:
    """A file of results."""
    counts, operation = Counts(), job.operation
    if not shard.number:
        counts.rankings, counts.short = 1, made_of.short
    with job.opened(shard) as (source, table, output, budget):
        format = output_format(shard.path, job.to_format, table.is_array)
        settle(budget, table.on.batch)
        first = made_of.firsts[shard.number]
        ranking, last = unpacked(made_of.packed, Here(shard.number, first, room=budget.size // 10))
        how = job.how(table)
        made = Made(format, table.schema, table.results, source.rows if table.keeps_rows else None, how)

        def look(batch: Batch) -> Any:
            rankings = table.rankings(batch)
            return batch, rankings, giant.look(operation, batch.first, rankings, last)

        with output, contextlib.closing(budget):
            out = open_sink(output, made)
            batches = in_pieces(source.chunks(), passes.ROWS, first)
            try:
                for batch, rankings, looked in over(look, batches, table.asked.threads):
                    result = giant.give(operation, ranking, batch.first, looked, last)
                    counts.add_piece(batch, rankings, result)
                    for rows in table.put_back(batch, rankings, result):
                        out.write(rows)
                        counts.written += len(rows)
                name = os.path.basename(source.first.name)
                out.close({**how, "inputs": [{"name": name, "rows": counts.rows}], "rankings": 1})
            except BaseException:
                out.abandon()
                raise
    counts.files = [one.path for one in (output, *output.companions)]
    return counts
