"""Rankings that no budget holds: a run makes passes over them, from where their rows are read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import pyarrow as pa

from ..core.device import DeviceWithKernels
from ..core.errors import BadRanking, DataError
from ..flow.batching import Batch, whole_rankings
from ..flow.budget import Budget
from ..flow.giant import Giant, Pieces, Spool
from ..formats.files import Part
from ..formats.sources import Chunk, Rows, Sources
from ..operations import giant as of_giants
from ..operations.operation import Operation
from ..operations.warm import warm_in_parts
from .matrix import Unrolled
from .results import Counts, Table, unheard


class _Input:
    """An input that is one ranking, or the part of one that is."""

    sizes: list[int] | None = None

    def __init__(self, source: Any, part: Part | None = None):
        self.source, self.part = source, part

    def chunks(self, names: Sequence[str] | None) -> Iterator[Chunk]:
        """As flow.giant.Again has it."""
        found: Iterator[Chunk] = self.source.again(names, self.part)
        return found


class Told(NamedTuple):
    """What a run tells of itself: whom to say a line to; what measures the budget again, once more is loaded that
    stays; where temporary files go, by default the system's place; and who is told of passes (flow.giant.Pieces).
    """

    say: Callable[[str], None]
    settle: Callable[[], None]
    temp_dir: str | None
    passes: Callable[[int, int, int | None], None] = unheard


@dataclass
class Giants:
    """What a run does with them."""

    source: Rows
    operation: Operation
    table: Table
    on: DeviceWithKernels
    budget: Budget
    told: Told

    @property
    def refusal(self) -> str | None:
        """Why there can be none; None where there can."""
        return of_giants.refusal(self.operation, self.on.name)

    def batches(self) -> Iterator[Any]:
        """The rankings of the source, in batches, and giants among them."""
        layout, source = self.table.layout, self.source
        if not (isinstance(layout, Unrolled) and isinstance(source, Sources) and source.matrices):
            yield from whole_rankings(source.chunks(), layout, self.table.cost, self.budget, self)
            return
        self._begin()
        source.read[:] = [(Path(name).name, rows) for name, rows in source.matrices]
        for name, part in layout.rankings(source.matrices):
            yield self._giant(name, _Input(source, part), False)

    def _begin(self) -> None:
        """All that stays is loaded, and measured."""
        warm_in_parts(self.operation, str(self.table.dtype), self.on, self.told.say)
        self.told.settle()  # kernels stay: memory is measured with them

    def made(self, name: str, chunks: Iterator[Chunk]) -> Giant:
        """A ranking that was found, and its chunks, of which the rest is still to be read."""
        self._begin()
        if self.table.layout.is_one_ranking and getattr(self.source, "can_be_read_again", False):
            rows: Any = _Input(self.source)
        else:
            rows = Spool(self.told.temp_dir)
            self.told.say(f"{name}: is larger than ⟨memory⟩; its rows wait in {rows.name} for one pass after another")
            for chunk in chunks:
                rows.add(chunk)
            rows.end()
        return self._giant(name, rows, isinstance(rows, _Input))

    def _giant(self, name: str, rows: Any, ends_input: bool) -> Giant:
        """It has all of the budget, once what came before is done."""
        size = self.budget.size
        self.budget.take(size, 0)
        return Giant(name, rows, ends_input, size, self.table.needed)

    def results(self, giant: Giant, counts: Counts) -> Iterator[pa.Table]:
        """The rows of the result."""
        operation = self.operation
        told, threads = self.told, self.table.asked.threads
        pieces = Pieces(giant, self.table.rankings, self.budget, threads, told.temp_dir, told.say, told.passes)
        try:
            ranking = of_giants.begin(operation, pieces, self.on)
            last = operation.passes(ranking)
        except BadRanking as error:
            raise DataError(f"{giant.name}: {error.problem}") from None
        counts.rankings += 1
        counts.short += operation.short(cast(Any, ranking))
        before = 0
        for batch, rankings, looked in pieces.over(partial(self._look, last), pieces.batches()):
            batch.before = before
            result = of_giants.give(operation, ranking, before, looked, last)
            before += len(rankings.values)
            counts.add_piece(batch, rankings, result)
            yield from self.table.put_back(batch, rankings, result)

    def _look(self, last: Any, batch: Batch) -> Any:
        rankings = self.table.rankings(batch)
        return batch, rankings, of_giants.look(self.operation, batch.first, rankings, last)
