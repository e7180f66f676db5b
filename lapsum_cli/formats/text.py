"""What the formats of text share: blocks of lines in, and lines out, whose columns become text in Arrow (values.py), so
that no row of a plain type passes through Python.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import DataError, OptionError
from .faults import first_line, writing
from .files import Output
from .quotes import Misplaced
from .sinks import Sink, instead
from .sources import Reading

_FEW_ROWS = 1 << 10
BLOCK = 1 << 20  # bytes that are parsed at a time
_ENDING = 1 << 16  # bytes at the end of a file among which its last row is looked for
_LONGEST = 1 << 28  # a line longer than this is taken for a broken file
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_LINE_END = re.compile(rb"[\r\n]")


class Ends(Protocol):
    """Where the rows of a text end."""

    def end(self, text: bytes, last: bool) -> int:
        """How many bytes of a text, which begins with a row, are whole rows; 0 where more must be read to know.

        Raises Misplaced for what can be no row.
        """

    def copies(self, text: bytes) -> int:
        """How many of a text there are at most while it is parsed."""


class Blocks:
    """A text in blocks of whole rows, of about a MiB; longer where a row is, and refused where there is no room for
    parsing it. A mark of UTF-8 at the beginning is left out.
    """

    def __init__(self, asked: Reading, rows: Ends):
        self.name, self.stream, self.room = asked.file.name, asked.file.stream, asked.room
        self.rows = rows
        self.size = asked.file.size() or 0  # of a file
        self.next: bytes | None = None
        self.rest = b""  # what was read after the last row end
        self.lines = self.ends = 0  # lines before the block that was read last, and in it
        self.is_first = True

    def peek(self) -> bytes:
        """The block that is read next."""
        if self.next is None:
            self.next = self._block()
        return self.next

    def read(self) -> bytes:
        """The next block; empty at the end."""
        block, self.next = self.peek(), None
        self.lines, self.ends = self.lines + self.ends, line_ends(block)
        return block

    def to_ending(self, unless: bytes) -> bool:
        """Go on with the last rows of a file, which are a few; False, and where it was, if they are not found: where
        the file is short or its rows long, or one of some bytes tells that a line end may be no row's.
        """
        start = self.size - _ENDING
        if start <= self.stream.tell():
            return False
        at = self.stream.tell()
        self.stream.seek(start)
        text = self.stream.read(_ENDING)
        begins = text.find(b"\n") + 1
        if not text[begins:].strip() or not begins or any(byte in text for byte in unless):
            self.stream.seek(at)
            return False
        self.next, self.rest = None, text[begins:]
        return True

    def _block(self) -> bytes:
        """OptionError where there is no room for a row, DataError where it cannot be meant; both say its line."""
        text = self.rest
        while True:
            more = self.stream.read(max(BLOCK, len(text) // 8))  # a share, or a long row is looked at too often
            if self.is_first:
                more, self.is_first = self._unmarked(more), False
            if not more and self.size and self.stream.tell() < self.size:
                raise DataError(f"{self.name}: was cut short while it was read, from {self.size} bytes; run again")
            text += more
            try:
                end = self.rows.end(text, last=not more)
            except Misplaced as error:
                raise DataError(f"{self._line(text[: error.place])}: {error.problem}") from None
            if not self._fits(text, end or len(text)) and not (end := self._fitting(text)):
                raise self._too_long(text)
            if end or not more:
                self.rest = text[end:]
                return text[:end] if self.rest else text

    def _fits(self, text: bytes, size: int) -> bool:
        return size <= _LONGEST and self.rows.copies(text) * size <= self.room.aside

    def _fitting(self, text: bytes) -> int:
        """How many bytes of a text are rows for which there is room, as there may be for the first alone; or 0."""
        for copies in (4, 8, 16):
            end = self.rows.end(text[: min(self.room.aside // copies, _LONGEST)], last=False)
            if end and self._fits(text[:end], end):
                return end
        return 0

    def _unmarked(self, beginning: bytes) -> bytes:
        if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(f"{self.name}: is UTF-16; convert it, as with iconv -f utf-16 -t utf-8")
        return beginning.removeprefix(codecs.BOM_UTF8)

    def _line(self, before: bytes) -> str:
        """The line that follows what was read and these bytes."""
        return f"{self.name}, line {self.lines + self.ends + line_ends(before) + 1}"

    def _too_long(self, text: bytes) -> DataError | OptionError:
        """The refusal of the row that a text begins with. The end of a line is looked for, and nothing kept."""
        first = _LINE_END.search(text)
        several = first is not None and self._fits(text, first.start())
        size = len(text) if several or first is None else first.start()
        while first is None and size <= _LONGEST and (more := self.stream.read(BLOCK)):
            first = _LINE_END.search(more)
            size += first.start() if first else len(more)
        line = self._line(b"")
        begins = "begins a row of several lines that " if several else ""
        if size > _LONGEST:
            return DataError(f"{line}: {begins}is longer than {_LONGEST >> 20} MiB; the file is damaged, or no text")
        long = f"{begins}is {'over ' if several else ''}{size / (1 << 20):.1f} MiB long"
        quote = ", where a quote may be open," if several else ""
        return OptionError(
            f"{line}: {long}{quote} and {self.room.refusal(self.rows.copies(text) * size, 'while it is parsed')}"
        )


def line_ends(text: bytes) -> int:
    """How many line ends there are in a text: \\n, \\r\\n or \\r."""
    alone = text.count(b"\r") - text.count(b"\r\n") if b"\r" in text else 0
    return text.count(b"\n") + alone


def lines_of(text: bytes) -> Iterator[bytes]:
    """The lines of a text, each with its end."""
    return (line[0] for line in _LINE.finditer(text))


class NoPlace(Exception):
    """A value that a format has no place for: its row among those that are written together, and why."""

    def __init__(self, row: int, problem: str):
        super().__init__(row, problem)
        self.row, self.problem = row, problem


class TextSink(Sink):
    """Lines of text. A format says what the values of a column look like, and how a line is made of them.

    header: what stands before the first line.
    """

    def __init__(self, output: Output, header: bytes = b""):
        self.output, self.header = output, header
        self.rows = 0  # written

    def text_of(self, column: pa.Array) -> pa.Array:
        """The values of a column as strings; a null may stay one. Raises NoPlace for what cannot be one."""
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
                self.rows += batch.num_rows

    def _column(self, name: str, column: pa.Array) -> pa.Array:
        try:
            return self.text_of(column)
        except pa.ArrowException as error:
            raise DataError(
                f'{self.output.name}: column "{name}" has type {column.type} and cannot be written as text: '
                f"{first_line(error)}; {instead(column.type)}"
            ) from None
        except NoPlace as error:
            row = f"row {self.rows + error.row + 1}"
            raise DataError(f'{self.output.name}, {row}: column "{name}" {error.problem}') from None

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
