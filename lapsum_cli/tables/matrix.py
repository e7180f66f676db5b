"""A matrix whose rows no budget holds: its scores one by one, of which every so many are a ranking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ..flow.batching import Refused, too_large
from ..flow.budget import Budget
from ..formats import FORMATS
from ..formats.files import Part
from ..formats.sources import Chunk, Sources
from ..operations import giant as of_giants
from .layout import Layout
from .lists import Lists
from .long import Long
from .results import Table


class Unrolled(Long):
    """A row is an item; those of a row of the matrix, which are as many in each, are a ranking."""

    is_one_ranking = False

    def __init__(self, lists: Lists, items: int):
        super().__init__(lists.score, (), lists.names)
        self.items_each, self.lists = items, lists

    def width(self, schema: pa.Schema) -> int:
        return self.items_each

    def describe(self) -> dict[str, Any]:
        return self.lists.describe()

    def starts(self, chunk: Chunk, seen: Any) -> np.ndarray:
        return np.arange(-(chunk.row - 1) % self.items_each, chunk.batch.num_rows, self.items_each)

    def where(self, chunk: Chunk, row: int) -> str:
        return f"{self._row(chunk, row)}, score {(chunk.row - 1 + row) % self.items_each + 1}"

    def name(self, batch: Any, ranking: int) -> str:
        return self._row(*batch.locate(int(batch.starts[ranking])))

    def _row(self, chunk: Chunk, row: int) -> str:
        return f"{chunk.file}, row {(chunk.row - 1 + row) // self.items_each + 1}"

    def rankings(self, files: Sequence[tuple[str, int]]) -> Iterator[tuple[str, Part]]:
        """Each of some files with so many rows: what it is called, and where it is."""
        for name, rows in files:
            for row in range(rows):
                first = row * self.items_each
                yield f"{name}, row {row + 1}", Part(name, first, first + self.items_each)


def unrolled(source: Sources, table: Table, budget: Budget, format: str | None) -> Table:
    """The table of a matrix with a row for each score, and the source with it, where a row of the matrix is larger than
    the budget; else the same table. format: that of the result; None where nothing is written.

    RankingTooLarge where the operation needs all of a row in memory, or what is written does.
    """
    layout: Layout = table.layout
    width, is_none = layout.width(source.schema), source.rows == 0
    if not (source.is_array and isinstance(layout, Lists)) or is_none:
        return table
    cost = width * (table.cost + sum(field.type.value_type.bit_width // 8 for field in source.schema))
    if cost <= budget.size:
        return table
    refusal = of_giants.refusal(table.operation, table.on.name)
    if refusal is None and table.keeps_rows and format is not None and FORMATS[format].kind != "array":
        refusal = f"{format} needs all of a row in memory; write NPY"
    if refusal is not None:
        raise too_large(Refused(f"{source.first.name}, row 1", width, cost), budget, refusal)
    source.unroll(width)
    return type(table)(table.operation, Unrolled(layout, width), source, table.asked, table.on)
