"""CSV and TSV. Columns stay the text they are, but for those that must be numbers.

`007` and a 19-digit id therefore come out as they went in.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ..core.errors import DataError
from ..core.numbers import MOST_EXACT
from . import FORMATS
from .dialect import DIALECTS
from .faults import first_line
from .files import Output
from .quotes import Rows
from .sinks import Made
from .sources import Reading
from .text import Blocks, NoPlace, TextSink, line_ends
from .types import is_held, is_number, without_dictionary
from .values import as_json, plain

# What stands for no number. Arrow's reader would take it so, but of numbers that it reads it keeps no text.
_MISSING = pa.array(pa.csv.ConvertOptions().null_values)
_SAMPLE = 1 << 16  # bytes of rows that tell the types of columns
_LINE_ENDS = b"\r\n"


class DelimitedSource:
    """A file read in blocks of whole rows; its first row names the columns, or they are numbered from 1.

    Arrow parses each block by itself. Its reader of streams would read 32 of them ahead, knows no row that is longer
    than a block, and costs no less.
    """

    rows = None

    def __init__(self, asked: Reading):
        """Read the row of names; DataError where two are one, or where it is no text."""
        self.name = asked.file.name
        self.names: list[str] = []
        self.rows_read = 0
        self.ends = Rows(asked.dialect)
        self.blocks = Blocks(asked, self.ends)
        try:
            self.skipped = self._take_names(asked.dialect.header)  # bytes of the first block
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise self._located(error) from None
        # Null values are looked for in vain among strings, at some cost for every column and block.
        self.convert = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(self.names, pa.string()), null_values=[], true_values=[], false_values=[]
        )
        self.schema = pa.schema([(name, pa.string()) for name in self.names])
        sample = self._sample()

        def kinds(names: list[str]) -> dict[str, pa.DataType]:
            return {name: _looks_like(sample[name]) for name in names}

        for name, kind in kinds(asked.numbers(self.names, kinds)).items():
            field = pa.field(name, kind if pa.types.is_boolean(kind) else pa.float64())
            self.schema = self.schema.set(self.names.index(name), field)

    def _take_names(self, has_header: bool) -> int:
        """The names of the columns, from the first row that is not blank; how many bytes it ends after."""
        block = self.blocks.peek()
        while has_header and block and not block.strip(_LINE_ENDS):
            self.blocks.read()
            block = self.blocks.peek()
        begin = len(block) - len(block.lstrip(_LINE_ENDS))
        end = begin + self.ends.first_end(block[begin:])
        first = self._parsed(block[begin:end] + b"\n" * (block[end - 1 : end] not in (b"\n", b"\r")))
        self.names = first.column_names
        if not has_header:
            self.names = [str(number) for number in range(1, len(self.names) + 1)]
            return 0
        if len(set(self.names)) < len(self.names):
            raise pa.ArrowInvalid(f"two columns of the header have one name: {', '.join(self.names)}")
        return end

    def _parsed(self, rows: bytes, convert: pa.csv.ConvertOptions | None = None) -> pa.Table:
        """Whole rows as columns; without names these are taken from the first."""
        dialect = self.ends.dialect
        text = self.ends.for_arrow(rows)
        if text.startswith(codecs.BOM_UTF8):  # Arrow takes it off, wherever in the file the rows stand
            text = codecs.BOM_UTF8 + text
        return pa.csv.read_csv(
            pa.BufferReader(text),
            pa.csv.ReadOptions(block_size=len(text) + 1, column_names=self.names or None, use_threads=False),
            pa.csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                escape_char=dialect.escape or False,
                newlines_in_values=True,
                ignore_empty_lines=len(self.names) != 1,  # of one column, an empty line is a row
            ),
            convert,
        )

    def _sample(self) -> pa.Table:
        """The first rows, as text."""
        rows = self.blocks.peek()[self.skipped :]
        some = rows[: self.ends.end(rows[:_SAMPLE], last=False) or len(rows)]
        try:
            return self._parsed(some, self.convert) if some else self.schema.empty_table()
        except pa.ArrowException:  # which is said when the rows are read
            return self.schema.empty_table()

    def ending(self, size: int) -> Iterator[pa.RecordBatch]:
        """The last rows: a line end within quotes, or escaped, shows by these."""
        dialect = self.ends.dialect
        if self.blocks.to_ending(f"{dialect.quote}{dialect.escape}".encode()):
            self.skipped = 0
        return self.batches(size)

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """Rows in blocks as they are parsed; DataError says where one cannot be."""
        skipped, self.skipped = self.skipped, 0
        while block := self.blocks.read():
            rows, skipped = (block, 0) if not skipped else (block[skipped:], 0)
            header = block[: len(block) - len(rows)]
            del block
            try:
                batches = self._parsed(rows, self.convert).to_batches() if rows else []
            except pa.ArrowException as error:
                raise self._located(error, rows, header) from None
            del rows  # before the columns go on their way
            while batches:
                batch = batches.pop(0)
                columns = [
                    self._typed(*each) for each in zip(self.names, self.schema.types, batch.columns, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema)
                self.rows_read += batch.num_rows

    def _typed(self, name: str, kind: pa.DataType, text: pa.Array) -> pa.Array:
        if pa.types.is_string(kind):
            return text
        return self._booleans(name, text) if pa.types.is_boolean(kind) else self._numbers(name, text)

    def _booleans(self, name: str, text: pa.Array) -> pa.Array:
        """The booleans of a column whose first rows have nothing else; DataError for a text that is none."""
        given = pc.if_else(pc.is_in(text, _MISSING), None, text)
        try:
            return given.cast(pa.bool_())
        except pa.ArrowInvalid:
            known = pc.is_in(pc.utf8_lower(given), pa.array(["true", "false", "0", "1"]))
            row = pc.index(pc.and_(pc.invert(known), given.is_valid()), True).as_py()
            problem = f"invalid value {given[row].as_py()!r} after true and false"
            raise self._located(pa.ArrowInvalid(f'column "{name}": {problem}'), row=row) from None

    def _numbers(self, name: str, text: pa.Array) -> pa.Array:
        """The numbers of a column; DataError for a text that is none, or one whose digits no float64 holds."""
        try:
            numbers = text.cast(pa.float64())
            missing = pc.is_nan(numbers)
        except pa.ArrowInvalid:
            missing = pc.is_in(text, _MISSING)
            numbers = pc.if_else(missing, "nan", pc.utf8_trim(text, " \t"))
            try:
                numbers = numbers.cast(pa.float64())
            except pa.ArrowInvalid as error:
                value = re.sub(r"^Failed to parse string: (.*) as a scalar.*", r"\1", first_line(error))
                problem = f"CSV conversion error to double: invalid value {value}"
                row = pc.index(numbers, value[1:-1]).as_py()
                raise self._located(pa.ArrowInvalid(f'column "{name}": {problem}'), row=row) from None
        if pc.any(missing).as_py():
            numbers = pc.if_else(pc.and_(missing, pc.is_in(text, _MISSING)), None, numbers)
        for row in np.flatnonzero(np.abs(np.asarray(pc.fill_null(numbers, 0.0))) >= MOST_EXACT):
            if not is_held(text[row].as_py(), numbers[row].as_py()):
                raise DataError(
                    f'{self.name}, row {self.rows_read + row + 1}: column "{name}" holds {text[row].as_py()}, '
                    "which no float64 holds; write a number of fewer digits, or inf"
                )
        return numbers

    def _located(self, error: Exception, rows: bytes = b"", header: bytes = b"", row: int = -1) -> DataError:
        """Arrow's message with the column by name, and the line of a row that it numbers, or the row itself."""
        problem = re.sub(r"In CSV column #(\d+)", lambda m: f'column "{self.names[int(m[1])]}"', first_line(error))
        place = f"after row {self.rows_read}" if self.rows_read else "among the first rows"
        if row >= 0:
            place = f"row {self.rows_read + row + 1}"
        elif numbered := re.search(r"Row #(\d+): ", problem):
            problem = problem.replace(numbered[0], "")
            start = self.ends.starts(rows, blank=len(self.names) == 1)[int(numbered[1]) - 1]
            place = f"line {self.blocks.lines + line_ends(header + rows[:start]) + 1}"
        return DataError(f"{self.name}, {place}: {problem}")


def _looks_like(text: pa.ChunkedArray) -> pa.DataType:
    """The type of what a column of text holds: integers, floats, booleans, nothing, or text."""
    text = text.filter(pc.invert(pc.is_in(text, _MISSING)))
    if not len(text):
        return pa.null()
    for kind in (pa.int64(), pa.float64(), pa.bool_()):
        with contextlib.suppress(pa.ArrowInvalid):
            return pc.utf8_trim(text, " \t").cast(kind).type
    return pa.string()


class DelimitedSink(TextSink):
    """A line of names, then a line for each row; what is nested is written as JSON."""

    def __init__(self, output: Output, made: Made):
        self.dialect = DIALECTS[made.format]
        self.special = f"[{self.dialect.quote}{self.dialect.delimiter}\r\n]"  # what cannot stand by itself
        others = [name for name, format in FORMATS.items() if format.kind == "table" and name != made.format]
        self.ways = f"write {', '.join(others[:-1])} or {others[-1]}"
        try:
            names = self._quoted(pa.array(made.schema.names, pa.string())).to_pylist()
        except NoPlace as error:
            name = made.schema.names[error.row]
            raise DataError(f"{output.name}: the name of column {name!r} {error.problem}") from None
        super().__init__(output, (self.dialect.delimiter.join(names) + "\n").encode())

    def text_of(self, column: pa.Array) -> pa.Array:
        """Numbers and booleans as they are, anything else in quotes where it needs them."""
        kind = without_dictionary(column.type)
        if is_number(kind) or pa.types.is_boolean(kind):
            return plain(column)
        return self._quoted(as_json(column) if pa.types.is_nested(kind) else plain(column))

    def lines(self, names: list[str], columns: list[pa.Array]) -> pa.Array:
        """The values with the delimiter between them; null is nothing."""
        delimiter = self.dialect.delimiter
        return pc.binary_join_element_wise(*columns, delimiter, null_handling="replace", null_replacement="")

    def _quoted(self, text: pa.Array) -> pa.Array:
        """Texts as fields; NoPlace for one that needs quotes, where the format has none."""
        special = pc.match_substring_regex(text, self.special)
        if not pc.any(special).as_py():
            return text
        quote = self.dialect.quote
        if not quote:
            problem = f"holds a tab or a line end, for which a file without quotes has no place; {self.ways}"
            raise NoPlace(pc.index(special, True).as_py(), problem)
        doubled = pc.binary_join_element_wise(quote, pc.replace_substring(text, quote, 2 * quote), quote, "")
        return pc.if_else(special, doubled, text)


read, write = DelimitedSource, DelimitedSink
