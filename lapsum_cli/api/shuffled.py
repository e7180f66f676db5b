"""A data set whose rows come in any order: the tasks that bring its rankings together (tables/shuffled.py)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..core.errors import OptionError
from ..flow.process import settle
from ..flow.segments import rows_in
from ..formats import output_format
from ..formats.files import Output
from ..formats.sinks import Made, open_sink
from ..operations.warm import warm
from ..stream import Silent, run
from ..tables.gather import inner_table
from ..tables.results import Counts
from ..tables.shuffled import ByFile, OfSegment, Returned, bits_of, put_back, scatter
from .job import Job, Shard

FOLDER = ".lapsum-shuffle"  # of a data set, for what tasks leave to each other until all are finished
PASSES = (
    f"all rows, of which what is needed goes to {FOLDER} by group",
    f"all that is needed, to compute; results go to {FOLDER} by file",
    "all rows again, to write their results beside them",
)


@dataclass(frozen=True)
class Task:
    """A part of a run: its name in the manifest, its number among its like, the file that it makes, and what it is
    given.
    """

    name: str
    number: int
    path: str
    given: Any

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class Stage:
    """Tasks that may run side by side, what each does with a job and what it is given, and what each weighs."""

    do: Callable[[Job, Any], Counts]
    tasks: tuple[Task, ...]
    weights: tuple[int, ...]


@dataclass(frozen=True)
class _Shuffle:
    """What all tasks of a shuffle know: the files and their bytes, and where theirs are."""

    folder: str
    files: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def bits(self) -> int:
        return bits_of(self.sizes)

    def path(self, kind: str, number: int) -> str:
        """The file of a task."""
        return os.path.join(self.folder, f"{kind}-{number:06}")

    def paths(self, kind: str, count: int) -> tuple[str, ...]:
        """Those of all tasks of a kind."""
        return tuple(self.path(kind, i) for i in range(count))


_FILE, _SEGMENT = "rows", "results"  # what files of a shuffle are called


def stages_of(directory: str, shards: Sequence[Task], sizes: Sequence[int]) -> list[Stage]:
    """All stages. shards: the tasks without a shuffle, which are Shards of one file each, of so many bytes."""
    inputs = tuple(one.given.sources[0].path for one in shards)
    given = _Shuffle(os.path.join(directory, FOLDER), inputs, tuple(sizes))
    count = 1 << given.bits

    def tasks(kind: str, count: int) -> tuple[Task, ...]:
        paths = given.paths(kind, count)
        return tuple(Task(f"{FOLDER}/{os.path.basename(path)}", i, path, (given, i)) for i, path in enumerate(paths))

    last = tuple(replace(one, given=(given, one.given)) for one in shards)
    return [
        Stage(_scatter, tasks(_FILE, len(shards)), tuple(sizes)),
        Stage(_gather, tasks(_SEGMENT, count), (sum(sizes) // count + 1,) * count),
        Stage(_return, last, tuple(sizes)),
    ]


def refuse(job: Job) -> None:
    """OptionError for what depends on the order in which rankings come."""
    if job.operation.by_number:
        raise OptionError(
            "noise is drawn by the number of a ranking, which ⟨sort_groups=True⟩ knows in one output alone; name one "
            "file with ⟨sink⟩"
        )


def _scatter(job: Job, given: tuple[_Shuffle, int]) -> Counts:
    """What is needed of a file, by group."""
    shuffle, file = given
    path = shuffle.path(_FILE, file)
    shard, made = Shard([shuffle.files[file]], None), Output(path, True, temp_dir=job.temp_dir)
    with job.opened(shard) as (source, table, _, budget), made as output:
        rows = scatter(source, table, budget, file, output.stream, shuffle.bits)
    return Counts(rows=rows, files=[path])


def _gather(job: Job, given: tuple[_Shuffle, int]) -> Counts:
    """The results of a segment of all files, by file."""
    shuffle, segment = given
    path = shuffle.path(_SEGMENT, segment)
    with job.opened(Shard(shuffle.files[:1], None)) as (source, table, _, budget):
        warm(job.operation, str(table.dtype), table.on, job.wait)
        measured = partial(settle, budget, table.on.batch)
        measured()
        paths = shuffle.paths(_FILE, len(shuffle.files))
        rows = OfSegment(source, table, budget, job.temp_dir, (segment, shuffle.bits, paths, shuffle.files))
        how_run = (table.on, budget, Silent(), job.temp_dir, measured)
        with Output(path, True, temp_dir=job.temp_dir) as output, closing(budget):
            out = ByFile(rows, output.stream, table)
            counts = run(rows, job.operation, inner_table(table, rows), out, {}, *how_run)
    return replace(counts, rows=0, written=0, files=[path])


def _return(job: Job, given: tuple[_Shuffle, Shard]) -> Counts:
    """A file of results: what all segments have for it."""
    shuffle, shard = given
    rows = rows_in(shuffle.path(_FILE, shard.number))
    with job.opened(shard) as (source, table, output, budget):
        format = output_format(shard.path, job.to_format, table.is_array)
        settle(budget, table.on.batch)
        how = job.how(table)
        made = Made(format, table.schema, table.results, rows if table.keeps_rows else None, how)
        how |= {"inputs": [{"name": os.path.basename(source.first.name), "rows": rows}], "files": len(shuffle.files)}
        with output, closing(budget):
            returned = Returned(source, table, budget, job.temp_dir, rows)
            paths = shuffle.paths(_SEGMENT, 1 << shuffle.bits)
            written = put_back(returned, table, open_sink(output, made), shard.number, paths, how)
    return Counts(written=written, files=[output.path])
