"""What was found out: as Markdown or JSON, as a page, and as what a file keeps of it."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass

from .html import Section, page


@dataclass(frozen=True)
class Report:
    """Everything of one run: its tables and drawings, and the cases that they were made from, as JSON takes them."""

    title: str
    machine: str
    sections: list[Section]
    cases: list[dict]

    def markdown(self) -> str:
        """The machine, and every table."""
        return "\n\n".join([self.machine, *(section.table.markdown() for section in self.sections)])

    def text(self, width: int) -> str:
        """The same for a terminal of so many columns."""
        machine = textwrap.fill(self.machine, width, break_on_hyphens=False)
        return "\n\n".join([machine, *(section.table.text(width) for section in self.sections)])

    def json(self) -> str:
        """The machine, and every case."""
        return json.dumps({"machine": self.machine, "cases": self.cases}, indent=1)

    def html(self) -> str:
        """The page, which needs nothing else."""
        return page(self.title, self.machine, self.sections)

    def blocks(self) -> dict[str, str]:
        """What a file keeps, by the kind of table."""
        tables = [section.table for section in self.sections]
        return {table.kind: f"{self.machine}\n\n{table.markdown()}" for table in tables}
