"""What is read: one or several inputs as one stream of record batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from ..core.errors import DataError, OptionError
from . import FORMATS, IN_DIRECTORY, by_extension, by_first_bytes, known, load
from .common import common_schema, difference
from .dialect import Dialect, Given
from .faults import first_line
from .files import STDIN, Input, Part, expand
from .foreign import what_it_is
from .frames import FORMAT, Frame
from .partitions import Partitions
from .places import Stamp
from .plain import as_declared, plain_schema
from .rows import check, parts, within
from .shares import Shares
from .types import unlisted

_COLUMN = 1 << 12  # bytes of a column in a chunk: of fewer, what Arrow does with every column is most of the work


class Room(Protocol):
    """What a reader may hold: chunks of about so many bytes, `size` of them altogether, and `aside` while it makes one
    (flow.budget). There may be less by the time that batches are asked for than when an input is opened.
    """

    chunk: int
    size: int
    aside: int

    def refusal(self, cost: int, meanwhile: str) -> str:
        """The words for what needs `cost` bytes, meanwhile, and does not fit."""


class Source(Protocol):
    """An open input: its columns, its number of rows where known, and its rows in batches of about `size` bytes.

    One that must hold more than its batches refuses what its room does not hold.
    """

    name: str
    schema: pa.Schema
    rows: int | None

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """All rows, once; DataError where the input is damaged."""


# Of the columns with these names those that are numbers, given what the first rows of some of them look like.
Numbers = Callable[[list[str], Callable[[list[str]], Mapping[str, pa.DataType]]], list[str]]


@dataclass(frozen=True)
class Reading:
    """What a format is asked to read.

    format: its name, for a module that reads several. numbers: which columns are to be read as numbers, which text does
    not say of itself. room: what it may hold meanwhile. beside: for an array, those to be read with it, by their
    columns' names. dialect: of delimited text. columns: the only ones that are looked at, of which a format may leave
    out all others; None for all.
    """

    file: Input
    format: str
    numbers: Numbers
    room: Room
    beside: Mapping[str, Input] = field(default_factory=dict)
    dialect: Dialect = field(default_factory=Dialect)
    columns: Sequence[str] | None = None


@dataclass(frozen=True)
class Chunk:
    """Rows on their way: a record batch, the input it came from, and the number of its first row there (from 1)."""

    batch: pa.RecordBatch
    file: str
    row: int

    def slice(self, start: int, stop: int) -> Chunk:
        """The rows from `start` to before `stop`, without a copy."""
        return Chunk(self.batch.slice(start, stop - start), self.file, self.row + start)


class Rows(Protocol):
    """What the spine reads: columns, the number of rows where known, and the rows in chunks; `read` fills meanwhile."""

    schema: pa.Schema
    rows: int | None
    read: list[tuple[str, int]]
    first: Source

    @property
    def is_array(self) -> bool:
        """Whether they are those of an array."""

    def chunks(self) -> Iterator[Chunk]:
        """All rows, once."""

    def share(self, rows: int) -> float | None:
        """How much of the input held the first so many rows, from 0 to 1; None where that is not known."""


@dataclass(frozen=True)
class Common:
    """What all inputs of a data set have in common, for whoever reads some of them: columns, the columns that folders
    give, and the name of the first input.
    """

    schema: pa.Schema
    partitions: Partitions
    first: str


class Sources:
    """One or several inputs read as one, in order; all must have the same columns, of types that go together.

    given: paths, parts of files and frames. numbers, room, beside: as Reading has them, the last as paths. dialect:
    what is said of it. common: what these have in common with others; by default it is found.
    """

    def __init__(
        self,
        given: Sequence[str | Part | Frame],
        format: str | None,
        numbers: Numbers,
        room: Room,
        beside: dict[str, str] | None = None,
        dialect: Given = Given(),
        common: Common | None = None,
    ):
        """Open the first input; raise InputMissing, OptionError or DataError where it cannot be, and close all."""
        self.format, self.numbers, self.room, self.dialect = known(format, "from_format"), numbers, room, dialect
        self.inputs: list[Input | Frame] = []
        for one in given:
            self.inputs += [one] if isinstance(one, Frame) else _files(one)
        if [file.name for file in self.inputs].count(STDIN) > 1:
            raise OptionError("standard input (-) can be read only once; name it once")
        self.beside: dict[str, Input] = {}
        self.stamps: dict[str, Stamp] = {}  # of files that may be read again, by name
        try:
            if self.is_array and beside:
                self.beside = {name: Input(expand([path])[0]) for name, path in beside.items()}
            if self.beside and len(self.inputs) > 1:
                raise OptionError(f"{len(self.inputs)} arrays cannot be read with one beside them; name one array")
            names = [file.name for file in self.inputs]
            has_folders = common is None and any("=" in name for name in names) and self._are_parquet()
            self.partitions = common.partitions if common else Partitions(names if has_folders else [])
            if self.is_array:  # its shape, which says where rows are, is of this time
                self._stamp([self.inputs[0], *self.beside.values()])
            self.first = self._open(self.inputs[0])
            self.leader = common.first if common else self.inputs[0].name  # with which all others must agree
            others = (file for file in self.inputs[1:] if self._says_types(file))
            self.schema = self.stored = common.schema if common else self._common(self.first.schema, others)
        except BaseException:
            self.close()
            raise
        is_one = len(self.inputs) == 1 and (self.inputs[0].first, self.inputs[0].stop) == (0, None)
        self.rows = self.first.rows if is_one else None
        self.unrolled = 0  # into so many rows is each row of an array, one for each score, where it is
        self.matrices: list[tuple[str, int]] = []  # names and rows of these arrays, where they can be read again
        self.read: list[tuple[str, int]] = []  # (name, rows) of every input read so far
        self.shares = Shares(self.inputs)

    @property
    def is_array(self) -> bool:
        """Whether the input is an array without columns of its own (NPY)."""
        return FORMATS[self.format_of(self.inputs[0])].kind == "array"

    def format_of(self, file: Input | Frame) -> str:
        """The name of its format: as given, else by extension, else by first bytes; DataError where none tells, or
        where it is none of ours.
        """
        if isinstance(file, Frame):
            return FORMAT
        if what := what_it_is(file.head):
            raise DataError(f"{file.name}: {what}")
        name = self.format or by_extension(file.name) or by_first_bytes(file.head)
        if name is None:
            raise DataError(
                f"{file.name}: its format is not recognised; name it with ⟨from_format⟩, one of {', '.join(FORMATS)}"
            )
        return name

    @property
    def common(self) -> Common:
        """What these inputs have in common."""
        return Common(self.schema, self.partitions, self.leader)

    def _open(self, file: Input | Frame, columns: Sequence[str] | None = None) -> Source:
        try:
            source = self._frame(file) if isinstance(file, Frame) else self._read(file, columns)
            plain_schema(source.schema)
            if any("\0" in name for name in source.schema.names):  # which Arrow cuts off there, or not
                raise DataError(f"{file.name}: the name of a column holds a NUL byte; rename it")
        except UnicodeDecodeError as error:
            raise DataError(f"{file.name}: the name of a column is not UTF-8: {error.reason}") from None
        except RecursionError:
            raise DataError(f"{file.name}: a column is nested too deeply; flatten it") from None
        return source

    def _frame(self, frame: Frame) -> Source:
        if self.format is not None:
            raise OptionError(f"{frame.name}: ⟨from_format={self.format}⟩ is for files, and this is in memory")
        self.dialect.of(FORMAT, frame.name)
        return frame

    def _read(self, file: Input, columns: Sequence[str] | None) -> Source:
        name = self.format_of(file)
        if not file.head:
            raise DataError(f"{file.name}: the file is empty")
        dialect = self.dialect.of(name, file.name)
        reading = Reading(file, name, self.numbers, self.room, self.beside, dialect, columns)
        source: Source = load(name).read(reading)
        return source

    def unroll(self, width: int) -> None:
        """Have a row for each score, of arrays with so many in a row, before any is read."""
        if self.can_be_read_again:
            self._stamp(self.inputs)
            self.matrices = [(file.name, self.rows_of(file) or 0) for file in self.inputs]
            self.rows = sum(rows for _, rows in self.matrices)
        self.schema, self.unrolled = unlisted(self.schema), width
        self.rows = None if self.rows is None else self.rows * width

    def _are_parquet(self) -> bool:
        return all(self.format_of(file) == IN_DIRECTORY for file in self.inputs)

    def _says_types(self, file: Input | Frame) -> bool:
        """Whether the types of an input stand in it, and looking at them takes nothing away."""
        format = FORMATS[self.format_of(file)]
        return (isinstance(file, Frame) or file.is_regular) and format.kind == "table" and not format.is_text

    def _common(self, schema: pa.Schema, files: Iterable[Input | Frame]) -> pa.Schema:
        """The columns that these, and all of the files, have in common."""

        def schemas() -> Iterator[tuple[str, pa.Schema]]:
            for file in files:
                found = self._open(file).schema
                file.close()
                yield file.name, self.partitions.schema(found)

        return common_schema(self.partitions.schema(schema), schemas(), self.inputs[0].name)

    def share(self, rows: int) -> float | None:
        """How much of all inputs held the first so many rows; of rows that are read by their places, of those."""
        if self.unrolled and self.rows and self.shares.sizes:
            return rows / self.rows
        return self.shares.of(rows)

    def close(self) -> None:
        """Let go of every input."""
        for file in (*self.inputs, *self.beside.values()):
            file.close()

    def chunks(
        self, names: Sequence[str] | None = None, inputs: Sequence[Input | Frame] | None = None
    ) -> Iterator[Chunk]:
        """The rows of all inputs, checked and in plain form, in chunks of about `room.chunk` bytes, whatever batches
        hold them. names: these columns alone. inputs: of these, of which the first is open.
        """
        inputs = self.inputs if inputs is None else inputs
        size = max(self.room.chunk, min(len(self.schema) * _COLUMN, self.room.size // 32))
        plain, earlier = self._plain(names), 0
        for file in inputs:
            source = self.first if file is inputs[0] else self._open(file, names)
            taken = 0
            for row, batch in self._batches(source, file, size):
                batch = self.partitions.batch(batch, file.name)
                batch = batch if names is None else batch.select(names)
                check(batch, file.name, row)
                for start, stop in parts(batch, plain, size):
                    if start < stop:
                        self.shares.note(file, row + stop, source.rows, earlier + taken + stop)
                        rows = self._declared(batch.slice(start, stop - start), plain, file.name)
                        yield Chunk(rows, file.name, row + 1 + start)
                        del rows
                taken += batch.num_rows
                del batch  # before the next is made
            self.read.append((Path(file.name).name, taken // (self.unrolled or 1)))
            earlier += taken
            self.shares.ended(file, earlier)
            if isinstance(file, Input):
                file.check_unchanged()
            file.close()

    def _batches(self, source: Any, file: Input | Frame, size: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The rows that are asked for of an open input, each batch with how many rows of it come before. An array can
        be unrolled, and read from any row on (formats.npy).
        """
        self._check_columns(source.schema, file.name)
        if self.unrolled:
            source.unroll()
        row = source.seek(file.first) if file.first and hasattr(source, "seek") else 0
        return within(source.batches(size), row, file.first, file.stop)

    @property
    def can_be_read_again(self) -> bool:
        """Whether another pass costs no more than reading: of files that are no text."""
        files = [*self.inputs, *self.beside.values()]
        are_files = all(isinstance(file, Input) and file.is_regular for file in files)
        return are_files and not any(FORMATS[self.format_of(file)].is_text for file in self.inputs)

    def again(self, names: Sequence[str] | None = None, part: Part | None = None) -> Iterator[Chunk]:
        """All rows, or a part of an input, once more, of these columns alone or of all; whoever was reading them is not
        to go on; `read` tells of the former alone. DataError where a file is not what it was at the first time.
        """
        files = [file for file in (*self.inputs, *self.beside.values()) if isinstance(file, Input)]
        self._stamp(files)
        for file in files:
            file.close()
        inputs, read = self.inputs, [*self.read]
        with contextlib.ExitStack() as opened:
            if part is not None:
                own = opened.enter_context(contextlib.closing(Input(part.path, part.first, part.stop)))
                inputs, files = [own], [own, *self.beside.values()]
                self.shares = Shares(inputs)
            self._check_stamps(files)  # before, too: another array in its place may be of another shape
            self.first = self._open(inputs[0], names)
            self.read.clear()
            yield from self.chunks(names, inputs)
        if part is not None:
            self.read[:] = read
        self._check_stamps(files)

    def _stamp(self, files: Iterable[Input | Frame]) -> None:
        """What files are, from the first time on."""
        for file in files:
            if isinstance(file, Input) and file.is_regular and file.name not in self.stamps:
                self.stamps[file.name] = file.stamp()

    def _check_stamps(self, files: Iterable[Input | Frame]) -> None:
        """DataError where one is not what it was."""
        for file in files:
            if isinstance(file, Input) and file.name in self.stamps:
                file.check_unchanged(self.stamps[file.name])

    def some(self, file: Input | Frame, names: Sequence[str], at_end: bool = False) -> Iterator[Chunk]:
        """Some columns of all rows of an input, as `chunks` has them; others are not read where its format can leave
        them out. at_end: of as few rows as the format finds, of which the last is that of the input.
        """
        plain = self._plain(names)
        again = file if isinstance(file, Frame) else Input(file.name)
        with contextlib.closing(again):
            source = self._open(again, names)
            row, read = 0, getattr(source, "ending", source.batches) if at_end else source.batches
            for batch in read(self.room.chunk):
                batch = self.partitions.batch(batch, file.name).select(names)
                check(batch, file.name, row)
                yield Chunk(self._declared(batch, plain, file.name), file.name, row + 1)
                row += batch.num_rows
                del batch

    def _plain(self, names: Sequence[str] | None) -> pa.Schema:
        plain = plain_schema(self.schema)
        return plain if names is None else pa.schema([plain.field(name) for name in names])

    def rows_of(self, file: Input | Frame) -> int | None:
        """How many rows an input has, where it says so."""
        if file is self.inputs[0] or FORMATS[self.format_of(file)].is_text:
            return self.first.rows if file is self.inputs[0] else None
        again = file if isinstance(file, Frame) else Input(file.name)
        with contextlib.closing(again):
            return self._open(again).rows

    def _check_columns(self, schema: pa.Schema, file: str) -> None:
        """Raise DataError where the columns of an input whose types were not known before are not those of all."""
        first = self.leader
        if file != first and not common_schema(self.stored, [(file, self.partitions.schema(schema))], first).equals(
            self.stored
        ):
            raise DataError(f"{file}: its columns differ from those of {first}: {difference(schema, self.stored)}")

    def _declared(self, rows: pa.RecordBatch, plain: pa.Schema, file: str) -> pa.RecordBatch:
        """Rows with the types of all inputs."""
        try:
            return as_declared(rows, plain)
        except pa.ArrowInvalid as error:
            together = f"that is the type of all inputs together, from {self.leader} on"
            raise DataError(f"{file}: {first_line(error)}; {together}") from None


def _files(given: str | Part) -> list[Input]:
    """The files of a path, a glob or a directory, or of a part of one."""
    if isinstance(given, Part):
        return [Input(given.path, given.first, given.stop)]
    return list(map(Input, expand([given])))
