"""CSV, TSV and JSON lines. Columns of CSV and TSV stay the text they are, but for those that must be numbers.

`007` and a 19-digit id therefore come out as they went in. Floats are written in the shortest form that reads back
the same.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json

from ..core.errors import DataError
from .files import Input, Output, Sink, first_line, writing

_BLOCK = 1 << 20
_LARGEST_BLOCK = 1 << 28  # a JSON line longer than this is taken for a broken file
_SEPARATORS = {"csv": ",", "tsv": "\t"}
_NEEDS_QUOTES = {"csv": r'[",\r\n]', "tsv": r'["\t\r\n]'}


class DelimitedSource:
    rows = None

    def __init__(self, file: Input, format: str, is_number: Callable[[str], bool]):
        self.name, self.file = file.name, file
        self.names: list[str] = []
        self.rows_read = 0
        delimiter = _SEPARATORS[format]
        header = io.BytesIO(file.head.split(b"\n", 1)[0] + b"\n")
        try:
            self.names = pa.csv.read_csv(header, parse_options=pa.csv.ParseOptions(delimiter=delimiter)).column_names
            if len(set(self.names)) < len(self.names):
                raise pa.ArrowInvalid(f"two columns of the header have one name: {', '.join(self.names)}")
            types = {name: pa.float64() if is_number(name) else pa.string() for name in self.names}
            alone = b"\n" not in file.head  # Arrow takes a header without a line end for an empty file
            self.reader = pa.csv.open_csv(
                header if alone and not header.seek(0) else file.stream,
                read_options=pa.csv.ReadOptions(block_size=_BLOCK),
                parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pa.csv.ConvertOptions(column_types=types),
            )
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise self._located(error) from None
        self.schema = self.reader.schema

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self.reader:
                yield batch
                self.rows_read += batch.num_rows
        except pa.ArrowException as error:
            raise self._located(error) from None

    def _located(self, error: Exception) -> DataError:
        """Arrow's message with the column by name, and the line that it quotes; in a pipe only the rows before."""
        problem = re.sub(r"In CSV column #(\d+)", lambda m: f'column "{self.names[int(m[1])]}"', first_line(error))
        quoted = re.search(r"Expected \d+ columns, got \d+: (.*)", problem)
        place = f"after row {self.rows_read}" if self.rows_read else "among the first rows"
        if quoted and self.file.is_regular:
            with open(self.name, "rb") as lines:
                for number, line in enumerate(lines, 1):
                    if number > self.rows_read and line.strip() == quoted[1].encode():
                        place = f"line {number}"
                        break
        return DataError(f"{self.name}, {place}: {problem}")


class JsonLinesSource:
    """Arrow's JSON reader does not stream: it is fed blocks of whole lines, with the types of the first block.

    Text stays text, also where it looks like a time; a column without a value in the first block is taken for text.
    """

    rows = None

    def __init__(self, file: Input, is_number: Callable[[str], bool]):
        self.name = file.name
        self.stream = file.stream
        self.schema = None
        self.lines = 0
        self.is_number = is_number
        self.first = self._block()
        inferred = self._parse(self.first).schema
        self.schema = pa.schema([pa.field(f.name, self._kind(f.name, f.type)) for f in inferred])

    def _kind(self, name: str, inferred: pa.DataType) -> pa.DataType:
        if pa.types.is_integer(inferred) and self.is_number(name):
            return pa.float64()
        return _as_text(inferred)

    def _block(self) -> bytes:
        return self.stream.read(_BLOCK) + self.stream.readline(_LARGEST_BLOCK)

    def _parse(self, block: bytes) -> pa.Table:
        unexpected = "error" if self.schema else "infer"
        try:
            table = pa.json.read_json(
                io.BytesIO(block),
                read_options=pa.json.ReadOptions(block_size=len(block) + 1, use_threads=False),
                parse_options=pa.json.ParseOptions(explicit_schema=self.schema, unexpected_field_behavior=unexpected),
            )
        except pa.ArrowException as error:
            # Arrow counts from 0 within the block.
            problem = re.sub(r" in row (\d+)", lambda m: f" in line {self.lines + int(m[1]) + 1}", first_line(error))
            raise DataError(f"{self.name}: not readable as JSON lines: {problem}") from None
        self._refuse_rounded(table, block)
        return table

    def _refuse_rounded(self, table: pa.Table, block: bytes) -> None:
        """An integer beyond 64 bits becomes a float in Arrow's reader: an id would lose its digits without a word."""
        for name, column in zip(table.schema.names, table.columns, strict=True):
            if not pa.types.is_floating(column.type) or self.is_number(name):
                continue
            largest = pc.max(pc.abs(column)).as_py()
            if largest is not None and largest >= 2**63 and _LONG_INTEGER.search(block):
                problem = "holds integers beyond 64 bits, which would be rounded; write them as text"
                raise DataError(f'{self.name}: column "{name}" {problem}')

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        block = self.first
        while block:
            if block.strip():
                yield from self._parse(block).select(self.schema.names).to_batches()
            self.lines += block.count(b"\n")
            block = self._block()


# A number of 19 digits or more without point or exponent.
_LONG_INTEGER = re.compile(rb"[:,\[]\s*-?\d{19,}\s*[,}\]]")


def _as_text(kind: pa.DataType) -> pa.DataType:
    """The type with text for times and nulls, at any depth."""
    if pa.types.is_temporal(kind) or pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_as_text(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _as_text(f.type)) for f in kind])
    return kind


class TextSink(Sink):
    """Lines are joined column by column in Arrow, so that no row passes through Python."""

    def __init__(self, output: Output, format: str, schema: pa.Schema):
        self.output, self.format = output, format
        self.separator = _SEPARATORS.get(format)
        self.header = b""
        if self.separator:
            names = _quoted(pa.array(schema.names, pa.string()), format).to_pylist()
            self.header = (self.separator.join(names) + "\n").encode()

    def write(self, table: pa.Table) -> None:
        for batch in table.to_batches():
            if batch.num_rows:
                self._write_array(self._lines(batch))

    def _lines(self, batch: pa.RecordBatch) -> pa.Array:
        columns = [self._column(*named) for named in zip(batch.schema.names, batch.columns, strict=True)]
        if self.separator:
            return pc.binary_join_element_wise(*columns, self.separator, null_handling="replace", null_replacement="")
        parts = []
        for name, column in zip(batch.schema.names, columns, strict=True):
            parts += [pa.scalar(("," if parts else "{") + json.dumps(name) + ":"), column]
        return pc.binary_join_element_wise(*parts, "}", "", null_handling="replace", null_replacement="null")

    def _column(self, name: str, column: pa.Array) -> pa.Array:
        try:
            return _text(column, self.format)
        except pa.ArrowException as error:
            problem = first_line(error)
            raise DataError(f'{self.output.name}: column "{name}" cannot be written as text: {problem}') from None

    def _write_array(self, lines: pa.Array) -> None:
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

    def close(self, metadata: dict) -> None:
        with writing(self.output.name):
            self.output.stream.write(self.header)
            self.output.stream.flush()


def _text(column: pa.Array, format: str) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _text(column.dictionary_decode(), format)
    if pa.types.is_floating(kind):
        text = pc.cast(column.cast(pa.float32()) if pa.types.is_float16(kind) else column, pa.string())
        # JSON has no number for them; null is what other writers put.
        return pc.if_else(pc.is_finite(column), text, None) if format == "jsonl" else text
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _quoted(column.cast(pa.string()), format)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _quoted_json(_list_text(column), format)
    if pa.types.is_integer(kind):
        return pc.cast(column, pa.string())
    if pa.types.is_boolean(kind):
        return pc.if_else(column, "true", "false")
    if pa.types.is_nested(kind):
        return _quoted_json(pa.array([_dumps(value) for value in column.to_pylist()], pa.string()), format)
    text = pc.cast(column, pa.string())
    return _quoted(text, format)


def _list_text(column: pa.Array) -> pa.Array:
    values = column.flatten()
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    offsets = pc.cumulative_sum(pa.concat_arrays([pa.array([0], pa.int64()), lengths.cast(pa.int64())])).cast(
        pa.int32()
    )
    inner = pc.fill_null(_text(values, "jsonl").cast(pa.string()), "null")
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, inner), ",")
    return pc.if_else(column.is_valid(), pc.binary_join_element_wise("[", joined, "]", ""), None)


def _quoted_json(text: pa.Array, format: str) -> pa.Array:
    return text if format == "jsonl" else _quoted(text, format)


def _quoted(text: pa.Array, format: str) -> pa.Array:
    if format == "jsonl":
        if pc.any(pc.match_substring_regex(text, r'["\\\x00-\x1f]')).as_py():
            return pa.array([_dumps(value) for value in text.to_pylist()], pa.string())
        return pc.binary_join_element_wise('"', text, '"', "")
    special = pc.match_substring_regex(text, _NEEDS_QUOTES[format])
    if not pc.any(special).as_py():
        return text
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
    return pc.if_else(special, quoted, text)


def _dumps(value) -> str | None:
    return None if value is None else json.dumps(_finite(value), ensure_ascii=False, default=str)


def _finite(value):
    """The value with null for every float that JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(file: Input, format: str, is_number: Callable[[str], bool]):
    return JsonLinesSource(file, is_number) if format == "jsonl" else DelimitedSource(file, format, is_number)


def write(output: Output, format: str, schema: pa.Schema, results: list[str], rows: int | None, made: dict) -> Sink:
    return TextSink(output, format, schema)
