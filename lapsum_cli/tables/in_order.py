"""Results that come in any order, each with the number of its row, written in the order of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
import pyarrow as pa

from ..flow.spill import BITS, Buckets
from ..formats.plain import plain_schema
from ..formats.sinks import Sink
from .results import Table


class Numbers(Protocol):
    """What is known of numbers: the column that has them, and whether results stand beside the rows of the input."""

    place: str
    keeps_columns: bool


class Waited(Protocol):
    """Where results come from (gather.Gathered): how many rows there are, and room for what waits."""

    folder: str | None
    count: int

    @property
    def numbered(self) -> Numbers:
        """The numbers of its rows."""

    def bytes_waiting(self) -> int:
        """Bytes for it."""

    def waited(self) -> Iterator[pa.RecordBatch] | None:
        """The rows of the input, in order, where results stand beside them."""


def in_order(
    part: Iterator[pa.RecordBatch], is_one: bool, key: Callable[[pa.Table], np.ndarray]
) -> Iterator[pa.RecordBatch]:
    """The rows of a part in ascending order of a key, equal ones as they came; as they came where all have one."""
    if is_one:
        yield from part
    elif batches := list(part):
        table = pa.Table.from_batches(batches).combine_chunks()
        del batches
        yield from table.take(pa.array(np.argsort(key(table), kind="stable"))).combine_chunks().to_batches()


def waiting(table: Table, numbered: Numbers) -> list[str]:
    """The columns of a result that have to wait: what is new, where the rows of the input are read again."""
    return table.results if numbered.keeps_columns else table.schema.names


def put_aside(rows: pa.Table, numbered: Numbers, names: list[str]) -> list[pa.RecordBatch]:
    """What has to wait of some results: the columns of these names, and the numbers of their rows."""
    batches: list[pa.RecordBatch] = rows.select([*names, numbered.place]).combine_chunks().to_batches()
    return batches


class InOrder(Sink):
    """Takes the results of gathered rows, and writes them in the input's order to `out`, as the table has them."""

    def __init__(self, source: Waited, out: Sink, table: Table):
        self.source, self.out, self.schema = source, out, table.schema
        self.names = waiting(table, source.numbered)
        self.buckets: Buckets | None = None

    def write(self, table: pa.Table) -> None:
        """Put some results aside."""
        if self.buckets is None:
            self.share = self.source.bytes_waiting()
            shift = self.source.count.bit_length() - BITS
            self.buckets = Buckets(self.share // 3, self.source.folder, self.source.numbered.place, shift)
        for batch in put_aside(table, self.source.numbered, self.names):
            self.buckets.add(batch)

    def close(self, metadata: Mapping[str, object]) -> None:
        """Write all that was put aside, and close the output."""
        waited, place = self.source.waited(), self.source.numbered.place
        beside = None if waited is None else _Rows(waited)
        for part, is_one in self.buckets.parts(self.share // 3) if self.buckets else ():
            for results in in_order(part, is_one, self._numbers):
                numbers = self._numbers(results)
                results = results.drop_columns([place])
                tables = beside.with_results(numbers, results) if beside else [pa.Table.from_batches([results])]
                for table in tables:
                    self.out.write(table.cast(plain_schema(self.schema)).replace_schema_metadata(self.schema.metadata))
        self.out.close(metadata)

    def _numbers(self, rows: pa.Table | pa.RecordBatch) -> np.ndarray:
        return np.asarray(rows.column(self.source.numbered.place))

    def abandon(self) -> None:
        """Let go of everything."""
        self.out.abandon()


class _Rows:
    """The rows of the input, in order, for results that come with the numbers of theirs."""

    def __init__(self, batches: Iterator[pa.RecordBatch]):
        self.batches, self.first = batches, 0
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
