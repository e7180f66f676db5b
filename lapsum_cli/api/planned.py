"""What a run over a data set does, before it does it: which files of results, made of what, by whom."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from .. import __version__
from ..core.errors import OptionError, OutputError
from ..devices import machine
from ..engines import divides, sends
from ..engines.plan import Piece, pieces
from ..flow.budget import MIB
from ..flow.process import LEAST, memory_size
from ..formats import FORMATS, output_format
from ..formats.files import STDIN, Input, Part, is_directory
from ..formats.mirror import mirrored, named
from ..formats.places import MANIFEST, place_at
from ..formats.sources import Sources
from ..tables.gather import refuse_without_group
from ..tables.results import Table
from . import one_ranking, shuffled
from .job import Job

# How the files of a data set are computed: each from its rows; or what is in any order, or all one ranking.
BY_FILE, SHUFFLED, ONE_RANKING = "by file", "shuffled", "one ranking"
PASSES = {
    BY_FILE: ("all rows, to compute and write",),
    SHUFFLED: shuffled.PASSES,
    ONE_RANKING: one_ranking.PASSES,
}


@dataclass(frozen=True)
class How:
    """Who runs the shards of a data set, whether an earlier run is resumed, and whether to plan alone."""

    engine: str = "threads"
    workers: int | None = None
    ray_address: str | None = None
    resume: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Planned:
    """A file of results: its name in the directory, what it is made of, the bytes of the input, and every file that is
    written for it.
    """

    name: str
    piece: Piece
    bytes: int
    files: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a run would do, or does.

    memory  bytes for each of so many workers, of so many threads
    passes  over the input, a line each; kind: how the files are computed, one of PASSES
    done    names of those files that are finished; seconds: what the others will take, where the finished tell
    """

    directory: str
    shards: tuple[Planned, ...]
    workers: int
    memory: int
    threads: int
    passes: tuple[str, ...]
    kind: str
    done: frozenset[str] = frozenset()
    seconds: float | None = None

    @property
    def todo(self) -> list[Planned]:
        """The files that are not finished."""
        return [shard for shard in self.shards if shard.name not in self.done]


def directory_of(job: Job, sources: Sequence[Any], directory: str | None) -> str:
    """The directory; OptionError for what a directory cannot have."""
    if directory is None or not is_directory(directory):
        raise OptionError("⟨resume=True⟩ and ⟨dry_run=True⟩ are for a ⟨sink⟩ that is a directory, such as out/")
    if any(not isinstance(one, str) or one == STDIN or place_at(one).is_read_once(one) for one in sources):
        raise OptionError(f"{directory}: a directory of results needs files to read; name one file with ⟨sink⟩")
    if job.sort_groups:
        shuffled.refuse(job)
    if job.asked.reduction != "none" and not job.operation.gradient:
        raise OptionError(
            f"{directory}: ⟨reduction={job.asked.reduction}⟩ gives one row of all rankings; name one file with ⟨sink⟩"
        )
    into = place_at(directory).absolute(directory)
    for one in sources:
        place = place_at(one)
        if (root := place.absolute(one)) == os.path.commonpath([into, root]) and place.is_directory(one):
            raise OutputError(f"{directory}: lies in {one}, whose files are read; name a directory beside it")
    return directory


def planned(job: Job, source: Sources, table: Table, sources: list[str], directory: str) -> list[Planned]:
    """The files of results, in the order of the input; OutputError where two are one, or one is an input."""
    names, found, owner = mirrored(sources), [], {MANIFEST: "the manifest"}
    inputs = {file.place.identity(file.name) for file in _files(source)}
    if source.is_array and not table.layout.closes_with_row and len(source.inputs) > 1:
        job.say(f"each of {len(source.inputs)} vectors is a ranking of its own, as none would be in one output")
    if kind_of(job, source, table) == BY_FILE:
        shards = pieces(source, table.layout, job.operation.by_number)
    else:
        shards = [Piece((Part(file.name),), source.rows_of(file)) for file in source.inputs]
    for file, piece in zip(_files(source)[: len(shards)], shards, strict=True):
        format = source.format_of(file)
        if job.to_format or (FORMATS[format].kind == "array") != table.is_array:
            format = output_format(None, job.to_format, table.is_array)
        table.check(format)
        name = named(names[file.name], format)
        stem, suffix = os.path.splitext(name)
        beside = table.results[1:] if FORMATS[format].kind == "array" else []
        files = (name, *(f"{stem}.{column}{suffix}" for column in beside))
        for one in files:
            if one in owner:
                raise OutputError(f"{directory}: {file.name} and {owner[one]} would both be {one}; rename one of them")
            owner[one] = file.name
            path = os.path.join(directory, one)
            if (known := place_at(path).identity(path)) is not None and known in inputs:
                raise OutputError(f"{path}: is an input too; name another directory")
        found.append(Planned(name, piece, file.stamp()[0], files))
    return found


def kind_of(job: Job, source: Sources, table: Table) -> str:
    """How the files are computed; OptionError where they cannot be."""
    if job.sort_groups:
        refuse_without_group(table.layout)
        return SHUFFLED
    if one_ranking.is_one(source, table.layout):
        one_ranking.refuse(job, source, table)
        return ONE_RANKING
    return BY_FILE


def _files(source: Sources) -> list[Input]:
    """The inputs, which are files, and then those beside them."""
    return [file for file in (*source.inputs, *source.beside.values()) if isinstance(file, Input)]


def plan_of(job: Job, directory: str, kind: str, shards: Sequence[Planned], workers: int | None, engine: Any) -> Plan:
    """With so many workers of an engine, None for its default, and what each has."""
    if sends(engine) and not divides(engine):
        most, size, threads = engine.share(None if job.memory is None else memory_size(job.memory), job.threads)
        workers = max(1, min(workers or most, len(shards)))
    else:
        workers = max(1, min(workers or machine.cores(), len(shards))) if sends(engine) else 1
        size, threads = _divided(job, workers if divides(engine) else 1)
    passes = ["the groups at the head and the end of each file, to plan"] if kind == BY_FILE else []
    if job.operation.by_number:
        passes = ["all groups, to number the rankings, by which noise is drawn"]
    if job.asked.reduction == "mean":
        passes.append("all rankings, to count those that have a loss, of which the gradient is that of the mean")
    return Plan(directory, tuple(shards), workers, size, threads, (*passes, *PASSES[kind]), kind)


def _divided(job: Job, workers: int) -> tuple[int, int]:
    """The memory and threads of each of so many workers of this machine; OptionError where it is too little."""
    size, threads = memory_size(job.memory), job.threads or machine.cores()
    if workers > 1:
        size = (size - machine.resident()) // workers  # this process has its own
        if size < LEAST:
            raise OptionError(
                f"⟨memory⟩ leaves {max(size, 0) // MIB} MiB for each of {workers} workers, which need {LEAST // MIB}; "
                f"raise it, or pass fewer ⟨workers⟩"
            )
        threads = max(1, threads // workers)
    return size, threads


def about(job: Job, table: Table, source: Sources, device: str) -> dict[str, Any]:
    """The first line of a manifest: what is done, whatever changes its numbers, and with which files."""
    inputs = []
    for file in _files(source):
        size, modified = file.stamp()
        inputs.append({"name": file.name, "bytes": size, "modified": modified})
    columns = {f"column {what}": str(column) for what, column in table.layout.describe().items()}
    return {
        "lapsum": __version__,
        "how": {**job.how(table), "device": device},
        "options": {**options_of(job), **columns, "device": device},
        "inputs": inputs,
    }


def options_of(job: Job) -> dict[str, str]:
    """The options that results depend on, as text."""
    operation, names, asked = job.operation, job.names, job.asked
    moot = ("force", "scale")  # what follows from the inputs, or changes no number
    own = {field.name: getattr(operation, field.name) for field in fields(operation) if field.name not in moot}
    given = {
        "version": __version__,
        "operation": operation.name,
        **own,
        **{"upstream": names.upstream, "target": names.target, "item": names.item, "keep": names.keep},
        **{"alpha_column": names.alpha, "k_column": names.k, "weight": names.weight},
        **{"nan": asked.nan, "column": asked.column, "reduction": asked.reduction},
        "sort_groups": job.sort_groups,
        **{"from_format": job.from_format, "to_format": job.to_format, "dialect": job.dialect},
    }
    return {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value) for name, value in given.items()
    }
