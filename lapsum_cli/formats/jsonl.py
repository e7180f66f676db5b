"""JSON lines: an object in each line, a column for each of its keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from ..core.errors import DataError, OptionError
from ..core.numbers import MOST_EXACT
from .faults import first_line
from .files import Output
from .foreign import is_json_array
from .sinks import Made
from .sources import Reading
from .text import BLOCK, Blocks, TextSink, lines_of
from .values import as_json

_OBJECTS = 16  # bytes that Python's objects take for each of a line
_SHOWN = 40  # characters of a value, in a message
_DEEPEST = 100  # lists and objects in one another; Arrow's parser has a stack of its own size, and no bound for it
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"?')
_MANY_DIGITS = re.compile(rb"[\s:,\[]-?[0-9]{16,}[\s,\]}]")  # an integer that a float may not hold
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class JsonLinesSource:
    """Arrow's JSON reader does not stream: it is fed blocks of whole lines, with the types of the first block.

    Text stays text, also where it looks like a time; a column without a value in the first block is taken for text.
    """

    rows = None

    def __init__(self, asked: Reading):
        self.name, self.room = asked.file.name, asked.room
        self.blocks = Blocks(asked, _Lines())
        if is_json_array(self.blocks.peek()[:1024]):
            raise DataError(f"{self.name}: is a JSON array; write an object a line, as with jq -c '.[]' FILE")
        rows = self._parse(self.blocks.peek(), None)
        kinds = dict(zip(rows.schema.names, rows.schema.types, strict=True))
        self.numbers = set(asked.numbers(list(kinds), lambda names: {name: kinds[name] for name in names}))
        self._refuse_rounded(rows, self.blocks.peek())
        self.schema = pa.schema([(name, self._kind(name, kind)) for name, kind in kinds.items()])

    def _kind(self, name: str, inferred: pa.DataType) -> pa.DataType:
        if (pa.types.is_integer(inferred) or pa.types.is_null(inferred)) and name in self.numbers:
            return pa.float64()
        return _as_text(inferred)

    def _parse(self, block: bytes, schema: pa.Schema | None) -> pa.Table:
        """The rows of whole lines; DataError names the line that does not fit the schema, which None infers."""
        self._check(block)
        unexpected = "error" if schema else "infer"
        try:
            table = pa.json.read_json(
                pa.BufferReader(block),
                read_options=pa.json.ReadOptions(block_size=len(block) + 1, use_threads=False),
                parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=unexpected),
            )
        except pa.ArrowException as error:
            first = self.blocks.lines + 1  # Arrow counts from 0 within the block
            problem = re.sub(r" in row (\d+)", lambda m: f" in line {first + int(m[1])}", first_line(error))
            if schema and " in line " not in problem:
                self._refuse_unlike(block, schema)
            raise DataError(f"{self.name}: not readable as JSON lines: {problem}") from None
        return table

    def _check(self, block: bytes) -> None:
        """Raise DataError for what Arrow's parser takes as it is: text that is no UTF-8, and nesting without end."""
        try:
            ends = pa.py_buffer(np.array([0, len(block)], np.int32))
            pa.StringArray.from_buffers(1, ends, pa.py_buffer(block)).validate(full=True)  # str(block) would be a copy
        except pa.ArrowInvalid:
            self._refuse_no_text(block)
        if block.count(b"{") + block.count(b"[") - block.count(b"\n") <= _DEEPEST:
            return
        for number, line in enumerate(lines_of(block), self.blocks.lines + 1):
            if line.count(b"{") + line.count(b"[") > _DEEPEST and _depth(line) > _DEEPEST:
                raise DataError(f"{self.name}, line {number}: is nested more than {_DEEPEST} deep; flatten it")

    def _refuse_no_text(self, block: bytes) -> None:
        for number, line in enumerate(lines_of(block), self.blocks.lines + 1):
            try:
                str(line, "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{self.name}, line {number}: is not UTF-8: {error.reason}; convert the file") from None

    def _refuse_unlike(self, block: bytes, schema: pa.Schema) -> None:
        """Raise DataError for the first line with a key or a type that the first block has not shown."""
        kinds = pa.struct(list(schema))
        for number, line in enumerate(lines_of(block), self.blocks.lines + 1):
            if line.isspace() or _OBJECTS * len(line) > self.room.aside:
                continue
            try:
                unlike = _unlike(json.loads(line), kinds, "")
            except ValueError:  # of which Arrow's message is the better one
                return
            if unlike:
                raise DataError(
                    f"{self.name}, line {number}: {unlike}, and columns are those of the first {BLOCK >> 20} MiB; "
                    "begin the file with a line that has such a value"
                )

    def _refuse_rounded(self, table: pa.Table, block: bytes) -> None:
        """Raise DataError for an integer that became a float and is not the same: a score or an id would lose its
        digits without a word.
        """
        suspects = {
            name: column.type
            for name, column in zip(table.schema.names, table.columns, strict=True)
            if any((pc.max(pc.abs(part)).as_py() or 0.0) >= MOST_EXACT for part in _floats(column))
        }
        for number, line in enumerate(lines_of(block) if suspects else [], self.blocks.lines + 1):
            if not _MANY_DIGITS.search(line):
                continue
            if (need := _OBJECTS * len(line)) > self.room.aside:
                needs = self.room.refusal(need, "to tell whether its integers are rounded")
                raise OptionError(f"{self.name}, line {number}: {needs}, or write integers of many digits as text")
            row = json.loads(line)
            for name, kind in suspects.items():
                for value in _integers(row.get(name), kind):
                    most = "64 bits" if abs(value) >= 2**63 and name not in self.numbers else "2^53"
                    if most == "64 bits" or (abs(value) > MOST_EXACT and int(float(value)) != value):
                        raise DataError(
                            f'{self.name}, line {number}: column "{name}" holds integers beyond {most}, which would be '
                            f"rounded, as {value}; write them as text"
                        )

    def ending(self, size: int) -> Iterator[pa.RecordBatch]:
        """The last rows: within a value no line ends."""
        self.blocks.to_ending(b"")
        return self.batches(size)

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """Rows in blocks as they are parsed; DataError names a line that does not fit those of the first block."""
        while block := self.blocks.read():
            rows = []
            if not block.isspace():
                table = self._parse(block, self.schema).select(self.schema.names)
                self._refuse_rounded(table, block)
                rows = table.to_batches()
                del table
            del block  # before the rows go on their way
            while rows:
                yield rows.pop(0)


class _Lines:
    """Where lines of JSON end. A carriage return ends one where nothing else does: it may stand within one, too."""

    def end(self, text: bytes, last: bool) -> int:
        """How many bytes of a text are whole lines."""
        return len(text) if last else text.rfind(b"\n") + 1 or text.rfind(b"\r", 0, len(text) - 1) + 1

    def copies(self, text: bytes) -> int:
        """As the text it is, as values without a type, as columns, and what grows by doubling."""
        return 4


def _unlike(value: Any, kind: pa.DataType, path: str) -> str | None:
    """What a JSON value has that its type has not, in words; None where it fits."""
    fits = {
        pa.types.is_struct: lambda: isinstance(value, dict),
        pa.types.is_list: lambda: isinstance(value, list),
        pa.types.is_boolean: lambda: isinstance(value, bool),
        pa.types.is_integer: lambda: type(value) is int and -(2**63) <= value < 2**63,
        pa.types.is_floating: lambda: type(value) in (int, float),
        pa.types.is_string: lambda: isinstance(value, str),
    }
    if value is None:
        return None
    if not all(test() for is_kind, test in fits.items() if is_kind(kind)):
        shown = json.dumps(value, ensure_ascii=False)
        return f'"{path}" is {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."}, after values of type {kind}'
    if isinstance(value, list):
        return next(filter(None, (_unlike(item, kind.value_type, path) for item in value)), None)
    if not isinstance(value, dict):
        return None
    inner = {field.name: field.type for field in kind}
    for key, item in value.items():
        name = f"{path}.{key}" if path else key
        if key not in inner:
            return f'the key "{name}" comes first here'
        if unlike := _unlike(item, inner[key], name):
            return unlike
    return None


def _depth(line: bytes) -> int:
    """How many lists and objects of a line stand in one another at most."""
    brackets = np.frombuffer(_TEXT.sub(b"", line).translate(None, _NOT_BRACKETS), np.uint8)
    opened = np.isin(brackets, np.frombuffer(b"[{", np.uint8))
    return int(np.cumsum(np.where(opened, 1, -1)).max(initial=0))


def _floats(column: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    """The floats of a column, at any depth."""
    kind = column.type
    if pa.types.is_floating(kind):
        yield column
    elif pa.types.is_list(kind):
        yield from _floats(pa.chunked_array([chunk.flatten() for chunk in column.chunks], kind.value_type))
    elif pa.types.is_struct(kind):
        for child in column.flatten():
            yield from _floats(child)


def _integers(value: Any, kind: pa.DataType) -> Iterator[int]:
    """The integers among JSON values that are floats in a column of this type."""
    if pa.types.is_floating(kind) and type(value) is int:
        yield value
    elif pa.types.is_list(kind) and isinstance(value, list):
        for item in value:
            yield from _integers(item, kind.value_type)
    elif pa.types.is_struct(kind) and isinstance(value, dict):
        for field in kind:
            yield from _integers(value.get(field.name), field.type)


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
