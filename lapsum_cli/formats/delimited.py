"""CSV and TSV. Columns stay the text they are, but for those that must be numbers.

`007` and a 19-digit id therefore come out as they went in.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ..core.errors import DataError
from .files import Output, first_line
from .sinks import Made
from .sources import Reading
from .text import BLOCK, Blocks, TextSink
from .types import MOST_EXACT, is_held, is_number, without_dictionary
from .values import as_json, plain


class _Dialect(NamedTuple):
    separator: str
    needs_quotes: str  # a pattern of what cannot stand by itself


_DIALECTS = {"csv": _Dialect(",", r'[",\r\n]'), "tsv": _Dialect("\t", r'["\t\r\n]')}


# What stands for no number. Arrow's reader would take it so, but of numbers that it reads it keeps no text.
_MISSING = pa.array(pa.csv.ConvertOptions().null_values)


_COPIES = 36  # of a block while it is parsed: Arrow reads 32 ahead


def _may_end(read: bytes) -> bool:
    """Whether a block may end here: at the end of a line, or anywhere if lines end with carriage returns alone."""
    return read.endswith(b"\n") or (b"\r" in read and b"\n" not in read)


class DelimitedSource:
    """A file read in blocks of 1 MiB; its first line names the columns."""

    rows = None

    def __init__(self, asked: Reading):
        """Read the line of names; DataError where two are one, or where it is no text."""
        file = asked.file
        self.name, self.file = file.name, file
        self.names: list[str] = []
        self.rows_read = 0
        delimiter = _DIALECTS[asked.format].separator
        self.blocks = Blocks(asked, _may_end, _COPIES)
        first = self.blocks.peek()
        header = io.BytesIO(first.split(b"\n", 1)[0] + b"\n")
        try:
            self.names = pa.csv.read_csv(header, parse_options=pa.csv.ParseOptions(delimiter=delimiter)).column_names
            if len(set(self.names)) < len(self.names):
                raise pa.ArrowInvalid(f"two columns of the header have one name: {', '.join(self.names)}")
            self.numbers = [i for i, name in enumerate(self.names) if asked.is_number(name)]
            # Arrow takes a header without a line end for an empty file.
            alone = b"\n" not in first and b"\r" not in first
            self.reader = pa.csv.open_csv(
                header if alone and not header.seek(0) else pa.PythonFile(self.blocks, "r"),
                read_options=pa.csv.ReadOptions(block_size=BLOCK),
                parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(self.names, pa.string())),
            )
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise self._located(error) from None
        self.schema = self.reader.schema
        for i in self.numbers:
            self.schema = self.schema.set(i, pa.field(self.names[i], pa.float64()))

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """Rows in blocks as they are parsed; DataError says, as far as it is known, where one cannot be."""
        try:
            for batch in self.reader:
                columns = batch.columns
                for i in self.numbers:
                    columns[i] = self._numbers(self.names[i], columns[i])
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema)
                self.rows_read += batch.num_rows
        except pa.ArrowException as error:
            raise self._located(error) from None

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
                raise self._located(pa.ArrowInvalid(f'column "{name}": {problem}')) from None
        if pc.any(missing).as_py():
            numbers = pc.if_else(pc.and_(missing, pc.is_in(text, _MISSING)), None, numbers)
        for row in np.flatnonzero(np.abs(np.asarray(pc.fill_null(numbers, 0.0))) >= MOST_EXACT):
            if not is_held(text[row].as_py(), numbers[row].as_py()):
                raise DataError(
                    f'{self.name}, row {self.rows_read + row + 1}: column "{name}" holds {text[row].as_py()}, '
                    "which no float64 holds; write a number of fewer digits, or inf"
                )
        return numbers

    def _located(self, error: Exception) -> DataError:
        """Arrow's message with the column by name, and the line that it quotes; in a pipe only the rows before."""
        problem = re.sub(r"In CSV column #(\d+)", lambda m: f'column "{self.names[int(m[1])]}"', first_line(error))
        if "straddling" in problem:
            problem = f"a row takes more than {BLOCK >> 20} MiB over several lines; a quote may be open"
        quoted = re.search(r"Expected \d+ columns, got \d+: (.*)", problem)
        place = f"after row {self.rows_read}" if self.rows_read else "among the first rows"
        if quoted and self.file.is_regular:
            with open(self.name, "rb") as lines:
                for number, line in enumerate(lines, 1):
                    if number > self.rows_read and line.strip() == quoted[1].encode():
                        place = f"line {number}"
                        break
        return DataError(f"{self.name}, {place}: {problem}")


class DelimitedSink(TextSink):
    """A line of names, then a line for each row; what is nested is written as JSON."""

    def __init__(self, output: Output, made: Made):
        self.dialect = _DIALECTS[made.format]
        names = self._quoted(pa.array(made.schema.names, pa.string())).to_pylist()
        super().__init__(output, (self.dialect.separator.join(names) + "\n").encode())

    def text_of(self, column: pa.Array) -> pa.Array:
        """Numbers and booleans as they are, anything else in quotes where it needs them."""
        kind = without_dictionary(column.type)
        if is_number(kind) or pa.types.is_boolean(kind):
            return plain(column)
        return self._quoted(as_json(column) if pa.types.is_nested(kind) else plain(column))

    def lines(self, names: list[str], columns: list[pa.Array]) -> pa.Array:
        """The values with the separator between them; null is nothing."""
        separator = self.dialect.separator
        return pc.binary_join_element_wise(*columns, separator, null_handling="replace", null_replacement="")

    def _quoted(self, text: pa.Array) -> pa.Array:
        special = pc.match_substring_regex(text, self.dialect.needs_quotes)
        if not pc.any(special).as_py():
            return text
        quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
        return pc.if_else(special, quoted, text)


read, write = DelimitedSource, DelimitedSink
