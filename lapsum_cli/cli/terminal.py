"""What people see of a run: words and progress on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from ..core import unfinished
from ..formats.sinks import Sink
from ..operations.suspicions import one_each
from .options import spelt
from .preview import Preview
from .startup import is_terminal, one_line

if TYPE_CHECKING:
    from rich.progress import Progress


class Voice:
    """Words on stderr, progress there when it is a terminal, and a preview on stdout when that is one."""

    def __init__(self, quiet: bool, shows_progress: bool = True):
        """shows_progress: False where rows go to the terminal as they come, and a bar would stand among them."""
        self.quiet, self.shows_progress = quiet, shows_progress
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
            count = f"{rows:,} rows" if total is None else f"{rows:,} of {total:,} rows"
            self.bar.update(self.bar.task_ids[0], count=count)

    def read(self, share: float | None) -> None:
        """So much of the input is done, from which the time that is left follows; None where nobody knows."""
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


def what_was_done(name: str, counts: Any, output: str | None) -> Iterator[str]:
    """What the user should know of a run that went well, a line each."""
    if counts.short:
        several = f"{counts.short} of {counts.rankings} rankings are shorter than k; their k is their length"
        short = several if counts.rankings > 1 else "the ranking is shorter than k; its k is its length"
        yield short + (" (--strict-k refuses that)" if name == "topk" else "")
    if counts.alone == counts.rankings > 1:
        yield one_each(counts.rankings)
    if counts.padding:
        yield counts.padding
    if counts.nan:
        yield f"{counts.nan} NaN or null scores were left out: they {counts.without_score}"
    yield from _means(counts)
    if softness := counts.how_soft.line():
        yield softness
    written = f" -> {output}" if output else ""
    rankings = "1 ranking" if counts.rankings == 1 else f"{counts.rankings} rankings"
    each = f", {counts.written / max(counts.rankings, 1):.3g} a ranking"
    left = f", {counts.written} of {counts.rows} rows kept{each}" if counts.written < counts.rows else ""
    if name in ("permute", "loss"):
        left = ", 1 row" if counts.written == 1 else f", {counts.written} rows"
    yield f"{counts.scores} scores in {rankings}{left}{written}"


def _means(counts: Any) -> Iterator[str]:
    """The mean of each loss, and of how many rankings."""
    for called, total in zip(counts.called, counts.totals, strict=False):
        undefined = counts.rankings - total.count
        without = f"; {undefined} have none: their target is constant, without gain, or too short" if undefined else ""
        mean = f"{float(total) / total.count:.6g}" if total.count else "undefined"
        yield f"mean {called} {mean} over {total.count} rankings{without}"
