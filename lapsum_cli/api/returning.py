"""A query that is in two shards of a data set, told from two whose 64 bits are the same by what they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ..devices import machine
from ..flow.giant import over
from ..flow.process import memory_size
from ..formats.files import Part
from ..tables.groups import key_hashes, run_starts
from ..tables.groupsfile import Run, mixed, returned
from ..tables.keys import comparable
from ..tables.long import Long
from .job import Job, Shard

_OF_A_LOOK = 240 << 20  # bytes of memory for each thread that looks for groups in two files


def by_threads(job: Job) -> Run:
    """Who looks for groups in two files (groupsfile.twice) in this process: as many threads as its memory allows."""
    threads = min(job.threads or machine.cores(), memory_size(job.memory) // _OF_A_LOOK)
    return partial(over, threads=max(1, threads))


class Twice(NamedTuple):
    """A group by its name, and where it begins for the first time, and again."""

    name: str
    first: str
    again: str


def returned_group(
    job: Job, parts: Sequence[Sequence[Part]], kept: Sequence[str], twice: Sequence[Any]
) -> Twice | None:
    """A group that two shards have, or None. parts: what the shards read; kept: the files of their groups; twice: what
    may be in two of these (groupsfile.twice).
    """
    for found in returned(kept, twice):
        seen: dict[str, str] = {}
        for i in found.files:
            for name, place in _places(job, parts[i], found.group):
                if name in seen:
                    return Twice(name, seen[name], place)
                seen[name] = place
    return None


def _places(job: Job, parts: Sequence[Part], group: int | None) -> Iterator[tuple[str, str]]:
    """The names of the groups of a shard with these 64 bits, and where they begin."""
    with job.opened(Shard(parts, None)) as (source, table, _, _):
        layout, previous = table.layout, None
        assert isinstance(layout, Long)
        for chunk in source.chunks():
            keys = [comparable(chunk.batch.column(name)) for name in layout.group]
            starts = run_starts(keys, previous)
            previous = [key[-1:] for key in keys]
            for row in map(int, starts[_is_group(group, [key.take(pa.array(starts)) for key in keys])]):
                yield layout.key(chunk.batch, row), layout.where(chunk, row)


def _is_group(group: int | None, keys: list[pa.Array]) -> np.ndarray:
    """Which of some groups have these 64 bits, or are null."""
    hashes, is_null = key_hashes(keys)
    if group is None:
        return is_null
    which = np.zeros(len(is_null), bool)
    which[~is_null] = mixed(hashes) == np.uint64(group)
    return which
