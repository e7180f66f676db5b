"""A table of text: one model, which is printed, recorded and drawn alike."""

from __future__ import annotations

import textwrap
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
        widths = self._widths()
        left = [i < self.words for i in range(len(widths))]
        lines = [_line(cells, widths, left) for cells in [self.columns, *self.rows]]
        rule = [
            f"{'-' * (w + 1)}-" if is_left else f"{'-' * (w + 1)}:" for w, is_left in zip(widths, left, strict=True)
        ]
        return "\n".join([self.note, "", lines[0], f"|{'|'.join(rule)}|", *lines[1:]])

    def text(self, width: int) -> str:
        """The same for a terminal of so many columns: the note in lines, and what does not stand beside the words of a
        row below, with these words again.
        """
        widths = self._widths()
        words, numbers = list(range(self.words)), list(range(self.words, len(widths)))
        blocks: list[list[int]] = [[]]
        for i in numbers:
            taken = sum(widths[j] + 2 for j in (*words, *blocks[-1], i)) - 2
            if blocks[-1] and taken > width:
                blocks.append([])
            blocks[-1].append(i)
        note = textwrap.fill(self.note, width, break_on_hyphens=False)
        return "\n\n".join([note, *(self._block([*words, *block], widths) for block in blocks)])

    def _block(self, columns: list[int], widths: list[int]) -> str:
        """These columns alone, under their names."""
        lines = []
        for cells in [self.columns, *self.rows]:
            padded = [cells[i].ljust(widths[i]) if i < self.words else cells[i].rjust(widths[i]) for i in columns]
            lines.append("  ".join(padded).rstrip())
        return "\n".join(lines)

    def _widths(self) -> list[int]:
        return [max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]


def _line(cells: list[str], widths: list[int], left: list[bool]) -> str:
    padded = [c.ljust(w) if is_left else c.rjust(w) for c, w, is_left in zip(cells, widths, left, strict=True)]
    return f"| {' | '.join(padded)} |"
