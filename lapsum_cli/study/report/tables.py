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
        blocks = column_blocks([w + 2 for w in widths], list(range(self.words)), width + 2)
        note = textwrap.fill(self.note, width, break_on_hyphens=False)
        return "\n\n".join([note, *(self._block(block, widths) for block in blocks)])

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


def column_blocks(widths: list[int], words: list[int], room: int) -> list[list[int]]:
    """The numbers of columns in blocks that fit the room side by side, or have one column beside the words: those of
    words in each, as many of the others as fit.
    """
    blocks: list[list[int]] = [list(words)]
    for i in (i for i in range(len(widths)) if i not in words):
        if len(blocks[-1]) > len(words) and sum(widths[j] for j in (*blocks[-1], i)) > room:
            blocks.append(list(words))
        blocks[-1].append(i)
    return blocks
