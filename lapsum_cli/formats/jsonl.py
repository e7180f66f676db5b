"""JSON lines: an object in each line, a column for each of its keys."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from ..core.errors import DataError
from .files import Output, first_line
from .sinks import Made
from .sources import Reading
from .text import BLOCK, TextSink, as_json

_LARGEST_BLOCK = 1 << 28  # a line longer than this is taken for a broken file
# A number of 19 digits or more without point or exponent.
_LONG_INTEGER = re.compile(rb"[:,\[]\s*-?\d{19,}\s*[,}\]]")


class JsonLinesSource:
    """Arrow's JSON reader does not stream: it is fed blocks of whole lines, with the types of the first block.

    Text stays text, also where it looks like a time; a column without a value in the first block is taken for text.
    """

    rows = None

    def __init__(self, asked: Reading):
        self.name, self.stream, self.is_number = asked.file.name, asked.file.stream, asked.is_number
        self.lines = 0
        self.first = self._block()
        inferred = self._parse(self.first, None).schema
        self.schema = pa.schema([pa.field(f.name, self._kind(f.name, f.type)) for f in inferred])

    def _kind(self, name: str, inferred: pa.DataType) -> pa.DataType:
        if pa.types.is_integer(inferred) and self.is_number(name):
            return pa.float64()
        return _as_text(inferred)

    def _block(self) -> bytes:
        return self.stream.read(BLOCK) + self.stream.readline(_LARGEST_BLOCK)

    def _parse(self, block: bytes, schema: pa.Schema | None) -> pa.Table:
        """The rows of whole lines; DataError names the line that does not fit the schema, which None infers."""
        unexpected = "error" if schema else "infer"
        try:
            table = pa.json.read_json(
                io.BytesIO(block),
                read_options=pa.json.ReadOptions(block_size=len(block) + 1, use_threads=False),
                parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=unexpected),
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
        """Rows in blocks as they are parsed; DataError names a line that does not fit those of the first block."""
        block = self.first
        while block:
            if block.strip():
                yield from self._parse(block, self.schema).select(self.schema.names).to_batches()
            self.lines += block.count(b"\n")
            block = self._block()


def _as_text(kind: pa.DataType) -> pa.DataType:
    """The type with text for times and nulls, at any depth."""
    if pa.types.is_temporal(kind) or pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_as_text(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _as_text(f.type)) for f in kind])
    return kind


class JsonLinesSink(TextSink):
    """An object for each row, its values in the order of the columns."""

    def __init__(self, output: Output, made: Made):
        super().__init__(output)

    def text_of(self, column: pa.Array) -> pa.Array:
        """Each value as JSON."""
        return as_json(column)

    def lines(self, names: list[str], columns: list[pa.Array]) -> pa.Array:
        """An object of each row's values; null for what is null."""
        parts: list[pa.Scalar | pa.Array] = []
        for name, column in zip(names, columns, strict=True):
            parts += [pa.scalar(("," if parts else "{") + json.dumps(name) + ":"), column]
        return pc.binary_join_element_wise(*parts, "}", "", null_handling="replace", null_replacement="null")


read, write = JsonLinesSource, JsonLinesSink
