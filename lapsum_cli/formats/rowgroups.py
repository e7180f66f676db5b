"""Row groups cut at places that depend on the rows alone, so that the same rows make the same file however they
arrived.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ..core.cuts import end_of_piece
from .sizes import cumulative_bytes

ROWS = 1 << 20
BYTES = 16 << 20  # a group is held while it is encoded, and `--memory` must hold both

# Rows go to the writer in pieces, which end its pages; those that arrived apart are copied together.
PIECE_ROWS = 1 << 16
PIECE_BYTES = 2 << 20


class RowGroups:
    """Gathers tables into groups of ROWS rows, fewer when they reach BYTES, each of pieces bounded likewise."""

    def __init__(self) -> None:
        self.pieces: list[pa.RecordBatch] = []
        self.held: list[pa.RecordBatch] = []
        self.group, self.piece = _Filling(ROWS, BYTES), _Filling(PIECE_ROWS, PIECE_BYTES)

    def add(self, table: pa.Table) -> Iterator[pa.Table]:
        """The groups that are full with these rows; they must be asked for until none is left."""
        for batch in table.to_batches():
            sizes = cumulative_bytes(batch)
            start = 0
            while start < batch.num_rows:
                stop = min(self.group.until(sizes, start), self.piece.until(sizes, start))
                self.held.append(batch.slice(start, stop - start))
                size = int(sizes[stop] - sizes[start])
                group_full = self.group.is_full_with(stop - start, size)
                if self.piece.is_full_with(stop - start, size) or group_full:
                    self._close_piece()
                if group_full:
                    yield from self.rest()
                start = stop

    def _close_piece(self) -> None:
        if self.held:
            alone = len(self.held) == 1
            self.pieces += self.held if alone else pa.Table.from_batches(self.held).combine_chunks().to_batches()
            self.held = []
            self.piece.empty()

    def rest(self) -> Iterator[pa.Table]:
        """A last group of what is gathered, if anything is."""
        self._close_piece()
        if self.pieces:
            group = pa.Table.from_batches(self.pieces)
            self.pieces = []
            self.group.empty()
            yield group


class _Filling:
    """What is gathered so far, against its bounds: full with `most_rows`, or with the row that reaches `most_bytes`."""

    def __init__(self, most_rows: int, most_bytes: int):
        self.most_rows, self.most_bytes = most_rows, most_bytes
        self.empty()

    def empty(self) -> None:
        """Begin anew."""
        self.rows = self.bytes = 0

    def until(self, sizes: np.ndarray, start: int) -> int:
        """The row after the last that still belongs here, of rows from `start` whose bytes `sizes` accumulates."""
        reached = end_of_piece(sizes, start, self.most_bytes - self.bytes, reaching=True)
        return min(reached, start + self.most_rows - self.rows)

    def is_full_with(self, rows: int, size: int) -> bool:
        """Whether these rows, which are added, fill it."""
        self.rows += rows
        self.bytes += size
        return self.rows == self.most_rows or self.bytes >= self.most_bytes
