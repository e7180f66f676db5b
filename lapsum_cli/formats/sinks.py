"""What is written: tables, one after another, and how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from ..core.errors import OptionError
from . import load
from .files import Output


@dataclass(frozen=True)
class Made:
    """What is known of a result before its first row.

    format   its name, for a module that writes several
    schema   of all its tables, of which `results` are the new columns
    rows     how many there will be, where that is known
    how      how it is made, for its metadata; `Sink.close` is told the rest
    of_matrices: a row is a line of one of several square matrices
    """

    format: str
    schema: pa.Schema
    results: list[str]
    rows: int | None
    how: Mapping[str, object]
    of_matrices: bool = False


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


def open_sink(output: Output, made: Made) -> Sink:
    """A sink for what is made; OptionError where the format has no place for one of its columns."""
    try:
        return load(made.format).write(output, made)
    except pa.ArrowNotImplementedError as error:
        name = made.format
        raise OptionError(f"{output.name}: {name} cannot hold these columns: {error}; choose another --to") from None
