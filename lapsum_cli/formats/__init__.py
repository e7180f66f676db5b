"""File formats: each turns bytes into Arrow record batches, or Arrow tables into bytes, in bounded memory.

One file per format. A format never sees an operation; what reads and writes it is chosen here, by option, extension
or first bytes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from ..core.errors import DataError, OptionError
from .files import Input, Output, Sink, expand
from .sizes import cumulative_bytes

# format name -> the module of this package that reads and writes it
FORMATS = {
    "parquet": "parquet",
    "npy": "npy",
    "arrow": "arrow_ipc",
    "arrows": "arrow_ipc",
    "csv": "text",
    "tsv": "text",
    "jsonl": "text",
}
EXTENSIONS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".npy": "npy",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".arrows": "arrows",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
MAGIC = {b"PAR1": "parquet", b"\x93NUMPY": "npy", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrows", b"{": "jsonl"}


class Source(Protocol):
    """An open input: its columns, its number of rows where known, and its rows in batches of about `size` bytes."""

    name: str
    schema: pa.Schema
    rows: int | None

    def batches(self, size: int) -> Iterator[pa.RecordBatch]: ...


@dataclass(frozen=True)
class Chunk:
    """Rows on their way: a record batch, the input it came from, and the number of its first row there (from 1)."""

    batch: pa.RecordBatch
    file: str
    row: int

    def slice(self, start: int, stop: int) -> Chunk:
        return Chunk(self.batch.slice(start, stop - start), self.file, self.row + start)


class Sources:
    """One or several inputs read as one, in order; all must have the same columns.

    is_number: whether a column of this name is to be read as numbers, which text does not say of itself.
    beside: for an array, the files of arrays to be read with it, by the name of the column that they become.
    """

    def __init__(
        self,
        paths: list[str],
        format: str | None,
        is_number: Callable[[str], bool],
        beside: dict[str, str] | None = None,
    ):
        self.format, self.is_number = _known(format, "--from"), is_number
        self.inputs = [Input(path) for path in expand(paths)]
        self.beside: dict[str, Input] = {}
        try:
            if self.is_array and beside:
                self.beside = {name: Input(expand([path])[0]) for name, path in beside.items()}
            if self.beside and len(self.inputs) > 1:
                raise OptionError(f"{len(self.inputs)} arrays cannot be read with one beside them; name one array")
            self.first = self._open(self.inputs[0])
        except BaseException:
            self.close()
            raise
        self.schema = self.first.schema
        self.rows = self.first.rows if len(self.inputs) == 1 else None
        self.read: list[tuple[str, int]] = []  # (name, rows) of every input read so far

    @property
    def is_array(self) -> bool:
        """Whether the input is an array without columns of its own (NPY)."""
        return self.format_of(self.inputs[0]) == "npy"

    def format_of(self, file: Input) -> str:
        return self.format or EXTENSIONS.get(Path(file.name).suffix.lower()) or _by_first_bytes(file)

    def _open(self, file: Input) -> Source:
        name = self.format_of(file)
        if not file.head:
            raise DataError(f"{file.name}: the file is empty")
        source = _module(name).read(file, name, self.is_number)
        return source.with_beside(self.beside) if self.beside else source

    def close(self) -> None:
        for file in (*self.inputs, *self.beside.values()):
            file.close()

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The rows of all inputs, in chunks of about `size` bytes."""
        for file in self.inputs:
            source = self.first if file is self.inputs[0] else self._open(file)
            if not source.schema.equals(self.schema):
                changed = _difference(source.schema, self.schema)
                raise DataError(f"{file.name}: its columns differ from those of {self.inputs[0].name}: {changed}")
            row = 0
            for batch in source.batches(size):
                for start, stop in _ranges(batch, size):
                    yield Chunk(batch.slice(start, stop - start), file.name, row + 1 + start)
                row += batch.num_rows
            self.read.append((Path(file.name).name, row))
            file.close()


def _ranges(batch: pa.RecordBatch, size: int):
    """Row ranges of about `size` bytes: an input may hold its rows in batches of any size."""
    if batch.nbytes <= 2 * size or batch.num_rows <= 1:
        return [(0, batch.num_rows)] if batch.num_rows else []
    bytes_before = cumulative_bytes(batch)
    ranges, start = [], 0
    while start < batch.num_rows:
        stop = max(start + 1, int(bytes_before.searchsorted(bytes_before[start] + size)))
        ranges.append((start, min(stop, batch.num_rows)))
        start = stop
    return ranges


def _difference(schema: pa.Schema, expected: pa.Schema) -> str:
    theirs, ours = ({f"{f.name}: {f.type}" for f in s} for s in (schema, expected))
    changed = [f"has {field}" for field in sorted(theirs - ours)] + [
        f"lacks {field}" for field in sorted(ours - theirs)
    ]
    return ", ".join(changed) or "their order differs"


def _by_first_bytes(file: Input) -> str:
    head = file.head
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return name
    line = head.split(b"\n", 1)[0]
    if b"\0" in head[:1024]:
        raise DataError(f"{file.name}: its format is not recognised; name it with --from {'|'.join(FORMATS)}")
    return "tsv" if b"\t" in line and b"," not in line else "csv"


def output_format(path: str | None, given: str | None, is_array: bool) -> str:
    """The format of an output: as given, else by extension, else CSV for tables and NPY for arrays."""
    if _known(given, "--to"):
        return given
    if path is None:
        return "npy" if is_array else "csv"
    suffix = Path(path).suffix.lower()
    if suffix not in EXTENSIONS:
        raise OptionError(
            f"{path}: no format has the extension {suffix or '(none)'!r}; use one of {' '.join(EXTENSIONS)}, or --to"
        )
    return EXTENSIONS[suffix]


def _known(name: str | None, option: str) -> str | None:
    if name is not None and name not in FORMATS:
        raise OptionError(f"{option} {name}: unknown format; known are {', '.join(FORMATS)}")
    return name


def open_sink(output: Output, format: str, schema: pa.Schema, results: list[str], rows: int | None, made: dict) -> Sink:
    """A sink for tables of `schema`, of which `results` are the new columns; `rows` in all, where known.

    made: how the result is made, as far as it is known now; `close` is told the rest.
    """
    try:
        return _module(format).write(output, format, schema, results, rows, made)
    except pa.ArrowNotImplementedError as error:
        raise OptionError(f"{output.name}: {format} cannot hold these columns: {error}; choose another --to") from None


def _module(format: str):
    return importlib.import_module(f".{FORMATS[format]}", __name__)
