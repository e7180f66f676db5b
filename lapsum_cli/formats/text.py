"""What the formats of text share: blocks of lines in, and lines out, whose columns become text in Arrow (values.py), so
that no row of a plain type passes through Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import DataError, OptionError
from .files import Output, first_line, writing
from .sinks import Sink, instead
from .sources import Reading

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
            raise DataError(
                f'{self.output.name}: column "{name}" has type {column.type} and cannot be written as text: '
                f"{first_line(error)}; {instead(column.type)}"
            ) from None

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
