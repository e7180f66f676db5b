"""Parquet: columns by row groups, read in small batches and written in row groups of about a million rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import DataError
from .files import Output, first_line, writing
from .rowgroups import RowGroups
from .sinks import Made, Sink
from .sources import Reading
from .types import is_number

_MOST_ROWS = 1 << 16
MIB = 1 << 20


class ParquetSource:
    """A file of which one row group at a time is open, and a few pages of it in memory."""

    def __init__(self, asked: Reading):
        file = asked.file
        self.name = file.name
        try:
            # Without pre_buffer and with a small buffer a row group of any size streams: 24-37 MB where the default
            # keeps it whole.
            self.file = pq.ParquetFile(file.seekable(), pre_buffer=False, buffer_size=1 << 20)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{file.name}: not a Parquet file, or a truncated one: {first_line(error)}") from None
        self.schema = self.file.schema_arrow
        self.rows = self.file.metadata.num_rows

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """Batches of about `size` bytes; the number of rows follows the sizes seen, as lists may be of very unequal
        lengths.
        """
        metadata = self.file.metadata
        encoded = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        average = max(encoded / max(self.rows, 1), _fixed_width(self.schema))
        rows = _clamp(size / average)
        # Decoding columns side by side holds their pages side by side: a reader of small batches is short of memory.
        side_by_side = size >= MIB
        try:
            for batch in self.file.iter_batches(rows, use_threads=side_by_side):
                yield batch
                average = max(batch.nbytes / max(batch.num_rows, 1), encoded / max(self.rows, 1))
                rows = min(_clamp(size / average), 2 * rows)
                self.file.reader.set_batch_size(rows)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{self.name}: reading failed, the file is damaged or truncated: {first_line(error)}"
            ) from None


def _clamp(rows: float) -> int:
    return int(max(1, min(_MOST_ROWS, rows)))


def _fixed_width(schema: pa.Schema) -> int:
    """Bytes of a row as far as the types tell: what dictionary encoding may have hidden in the file's size."""
    width = 1
    for kind in schema.types:
        try:
            width += kind.bit_width // 8
        except ValueError:
            width += 8
    return width


class ParquetSink(Sink):
    """Row groups of about a million rows, each encoded while the next is gathered."""

    def __init__(self, output: Output, made: Made):
        schema, self.output, self.groups = made.schema, output, RowGroups()
        # Text by dictionary, integers by their differences, floats as they are: a dictionary of floats or of distinct
        # ids is tried, outgrown and thrown away. What is left in numbers hardly compresses: for 2e7 rows of (id, id,
        # float, float) LZ4 takes 0.76 s and 265 MB, zstd 1.02 s and 249 MB, zstd with dictionaries 1.5 s and no less.
        integers = [field.name for field in schema if pa.types.is_integer(field.type)]
        texts = [field.name for field in schema if not is_number(field.type) and not pa.types.is_nested(field.type)]
        self.writer = pq.ParquetWriter(
            output.for_arrow,
            schema,
            compression={path: "lz4" if is_number(kind) else "zstd" for path, kind in _leaves(schema)},
            use_dictionary=texts or False,
            column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
            write_batch_size=_MOST_ROWS,  # a twentieth less than with the default of 1024
        )
        # Not a stage of flow.ahead: those are asked for the next item, where this is given groups as they fill, and it
        # is for this format alone, whose encoding takes as long as computing.
        self.encoder = ThreadPoolExecutor(1)
        self.encoding: Future[None] | None = None

    def write(self, table: pa.Table) -> None:
        """Some more rows: those that fill a group are encoded."""
        for group in self.groups.add(table):
            self._encode(group)

    def _encode(self, group: pa.Table) -> None:
        self._wait()
        self.encoding = self.encoder.submit(self.writer.write_table, group, row_group_size=len(group))

    def _wait(self) -> None:
        """Until the group before is written; what went wrong with it comes out here."""
        if self.encoding:
            with writing(self.output.name):
                self.encoding.result()

    def close(self, metadata: Mapping[str, object]) -> None:
        """Encode the last group, and write the footer with the metadata in it."""
        for group in self.groups.rest():
            self._encode(group)
        self._wait()
        with writing(self.output.name):
            self.writer.add_key_value_metadata({"lapsum": json.dumps(metadata)})
            self.writer.close()

    def abandon(self) -> None:
        """Stop encoding, and write no footer: what is there does not pass for a whole file."""
        self.encoder.shutdown(cancel_futures=True)
        self.writer.is_open = False  # or its destructor writes a footer to the closed file, and complains


def _leaves(fields: Iterable[pa.Field], prefix: str = "") -> Iterator[tuple[str, pa.DataType]]:
    """The columns that Parquet stores, by their paths, and their types."""
    for field in fields:
        path, kind = f"{prefix}{field.name}", field.type
        if pa.types.is_struct(kind):
            yield from _leaves(kind, f"{path}.")
        elif pa.types.is_map(kind):
            yield from _leaves(
                [kind.key_field.with_name("key"), kind.item_field.with_name("value")], f"{path}.key_value."
            )
        elif pa.types.is_nested(kind):
            yield from _leaves([kind.value_field.with_name("element")], f"{path}.list.")
        else:
            yield path, kind


read, write = ParquetSource, ParquetSink
