"""What people see: words and progress on stderr, and the first rows of a table on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from ..core import unfinished
from ..formats.sinks import Sink
from ..operations.suspicions import one_each
from .options import spelt
from .startup import one_line

if TYPE_CHECKING:
    from rich.progress import Progress


class Voice:
    """Words on stderr, progress there when it is a terminal, and a preview on stdout when that is one."""

    def __init__(self, quiet: bool):
        self.quiet = quiet
        self.bar: Progress | None = None

    def spell(self, line: str) -> str:
        """A line with options as they are typed."""
        return spelt(line)

    def say(self, line: str) -> None:
        """A line of words."""
        if not self.quiet:
            print(f"lapsum: {one_line(line)}", file=sys.stderr, flush=True)

    def progress(self, rows: int, total: int | None) -> None:
        """So many rows are written, of so many if that is known."""
        if self.bar:
            self.bar.update(self.bar.task_ids[0], completed=rows, total=total)

    def preview(self, schema: pa.Schema) -> Sink | None:
        """What shows a result that was given no place to go; None where standard output is no terminal."""
        return Preview(schema) if sys.stdout.isatty() else None

    def __enter__(self) -> Self:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            layout = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Progress(*layout, console=Console(stderr=True), transient=True)
            self.bar.add_task("rows", total=None)
            unfinished.enter(self.bar.stop)  # the cursor comes back
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar:
            self.bar.stop()
            unfinished.take_out(self.bar.stop)


class Preview(Sink):
    """What a terminal gets instead of a file: the first rows as a table, and how many follow."""

    ROWS = 10

    def __init__(self, schema: pa.Schema):
        self.schema, self.rows = schema, 0
        self.tables: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        """Some more rows, of which the first are kept."""
        if self.rows < self.ROWS:
            self.tables.append(table.slice(0, self.ROWS - self.rows))
        self.rows += len(table)

    def close(self, metadata: Mapping[str, object]) -> None:
        """Print the table."""
        from rich.console import Console
        from rich.table import Table

        shown = Table(*map(one_line, self.schema.names))
        for row in pa.concat_tables(self.tables or [self.schema.empty_table()]).to_pylist():
            shown.add_row(*(_cell(value) for value in row.values()))
        console = Console(markup=False, highlight=False)
        console.print(shown)
        if self.rows > self.ROWS:
            console.print(f"and {self.rows - self.ROWS} more rows; write them all with -o PATH")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "[" + ", ".join(_cell(v) for v in value[:4]) + (", ..." if len(value) > 4 else "") + "]"
    return "" if value is None else one_line(str(value))


def what_was_done(name: str, counts: Any, output: str | None) -> Iterator[str]:
    """What the user should know of a run that went well, a line each."""
    if counts.short:
        yield (
            f"{counts.short} of {counts.rankings} rankings are shorter than k; their k is their length"
            + (" (--strict-k refuses them)" if name == "topk" else "")
        )
    if counts.alone == counts.rankings > 1:
        yield one_each(counts.rankings)
    if counts.padding:
        yield counts.padding
    if counts.nan:
        yield f"{counts.nan} NaN or null scores were left out: they {counts.without_score}"
    if name == "loss":
        undefined = counts.rankings - counts.losses
        without = f"; {undefined} have none: their target is constant, without gain, or too short" if undefined else ""
        mean = f"{counts.loss / counts.losses:.6g}" if counts.losses else "undefined"
        yield f"mean loss {mean} over {counts.losses} rankings{without}"
    written = f" -> {output}" if output else ""
    rankings = "1 ranking" if counts.rankings == 1 else f"{counts.rankings} rankings"
    each = f", {counts.written / max(counts.rankings, 1):.3g} a ranking"
    left = f", {counts.written} of {counts.rows} rows kept{each}" if counts.written < counts.rows else ""
    if name in ("permute", "loss"):
        left = ", 1 row" if counts.written == 1 else f", {counts.written} rows"
    yield f"{counts.scores} scores in {rankings}{left}{written}"
