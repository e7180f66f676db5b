"""What is written: tables, one after another, and how they were made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from ..core.errors import OptionError
from . import FORMATS, load
from .files import Output
from .nested import contains


@dataclass(frozen=True)
class Made:
    """What is known of a result before its first row.

    format   its name, for a module that writes several
    schema   of all its tables, of which `results` are the new columns
    rows     how many there will be, where that is known
    how      how it is made, for its metadata; `Sink.close` is told the rest
    of_matrices: a row is a line of one of several square matrices
    unrolled     where a row of an array comes as rows of a table, one for each score: how many; else 0
    """

    format: str
    schema: pa.Schema
    results: list[str]
    rows: int | None
    how: Mapping[str, object]
    of_matrices: bool = False
    unrolled: int = 0


class Sink:
    """An open output for tables: `close` finishes it and records how it was made, `abandon` lets go of it after an
    error.
    """

    def write(self, table: pa.Table) -> None:
        """Some more rows."""
        raise NotImplementedError

    def close(self, metadata: Mapping[str, object]) -> None:
        """No more rows; metadata: how all were made, and of what."""
        raise NotImplementedError

    def abandon(self) -> None:
        """No more rows, and those that there are will not be kept."""


# What a format has no place for, at any depth.
_NOT_HELD: dict[str, tuple[Callable[[pa.DataType], bool], ...]] = {
    "parquet": (pa.types.is_interval, pa.types.is_union, lambda kind: pa.types.is_struct(kind) and not kind.num_fields),
}


def instead(kind: pa.DataType) -> str:
    """The words for what else a column of this type can be written as: formats that keep types, as far as they do."""
    typed = [name for name, format in FORMATS.items() if format.kind == "table" and not format.is_text]
    *names, last = [name for name in typed if _holds(name, kind)]
    return f"write {', '.join(names)} or {last} (⟨to_format⟩), or leave the column out of the input"


def _holds(format: str, kind: pa.DataType) -> bool:
    return not any(contains(kind, is_kind) for is_kind in _NOT_HELD.get(format, ()))


def open_sink(output: Output, made: Made) -> Sink:
    """A sink for what is made; OptionError where the format has no place for one of its columns."""
    for field in made.schema:
        if not _holds(made.format, field.type):
            has = f'column "{field.name}" has type {field.type}'
            raise OptionError(f"{output.name}: {has}, which {made.format} cannot hold; {instead(field.type)}")
    try:
        return load(made.format).write(output, made)
    except pa.ArrowNotImplementedError as error:
        name = made.format
        raise OptionError(
            f"{output.name}: {name} cannot hold these columns: {error}; choose another ⟨to_format⟩"
        ) from None
