"""Arrow IPC: the file format (arrow) and the stream format (arrows)."""

from __future__ import annotations

import itertools
import json
import mmap
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from ..core.errors import DataError, OptionError
from .compressed import decompressed_size
from .faults import first_line, unread, writing
from .files import Output
from .plain import as_declared, plain_schema, undictionaried_type, with_types
from .rowgroups import RowGroups
from .sinks import Made, Sink
from .sources import Reading

_AT_ONCE = 128  # columns
_LONGEST = 1 << 40  # bytes of a message; one that says more, in a pipe whose end is not known, is damaged
_MOST_SHRUNK = 1 << 16  # bytes that one byte can stand for: Zstandard's blocks of 128 KiB take four or more


class ArrowSource:
    """A file or a stream, of which a record batch at a time is read; nothing in it is taken for true unchecked.

    A batch that memory does not hold is mapped, and only the pages in use are in memory: out of a copy of the file
    that nobody else can cut short, since what lies beyond the end of a mapped file is a signal and no error.
    """

    rows = None

    def __init__(self, asked: Reading):
        self.file, self.is_file, self.name = asked.file, asked.format == "arrow", asked.file.name
        self.room = asked.room
        self.copy: mmap.mmap | None = None
        try:
            self.stream = self.file.seekable() if self.is_file else self.file.stream
            self.reader = self._open(_Reads(self.stream, self, self._end()))
            self.schema = self.reader.schema
            self.schema.names  # noqa: B018  text that is none is found here
        except pa.ArrowNotImplementedError as error:
            raise unread(self.name, error) from None
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            raise DataError(
                f"{self.name}: not an Arrow {asked.format} input, or a truncated one: {first_line(error)}"
            ) from None
        except _TooLarge as error:
            raise OptionError(f"{self.name}: {self.room.refusal(2 * error.size, 'for its description')}") from None

    def _open(self, data: Any) -> pa.RecordBatchReader | pa.ipc.RecordBatchFileReader:
        return (pa.ipc.open_file if self.is_file else pa.ipc.open_stream)(data)

    def _end(self) -> int | None:
        """Where the bytes end; None for a pipe that is a stream."""
        if not self.is_file and not self.file.is_regular:
            return None
        size = self.file.size()
        return os.fstat(self.stream.fileno()).st_size if size is None else size

    def refuse(self, size: int) -> None:
        """Stop before a part of the input is read for which there is no room, or which there cannot be."""
        if size > _LONGEST:
            raise OSError(f"{size} bytes are said to follow")
        if size > self.room.size // 2:
            raise _TooLarge(size)

    def refuse_decompressed(self, size: int, decompressed: int) -> None:
        """Refuse what there is no room for beside what it becomes, which takes memory wherever it is read from."""
        if decompressed > _MOST_SHRUNK * size:
            raise OSError(f"{size} bytes are said to become {decompressed} when they are decompressed")
        if decompressed and size + decompressed > self.room.aside:
            needs = self.room.refusal(size + decompressed, "while it is decompressed")
            raise OptionError(f"{self.name}: a record batch {needs}, or write smaller ones")

    def ending(self, size: int) -> Iterator[pa.RecordBatch]:
        """The last batch of a file; all of a stream."""
        return self.batches(size, max(0, self.reader.num_record_batches - 1) if self.is_file else 0)

    def batches(self, size: int, first: int = 0) -> Iterator[pa.RecordBatch]:
        """Batches, from that number on: those that memory holds as they come, the others in parts of about `size`
        bytes.
        """
        try:
            for i in itertools.count(first):
                batch = self._batch(i, size)
                if batch is None:
                    return
                if self.copy is None:
                    yield batch
                    continue
                batch.validate()
                step = max(1, int(size // max(1, batch.nbytes / max(1, batch.num_rows))))
                for start in range(0, batch.num_rows, step):
                    yield self._copied(batch.slice(start, step), self.copy)
        except pa.ArrowNotImplementedError as error:
            raise unread(self.name, error) from None
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{self.name}: reading failed, the file is damaged or truncated: {first_line(error)}"
            ) from None

    def _batch(self, i: int, size: int) -> pa.RecordBatch | None:
        """Batch i; None after the last."""
        try:
            if self.is_file:
                return self.reader.get_batch(i) if i < self.reader.num_record_batches else None
            return next(self.reader, None)
        except _TooLarge as error:
            if self._end() is None:
                needs = self.room.refusal(2 * error.size, "while it is read")
                raise OptionError(f"{self.name}: a record batch of the stream {needs}, or send smaller ones") from None
        self._map_copy(0 if self.is_file else i)
        return self._batch(i, size)

    def _map_copy(self, read: int) -> None:
        """Read on in a mapped copy of the input; read: batches of a stream that were read already."""
        with tempfile.TemporaryFile() as copy:
            with writing("the temporary copy of " + self.name):
                self.stream.seek(0)
                shutil.copyfileobj(self.stream, copy, 1 << 20)
                copy.flush()
            self.copy = mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ)
        self.reader = self._open(pa.py_buffer(self.copy))
        for _ in range(read):
            next(self.reader)

    def _copied(self, batch: pa.RecordBatch, mapped: mmap.mmap) -> pa.RecordBatch:
        """The rows in memory of their own, so that the mapped pages can go: 64 KiB or more for every column."""
        columns, plain = [], plain_schema(self.schema)
        for first in range(0, batch.num_columns, _AT_ONCE):
            some = range(first, min(first + _AT_ONCE, batch.num_columns))
            part = batch.select(some)
            part.validate(full=True)
            part = as_declared(part, pa.schema([plain.field(i) for i in some]))
            columns += pa.ipc.read_record_batch(part.serialize(), part.schema).columns
            mapped.madvise(mmap.MADV_DONTNEED)
        return pa.RecordBatch.from_arrays(columns, schema=plain)


class _TooLarge(Exception):
    """So many bytes are to be read at once, and there is no room for them."""

    def __init__(self, size: int):
        super().__init__(f"{size} bytes at once")
        self.size = size


class _Reads:
    """A stream as Arrow reads it: no more at once than there is room for, and nothing beyond its end.

    A length in a damaged file may be any number; Python and Arrow would take the memory before they look for the bytes.
    """

    closed = False

    def __init__(self, stream: Any, source: ArrowSource, end: int | None):
        self.stream, self.source, self.end = stream, source, end
        self.last = b""  # read, and so the description of what is read next, if that is a batch

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or fewer at the end."""
        start = self.stream.tell() if self.end is not None else 0
        if self.end is not None:
            self.expect(size, start)
            message, body = self._described(start)
            self.source.refuse_decompressed(size, decompressed_size(message, lambda at: self._bytes(body + at, 8)))
            self.stream.seek(start)
        self.source.refuse(size)
        read = self.stream.read(size)
        if self.end is None:
            self.source.refuse_decompressed(size, decompressed_size(self.last, lambda at: read[at : at + 8]))
        self.last = read
        return read

    def expect(self, size: int, start: int) -> None:
        """Raise OSError where so many bytes do not follow."""
        if self.end is not None and size > self.end - start:
            raise OSError(f"{size} bytes should follow byte {start}, and the file has {self.end}")

    def _described(self, start: int) -> tuple[bytes, int]:
        """The description of the batch of which bytes from `start` are read, and where its body begins: a file is asked
        for both at once, behind eight bytes that say how long the former is.
        """
        if not self.source.is_file:
            return self.last, start
        mark, size = struct.unpack("<ii", self._bytes(start, 8).ljust(8))
        size = size if mark == -1 else 0
        self.expect(size, start + 8)
        self.source.refuse(size)
        return self.stream.read(max(size, 0)), start + 8 + size

    def _bytes(self, position: int, size: int) -> bytes:
        self.stream.seek(position)
        return self.stream.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        """Move, as files do."""
        return self.stream.seek(position, whence)

    def tell(self) -> int:
        """Where it stands."""
        return self.stream.tell()

    def close(self) -> None:
        """Nothing: who opened the stream closes it."""


def _declared(batch: pa.RecordBatch, schema: pa.Schema) -> list[pa.RecordBatch]:
    """The rows with these types, in halves where the indices of a dictionary are too small for all their values."""
    try:
        return [as_declared(batch, schema)]
    except pa.ArrowInvalid:
        half = batch.num_rows // 2
        if not half:
            raise
        return _declared(batch.slice(0, half), schema) + _declared(batch.slice(half), schema)


class ArrowSink(Sink):
    """Record batches of about a million rows in a file, as they come in a stream: a reader at the other end is waiting.

    Metadata stands at the start, and says how the result is made but not of what. A file can hold only one dictionary
    for all its batches: there, columns are written in plain form.
    """

    def __init__(self, output: Output, made: Made):
        self.output = output
        self.groups = RowGroups() if made.format == "arrow" else None
        self.schema = pa.schema(
            with_types(made.schema, undictionaried_type) if self.groups else made.schema,
            {**(made.schema.metadata or {}), b"lapsum": json.dumps(made.how).encode()},
        )
        make = pa.ipc.new_file if self.groups else pa.ipc.new_stream
        with writing(output.name):
            self.writer = make(output.for_arrow, self.schema)

    def write(self, table: pa.Table) -> None:
        """Some more rows: in a file they wait until their group is full."""
        batches = [part for batch in table.to_batches() for part in _declared(batch, self.schema)]
        table = pa.Table.from_batches(batches, self.schema)
        with writing(self.output.name):
            for group in self.groups.add(table) if self.groups else [table]:
                self.writer.write_table(group)

    def close(self, metadata: Mapping[str, object]) -> None:
        """The last rows, and the end; what the metadata says of the input comes too late for the start."""
        with writing(self.output.name):
            for group in self.groups.rest() if self.groups else []:
                self.writer.write_table(group)
            self.writer.close()


read, write = ArrowSource, ArrowSink
