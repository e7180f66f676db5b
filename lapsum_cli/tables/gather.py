"""A long table in any order: the rows of a ranking are brought together, and the results back into the input's order.

Three passes, of which the spine sees the second alone. The rows are read, and those columns that the operation needs go
into buckets by a hash of their group, with the row's number. Each bucket, sorted by group, goes through the spine; its
results go into buckets by row number. These, sorted, meet the rows again. What waits is in memory while it fits, and in
temporary files else (flow/spill.py): every row is then written and read once, its needed columns twice.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import DataError, OptionError
from ..flow.budget import Budget
from ..flow.spill import BITS, Buckets, Waiting
from ..formats.sinks import Sink
from ..formats.sources import Chunk, Sources
from ..formats.temporary import temporary_place
from .groups import run_starts
from .hashes import hashes
from .in_order import InOrder, in_order
from .keys import comparable
from .layout import Layout
from .long import Long
from .results import Table


class _Unchecked:
    """Groups of which none can return, for a reader that keeps those that have ended."""

    def __init__(self) -> None:
        self.previous: list[pa.Array] | None = None
        self.closed = self

    def add(self, keys: list[pa.Array]) -> None:
        """Nothing is kept."""


class Together(Long):
    """The layout of gathered rows, which know their place in the input."""

    def __init__(self, layout: Long, source: Gathered):
        super().__init__(layout.score, layout.group, layout.names)
        self.row, self.source = source.numbered.row, source
        self.keys = (*layout.group, source.numbered.place)

    def seen(self, limit: int) -> Any:
        return _Unchecked()

    def where(self, chunk: Chunk, row: int) -> str:
        return self.source.where(chunk.batch.column(self.row)[row].as_py())


class Numbered:
    """The columns that an operation needs of a table, and what tells rows apart once they have left their places.

    row, key  what the columns of a row's number and of its group's hash are called
    place     that of the number by which results are put in order: its own, or that of its ranking's first row
    """

    def __init__(self, source: Sources, table: Table):
        known = source.schema.names
        self.layout: Long = table.layout  # type: ignore[assignment]
        self.by_ranking = table.by_ranking
        self.needed = list(dict.fromkeys([*table.needed, *table.goes_along]))
        self.row, self.key, self.began = (_unlike(known, name) for name in ("row", "hash", "began"))
        numbers = [self.row, self.began] if self.by_ranking else [self.row]
        self.place = numbers[-1]
        fields = [source.schema.field(name) for name in self.needed]
        self.schema = pa.schema([*fields, *(pa.field(name, pa.int64()) for name in numbers)], source.schema.metadata)
        self.keeps_columns = table.keeps_columns and not self.by_ranking

    def of(self, batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
        """What is needed of a batch of the input, whose first row has this number."""
        numbers = pa.array(np.arange(first, first + batch.num_rows))
        keys = pa.array(hashes(self.groups(batch)))
        columns = [batch.column(name) for name in self.needed]
        return pa.record_batch([*columns, numbers, keys], [*self.needed, self.row, self.key])

    def groups(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """The groups of rows, in comparable form."""
        return [comparable(batch.column(name)) for name in self.layout.group]

    def keys(self, rows: pa.Table | pa.RecordBatch) -> np.ndarray:
        """The hashes of their groups."""
        return np.asarray(rows.column(self.key))


class Gathered:
    """A source of which the rows of each group come together, in the input's order among themselves.

    Of the columns only those that `table` needs are left, and the number of the row (from 0) in one more.
    """

    is_array = False
    bits = 0  # of a hash, from the highest on, that all rows have in common

    def __init__(
        self, source: Sources, table: Table, budget: Budget, folder: str | None, told: Callable[[float | None], None]
    ):
        self.source, self.budget, self.numbered = source, budget, Numbered(source, table)
        self.schema = self.numbered.schema
        self.rows, self.first, self.read = source.rows, source.first, source.read
        self.folder, self.told = folder, told
        self.files: list[tuple[int, str]] = []  # the number of the first row of each, and its name
        self.waiting: Waiting | None = None
        self.count = 0

    def share(self, rows: int) -> float | None:
        """How much of the work is done with the first so many gathered rows: half of it was to gather them."""
        return self.source.share(0) if not rows else (1 + rows / self.count) / 2

    def bytes_waiting(self) -> int:
        """Bytes for what waits before the spine, and as many for what waits behind it. A third of them is for a part:
        it is there in three copies while it is sorted.
        """
        return self.budget.lend() // 2

    def where(self, number: int) -> str:
        """The place of a row in the input, for a message."""
        first, name = self.files[bisect.bisect_right(self.files, number, key=lambda known: known[0]) - 1]
        return f"{name}, row {number - first + 1}"

    def waited(self) -> Iterator[pa.RecordBatch] | None:
        """The rows of the input, in order, where results stand beside them."""
        return self.waiting.take() if self.waiting is not None else None

    def chunks(self) -> Iterator[Chunk]:
        """All rows, once: group by group."""
        share = self.bytes_waiting()
        # The spine does not run yet: its share of the budget is theirs as well.
        buckets = Buckets(share, self.folder, self.numbered.key, 64 - BITS - self.bits)
        for batch in self.parted(share):
            buckets.add(batch)
        for part, is_one in buckets.parts(share // 3):
            for batch in self._together(part, is_one):
                step = max(1, batch.num_rows * self.budget.chunk // max(batch.nbytes, 1))
                for start in range(0, batch.num_rows, step):
                    yield Chunk(batch.slice(start, step), self.first.name, 0)
                del batch

    def parted(self, share: int) -> Iterator[pa.RecordBatch]:
        """What is needed of all rows; they are put aside meanwhile, where results stand beside them."""
        if self.numbered.keeps_columns:
            self.waiting = Waiting(share // 2, self.folder)
        for chunk in self.source.chunks():
            if chunk.row == 1:
                self.files.append((self.count, chunk.file))
            if self.waiting is not None:
                self.waiting.add(chunk.batch)
            first = self.count
            self.count += chunk.batch.num_rows
            part = self.source.share(self.count)
            self.told(None if part is None else part / 2)
            yield self.numbered.of(chunk.batch, first)

    def _together(self, part: Iterator[pa.RecordBatch], is_one: bool) -> Iterator[pa.RecordBatch]:
        """The rows of a part, those of a group together: by their hash, unless two groups share it."""
        previous, last, began = None, None, 0
        numbered = self.numbered
        for batch in in_order(part, is_one, numbered.keys):
            columns, keys = numbered.groups(batch), numbered.keys(batch)
            starts = run_starts(columns, previous)
            if len(starts) > np.count_nonzero(keys[1:] != keys[:-1]) + (last is None or last != keys[0]):
                if is_one or previous is not None:
                    raise DataError("two groups share a hash, and are too many rows to tell apart; sort by them first")
                batch = batch.take(pa.array(np.argsort(codes_of(columns), kind="stable")))
                columns = numbered.groups(batch)
                starts = run_starts(columns, previous)
            if numbered.by_ranking:
                firsts = np.append(began, np.asarray(batch.column(numbered.row))[starts])
                lengths = np.diff(np.concatenate([[0], starts, [batch.num_rows]]))
                batch = batch.append_column(numbered.began, pa.array(np.repeat(firsts, lengths)))
                began = int(firsts[-1])
            previous, last = [column[-1:] for column in columns], keys[-1]
            yield batch.select(self.schema.names)


def codes_of(columns: list[pa.Array]) -> np.ndarray:
    """(n,) int64 from 0 for rows of columns in comparable form, equal where all are, numbered as they come first."""
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        encoded = pc.dictionary_encode(column, null_encoding="encode")
        codes = codes * (len(encoded.dictionary) + 1) + np.asarray(encoded.indices)
        encoded = pc.dictionary_encode(pa.array(codes))  # small again, so that no product overflows
        codes = np.asarray(encoded.indices).astype(np.int64)
    return codes


def _unlike(known: list[str], name: str) -> str:
    """The name, made another until none has it."""
    while name in known:
        name = f"{name}'"
    return name


def gathered(
    source: Sources,
    table: Table,
    out: Sink,
    budget: Budget,
    folder: str | None,
    told: Callable[[float | None], None] = lambda share: None,
) -> tuple[Gathered, Table, Sink]:
    """The source, table and sink with which the spine works on rows in any order, in place of those for sorted ones.

    folder: where temporary files go, by default the system's. told: how much is done, while rows are gathered.
    """
    refuse_without_group(table.layout)
    temporary_place(folder)  # refused before anything is read
    made = Gathered(source, table, budget, folder, told)
    inner = inner_table(table, made)
    if made.numbered.place not in inner.schema.names:  # a single row, of all
        return made, inner, out
    return made, inner, InOrder(made, out, table)


def inner_table(table: Table, made: Gathered) -> Table:
    """What an operation makes of gathered rows."""
    return type(table)(table.operation, Together(table.layout, made), made, table.asked, table.on)  # type: ignore[arg-type]


def refuse_without_group(layout: Layout) -> None:
    """OptionError where rows cannot be brought together."""
    if layout.closes_with_row or not isinstance(layout, Long) or not layout.group:
        raise OptionError(
            "⟨sort_groups=True⟩ is for a table with a row for each item and a ⟨group⟩ that tells rankings apart"
        )
