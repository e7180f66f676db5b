"""Tables in any order in several files, of which every ranking is brought together: a shuffle in three stages of tasks.

The rows of each file go into segments by a hash of their group, with the columns that the operation needs and a number.
Each segment of all these files goes through the spine, group by group, and its results into segments by the file of
their row. Each file of results reads those that are its own, in order, and its rows again. Whatever a task writes is a
file of its own (flow/segments.py), so that tasks run anywhere, and again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from ..core.errors import OptionError
from ..flow.budget import Budget
from ..flow.segments import MOST, Segments, segment_of
from ..formats.sinks import Sink
from ..formats.sources import Sources
from .gather import Gathered, Numbered
from .in_order import InOrder, put_aside, waiting
from .results import Table

ROWS = 40  # bits of a number that are the row in its file, from 0; those above are the file
BYTES = 64 << 20  # of the files, for a segment


def bits_of(files: Sequence[int]) -> int:
    """How many bits of a hash tell the segments of files of these sizes apart; OptionError for too many files."""
    if len(files) > MOST:
        raise OptionError(f"⟨sort_groups=True⟩ writes at most {MOST} files, and these are {len(files)}; join some")
    return min(12, max(2, (sum(files) // BYTES).bit_length()))


def scatter(source: Sources, table: Table, budget: Budget, file: int, to: BinaryIO, bits: int) -> int:
    """Write the segments of a file by the hash of their group; how many rows it has."""
    numbered, rows = Numbered(source, table), 0

    def number(batches: pa.Table) -> np.ndarray:
        return (numbered.keys(batches) >> np.uint64(64 - bits)).astype(np.uint16)

    out = Segments(to, budget.lend() // 3, number)
    for chunk in source.chunks():
        out.add(numbered.of(chunk.batch, (file << ROWS) + rows))
        rows += chunk.batch.num_rows
    out.close()
    return rows


class OfSegment(Gathered):
    """The rows of a segment of all files, those of each group together."""

    def __init__(self, source: Sources, table: Table, budget: Budget, folder: str | None, given: Any):
        """given: segment, bits, paths, names: which it is, of how many, in which files, of which inputs."""
        super().__init__(source, table, budget, folder, lambda share: None)
        self.segment, self.bits, self.paths, names = given
        self.rows, self.read = None, []
        self.files = [(file << ROWS, name) for file, name in enumerate(names)]

    def share(self, rows: int) -> float | None:
        return rows / self.count if self.count else 0.0

    def parted(self, share: int) -> Iterator[pa.RecordBatch]:
        for path in self.paths:
            for batch in segment_of(path, self.segment):
                self.count += batch.num_rows
                yield batch


class ByFile(Sink):
    """Takes the results of gathered rows, and writes them into segments by the file of their row."""

    def __init__(self, source: OfSegment, to: BinaryIO, table: Table):
        self.numbered, self.names = source.numbered, waiting(table, source.numbered)
        self.out = Segments(to, source.bytes_waiting() // 3, self._file)

    def _file(self, rows: pa.Table) -> np.ndarray:
        return (np.asarray(rows.column(self.numbered.place)) >> ROWS).astype(np.uint16)

    def write(self, table: pa.Table) -> None:
        for batch in put_aside(table, self.numbered, self.names):
            self.out.add(batch)

    def close(self, metadata: Mapping[str, object]) -> None:
        self.out.close()

    def abandon(self) -> None:
        """The file is not to be."""


class Returned:
    """A file to which its results return, as in_order.Waited has it."""

    def __init__(self, source: Sources, table: Table, budget: Budget, folder: str | None, rows: int):
        self.source, self.numbered, self.budget = source, Numbered(source, table), budget
        self.folder, self.count = folder, rows

    def bytes_waiting(self) -> int:
        """Bytes for what waits."""
        return self.budget.lend() // 2

    def waited(self) -> Iterator[pa.RecordBatch] | None:
        """Its rows, in order, where results stand beside them."""
        if not self.numbered.keeps_columns:
            return None
        return (chunk.batch for chunk in self.source.chunks())


def put_back(
    returned: Returned, table: Table, out: Sink, file: int, paths: Sequence[str], how: Mapping[str, object]
) -> int:
    """Write what all segments have for a file, in the order of its rows; how many rows that is."""
    counted = _Counted(out)
    in_order, place = InOrder(returned, counted, table), returned.numbered.place
    try:
        for path in paths:
            for batch in segment_of(path, file):
                own = np.asarray(batch.column(place)) - (file << ROWS)
                at = batch.schema.get_field_index(place)
                in_order.write(pa.Table.from_batches([batch.set_column(at, place, pa.array(own))]))
        in_order.close(how)
    except BaseException:
        in_order.abandon()
        raise
    return counted.rows


class _Counted(Sink):
    """Hands on to a sink, and counts."""

    def __init__(self, out: Sink):
        self.out, self.rows = out, 0

    def write(self, table: pa.Table) -> None:
        self.rows += len(table)
        self.out.write(table)

    def close(self, metadata: Mapping[str, object]) -> None:
        self.out.close(metadata)

    def abandon(self) -> None:
        self.out.abandon()
