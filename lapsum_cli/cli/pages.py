"""The pages of `lapsum help`: Markdown files of the package, formatted on a terminal, else as they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from .streams import is_terminal

# What each is about, as its first line says: a table, since help and completion are to start at once.
PAGES = {
    "tour": "every operation on a sample of the repository",
    "alpha": "how soft a result is, and how to choose it",
    "methods": "every operator of the field, and which one to take",
    "losses": "rankings against labels, clicks or another target",
    "gradients": "back through a rank, sort, top-k, quantile or permutation",
    "boosting": "objectives for LightGBM and XGBoost",
    "python": "arrays, columns of frames, files, tensors",
    "torch": "training in PyTorch and JAX: which loss, alpha, masks, lengths",
    "formats": "what is read and written, and exit codes",
    "memory": "how a file of any size keeps to --memory",
    "scale": "rankings of any length, data sets of many files, by several processes",
    "numerics": "definitions, accuracy, ties, infinities and NaN",
    "guarantees": "what you can rely on, and the tests of it",
    "gpu": "on an NVIDIA card, from files, NumPy, CuPy or PyTorch",
    "speed": "what was measured, and how to measure it yourself",
    "development": "tests, the tree, and how to add a part",
}
MOST_COLUMNS = 100  # longer lines are hard to read
TABLE = re.compile(r"(?:^\|.*\|\n)+", re.M)


def show(name: str) -> None:
    """Print a page."""
    from importlib.resources import files  # an installation may be in an archive

    show_markdown(files("lapsum_cli").joinpath("pages", f"{name}.md").read_text(encoding="utf-8"))


def show_markdown(text: str) -> None:
    """Print Markdown: formatted on a terminal, else as it is."""
    if not is_terminal(sys.stdout):
        print(text.rstrip("\n"))
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    width = min(console.width, MOST_COLUMNS)
    console.print(Markdown(narrowed(text, width), code_theme="ansi_light"), width=width)


def narrowed(text: str, width: int) -> str:
    """The text with several tables in place of one that is too wide for the terminal, whose numbers would be cut."""
    return TABLE.sub(lambda table: "\n".join(_parts(table[0].splitlines(), width)), text)


def _parts(lines: list[str], width: int) -> Iterator[str]:
    """Tables of at most this width if shown: each has the columns of words, and as many of numbers as fit."""
    from ..study.report.tables import column_blocks

    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rule = rows[1]
    widths = [max(len(row[i]) for row in rows if row is not rule) + 2 for i in range(len(rule))]
    words = [i for i, cell in enumerate(rule) if not cell.endswith(":")]
    for block in column_blocks(widths, words, width):
        yield "".join(f"| {' | '.join(row[i] for i in block)} |\n" for row in rows)


def path_of(name: str) -> str:
    """The file of a page, in the checkout or the installation that runs; any other name is a path already."""
    return str(Path(__file__).parents[1] / "pages" / f"{name}.md") if name in PAGES else name
