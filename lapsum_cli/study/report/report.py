"""What was measured: as Markdown or JSON on standard output, as a page, and in a file that keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ..bench.cases import Measured
from .html import page
from .tables import Table


@dataclass(frozen=True)
class Report:
    """Everything of one run of the benchmark: its tables by kind, and the figures that they were made from."""

    machine: str
    measured: dict[str, list[Measured]]
    tables: list[Table]

    def print_markdown(self) -> None:
        print("\n\n".join([self.machine, *(table.markdown() for table in self.tables)]))

    def print_json(self) -> None:
        """All runs of all sides, in seconds and bytes."""
        cases = [
            {
                "kind": kind,
                **asdict(m.case),
                "bytes": m.moved,
                "remarks": m.remarks,
                "sides": {name: asdict(t) for name, t in m.sides.items()},
            }
            for kind, several in self.measured.items()
            for m in several
        ]
        print(json.dumps({"machine": self.machine, "cases": cases}, indent=1))

    def html(self) -> str:
        return page(self.machine, self.tables, self.measured)

    def blocks(self) -> dict[str, str]:
        """What a file keeps of each kind."""
        return {table.kind: f"{self.machine}\n\n{table.markdown()}" for table in self.tables}
