"""Row groups cut at places that depend on the rows alone, so that the same rows make the same file however they arrived."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from .sizes import cumulative_bytes

ROWS = 1 << 20
BYTES = 16 << 20  # a group is held twice while it is written, and `--memory` must hold it


class RowGroups:
    """Gathers tables into groups of ROWS rows, fewer when they reach BYTES."""

    def __init__(self):
        self.held: list[pa.RecordBatch] = []
        self.rows = self.bytes = 0

    def add(self, table: pa.Table) -> Iterator[pa.Table]:
        for batch in table.to_batches():
            sizes = cumulative_bytes(batch)
            start = 0
            while start < batch.num_rows:
                full = int(sizes.searchsorted(sizes[start] + BYTES - self.bytes))  # the row with which BYTES are reached
                stop = min(batch.num_rows, max(start + 1, full), start + ROWS - self.rows)
                self.held.append(batch.slice(start, stop - start))
                self.rows += stop - start
                self.bytes += int(sizes[stop] - sizes[start])
                start = stop
                if self.rows == ROWS or self.bytes >= BYTES:
                    yield from self.rest()

    def rest(self) -> Iterator[pa.Table]:
        if self.held:
            group = pa.Table.from_batches(self.held).combine_chunks()
            self.held, self.rows, self.bytes = [], 0, 0
            yield group
