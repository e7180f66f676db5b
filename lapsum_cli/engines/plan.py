"""A data set as shards, one for each of its files: every query is in exactly one, that of the file in which it begins.

Where the rows of a query go on in the next file, and through others, the shard of the first reads them there, and
theirs begin behind them: a file that is wholly within a query has a shard without rows. Of a long table this takes the
groups at the head and at the end of each file, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ..core.errors import OptionError
from ..formats.files import Input, Part
from ..formats.frames import Frame
from ..formats.sources import Sources
from ..tables.groups import run_starts
from ..tables.keys import comparable
from ..tables.layout import Layout
from ..tables.long import Long


@dataclass(frozen=True)
class Piece:
    """The rows of a shard: of its own file, and of those that follow. rows: how many, where that is known without
    reading them. before: how many rankings of the data set come before them, where that was asked for.
    """

    parts: tuple[Part, ...]
    rows: int | None
    before: int = 0


def pieces(source: Sources, layout: Layout, numbers: bool = False) -> list[Piece]:
    """The shards of all inputs, in order. numbers: count the rankings, for which all groups are read.

    OptionError for several tables that have no group, of which one ranking would become several.
    """
    if isinstance(layout, Long) and layout.group:
        return _by_group(source, layout, numbers)
    if isinstance(layout, Long) and not source.is_array and len(source.inputs) > 1:
        raise OptionError(
            f"{source.inputs[0].name}: without a group all files are one ranking, and each would be another in a "
            "directory; name ⟨group⟩, or one file with ⟨sink⟩"
        )
    found, before = [], 0
    for file in source.inputs:
        rows = source.rows_of(file)
        found.append(Piece((Part(file.name),), rows, before))
        if numbers:
            known = rows if rows is not None else sum(len(c.batch) for c in source.some(file, source.schema.names))
            before += known if layout.closes_with_row else min(known, 1)
    return found


@dataclass(frozen=True)
class _File:
    """What is known of a file: rows at its head that continue the query before, whether these are all that it has, the
    rankings that begin in it where they are counted, and its rows where they are known.
    """

    name: str
    head: int
    is_whole: bool
    begins: int
    rows: int | None


def _by_group(source: Sources, layout: Long, numbers: bool) -> list[Piece]:
    found, previous = [], None
    for file in source.inputs:
        seen = _Groups(source, layout, file, previous)
        seen.read(to_end=numbers)
        previous = seen.last()
        found.append(_File(file.name, seen.head, seen.is_whole, seen.begins, source.rows_of(file)))
    begun = np.cumsum([0, *(file.begins for file in found)])
    return [_piece(found, i, int(begun[i])) for i in range(len(found))]


def _piece(files: list[_File], i: int, before: int) -> Piece:
    """The shard of file i: what begins in it, and how that goes on."""
    own = files[i]
    if own.is_whole:
        return Piece((Part(own.name, 0, 0),), 0, before)
    parts, rows = [Part(own.name, own.head)], None if own.rows is None else own.rows - own.head
    for j in range(i + 1, len(files)):
        file = files[j]
        if file.head:
            parts.append(Part(file.name, 0, file.head))
            rows = None if rows is None else rows + file.head
        if not file.is_whole:
            break
    return Piece(tuple(parts), rows, before)


class _Groups:
    """The groups of a file, as far as they are read."""

    def __init__(self, source: Sources, layout: Long, file: Input | Frame, previous: list[pa.Array] | None):
        self.source, self.names, self.file, self.previous = source, layout.group, file, previous
        self.head, self.begins = 0, 0
        self.is_whole, self.is_read = True, False

    def read(self, to_end: bool) -> None:
        """The groups at the head, up to the first that begins here, or all."""
        before = self.previous
        for keys in self._keys():
            starts = run_starts(keys, before)
            before = [key[-1:] for key in keys]
            if self.is_whole:
                self.head += int(starts[0]) if len(starts) else len(keys[0])
            self.begins += len(starts)
            self.is_whole = self.is_whole and not len(starts)
            if not (self.is_whole or to_end):
                return
        self.previous, self.is_read = before, True

    def last(self) -> list[pa.Array] | None:
        """The group of the last row, or of that before the file if it has none."""
        if self.is_read:
            return self.previous
        found = None
        for at_end in (True, False):  # what a format takes for the end may hold no row
            for keys in self._keys(at_end) if found is None else ():
                found = [key[-1:] for key in keys]
        return found

    def _keys(self, at_end: bool = False) -> Iterator[list[pa.Array]]:
        for chunk in self.source.some(self.file, self.names, at_end):
            if chunk.batch.num_rows:
                yield [comparable(chunk.batch.column(name)) for name in self.names]
