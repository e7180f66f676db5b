"""Rows in one file by a number, of which each has a segment: what tasks of several processes leave to each other."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..formats.faults import writing
from ..formats.places import place_at
from .spill import parted

MOST = 1 << 16  # segments of a file
_INDEX = pa.schema([("segment", pa.int64()), ("start", pa.int64()), ("size", pa.int64())])
_END = 4 * 8  # bytes at the end: how many rows there are, and the sizes of them, of their schema and of the index


class Segments:
    """Writes the segments of a file. What is added waits in memory up to `limit` bytes, is then sorted by its segment,
    and written: three times as much is used meanwhile. number: the segment of every row, as uint16.
    """

    def __init__(self, file: BinaryIO, limit: int, number: Callable[[pa.Table], np.ndarray]):
        self.file, self.limit, self.number = file, limit, number
        self.pending: list[pa.RecordBatch] = []
        self.bytes, self.end, self.rows = 0, 0, 0
        self.index: list[tuple[int, int, int]] = []
        self.schema = pa.schema([])

    def add(self, batch: pa.RecordBatch) -> None:
        """Some more rows."""
        self.pending.append(batch)
        self.rows += batch.num_rows
        self.bytes += batch.nbytes
        if self.bytes > self.limit:
            self._part()

    def _part(self) -> None:
        self.schema, self.bytes = self.pending[0].schema, 0
        for segment, rows in parted(self.pending, self.number):
            self.index.append((segment, self.end, self._put(rows.serialize())))

    def _put(self, data: pa.Buffer) -> int:
        self.file.write(data)
        self.end += data.size
        return int(data.size)

    def close(self) -> None:
        """There are no more: all is written, and the file is the caller's."""
        if self.pending:
            self._part()
        columns = zip(*self.index, strict=True) if self.index else ([], [], [])
        index = pa.record_batch([pa.array(column, pa.int64()) for column in columns], schema=_INDEX)
        sizes = [self.rows, self.end, self._put(self.schema.serialize()), self._put(index.serialize())]
        self.file.write(np.array(sizes, "<i8").tobytes())


def rows_in(path: str) -> int:
    """How many rows all segments of a file have."""
    with _opened(path) as file:
        return _end(file)[0]


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    file = place_at(path).file(path)
    with writing(path), contextlib.closing(file), cast(BinaryIO, io.BufferedReader(file.raw(), 1 << 16)) as reader:
        yield reader


def _end(file: BinaryIO) -> list[int]:
    file.seek(-_END, os.SEEK_END)
    found: list[int] = np.frombuffer(file.read(_END), "<i8").tolist()
    return found


def segment_of(path: str, segment: int) -> Iterator[pa.RecordBatch]:
    """The rows of a segment, in the order in which they were added."""
    with _opened(path) as file:
        _, start, of_schema, of_index = _end(file)
        file.seek(start)
        schema = pa.ipc.read_schema(pa.py_buffer(file.read(of_schema)))
        index = pa.ipc.read_record_batch(pa.py_buffer(file.read(of_index)), _INDEX)
        own = index.filter(pc.equal(index.column("segment"), segment))
        for start, size in zip(*(own.column(name).to_pylist() for name in ("start", "size")), strict=True):
            file.seek(start)
            rows = file.read(size)
            yield pa.ipc.read_record_batch(pa.py_buffer(rows), schema)
