"""What a terminal gets instead of a file: the first rows as a table that fits it, and how many follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ..formats.sinks import Sink
from ..formats.types import holds_numbers
from .streams import one_line

ROWS = 10
LEAST = 8  # characters of a text, beside numbers that take the rest
BESIDE = 3  # what a column takes beside its cells: a line, and a blank on both sides


@dataclass(eq=False)
class Column:
    """A column as it is shown: `width` of its cells and their heading, of which numbers are never cut."""

    name: str
    cells: list[str]
    is_number: bool
    is_result: bool
    is_found: bool = False  # a group or the scores, without which results cannot be read
    width: int = 0

    @property
    def whole(self) -> int:
        """The width at which nothing is cut."""
        return max(map(_length, (self.name, *self.cells)))

    @property
    def least(self) -> int:
        """The width below which it is not shown."""
        if self.is_result:
            return self.whole
        if self.is_number:
            return max(map(_length, (self.name[:LEAST], *self.cells)))
        return min(self.whole, LEAST)


class Preview(Sink):
    """The first rows, printed when all are there; `before` is called then: whoever else draws there has to end.

    found: the columns of groups and scores.
    """

    def __init__(self, schema: pa.Schema, results: list[str], found: list[str], before: Callable[[], None]):
        self.schema, self.results, self.found, self.before, self.rows = schema, results, found, before, 0
        self.tables: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        """Some more rows, of which the first are kept."""
        if self.rows < ROWS:
            self.tables.append(table.slice(0, ROWS - self.rows))
        self.rows += len(table)

    def close(self, metadata: Mapping[str, object]) -> None:
        """Print the table."""
        from rich.console import Console
        from rich.table import Table

        self.before()
        console = Console(markup=False, highlight=False)
        columns = self._columns()
        shown = fitting(columns, console.width)
        table = Table()
        for column in shown:
            how: Any = {"justify": "right"} if column.is_number else {}
            table.add_column(column.name, width=column.width, no_wrap=True, overflow="ellipsis", **how)
        for cells in zip(*(column.cells for column in shown), strict=True):
            table.add_row(*cells)
        console.print(table)
        if left_out := [column.name for column in columns if column not in shown]:
            some = ", ".join(left_out[:ROWS]) + (", ..." if len(left_out) > ROWS else "")
            console.print(f"not shown, for want of room: {some}")
        if self.rows > ROWS:
            console.print(f"and {self.rows - ROWS} more rows; write them all with -o PATH")

    def _columns(self) -> list[Column]:
        rows = pa.concat_tables(self.tables or [self.schema.empty_table()])
        columns = []
        for field, column in zip(self.schema, rows.columns, strict=True):
            cells, is_result = [_cell(value) for value in column.to_pylist()], field.name in self.results
            is_number = is_result or holds_numbers(field.type) or all(map(_is_number, cells))
            columns.append(Column(one_line(field.name), cells, is_number, is_result, field.name in self.found))
        return columns


def fitting(columns: list[Column], room: int) -> list[Column]:
    """The columns that are shown in so many characters, each with its width: results first, then groups and scores,
    others as they come; what is left of the room goes to those that are cut, a character at a time, the narrowest
    first.
    """
    shown: list[Column] = []
    room -= 1  # the last line
    for column in sorted(columns, key=lambda column: (not column.is_result, not column.is_found)):
        if not shown or column.least + BESIDE <= room:
            shown.append(column)
            column.width = column.least
            room -= column.least + BESIDE
    while room > 0 and (cut := [column for column in shown if column.width < column.whole]):
        min(cut, key=lambda column: (not column.is_number, column.width)).width += 1
        room -= 1
    return [column for column in columns if column in shown]


def _length(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _is_number(cell: str) -> bool:
    """Whether a text may be read as a number, as those of a CSV may."""
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "[" + ", ".join(_cell(v) for v in value[:4]) + (", ..." if len(value) > 4 else "") + "]"
    return "" if value is None else one_line(str(value))
