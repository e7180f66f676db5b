"""Passes over one ranking in many files, as tasks of an engine: each of a file, or of some rows of a store.

What a pass tells is small, and meets in the process that asked. What it makes for every score lies in files beside the
results (flow/laid.py) until all is done.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import RankingTooLarge
from ..core.stored import added, put_away, put_down
from ..devices import machine
from ..flow.batching import Batch
from ..flow.budget import Budget
from ..flow.giant import FILLED, in_pieces, most_bands, over
from ..flow.laid import ByFile, ByRows, ColumnByFile, Here
from ..flow.process import LOADED, RESERVE, memory_budget, memory_size, returning_memory, settle
from ..flow.shelves import Column, Shelves, refuse_without_space
from ..formats.files import Part
from ..formats.places import place_at
from ..stream import Silent
from .job import Job, Shard

ROWS = 1 << 17  # of a piece, whoever computes it: then all engines add up the same sums
_BANDS = 400  # where memory does not ask for more: then all engines have the same
_TASKS = 4  # of bands, for a worker: one takes longer than another


class Shared(NamedTuple):
    """Where tasks leave what they make for each other, and how many there are at a time, with the memory and threads
    of each.
    """

    folder: str
    workers: int
    memory: int
    threads: int


@dataclass
class _Pass:
    """A pass over a file: which of them it is, and how many rows come before it."""

    number: int
    part: Part
    first: int

    def __str__(self) -> str:
        return self.part.path


class _Rows(NamedTuple):
    """Rows of stores: which of the ranges of them, from where to where, and those of which there is something."""

    number: int
    first: int
    stop: int
    items: list[int]

    def __str__(self) -> str:
        return f"bands {self.first} .. {self.stop} of one ranking"


class _Told(Silent):
    """Who is told how far a pass is: by the tasks, where they run in this process, and when each is finished."""

    def __init__(self, words: Silent):
        self.words, self.number, self.done = words, 0, 0
        self.total: int | None = None

    def begin(self) -> None:
        """Another pass."""
        self.total = self.done if self.number else None
        self.number, self.done = self.number + 1, 0

    def progress(self, rows: int, total: int | None) -> None:
        """So many rows of a file."""
        self.words.passes(self.number, self.done + rows, self.total)

    def finished(self, rows: int) -> None:
        """All rows of a file, which are so many."""
        self.done += rows
        self.progress(0, None)


class Files:
    """The ranking, as operations.giant_ranking.Pieces has it.

    run      (task, shards) -> what comes of each, as they are finished: an engine's
    parts    its files
    shared   what the tasks share
    memory   of the process that asks; words: who is told by it
    """

    threads = 1

    def __init__(
        self,
        run: Callable[[Any, Any], Iterable[Any]],
        job: Job,
        parts: list[Part],
        shared: Shared,
        memory: int,
        words: Silent,
    ):
        self.run, self.shared, self.words = run, shared, words
        self.told = _Told(words)
        self.job = job if type(job.words) is Silent else replace(job, words=self.told)
        self.passes = [_Pass(i, part, 0) for i, part in enumerate(parts)]
        self.size = max(Budget.LEAST, int(Budget.SHARE * (memory - machine.resident())))
        self.made = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Tasks get none of it."""
        return type(None), ()

    def of_parts(self, function: Callable[[int, Any], Any]) -> Iterator[Any]:
        """As giant_ranking.Pieces has it: every file is a task, whose pieces are side by side."""
        for found in self._pass(_list, function):
            yield from found

    def parted(self, function: Callable[[int, Any], Any], stores: Sequence[ByFile]) -> tuple[Any, ...]:
        """As giant_ranking.Pieces has it: each file puts its rows into files of its own."""
        return added(told for told in self._pass(_put_away, (function, stores)) if told)

    def filled(self, column: Any, look: Callable[[int, Any], Any], give: Callable[[Any], Any]) -> None:
        """As giant_ranking.Pieces has it: `give` goes through each file apart from the others."""
        list(self._pass(_fill, (column, look, give)))

    def _pass(self, act: Callable[..., Any], asked: Any) -> Iterator[Any]:
        """What an act makes of every file, in their order."""
        found: dict[int, Any] = {}
        rows = np.zeros(len(self.passes), np.int64)
        self.told.begin()
        for number, count, result in self.run(partial(_over_file, self.job, act, packed(asked)), self.passes):
            found[number], rows[number] = result, count
            self.told.finished(count)
        for one, first in zip(self.passes, np.cumsum(rows) - rows, strict=True):
            one.first = int(first)
        return (found.pop(number) for number in range(len(self.passes)))

    def over(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """As giant_ranking.Pieces has it: here."""
        return map(function, items)

    def kept(self, function: Callable[[int], Any], rows: Sequence[int], stores: Sequence[ByRows]) -> Iterator[Any]:
        """As giant_ranking.Pieces has it: some rows are a task."""
        ranges = list(itertools.pairwise(stores[0].bounds))
        tasks = [_Rows(i, *ends, [row for row in rows if ends[0] <= row < ends[1]]) for i, ends in enumerate(ranges)]
        told: dict[int, Any] = {}
        for found in self.run(partial(_over_rows, self.job, packed((function, stores))), tasks):
            told |= found
        return (told[row] for row in rows)

    def store(self, rows: int, dtype: Any, like: ByFile | None = None) -> ByFile | ByRows:
        """As giant_ranking.Pieces has it: files of every file of the ranking; of what is like these, of some rows
        each.
        """
        path, dtype = self._path(), np.dtype(dtype)
        if like is None:
            return ByFile(path, dtype, len(self.passes), rows=rows)
        count = min(rows, _TASKS * self.shared.workers)
        bounds = [i * rows // count for i in range(count + 1)]
        return ByRows(path, dtype, count, like=like, bounds=bounds)

    def column(self, dtype: Any) -> Any:
        """As giant_ranking.Pieces has it."""
        return ColumnByFile(self._path(), np.dtype(dtype), len(self.passes))

    def _path(self) -> str:
        place_at(self.shared.folder).make_folders(self.shared.folder)
        self.made += 1
        return os.path.join(self.shared.folder, f"{self.made:02}")

    def room(self, bytes_each: int, share: float) -> int:
        """As giant_ranking.Pieces has it, of the process that asks."""
        return max(1, int(self.size * share) // bytes_each)

    def room_of_a_band(self, bytes_each: int, length: int, stores: int) -> int:
        """As giant_ranking.Pieces has it, of a task; as many as any has room for where that does."""
        used = RESERVE + max(LOADED, machine.resident())
        size = max(Budget.LEAST, int(Budget.SHARE * (self.shared.memory - used)))
        fits = max(1, size // 2 // (bytes_each * self.shared.threads))
        room = min(fits, max(ROWS, -(-length // _BANDS)))
        most = most_bands(size, stores // 2)  # of which a task has those that it writes, or those that it reads
        if (count := int(length / (FILLED * room))) > most:
            raise RankingTooLarge(
                f"{self.passes[0]}: {length} scores have {count} bands, and ⟨memory⟩ of a task has room for {most}; "
                "raise it, or pass fewer ⟨threads⟩"
            )
        return room

    def will_spill(self, wanted: int) -> None:
        """As giant_ranking.Pieces has it: they go to a folder of the output."""
        folder = self.shared.folder
        if place_at(folder).appends:
            refuse_without_space(str(self.passes[0]), wanted, os.path.dirname(folder))
        self.words.say(f"all files are one ranking; {wanted >> 20} MiB go to {folder} until they are finished")


def packed(asked: Any) -> bytes:
    """Functions within others, for another process. Kernels go by their names: else they would be compiled there. And
    stores are those of the task that has them.
    """
    from numba import cloudpickle
    from numba.core.dispatcher import Dispatcher

    class Pickler(cloudpickle.Pickler):
        def persistent_id(self, one: Any) -> Any:
            return one if isinstance(one, ByFile | ByRows | ColumnByFile) else None

        def reducer_override(self, one: Any) -> Any:
            if isinstance(one, Dispatcher):
                return _kernel, (one.py_func.__module__, one.py_func.__name__)
            return super().reducer_override(one)

    with io.BytesIO() as file:
        Pickler(file).dump(asked)
        return file.getvalue()


def _kernel(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def unpacked(given: bytes, here: Here) -> Any:
    """The same, in a task."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, one: Any) -> Any:
            return one.at(here)

    return Unpickler(io.BytesIO(given)).load()


def _over_file(job: Job, act: Callable[..., Any], given: bytes, one: _Pass) -> tuple[int, int, Any]:
    """What an act makes of a file, with how many rows that has."""
    rows = 0
    with job.opened(Shard([one.part], None)) as (source, table, _, budget), contextlib.closing(budget):
        settle(budget, table.on.batch)
        here = Here(one.number, one.first, room=budget.size // 10, temp_dir=job.temp_dir)

        def counted() -> Iterator[Batch]:
            nonlocal rows
            for batch in in_pieces(source.chunks(table.needed), ROWS, one.first):
                rows += batch.rows
                yield batch
                job.words.progress(rows, None)

        def of_pieces(function: Callable[[int, Any], Any]) -> Iterator[Any]:
            return over(lambda batch: function(batch.first, table.rankings(batch)), counted(), table.asked.threads)

        made = act(unpacked(given, here), of_pieces, here)
    return one.number, rows, made


def _list(function: Any, of_pieces: Any, here: Here) -> list[Any]:
    return list(of_pieces(function))


def _put_away(asked: Any, of_pieces: Any, here: Here) -> tuple[Any, ...]:
    """What is told of a file, added; its rows in files of stores."""
    function, stores = asked
    shelves = [Shelves(store.rows, store.dtype, here.temp_dir, here.room) for store in stores]
    ties = np.zeros(stores[0].rows, np.int64)

    def told() -> Iterator[tuple[Any, ...]]:
        for apart in of_pieces(function):
            np.add(ties, apart.ties, out=ties)
            yield put_away(apart, shelves)

    total = added(told())
    for store, shelf in zip(stores, shelves, strict=True):
        store.write(shelf, ties)
        shelf.close()
    return total


def _fill(asked: Any, of_pieces: Any, here: Here) -> None:
    """A file's part of a column: numbers of the last piece end it."""
    column, look, give = asked
    made, end = Column(column.dtype, here.temp_dir), 0
    for first, looked in of_pieces(lambda first, rankings: (first, look(first, rankings))):
        values = give(looked)
        made.put(first - here.before, values)
        end = first - here.before + len(values)
    column.write(made, end)
    made.close()


def _over_rows(job: Job, given: bytes, some: _Rows) -> dict[int, Any]:
    """What is told of each of some rows, which are made and put into files of stores."""
    size = memory_size(job.memory)
    with returning_memory(size), contextlib.closing(memory_budget(size)), contextlib.ExitStack() as opened:
        here = Here(rows=(some.first, some.stop), temp_dir=job.temp_dir)
        function, stores = unpacked(given, here)
        puts = [opened.enter_context(store.putting(some.number)) for store in stores]
        found = over(function, some.items, job.threads or machine.cores())
        return dict(zip(some.items, put_down(found, some.items, puts), strict=True))
