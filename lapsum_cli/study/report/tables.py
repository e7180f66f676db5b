"""A table of text: one model, which is printed, recorded and drawn alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of cells, the first `words` of each being words and the others numbers."""

    kind: str
    title: str
    note: str
    columns: list[str]
    rows: list[list[str]]
    words: int

    def markdown(self) -> str:
        """The note, and the table with its cells padded to equal width."""
        grid = [self.columns, *self.rows]
        widths = [max(map(len, cells)) for cells in zip(*grid, strict=True)]
        left = [i < self.words for i in range(len(widths))]
        lines = [_line(cells, widths, left) for cells in grid]
        rule = [
            f"{'-' * (w + 1)}-" if is_left else f"{'-' * (w + 1)}:" for w, is_left in zip(widths, left, strict=True)
        ]
        return "\n".join([self.note, "", lines[0], f"|{'|'.join(rule)}|", *lines[1:]])


def _line(cells: list[str], widths: list[int], left: list[bool]) -> str:
    padded = [c.ljust(w) if is_left else c.rjust(w) for c, w, is_left in zip(cells, widths, left, strict=True)]
    return f"| {' | '.join(padded)} |"
