"""What people see of a run: words and progress on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from ..core import unfinished
from ..formats.sinks import Sink
from .options import spelt
from .preview import Preview
from .streams import is_terminal, one_line

if TYPE_CHECKING:
    from rich.progress import Progress


class Voice:
    """Words on stderr, progress there when it is a terminal, and a preview on stdout when that is one."""

    def __init__(self, quiet: bool, shows_progress: bool = True):
        """shows_progress: False where rows go to the terminal as they come, and a bar would stand among them."""
        self.quiet, self.shows_progress = quiet, shows_progress
        self.bar: Progress | None = None
        self.counted, self.began, self.number = "", time.monotonic(), 0
        self.heard = self.began

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
            count = f"{rows:,} rows" if total is None else f"{rows:,} of {total:,} rows"
            rate = f", {rows / max(time.monotonic() - self.began, 0.001):,.0f} a second" if self.counted else ""
            self.bar.update(self.bar.task_ids[0], count=f"{self.counted}{count}{rate}")

    def passes(self, number: int, rows: int, total: int | None) -> None:
        """In the so-manieth pass over a ranking so many rows are done, with the rate of that pass."""
        is_new = number != self.number
        if is_new:
            self.number, self.began = number, self.heard  # it began when what came before was last heard of
        self.heard = time.monotonic()
        if self.bar:
            count = f"{rows:,} rows" if total is None else f"{rows:,} of {total:,} rows"
            rate = f"{rows / max(self.heard - self.began, 0.001):,.0f} a second"
            known: Any = {} if not total else {"completed": rows / total, "total": 1.0}
            known["refresh"] = is_new  # a pass shorter than the time between two drawings is seen all the same
            self.bar.update(self.bar.task_ids[0], visible=True, count=f"pass {number}: {count}, {rate}", **known)

    def files(self, done: int, total: int) -> None:
        """So many files of a data set are finished, of so many; rows are told with their rate from then on."""
        self.began = self.began if self.counted else time.monotonic()
        self.counted = f"{done:,} of {total:,} files, "

    def read(self, share: float | None) -> None:
        """So much of the input is done, from which the time that is left follows; None where nobody knows."""
        self.heard = time.monotonic()
        if self.bar:
            known: Any = {} if share is None else {"completed": share, "total": 1.0}
            self.bar.update(self.bar.task_ids[0], visible=True, **known)

    def preview(self, schema: pa.Schema, results: list[str], found: list[str]) -> Sink | None:
        """What shows a result that was given no place to go; None where standard output is no terminal."""
        return Preview(schema, results, found, self.hide) if is_terminal(sys.stdout) else None

    def hide(self) -> None:
        """No bar any more, before anything else is printed."""
        if self.bar:
            self.bar.stop()
            unfinished.take_out(self.bar.stop)
            self.bar = None

    def __enter__(self) -> Self:
        if not self.quiet and self.shows_progress and is_terminal(sys.stderr):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            layout = (TextColumn("{task.fields[count]}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self.bar = Progress(*layout, console=Console(stderr=True), transient=True)
            self.bar.add_task("", total=None, count="0 rows", visible=False)
            unfinished.enter(self.bar.stop)  # the cursor comes back
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.hide()
