"""Row groups cut at places that depend on the rows alone, so that the same rows make the same file however they arrived."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from .sizes import cumulative_bytes

ROWS = 1 << 20
BYTES = 16 << 20  # a group is held while it is encoded, and `--memory` must hold both
PIECE = 1 << 16  # rows copied together: a writer ends its pages by the pieces it gets, and small copies stay in the cache


class RowGroups:
    """Gathers tables into groups of ROWS rows, fewer when they reach BYTES; within a group every PIECE rows are one chunk."""

    def __init__(self):
        self.pieces: list[pa.RecordBatch] = []
        self.held: list[pa.RecordBatch] = []
        self.rows = self.bytes = self.held_rows = 0

    def add(self, table: pa.Table) -> Iterator[pa.Table]:
        for batch in table.to_batches():
            sizes = cumulative_bytes(batch)
            start = 0
            while start < batch.num_rows:
                full = int(sizes.searchsorted(sizes[start] + BYTES - self.bytes))  # the row with which BYTES are reached
                stop = min(batch.num_rows, max(start + 1, full), start + ROWS - self.rows, start + PIECE - self.held_rows)
                self.held.append(batch.slice(start, stop - start))
                self.rows += stop - start
                self.held_rows += stop - start
                self.bytes += int(sizes[stop] - sizes[start])
                start = stop
                if self.held_rows == PIECE:
                    self._close_piece()
                if self.rows == ROWS or self.bytes >= BYTES:
                    yield from self.rest()

    def _close_piece(self) -> None:
        if self.held:
            self.pieces += pa.Table.from_batches(self.held).combine_chunks().to_batches()
            self.held, self.held_rows = [], 0

    def rest(self) -> Iterator[pa.Table]:
        self._close_piece()
        if self.pieces:
            group = pa.Table.from_batches(self.pieces)
            self.pieces, self.rows, self.bytes = [], 0, 0
            yield group
