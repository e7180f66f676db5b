"""One ranking in the files of a data set: the passes over it (operations/giant.py) are tasks, a file each, and so are
its results. What comes of a pass is small, and meets in the process that asked.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import BadRanking, DataError, OptionError
from ..devices import machine
from ..flow.batching import Batch
from ..flow.budget import Budget
from ..flow.giant import in_pieces, over
from ..flow.process import memory_size, settle
from ..formats import output_format
from ..formats.files import Part
from ..formats.sinks import Made, open_sink
from ..formats.sources import Sources
from ..operations import giant
from ..operations.warm import warm_in_parts
from ..tables.layout import Layout
from ..tables.long import Long
from ..tables.results import Counts, Table
from .files import Job, Shard

PASSES = ("all scores, two to six times, to find the threshold and what a gradient takes", "all rows, to write results")
_ROWS = 1 << 17  # of a piece, whoever computes it: then all engines add up the same sums


def is_one(source: Sources, layout: Layout) -> bool:
    """Whether several files are one ranking."""
    return isinstance(layout, Long) and not layout.group and not source.is_array and len(source.inputs) > 1


def refuse(job: Job, source: Sources, table: Table) -> None:
    """OptionError where one ranking in several files cannot be computed by tasks."""
    why = giant.refusal(job.operation, table.on.name)
    if why is None and job.operation.spills:
        why = f"{job.operation.name} takes one output"
    if why is not None:
        raise OptionError(
            f"{source.inputs[0].name}: without a group all files are one ranking ({why}); name ⟨group⟩, or one file "
            "with ⟨sink⟩"
        )


@dataclass
class _Pass:
    """A pass over a file: which of them it is, and how many rows come before it."""

    number: int
    part: Part
    first: int

    def __str__(self) -> str:
        return self.part.path


class _Files:
    """The ranking, as operations.giant.Pieces has it.

    run      (task, shards) -> what comes of each, as they are finished: an engine's
    parts    its files
    memory   of the process that asks
    """

    threads = 1

    def __init__(self, run: Callable[[Any, Any], Iterable[Any]], job: Job, parts: list[Part], memory: int):
        self.run, self.job = run, job
        self.passes = [_Pass(i, part, 0) for i, part in enumerate(parts)]
        self.size = max(Budget.LEAST, int(Budget.SHARE * (memory - machine.resident())))

    def __reduce__(self) -> tuple[Any, ...]:
        """Tasks get none of it."""
        return type(None), ()

    def of_parts(self, function: Callable[[int, Any], Any]) -> Iterator[Any]:
        """As giant.Pieces has it: every file is a task, whose pieces are side by side."""
        found: dict[int, list[Any]] = {}
        rows = np.zeros(len(self.passes), np.int64)
        for number, count, results in self.run(partial(_over_file, self.job, _packed(function)), self.passes):
            found[number], rows[number] = results, count
        for one, first in zip(self.passes, np.cumsum(rows) - rows, strict=True):
            one.first = int(first)
        for number in range(len(self.passes)):
            yield from found.pop(number)

    def over(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """As giant.Pieces has it: here."""
        return map(function, items)

    def room(self, bytes_each: int, share: float) -> int:
        """As giant.Pieces has it."""
        return max(1, int(self.size * share) // bytes_each)


def _packed(function: Any) -> bytes:
    """A function within others, for another process. Kernels go by their names: else they would be compiled there."""
    from numba import cloudpickle
    from numba.core.dispatcher import Dispatcher

    class Pickler(cloudpickle.Pickler):
        def reducer_override(self, one: Any) -> Any:
            if isinstance(one, Dispatcher):
                return _kernel, (one.py_func.__module__, one.py_func.__name__)
            return super().reducer_override(one)

    with io.BytesIO() as file:
        Pickler(file).dump(function)
        return file.getvalue()


def _kernel(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _unpacked(packed: bytes) -> Any:
    from numba import cloudpickle

    return cloudpickle.loads(packed)


def _over_file(job: Job, packed: bytes, given: _Pass) -> tuple[int, int, list[Any]]:
    """What a function makes of every piece of a file, and how many rows that has."""
    function, rows = _unpacked(packed), 0

    def of_piece(batch: Batch) -> Any:
        return function(batch.first, table.rankings(batch))

    with job.opened(Shard([given.part], None)) as (source, table, _, budget), contextlib.closing(budget):
        settle(budget, table.on.batch)

        def counted() -> Iterator[Batch]:
            nonlocal rows
            for batch in in_pieces(source.chunks(table.needed), _ROWS, given.first):
                rows += batch.rows
                yield batch

        results = list(over(of_piece, counted(), table.asked.threads))
    return given.number, rows, results


class Found(NamedTuple):
    """What all tasks that write know: the ranking, its last passes, packed; rows before each file; and how many of its
    rankings, which is one, are shorter than k.
    """

    packed: bytes
    firsts: list[int]
    short: int


def found(
    run: Callable[[Any, Any], Iterable[Any]], job: Job, parts: list[Part], table: Table, memory: str | int | None
) -> Found:
    """All passes but the last. DataError for a ranking that cannot be computed. memory: of this process."""
    warm_in_parts(job.operation, str(table.dtype), table.on, job.wait)
    files = _Files(run, job, parts, memory_size(memory))
    try:
        ranking = giant.begin(job.operation, files, table.on)  # type: ignore[arg-type]
        last = job.operation.passes(ranking)
    except BadRanking as error:
        raise DataError(f"{parts[0].path}, row 1: {error.problem}") from None
    short = job.operation.short(ranking)  # type: ignore[arg-type]
    return Found(_packed((ranking, last)), [one.first for one in files.passes], short)


def write(made_of: Found, job: Job, shard: Shard) -> Counts:
    """A file of results."""
    ranking, last = _unpacked(made_of.packed)
    counts, operation = Counts(), job.operation
    if not shard.number:
        counts.rankings, counts.short = 1, made_of.short
    with job.opened(shard) as (source, table, output, budget):
        format = output_format(shard.path, job.to_format, table.is_array)
        settle(budget, table.on.batch)
        how = job.how(table)
        made = Made(format, table.schema, table.results, source.rows if table.keeps_rows else None, how)

        def look(batch: Batch) -> Any:
            rankings = table.rankings(batch)
            return batch, rankings, giant.look(operation, batch.first, rankings, last)

        with output, contextlib.closing(budget):
            out = open_sink(output, made)
            batches = in_pieces(source.chunks(), _ROWS, made_of.firsts[shard.number])
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
