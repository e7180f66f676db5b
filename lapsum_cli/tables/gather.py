"""A long table in any order: the rows of a ranking are brought together, and the results back into the input's order.

Three passes, of which the spine sees the second alone. The rows are read, and those columns that the operation needs go
into buckets by a hash of their group, with the row's number. Each bucket, sorted by group, goes through the spine; its
results go into buckets by row number. These, sorted, meet the rows again. What waits is in memory while it fits, and in
temporary files else (flow/spill.py): every row is then written and read once, its needed columns twice.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import DataError, OptionError
from ..flow.budget import Budget
from ..flow.spill import BITS, Buckets, Waiting
from ..formats.plain import plain_schema
from ..formats.sinks import Sink
from ..formats.sources import Chunk, Sources
from ..formats.temporary import temporary_place
from .groups import run_starts
from .hashes import hashes
from .keys import comparable
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
        self.row, self.source = source.row, source
        self.keys = (*layout.group, source.place)

    def seen(self, limit: int) -> Any:
        return _Unchecked()

    def where(self, chunk: Chunk, row: int) -> str:
        return self.source.where(chunk.batch.column(self.row)[row].as_py())


class Gathered:
    """A source of which the rows of each group come together, in the input's order among themselves.

    Of the columns only those that `table` needs are left, and the number of the row (from 0) in one more.
    """

    is_array = False

    def __init__(
        self, source: Sources, table: Table, budget: Budget, folder: str | None, told: Callable[[float | None], None]
    ):
        self.source, self.budget, self.layout = source, budget, table.layout
        names, known = table.layout.names, source.schema.names
        beside = [*names.each.values(), *names.beside.values(), *filter(None, [table.asked.item])]
        self.by_ranking = table.by_ranking
        self.needed = list(dict.fromkeys([*table.layout.group, table.layout.score, *beside, *table.goes_along]))  # type: ignore[attr-defined]
        self.row, self.key, self.began = (_unlike(known, name) for name in ("row", "hash", "began"))
        fields = [source.schema.field(name) for name in self.needed]
        fields += [pa.field(name, pa.int64()) for name in self._numbers]
        self.schema = pa.schema(fields, source.schema.metadata)
        self.rows, self.first, self.read = source.rows, source.first, source.read
        self.folder, self.told = folder, told
        self.files: list[tuple[int, str]] = []  # the number of the first row of each, and its name
        self.waiting: Waiting | None = None
        self.keeps_columns = table.keeps_columns and not self.by_ranking
        self.count = 0

    @property
    def _numbers(self) -> list[str]:
        """The columns of numbers of rows: its own, and that of its ranking's first where rows are put by it."""
        return [self.row, self.began] if self.by_ranking else [self.row]

    @property
    def place(self) -> str:
        """The column of numbers by which results are put in order."""
        return self._numbers[-1]

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

    def chunks(self) -> Iterator[Chunk]:
        """All rows, once: group by group."""
        share = self.bytes_waiting()
        self.waiting = Waiting(share // 2, self.folder) if self.keeps_columns else None
        # The spine does not run yet: its share of the budget is theirs as well.
        buckets = Buckets(share, self.folder, self.key, 64 - BITS)
        for chunk in self.source.chunks():
            self._part(chunk, buckets)
        for part, is_one in buckets.parts(share // 3):
            for batch in self._together(part, is_one):
                step = max(1, batch.num_rows * self.budget.chunk // max(batch.nbytes, 1))
                for start in range(0, batch.num_rows, step):
                    yield Chunk(batch.slice(start, step), self.first.name, 0)
                del batch

    def _part(self, chunk: Chunk, buckets: Buckets) -> None:
        """Put the rows of a chunk aside, and what is needed of them into buckets."""
        batch, n = chunk.batch, chunk.batch.num_rows
        if chunk.row == 1:
            self.files.append((self.count, chunk.file))
        if self.waiting is not None:
            self.waiting.add(batch)
        numbers = pa.array(np.arange(self.count, self.count + n))
        keys = pa.array(hashes([comparable(batch.column(name)) for name in self.layout.group]))
        columns = [batch.column(name) for name in self.needed]
        self.count += n
        part = self.source.share(self.count)
        self.told(None if part is None else part / 2)
        buckets.add(pa.record_batch([*columns, numbers, keys], [*self.needed, self.row, self.key]))

    def _together(self, part: Iterator[pa.RecordBatch], is_one: bool) -> Iterator[pa.RecordBatch]:
        """The rows of a part, those of a group together: by their hash, unless two groups share it."""
        previous, last, began = None, None, 0
        for batch in _in_order(part, is_one, self._keys):
            columns, keys = self._groups(batch), self._keys(batch)
            starts = run_starts(columns, previous)
            if len(starts) > np.count_nonzero(keys[1:] != keys[:-1]) + (last is None or last != keys[0]):
                if is_one or previous is not None:
                    raise DataError("two groups share a hash, and are too many rows to tell apart; sort by them first")
                batch = batch.take(pa.array(np.argsort(codes_of(columns), kind="stable")))
                columns = self._groups(batch)
                starts = run_starts(columns, previous)
            if self.by_ranking:
                firsts = np.append(began, np.asarray(batch.column(self.row))[starts])
                lengths = np.diff(np.concatenate([[0], starts, [batch.num_rows]]))
                batch = batch.append_column(self.began, pa.array(np.repeat(firsts, lengths)))
                began = int(firsts[-1])
            previous, last = [column[-1:] for column in columns], keys[-1]
            yield batch.select(self.schema.names)

    def _groups(self, batch: pa.RecordBatch) -> list[pa.Array]:
        return [comparable(batch.column(name)) for name in self.layout.group]

    def _keys(self, rows: pa.Table | pa.RecordBatch) -> np.ndarray:
        return np.asarray(rows.column(self.key))


def _in_order(
    part: Iterator[pa.RecordBatch], is_one: bool, key: Callable[[pa.Table], np.ndarray]
) -> Iterator[pa.RecordBatch]:
    """The rows of a part in ascending order of a key, equal ones as they came; as they came where all have one."""
    if is_one:
        yield from part
    elif batches := list(part):
        table = pa.Table.from_batches(batches).combine_chunks()
        del batches
        yield from table.take(pa.array(np.argsort(key(table), kind="stable"))).combine_chunks().to_batches()


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


class InOrder(Sink):
    """Takes the results of gathered rows, and writes them in the input's order to `out`, which is of this schema."""

    def __init__(self, source: Gathered, out: Sink, schema: pa.Schema, results: list[str]):
        self.source, self.out, self.schema, self.results = source, out, schema, results
        self.buckets: Buckets | None = None

    def write(self, table: pa.Table) -> None:
        """Put some results aside."""
        if self.buckets is None:
            self.share = self.source.bytes_waiting()
            shift = self.source.count.bit_length() - BITS
            self.buckets = Buckets(self.share // 3, self.source.folder, self.source.place, shift)
        kept = self.results if self.source.keeps_columns else self.schema.names
        for batch in table.select([*kept, self.source.place]).combine_chunks().to_batches():
            self.buckets.add(batch)

    def close(self, metadata: Mapping[str, object]) -> None:
        """Write all that was put aside, and close the output."""
        beside = _Rows(self.source.waiting) if self.source.waiting is not None else None
        for part, is_one in self.buckets.parts(self.share // 3) if self.buckets else ():
            for results in _in_order(part, is_one, self._numbers):
                numbers = self._numbers(results)
                results = results.drop_columns([self.source.place])
                tables = beside.with_results(numbers, results) if beside else [pa.Table.from_batches([results])]
                for table in tables:
                    self.out.write(table.cast(plain_schema(self.schema)).replace_schema_metadata(self.schema.metadata))
        self.out.close(metadata)

    def _numbers(self, rows: pa.Table | pa.RecordBatch) -> np.ndarray:
        return np.asarray(rows.column(self.source.place))

    def abandon(self) -> None:
        """Let go of everything."""
        self.out.abandon()


class _Rows:
    """The rows of the input, in order, for results that come with the numbers of theirs."""

    def __init__(self, waiting: Waiting):
        self.batches, self.first = waiting.take(), 0
        self.current: pa.RecordBatch | None = None

    def with_results(self, numbers: np.ndarray, results: pa.RecordBatch) -> Iterator[pa.Table]:
        """The rows of these numbers (ascending) with their results beside them, a batch of the input at a time."""
        done = 0
        while done < len(numbers):
            while self.current is None or numbers[done] >= self.first + self.current.num_rows:
                self.first += self.current.num_rows if self.current is not None else 0
                self.current = next(self.batches)
            stop = int(np.searchsorted(numbers, self.first + self.current.num_rows))
            own = numbers[done:stop] - self.first
            together = int(own[-1]) - int(own[0]) + 1 == len(own)
            rows = self.current.slice(int(own[0]), len(own)) if together else self.current.take(pa.array(own))
            new = results.slice(done, stop - done)
            yield pa.table([*rows.columns, *new.columns], names=[*rows.schema.names, *new.schema.names])
            done = stop


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
    if table.layout.closes_with_row or not table.layout.group:
        raise OptionError(
            "⟨sort_groups=True⟩ is for a table with a row for each item and a ⟨group⟩ that tells rankings apart"
        )
    temporary_place(folder)  # refused before anything is read
    made = Gathered(source, table, budget, folder, told)
    inner = type(table)(table.operation, Together(table.layout, made), made, table.asked, table.on)  # type: ignore[arg-type]
    if made.place not in inner.schema.names:  # a single row, of all
        return made, inner, out
    return made, inner, InOrder(made, out, table.schema, inner.results)
