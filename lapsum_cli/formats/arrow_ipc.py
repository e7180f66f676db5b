"""Arrow IPC: the file format (arrow) and the stream format (arrows)."""

from __future__ import annotations

import contextlib
import json
import mmap
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from ..core.errors import DataError
from .files import Output, first_line, writing
from .rowgroups import RowGroups
from .sinks import Made, Sink
from .sources import Reading
from .types import without_dictionary


class ArrowSource:
    """A file, mapped into memory, or a stream."""

    rows = None

    def __init__(self, asked: Reading):
        file, format = asked.file, asked.format
        self.name = file.name
        self.mapped: mmap.mmap | None = None
        try:
            if format == "arrow":
                # A batch may be any size. Mapped, only the pages in use are in memory; `batches` lets go of the rest.
                with contextlib.ExitStack() as stack:
                    whole = file.seekable()
                    whole = stack.enter_context(open(whole, "rb")) if isinstance(whole, str) else whole
                    self.mapped = mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ)
                self.reader = pa.ipc.open_file(pa.py_buffer(self.mapped))
            else:
                self.reader = pa.ipc.open_stream(file.stream)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(
                f"{file.name}: not an Arrow {format} input, or a truncated one: {first_line(error)}"
            ) from None
        self.schema = self.reader.schema

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """Batches: those of a file in parts of about `size` bytes, those of a stream as they come, in memory whole."""
        try:
            if self.mapped is None:
                yield from self.reader
                return
            for i in range(self.reader.num_record_batches):
                batch = self.reader.get_batch(i)
                step = max(1, int(size // max(1, batch.nbytes / max(1, batch.num_rows))))
                for start in range(0, batch.num_rows, step):
                    yield _copied(batch.slice(start, step))
                    self.mapped.madvise(mmap.MADV_DONTNEED)
        except pa.ArrowNotImplementedError as error:
            raise DataError(f"{self.name}: a column has a type that is not supported: {first_line(error)}") from None
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{self.name}: reading failed, the file is damaged or truncated: {first_line(error)}"
            ) from None


def _copied(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows in memory of their own, so that the mapped pages can go."""
    if any(pa.types.is_dictionary(kind) for kind in batch.schema.types):  # a message without its dictionary is no copy
        return batch.take(pa.array(np.arange(batch.num_rows)))
    return pa.ipc.read_record_batch(batch.serialize(), batch.schema)


class ArrowSink(Sink):
    """Record batches of about a million rows in a file, as they come in a stream: a reader at the other end is waiting.

    Metadata stands at the start, and says how the result is made but not of what. A file can hold only one dictionary
    for all its batches: there, dictionary columns are written as plain values.
    """

    def __init__(self, output: Output, made: Made):
        self.output = output
        self.groups = RowGroups() if made.format == "arrow" else None
        self.schema = pa.schema(
            [field.with_type(without_dictionary(field.type)) if self.groups else field for field in made.schema],
            {**(made.schema.metadata or {}), b"lapsum": json.dumps(made.how).encode()},
        )
        make = pa.ipc.new_file if self.groups else pa.ipc.new_stream
        with writing(output.name):
            self.writer = make(output.for_arrow, self.schema)

    def write(self, table: pa.Table) -> None:
        """Some more rows: in a file they wait until their group is full."""
        table = table.cast(self.schema)
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
