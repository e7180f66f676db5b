"""Rows that wait for their turn: in memory while they are few, then in temporary files without a name."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from ..formats.faults import writing
from ..formats.temporary import temporary_place

BITS = 8  # of a key, that tell the buckets of one level apart


class _File:
    """Record batches of one schema in a temporary file, which goes with the process: each is read back by its place."""

    def __init__(self, folder: str | None):
        self.name = f"a temporary file in {temporary_place(folder)}"
        with writing(self.name):
            self.file = tempfile.TemporaryFile(dir=folder, prefix="lapsum-")  # noqa: SIM115  ends with this object
        self.end = 0

    def __del__(self) -> None:
        """Several threads may be at it until the last lets go."""
        if hasattr(self, "file"):
            self.file.close()

    def put(self, batch: pa.RecordBatch) -> tuple[int, int]:
        """Where it stands, and its bytes."""
        data = batch.serialize()
        with writing(self.name):
            self.file.write(data)
        self.end += data.size
        return self.end - data.size, data.size

    def get(self, place: tuple[int, int], schema: pa.Schema) -> pa.RecordBatch:
        """The batch of a place."""
        with writing(self.name):
            self.file.seek(place[0])
            return pa.ipc.read_record_batch(pa.py_buffer(self.file.read(place[1])), schema)


def parted(
    batches: list[pa.RecordBatch], number: Callable[[pa.Table], np.ndarray]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of batches, which are taken out of the list, by their numbers (n,), small and unsigned: those of each
    number together, as they came.
    """
    table = pa.Table.from_batches(batches).combine_chunks()
    batches.clear()
    at = number(table)
    order = np.argsort(at, kind="stable")  # of one or two bytes: a radix sort
    moved = table.take(pa.array(order)).combine_chunks().to_batches()
    del table
    stop = 0
    for found, size in enumerate(np.bincount(at).tolist()):
        start, stop = stop, stop + size
        if size:
            yield found, moved[0].slice(start, size)


class Waiting:
    """Record batches of one schema, given back once, in the order in which they came; `limit` bytes stay in memory."""

    def __init__(self, limit: int, folder: str | None):
        self.limit, self.folder, self.bytes = limit, folder, 0
        self.waiting: list[pa.RecordBatch | tuple[int, int]] = []
        self.file: _File | None = None
        self.schema: pa.Schema | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Some more rows, behind the others."""
        self.bytes += batch.nbytes
        self.schema = batch.schema
        if self.bytes > self.limit:
            self.file = self.file or _File(self.folder)
            self.waiting.append(self.file.put(batch))
        else:
            self.waiting.append(batch)

    def take(self) -> Iterator[pa.RecordBatch]:
        """All of them."""
        for i, waiting in enumerate(self.waiting):
            self.waiting[i] = (0, 0)
            yield self.file.get(waiting, self.schema) if self.file and isinstance(waiting, tuple) else waiting
            del waiting


class Buckets:
    """Rows parted by the bits of a column, an integer that is not negative, from bit `shift` on; a level takes eight.

    What is added waits in memory up to `limit` bytes, is then sorted by its bucket and written at once: three times as
    much memory is used meanwhile. A bucket that turns out too large is parted by the bits below.
    """

    def __init__(self, limit: int, folder: str | None, key: str, shift: int):
        self.limit, self.folder, self.key, self.shift = limit, folder, key, max(0, shift)
        self.pending: list[pa.RecordBatch] = []
        self.bytes = 0
        self.file: _File | None = None
        self.schema: pa.Schema | None = None
        self.buckets: list[list[pa.RecordBatch | tuple[int, int]]] = [[] for _ in range(1 << BITS)]
        self.sizes = [0] * (1 << BITS)
        self.ends = [(1 << 64, 0)] * (1 << BITS)  # the least and the largest key of each

    def add(self, batch: pa.RecordBatch) -> None:
        """Some more rows."""
        self.pending.append(batch)
        self.bytes += batch.nbytes
        if self.bytes > self.limit:
            self.file = self.file or _File(self.folder)
            self._part(self.file)

    def _part(self, file: _File | None) -> None:
        """What is pending goes to its buckets, in a file or in memory."""
        self.schema, self.bytes = self.pending[0].schema, 0
        for bucket, rows in parted(self.pending, self._bucket):
            entry = file.put(rows) if file else rows
            self.buckets[bucket].append(entry)
            self.sizes[bucket] += entry[1] if isinstance(entry, tuple) else rows.nbytes
            least, largest = self.ends[bucket]
            keys = self._keys(rows)
            self.ends[bucket] = min(least, int(keys.min())), max(largest, int(keys.max()))

    def _bucket(self, rows: pa.Table) -> np.ndarray:
        return ((self._keys(rows) >> np.uint64(self.shift)) & np.uint64((1 << BITS) - 1)).astype(np.uint8)

    def _keys(self, rows: pa.Table | pa.RecordBatch) -> np.ndarray:
        return np.asarray(rows.column(self.key)).astype(np.uint64, copy=False)

    def parts(self, size: int) -> Iterator[tuple[Iterator[pa.RecordBatch], bool]]:
        """All rows once, in ascending order of their buckets, in parts of no more than `size` bytes, or of one key,
        which the flag says: those of a part as they came.
        """
        if self.pending:
            self._part(self.file)
        together: list[int] = []
        for bucket, (own, (least, largest)) in enumerate(zip(self.sizes, self.ends, strict=True)):
            if together and sum(self.sizes[b] for b in together) + own > size:
                yield self._take(together), False
                together = []
            if own <= size:
                together.append(bucket)
            elif least == largest:
                yield self._take([bucket]), True
            else:
                finer = Buckets(self.limit, self.folder, self.key, self.shift - BITS)
                for batch in self._take([bucket]):
                    finer.add(batch)
                yield from finer.parts(size)
        yield self._take(together), False

    def _take(self, buckets: list[int]) -> Iterator[pa.RecordBatch]:
        for bucket in buckets:
            entries, self.buckets[bucket] = self.buckets[bucket], []
            for entry in entries:
                yield self.file.get(entry, self.schema) if self.file and isinstance(entry, tuple) else entry
