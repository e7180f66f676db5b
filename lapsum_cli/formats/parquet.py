"""Parquet: columns by row groups, read in small batches and written in row groups of about a million rows."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import DataError, OptionError
from .faults import first_line, unread, writing
from .files import Output
from .footer import contradiction
from .nested import contains
from .plain import as_declared, plain_schema, wide_schema
from .rowgroups import RowGroups
from .sinks import Made, Sink
from .sizes import dictionary_bytes
from .sources import Reading
from .types import is_number

MIB = 1 << 20
_MOST_ROWS = 1 << 16
_FEW_ROWS = 64
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT96": 12}
_DICTIONARIES = {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
_COPIES = 5  # that Arrow keeps of a dictionary: as page, as pointers, as a table of hashes, and with every batch
# Without pre_buffer, and with a small buffer, a row group of any size streams: 24-37 MB, not all of it as by default.
# Times of 96 bits, as Spark and Impala write them, are of microseconds: of nanoseconds, the default, 64 bits hold the
# years from 1677 to 2262, and others came out as some year among these.
_AS_IT_IS = {"pre_buffer": False, "coerce_int96_timestamp_unit": "us"}
_TOLD = 8  # bytes of a value; text by itself takes 4 and its length


class ParquetSource:
    """A file of which one row group at a time is open, and a few pages of it in memory."""

    def __init__(self, asked: Reading):
        file = self.input = asked.file
        self.name, self.room, self.columns = file.name, asked.room, asked.columns
        try:
            self.file = pq.ParquetFile(file.for_arrow(), **_AS_IT_IS)
            self.schema, self.rows = self.file.schema_arrow, self.file.metadata.num_rows
            stream = file.seekable()
            if wrong := contradiction(stream):
                raise DataError(f"{self.name}: its footer is damaged: {wrong}")
            self.hidden = _hidden(self.file.metadata)
            self.file = self._opened(whole_groups=False)
            self.need = self._held(stream)
        except pa.ArrowNotImplementedError as error:
            raise unread(file.name, error) from None
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{file.name}: not a Parquet file, or a truncated one: {first_line(error, self.name)}"
            ) from None

    def _opened(self, whole_groups: bool) -> pq.ParquetFile:
        """The file for reading rows; whole_groups: each row group is fetched at once, before it is decoded."""
        metadata = self.file.metadata
        options = {**_AS_IT_IS, "buffer_size": _buffer(metadata), "pre_buffer": whole_groups}
        return pq.ParquetFile(self.input.for_arrow(), metadata=metadata, read_dictionary=self.hidden, **options)

    def _held(self, stream: io.BufferedIOBase) -> int:
        """Bytes that reading holds for the columns of a row group side by side: of each a page, and its dictionary.

        2000 columns of 110 KB, read ahead whole, took 534 MiB, and 340 with 16 KiB read ahead.
        """
        metadata = self.file.metadata
        ahead = _buffer(metadata)

        def held(column: pq.ColumnChunkMetaData) -> int:
            page = whole = column.total_uncompressed_size
            dictionary = 0
            if whole > MIB:
                page = min(whole, _page(stream, column.data_page_offset))
                if column.has_dictionary_page:
                    dictionary = min(whole, _page(stream, column.dictionary_page_offset))
            return min(column.total_compressed_size, ahead) + page * 3 // 2 + dictionary * _COPIES

        groups = list(_row_groups(metadata))
        if self.input.is_far:  # a look at a page is a request: at those of the largest row group alone
            groups = sorted(groups, key=_fetched)[-1:]
        return max((sum(map(held, columns)) for columns in groups), default=0)

    def ending(self, size: int) -> Iterator[pa.RecordBatch]:
        """The rows of the last row group that has any."""
        metadata = self.file.metadata
        filled = [i for i in range(metadata.num_row_groups) if metadata.row_group(i).num_rows]
        return self.batches(size, filled[-1:])

    def batches(self, size: int, of: list[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Batches of about `size` bytes beside their dictionaries. Where types do not tell the size of a row, the first
        have few rows, and the number follows what was seen, as rows may be of very unequal sizes.

        A dictionary ends with its row group, and a batch with its dictionary: those of small row groups are joined, as
        what is done with a batch costs as much as a thousand rows. of: some row groups, instead of all.
        """
        if self.need > self.room.aside:
            columns = f"{self.name}: to read {self.file.metadata.num_columns} columns side by side"
            needs = self.room.refusal(self.need, "for their pages")
            raise OptionError(f"{columns} {needs}, or write smaller row groups")
        fetched = max(map(_fetched, _row_groups(self.file.metadata)), default=0)
        if by_group := self.input.is_far and self.need + fetched <= self.room.aside:
            self.file = self._opened(whole_groups=True)
        least = _width(self.file.metadata)
        rows = _clamp(size / least)
        if any(_is_variable(kind) for kind in self.schema.types):
            rows = min(rows, _FEW_ROWS)
        # Decoding columns side by side holds their pages side by side: a reader of small batches is short of memory.
        side_by_side = size >= MIB
        held: list[pa.RecordBatch] = []
        taken = 0
        try:
            groups = self._together(by_group) if of is None else [of]
            given = {"columns": self._named(), "use_threads": side_by_side}
            read = (self.file.iter_batches(rows, some, **given) for some in groups)
            for batch in itertools.chain.from_iterable(read):
                held.append(batch)
                taken += batch.nbytes
                shared = dictionary_bytes(batch)  # made anew for every batch
                average = max((batch.nbytes - shared) / max(batch.num_rows, 1), least)
                rows = min(_clamp(max(size, shared // 4) / average), 2 * rows)
                self.file.reader.set_batch_size(rows)
                del batch
                if taken >= size // 4:
                    yield _joined(held)
                    taken = 0
            if held:
                yield _joined(held)
        except pa.ArrowNotImplementedError as error:
            raise unread(self.name, error) from None
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{self.name}: reading failed, the file is damaged or truncated: {first_line(error, self.name)}"
            ) from None

    def _named(self) -> list[str] | None:
        """The columns of the file that are read; None for all."""
        return None if self.columns is None else [name for name in self.schema.names if name in self.columns]

    def _together(self, by_group: bool) -> list[list[int] | None]:
        """Row groups that are decoded as one, None for all: each by itself where that is asked for, and where a
        dictionary stands in what is nested, which Arrow does not join with that of the next.
        """
        kinds = self.file.schema_arrow.types
        if by_group or any(
            contains(kind, pa.types.is_dictionary) for kind in kinds if not pa.types.is_dictionary(kind)
        ):
            return [[i] for i in range(self.file.metadata.num_row_groups)]
        return [None]


def _joined(held: list[pa.RecordBatch]) -> pa.RecordBatch:
    """The batches as one, and their list empty: a dictionary is copied only where several meet."""
    batches = held.copy()
    held.clear()
    if len(batches) == 1:
        return batches[0]
    try:
        return pa.concat_batches(batches)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Indices of a byte, and more values in all row groups than in each; or dictionaries in what is nested.
        plain = plain_schema(batches[0].schema)
        return pa.concat_batches([as_declared(batch, plain) for batch in batches])


def _clamp(rows: float) -> int:
    return int(max(1, min(_MOST_ROWS, rows)))


def _is_variable(kind: pa.DataType) -> bool:
    """Whether values of this type take different numbers of bytes."""
    try:
        return kind.bit_width < 0
    except ValueError:
        return True


def _row_groups(metadata: pq.FileMetaData) -> Iterator[list[pq.ColumnChunkMetaData]]:
    """The columns of each row group."""
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        yield [group.column(j) for j in range(metadata.num_columns)]


def _fetched(columns: list[pq.ColumnChunkMetaData]) -> int:
    """Bytes of a row group in the file."""
    return sum(column.total_compressed_size for column in columns)


def _columns(metadata: pq.FileMetaData) -> Iterator[pq.ColumnChunkMetaData]:
    return itertools.chain.from_iterable(_row_groups(metadata))


def _buffer(metadata: pq.FileMetaData) -> int:
    """Bytes that are read ahead of a column, of which all columns together have a few MiB."""
    return max(1 << 14, min(MIB, 8 * MIB // max(metadata.num_columns, 1)))


def _page(stream: io.BufferedIOBase, start: int) -> int:
    """Bytes of the page that starts there, once it is decompressed; 0 where no page does.

    Its header is a struct in Thrift's compact protocol: first its kind, then its size, each a zigzag number of 7 bits a
    byte behind the byte 0x15.
    """
    stream.seek(start)
    found = re.match(rb"\x15[\x80-\xff]*[\0-\x7f]\x15([\x80-\xff]*[\0-\x7f])", stream.read(16), re.DOTALL)
    number = sum((byte & 0x7F) << 7 * i for i, byte in enumerate(found[1])) if found else 0
    return number >> 1


def _width(metadata: pq.FileMetaData) -> float:
    """Bytes of a row as far as the footer tells: as encoded, and no less than numbers take once they are decoded."""
    size = sum(
        max(c.total_uncompressed_size, c.num_values * _WIDTHS.get(c.physical_type, 8)) for c in _columns(metadata)
    )
    return max(1.0, size / max(metadata.num_rows, 1))


def _hidden(metadata: pq.FileMetaData) -> list[str]:
    """The columns of text whose encoded bytes do not tell how long it is, since most of it stands in a dictionary.

    They are read as dictionaries: how much the rows of a batch take is known before they take it.
    """
    hidden = {j for columns in _row_groups(metadata) for j, column in enumerate(columns) if _hides(column)}
    return [metadata.schema.column(j).path for j in sorted(hidden)]  # a damaged footer may name a chunk otherwise


def _hides(column: pq.ColumnChunkMetaData) -> bool:
    is_text = column.physical_type == "BYTE_ARRAY" and _DICTIONARIES & {*column.encodings}
    return bool(is_text) and column.total_uncompressed_size // max(column.num_values, 1) < _TOLD


class ParquetSink(Sink):
    """Row groups of about a million rows, each encoded while the next is gathered."""

    def __init__(self, output: Output, made: Made):
        schema, self.output, self.groups = plain_schema(made.schema), output, RowGroups()
        # Plain values, and the note in which Arrow keeps its own types: a reader that knows it restores them, with a
        # dictionary for each group of rows, which is larger than those that came.
        declared = {"ARROW:schema": base64.b64encode(wide_schema(made.schema).serialize().to_pybytes())}
        self.notes = {} if schema is made.schema else {**(made.schema.metadata or {}), **declared}
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
            store_schema=schema is made.schema,
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
            self.writer.add_key_value_metadata({**self.notes, "lapsum": json.dumps(metadata)})
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
