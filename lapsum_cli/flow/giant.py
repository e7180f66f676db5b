"""One ranking that no budget holds: its rows are read again for every pass, from the input or from a temporary file."""

from __future__ import annotations

import math
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from ..core.errors import RankingTooLarge
from ..core.stored import added, put_away, put_down
from ..formats.faults import writing
from ..formats.sources import Chunk
from ..formats.temporary import temporary_place
from .ahead import ahead
from .batching import Batch
from .budget import Budget, in_mib
from .shelves import LEAST, Column, Shelves, refuse_without_space

_OF_STORES = 0.4  # of the budget, for what waits in stores
FILLED = 0.7  # of a band, on average
_MOST_BANDS = 60_000


class Again(Protocol):
    """Rows that can be read as often as one likes. sizes: of the chunks of all columns, once they are known."""

    sizes: list[int] | None

    def chunks(self, names: Sequence[str] | None) -> Iterator[Chunk]:
        """All of them: these columns alone, or all."""


class Spool:
    """Rows in a temporary file, which goes with the process."""

    def __init__(self, folder: str | None):
        self.name = f"a temporary file in {temporary_place(folder)}"
        with writing(self.name):
            self.file = tempfile.TemporaryFile(dir=folder, prefix="lapsum-")  # noqa: SIM115  ends with this object
        self.writer: Any = None
        self.places: list[tuple[str, int]] = []  # the file of each chunk, and its first row there
        self.sizes: list[int] | None = []

    def add(self, chunk: Chunk) -> None:
        """Some more rows."""
        with writing(self.name):
            if self.writer is None:
                self.schema = chunk.batch.schema
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self.writer = pa.ipc.new_file(pa.PythonFile(self.file, "w"), chunk.batch.schema, options=options)
            self.writer.write_batch(chunk.batch)
        self.places.append((chunk.file, chunk.row))
        if self.sizes is not None:
            self.sizes.append(chunk.batch.num_rows)

    def end(self) -> None:
        """There are no more."""
        with writing(self.name):
            self.writer.close()
            self.file.flush()

    def chunks(self, names: Sequence[str] | None) -> Iterator[Chunk]:
        """As Again has it."""
        options = pa.ipc.IpcReadOptions()
        if names is not None:
            options.included_fields = [self.schema.get_field_index(name) for name in names]
        with writing(self.name):
            reader = pa.ipc.open_file(pa.PythonFile(self.file, "r"), options=options)
        for i, (file, row) in enumerate(self.places):
            with writing(self.name):
                batch = reader.get_batch(i)
            batch = batch if names is None else batch.select(names)
            yield Chunk(batch, file, row)
            del batch

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


class Giant:
    """A ranking that outgrows the budget, all of which is its own until it is done.

    name        for a message
    rows        those that can be read again
    ends_input  whether the input has no other ranking, and is not read on
    cost        bytes of the budget that it gives back
    needed      the columns that are computed with
    """

    def __init__(self, name: str, rows: Again, ends_input: bool, cost: int, needed: Sequence[str]):
        self.name, self.rows, self.ends_input, self.cost, self.needed = name, rows, ends_input, cost, needed

    def batches(self, whole: bool) -> Iterator[Batch]:
        """Its rows, once, in pieces: whole rows, or what is computed with. Pieces have the same rows every time."""
        first, sizes, seen = 0, self.rows.sizes, []
        chunks = self.rows.chunks(None if whole or sizes is None else self.needed)
        for piece in ([chunk] for chunk in chunks) if sizes is None else _cut(chunks, sizes):
            rows = sum(chunk.batch.num_rows for chunk in piece)
            yield Batch(piece, np.zeros(1, np.int64), 0, first=first)
            del piece
            seen.append(rows)
            first += rows
        self.rows.sizes = seen


def in_pieces(chunks: Iterable[Chunk], rows: int, first: int) -> Iterator[Batch]:
    """The rows of chunks in pieces of so many, but for the last. first: how many came before."""
    held: list[Chunk] = []
    count = 0
    for chunk in chunks:
        while chunk.batch.num_rows:
            taken = min(rows - count, chunk.batch.num_rows)
            held.append(chunk.slice(0, taken))
            count, chunk = count + taken, chunk.slice(taken, chunk.batch.num_rows)
            if count == rows:
                yield Batch(held, np.zeros(1, np.int64), 0, first=first)
                held, count, first = [], 0, first + rows
    if held:
        yield Batch(held, np.zeros(1, np.int64), 0, first=first)


def _cut(chunks: Iterator[Chunk], sizes: list[int]) -> Iterator[list[Chunk]]:
    """The rows of chunks in pieces of these sizes: how long chunks are depends on how many columns are read."""
    rest = next(chunks, None)
    for size in sizes:
        piece: list[Chunk] = []
        while rest is not None and size:
            rows = min(size, rest.batch.num_rows)
            piece.append(rest.slice(0, rows))
            size -= rows
            rest = rest.slice(rows, rest.batch.num_rows) if rows < rest.batch.num_rows else next(chunks, None)
        yield piece
    while rest is not None:  # a file that has grown, which its end says
        rest = next(chunks, None)


def over(function: Callable[[Any], Any], items: Iterable, threads: int) -> Iterator[Any]:
    """What the function returns for every item, in their order: so many are at work while the next is made."""
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                del item
                while len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def most_bands(size: int, stores: int) -> int:
    """For how many bands, of which each has a little that waits in so many stores, there is room in a budget."""
    return int(min(_MOST_BANDS, size * _OF_STORES / (LEAST * stores)))


class Pieces:
    """A giant's scores, for passes over all of them (operations.giant_ranking.Pieces).

    rankings  what a table makes of a batch of rows; say: who is told what will be on the disk
    passes    who is told in which pass how many rows are done, of how many, None in the first
    """

    def __init__(
        self,
        giant: Giant,
        rankings: Callable[[Batch], Any],
        budget: Budget,
        threads: int,
        folder: str | None,
        say: Callable[[str], None],
        passes: Callable[[int, int, int | None], None],
    ):
        self.giant, self.rankings, self.budget, self.passes, self.number = giant, rankings, budget, passes, 0
        self.threads, self.folder, self.say = max(1, threads), folder, say

    def of_parts(self, function: Callable[[int, Any], Any]) -> Iterator[Any]:
        """What function(first, rankings) returns for every piece, in order; first: rows that came before."""
        total = sum(self.giant.rows.sizes) if self.number and self.giant.rows.sizes else None
        self.number, rows = self.number + 1, 0
        batches = self.batches(whole=False)
        for count, found in self.over(lambda batch: (batch.rows, function(batch.first, self.rankings(batch))), batches):
            rows += count
            self.passes(self.number, rows, total)
            yield found

    def batches(self, whole: bool = True) -> Iterator[Batch]:
        """The rows, once, read ahead of who asks: whole ones, or what is computed with."""
        return ahead(self.giant.batches(whole), self.budget)

    def over(self, function: Callable[[Any], Any], items: Iterable) -> Iterator[Any]:
        """As above."""
        return over(function, items, self.threads)

    def parted(self, function: Callable[[int, Any], Any], stores: Sequence[Any]) -> tuple[Any, ...]:
        """What the function tells of all pieces, added; its rows go to the stores."""
        return added(put_away(apart, stores) for apart in self.of_parts(function))

    def filled(self, column: Any, look: Callable[[int, Any], Any], give: Callable[[Any], Any]) -> None:
        """What is looked up for pieces side by side, and given one after another, in its place."""
        for first, looked in self.of_parts(lambda first, rankings: (first, look(first, rankings))):
            column.put(first, give(looked))

    def kept(self, function: Callable[[int], Any], rows: Sequence[int], stores: Sequence[Any]) -> Iterator[Any]:
        """What the function tells of rows; what it makes for them goes there."""
        return put_down(self.over(function, rows), rows, stores)

    def store(self, rows: int, dtype: Any, like: Any = None) -> Shelves:
        """Room on the disk, with a tenth of the budget for what waits to be written."""
        return Shelves(rows, dtype, self.folder, self.budget.size // 10)

    def column(self, dtype: Any) -> Column:
        """Room for a number for every score, on the disk."""
        return Column(dtype, self.folder)

    def room(self, bytes_each: int, share: float) -> int:
        """For how many numbers of so many bytes there is room in a share of the budget."""
        return max(1, int(self.budget.size * share) // bytes_each)

    def room_of_a_band(self, bytes_each: int, length: int, stores: int) -> int:
        """For how many scores of so many bytes there is room in a band, for every thread.

        Of every band a little waits in memory, in each of its stores: RankingTooLarge where bands are so many, or so
        small, that there is no room for that.
        """
        room = self.room(bytes_each * self.threads, 0.5)
        if length / (FILLED * room) <= most_bands(self.budget.size, stores):
            return room
        each = bytes_each * self.threads * 2 * length / FILLED
        wanted = max(math.sqrt(each * LEAST * stores / _OF_STORES), each / _MOST_BANDS)
        raise RankingTooLarge(
            f"{self.giant.name}: a ranking of {length} scores has too many bands for ⟨memory⟩; raise it to "
            f"{self.budget.memory_for(int(wanted))}MiB or more"
        )

    def will_spill(self, wanted: int) -> None:
        """Say that so many bytes will be in temporary files; IOFailed where the disk has no room for them."""
        refuse_without_space(self.giant.name, wanted, self.folder)
        self.say(
            f"{self.giant.name}: is larger than ⟨memory⟩; {in_mib(wanted)} MiB go to {temporary_place(self.folder)}"
        )
