"""What the formats of text share: columns become text in Arrow, so that no row of a plain type passes through Python.

Floats are written in the shortest form that reads back the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import DataError, OptionError
from .files import Output, first_line, writing
from .sinks import Sink
from .sources import Reading
from .types import is_list, is_number

_FEW_ROWS = 1 << 10
BLOCK = 1 << 20  # bytes that are parsed at a time
_LONGEST = 1 << 28  # a line longer than this is taken for a broken file


class Blocks:
    """A text in blocks of about a MiB; longer where a line is, and refused where there is no room for parsing it.

    may_end: whether a block may end after these bytes, which are its last. copies: how many of a block there are while
    it is parsed.
    """

    closed = False

    def __init__(self, asked: Reading, may_end: Callable[[bytes], bool], copies: int):
        self.name, self.stream, self.room = asked.file.name, asked.file.stream, asked.room
        self.may_end, self.copies = may_end, copies
        self.size = asked.file.size() or 0  # of a file
        self.next: bytes | None = None
        self.lines = self.ends = 0  # lines before the block that was read last, and in it

    def peek(self) -> bytes:
        """The block that is read next."""
        if self.next is None:
            self.next = self._block()
        return self.next

    def read(self, size: int = BLOCK) -> bytes:
        """The next block; empty at the end. Arrow, too, reads by this name, and takes what it gets."""
        block, self.next = self.peek(), None
        self.lines, self.ends = self.lines + self.ends, block.count(b"\n")
        return block

    def _block(self) -> bytes:
        """OptionError where there is no room for a line, DataError where it cannot be meant; both say its number."""
        more = self.stream.read(BLOCK)
        if not more and self.size and self.stream.tell() < self.size:
            raise DataError(f"{self.name}: was cut short while it was read, from {self.size} bytes; run again")
        line = f"{self.name}, line {self.lines + self.ends + more.count(10) + 1}"
        before = more.rfind(10) + 1
        parts, size, need = [more], len(more), 0
        while more and not self.may_end(more):
            more = self.stream.readline(BLOCK)
            size += len(more)
            need = self.copies * size
            parts = [*parts, more] if need <= self.room.aside else []
            if size > _LONGEST:
                raise DataError(f"{line}: is longer than {_LONGEST >> 20} MiB; the file is damaged, or no text")
        if need > self.room.aside:
            long = f"is {(size - before) / (1 << 20):.1f} MiB long"
            raise OptionError(f"{line}: {long} and {self.room.refusal(need, 'while it is parsed')}")
        return b"".join(parts)


class TextSink(Sink):
    """Lines of text. A format says what the values of a column look like, and how a line is made of them.

    header: what stands before the first line.
    """

    def __init__(self, output: Output, header: bytes = b""):
        self.output, self.header = output, header

    def text_of(self, column: pa.Array) -> pa.Array:
        """The values of a column as strings; a null may stay one."""
        raise NotImplementedError

    def lines(self, names: list[str], columns: list[pa.Array]) -> pa.Array:
        """A string for each row, of the texts of its columns."""
        raise NotImplementedError

    def write(self, table: pa.Table) -> None:
        """Some more lines."""
        few = len(table) < _FEW_ROWS * table.column(0).num_chunks  # of many columns: a call for each costs as much
        for batch in (table.combine_chunks() if few else table).to_batches():
            if batch.num_rows:
                columns = [self._column(*named) for named in zip(batch.schema.names, batch.columns, strict=True)]
                self._write_lines(self.lines(batch.schema.names, columns))

    def _column(self, name: str, column: pa.Array) -> pa.Array:
        try:
            return self.text_of(column)
        except pa.ArrowException as error:
            problem = first_line(error)
            raise DataError(f'{self.output.name}: column "{name}" cannot be written as text: {problem}') from None

    def _write_lines(self, lines: pa.Array) -> None:
        """The characters of an Arrow array of lines lie one after another: with line ends they are the file."""
        lines = pc.binary_join_element_wise(
            lines.cast(pa.large_string()), pa.scalar("", pa.large_string()), pa.scalar("\n", pa.large_string())
        )
        offsets = memoryview(lines.buffers()[1]).cast("q")
        start, stop = offsets[lines.offset], offsets[lines.offset + len(lines)]
        rows = memoryview(lines.buffers()[2])[start:stop]
        with writing(self.output.name):
            # The header goes with the first rows: DuckDB, for one, guesses from the first piece it gets of a pipe.
            self.output.stream.write(self.header + bytes(rows) if self.header else rows)
        self.header = b""

    def close(self, metadata: Mapping[str, object]) -> None:
        """The header, where no line has come; text holds no metadata."""
        with writing(self.output.name):
            self.output.stream.write(self.header)
            self.output.stream.flush()


def plain(column: pa.Array) -> pa.Array:
    """The text of values that are not nested, as it is: nothing is quoted, and null stays null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, "true", "false")
    return pc.cast(column.cast(pa.float32()) if pa.types.is_float16(column.type) else column, pa.string())


def as_json(column: pa.Array) -> pa.Array:
    """The JSON text of each value; null stays null, and so do floats that JSON has no number for."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if is_list(kind):
        return _json_lists(column)
    if pa.types.is_nested(kind):
        return pa.array([_dumped(value) for value in column.to_pylist()], pa.string())
    text = plain(column)
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_finite(column), text, None)
    if is_number(kind) or pa.types.is_boolean(kind):
        return text
    if pc.any(pc.match_substring_regex(text, r'["\\\x00-\x1f]')).as_py():
        return pa.array([_dumped(value) for value in text.to_pylist()], pa.string())
    return pc.binary_join_element_wise('"', text, '"', "")


def _json_lists(column: pa.Array) -> pa.Array:
    values = column.flatten()
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    offsets = pc.cumulative_sum(pa.concat_arrays([pa.array([0], pa.int64()), lengths.cast(pa.int64())])).cast(
        pa.int32()
    )
    inner = pc.fill_null(as_json(values).cast(pa.string()), "null")
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, inner), ",")
    return pc.if_else(column.is_valid(), pc.binary_join_element_wise("[", joined, "]", ""), None)


def _dumped(value: object) -> str | None:
    return None if value is None else json.dumps(_finite(value), ensure_ascii=False, default=str)


def _finite(value: object) -> object:
    """The value with null for every float that JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
