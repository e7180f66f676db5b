"""An operation on the rankings of one input: rankings out of batches of rows, and what it gives back into rows.

What a slot is `per` says which form the result has: a value beside every score, a row for each ranking, for each
position (positions.py), or for each item and position (pairs.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.device import Device
from ..core.errors import DataError, OptionError
from ..core.rankings import Rankings, has_nan
from ..flow.batching import Batch
from ..formats.plain import plain_schema
from ..formats.sources import Rows
from ..formats.types import numpy_dtype
from ..operations.how_soft import HowSoft
from ..operations.operation import Operation
from ..operations.placed import Placed
from ..operations.slots import POSITION, RANKING, SCORE, Result, Slot
from ..operations.weights import WEIGHT
from .layout import Layout
from .top import Places, placed
from .totals import Total

_OF_PLACES = 48  # bytes a score: sorted scores, places, their inverse, and what is made of them


@dataclass
class Counts:
    """What a run did; `totals` sum the losses of the rankings that have one, and `called` says what they are."""

    rows: int = 0
    rankings: int = 0
    scores: int = 0
    short: int = 0
    nan: int = 0
    written: int = 0
    alone: int = 0  # rankings of a single score
    padding: str | None = None  # what is to be said of the first that was seen
    how_soft: HowSoft = field(default_factory=HowSoft, repr=False)
    without_score: str = ""  # what rows get whose score was left out
    called: tuple[str, ...] = ()
    totals: list[Total] = field(default_factory=list)
    files: list[str] = field(default_factory=list, repr=False)  # that were written

    def add(self, batch: Batch, rankings: Rankings, short: int, result: Result) -> None:
        """What was computed of a batch; short: rankings shorter than k."""
        self.rows += batch.rows
        self.rankings += len(rankings)
        self.scores += len(rankings.values)
        self.short += short
        self.alone += int((rankings.lengths == 1).sum())
        self.nan += 0 if batch.valid is None else int(len(batch.valid) - batch.valid.sum())
        self._add_losses(len(rankings), rankings, result)

    def add_piece(self, batch: Batch, rankings: Rankings, result: Result) -> None:
        """What was computed of a piece of a ranking that no batch holds."""
        if not batch.first:
            self._add_losses(1, rankings, result)
        self.rows += batch.rows
        self.scores += len(rankings.values)
        self.nan += 0 if batch.valid is None else int(len(batch.valid) - batch.valid.sum())

    def _add_losses(self, count: int, rankings: Rankings, result: Result) -> None:
        if result.losses is not None:
            each, weights = result.losses.reshape(count, -1).T, rankings.each.get(WEIGHT)
            self.totals = self.totals or [Total() for _ in each]
            for total, losses in zip(self.totals, each, strict=True):
                known = ~np.isnan(losses)
                total.add(losses[known], None if weights is None else weights[known])

    @property
    def loss(self) -> float:
        """The sum of the losses, of several those of the first."""
        return float(self.totals[0]) if self.totals else 0.0

    @property
    def losses(self) -> int:
        """How many rankings have a loss, of several the first."""
        return self.totals[0].count if self.totals else 0


def unheard(*told: object) -> None:
    """A line, or numbers, that nobody is told."""


@dataclass(frozen=True)
class Asked:
    """What was asked of a result besides the operation.

    column  its name, by default that of the slot; free: bytes at the output, infinite where they do not matter, NaN to
            refuse nothing; before: how many rankings of a data set came before the first
    """

    nan: str = "error"
    column: str | None = None
    reduction: str = "none"
    item: str | None = None
    threads: int = 1
    free: float = math.nan
    before: int = 0
    say: Callable[[str], None] = unheard


class Table:
    """What all forms have in common: the rankings of a batch, the schema of the result, and its cost in memory.

    schema   of the result: columns of the input that stay, then `results`
    cost     bytes of work and result for every score
    """

    keeps_columns: bool = False  # those of the input stand beside the results
    keeps_rows: bool = True  # a row of the result for every row of the input
    is_array: bool = False  # where nothing says otherwise, the result is written as NPY
    of_matrices: bool = False  # a row of the result is a line of one of several square matrices
    by_ranking: bool = False  # rows of a ranking are written together, in an order of their own
    goes_along: Sequence[str] = ()  # columns of the input that move with the rows of a ranking
    asks_places: bool = False  # the hard places of scores are needed
    without_score: str = "have a null result"  # what is said of rows whose score is left out

    def __init__(self, operation: Operation, layout: Layout, source: Rows, asked: Asked, on: Device):
        if asked.nan not in ("error", "last", "drop"):
            raise OptionError(f"⟨nan⟩ must be error, last or drop, got {asked.nan!r}")
        self.operation, self.layout, self.source, self.asked, self.on = operation, layout, source, asked, on
        self.input = source.schema
        self.kind, self.dtype = layout.value_type(self.input), layout.dtype(self.input)
        longest = (source.rows or 0) if layout.is_one_ranking else layout.width(self.input)
        self.result_dtype = operation.dtype(numpy_dtype(self.kind).name, longest)
        self.schema = self.kept()
        self.results: list[str] = []
        for slot in operation.gives:
            if self.has_place_for(slot):
                for new in self.fields(slot):
                    self._add(slot.name, new)
        self.cost = self._cost()

    def has_place_for(self, slot: Slot) -> bool:
        """Whether a slot has a column here: what is by position has none beside rows that are items."""
        return True

    @property
    def main(self) -> str:
        """The slots that --column names: the first that have a place."""
        return next(slot.name for slot in self.operation.gives if self.has_place_for(slot))

    @property
    def found(self) -> list[str]:
        """The columns of the input that say what a ranking is: groups and scores."""
        described = self.layout.describe().values()
        return [name for given in described for name in ([given] if isinstance(given, str) else given)]

    @property
    def needed(self) -> list[str]:
        """The columns of a table with a row for each item that are computed with."""
        layout: Any = self.layout
        names = layout.names
        given = [layout.score, *names.each.values(), *names.beside.values(), *filter(None, [self.asked.item])]
        return list(dict.fromkeys([*layout.group, *given]))

    def _add(self, slot: str, new: pa.Field) -> None:
        """A new column of the result, of the slot of this name."""
        if not new.name:
            raise OptionError("⟨column⟩ needs a name")
        self.schema = self.with_new(self.schema, new, "choose another ⟨column⟩" if slot == self.main else "rename it")
        self.results.append(new.name)

    def with_new(self, schema: pa.Schema, new: pa.Field, hint: str = "rename it") -> pa.Schema:
        """The schema with a field more; OptionError where its name is not its alone."""
        if new.name in schema.names:
            raise OptionError(f'{self.source.first.name}: has a column "{new.name}" already; {hint}')
        return schema.append(new)

    def name_of(self, slot: Slot) -> str:
        """The column of a slot: that of the result takes the name that was asked for, several k their own."""
        name = slot.name
        if self.asked.column is not None and name == self.main:
            name = self.asked.column
        return f"{name}_{slot.k}" if slot.k else name

    def kind_of(self, slot: Slot) -> pa.DataType:
        """The type of the values of a slot with one for each score."""
        return self.kind if slot.is_gradient else pa.from_numpy_dtype(self.result_dtype)

    def _cost(self) -> int:
        """The scores copied out of the table, the work, what is given beside them, the results, and a byte for NaN."""
        width = self.dtype.itemsize
        beside = 8 if "target" in self.operation.takes else (width if self.operation.gradient else 0)
        beside += width if self.layout.names.stage is not None else 0
        results = width * sum(slot.per in (SCORE, POSITION) for slot in self.operation.gives)
        # On a card the work is done there; what crosses the bus is copied to pinned memory, both ways.
        work = 2 * (width + beside + results) if self.on.has_own_memory else self.operation.work_bytes(width)
        places = _OF_PLACES if self.asks_places else 0
        return width + work + beside + results + places + 1

    def kept(self) -> pa.Schema:
        """The columns of the input that stay."""
        raise NotImplementedError

    def fields(self, slot: Slot) -> list[pa.Field]:
        """The new columns of a slot."""
        raise NotImplementedError

    def check(self, format: str) -> None:
        """Raise OptionError where the result has no place in this format."""

    def put_back(self, batch: Batch, rankings: Rankings, result: Result) -> Iterator[pa.Table]:
        """The rows that a batch gives."""
        raise NotImplementedError

    def last(self, counts: Counts) -> Iterator[pa.Table]:
        """Rows that are known only at the end."""
        yield from ()

    def rankings(self, batch: Batch) -> Rankings:
        """The rankings of a batch, with what goes beside their scores and with each; batch.valid says which scores they
        hold, where NaN are left out.
        """
        values, offsets = self.layout.scores(batch, self.dtype)
        values, offsets, batch.valid = self._without_nan(batch, values, offsets)
        names = self.layout.names
        each = {name: self.layout.option(column, batch) for name, column in names.each.items()}
        own = {"target": np.dtype(np.float64)}
        beside = {
            what: self._beside(what, name, batch, own.get(what, self.dtype)) for what, name in names.beside.items()
        }
        return Rankings(values, offsets, beside, each)

    def _beside(self, what: str, name: str, batch: Batch, dtype: np.dtype) -> np.ndarray:
        """The column of values that go with the scores."""
        values, valid = self.layout.beside(name, batch, dtype), batch.valid
        wrong = np.isnan(values) if valid is None else np.isnan(values) & valid
        if wrong.any():
            where = self.layout.place(batch, int(np.argmax(wrong)))
            raise DataError(f'{where}: the {what} in "{name}" is NaN or null; it must be a number for every score')
        return values if valid is None else values[valid]

    def _without_nan(
        self, batch: Batch, values: np.ndarray, offsets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """NaN and null refused, made the worst score, or taken out; in the last case also which scores remain."""
        if not has_nan(values):
            return values, offsets, None
        wrong = np.isnan(values)
        if self.asked.nan == "error":
            where = self.layout.place(batch, int(np.argmax(wrong)))
            raise DataError(
                f"{where}: the score is NaN or null; ⟨nan=last⟩ ranks such scores last, ⟨nan=drop⟩ leaves them out"
            )
        if self.asked.nan == "last":
            worst = -np.inf if self.operation.descending else np.inf
            return np.where(wrong, values.dtype.type(worst), values), offsets, None
        kept_before = np.concatenate([[0], np.cumsum(~wrong)])
        return values[~wrong], kept_before[offsets], ~wrong


class Beside(Table):
    """Every row of the input, with the results beside it."""

    keeps_columns = True

    def __init__(self, operation: Operation, layout: Layout, source: Rows, asked: Asked, on: Device):
        self.placed = operation if isinstance(operation, Placed) and operation.asks_places else None
        self.asks_places = self.placed is not None
        self.is_array = source.is_array
        super().__init__(operation, layout, source, asked, on)
        self.minimum = getattr(operation, "minimum", None)
        moves_rows = isinstance(operation, Placed) and operation.moves_rows
        if layout.closes_with_row and (moves_rows or self.placed):
            raise OptionError("⟨minimum⟩, ⟨only_top⟩, ⟨order⟩ and ⟨hard⟩ need a table with a row for each item")
        if self.placed and self.placed.hard:
            self._add("hard_rank", pa.field("hard_rank", pa.float64()))
        if layout.names.keep:
            raise OptionError("⟨keep⟩ is for rows that are positions; here they are the input's, and keep every column")
        self.keeps_rows = not moves_rows
        if self.minimum is not None or getattr(operation, "only_top", False):
            self.without_score = "have no rows"
        self.by_ranking = isinstance(operation, Placed) and operation.order
        self.goes_along = self.input.names if self.by_ranking else ()

    def kept(self) -> pa.Schema:
        return self.input

    def has_place_for(self, slot: Slot) -> bool:
        return slot.per != POSITION or self.layout.closes_with_row or self.is_array

    def fields(self, slot: Slot) -> list[pa.Field]:
        if slot.per == RANKING:
            return [pa.field(self.name_of(slot), pa.float64())]
        return self.layout.fields(self.input, self.name_of(slot), self.kind_of(slot))

    def put_back(self, batch: Batch, rankings: Rankings, result: Result) -> Iterator[pa.Table]:
        columns: list[list[pa.Array]] = []
        for slot, values in result.values.items():
            if not self.has_place_for(slot):
                continue
            if slot.per == RANKING:
                columns.append([self.layout.ranking_column(batch, values)])
                continue
            columns += self._columns(batch, values, self.kind_of(slot))
        places = None
        if self.placed:
            places = Places.of(self.placed, rankings, batch.valid, self.layout.offsets(batch), self.asked.threads)
            if self.placed.hard:
                columns += self._columns(batch, places.hard_ranks(), pa.float64())
        table = batch.table()
        for name, chunks in zip(self.results, columns, strict=True):
            new = self.schema.field(name)
            table = table.append_column(new, pa.chunked_array(chunks, new.type))
        if places is not None:
            table = placed(table, places.rows())
        if self.minimum is not None:
            table = table.filter(pc.greater_equal(table.column(self.results[0]), self.minimum))
        yield table.replace_schema_metadata(self.schema.metadata)

    def _columns(self, batch: Batch, values: np.ndarray, kind: pa.DataType) -> list[list[pa.Array]]:
        """Values of the scores as columns, null where a row has none."""
        if batch.valid is not None:
            spread = np.zeros(len(batch.valid), values.dtype)
            spread[batch.valid] = values
            values = spread
        return self.layout.columns(batch, values, batch.valid, kind)


class RowEach(Table):
    """A row for each ranking: its group and its numbers; where a row of the input is a ranking, that row and its
    numbers. Reduced to a sum or a mean, a single row.
    """

    without_score = "take no part"

    def __init__(self, operation: Operation, layout: Layout, source: Rows, asked: Asked, on: Device):
        super().__init__(operation, layout, source, asked, on)
        self.keeps_rows = layout.closes_with_row and asked.reduction == "none"
        self.is_array = source.is_array and asked.reduction == "none"

    def kept(self) -> pa.Schema:
        if self.asked.reduction != "none":
            return pa.schema([])
        if self.layout.closes_with_row:
            return self.input
        return pa.schema([self.input.field(name) for name in self.layout.keys])

    def fields(self, slot: Slot) -> list[pa.Field]:
        return [pa.field(self.name_of(slot), pa.float64())]

    def put_back(self, batch: Batch, rankings: Rankings, result: Result) -> Iterator[pa.Table]:
        if self.asked.reduction != "none" or batch.first:  # of a ranking in pieces, the first has its row
            return
        table = batch.table()
        if not self.layout.closes_with_row:
            table = table.select(list(self.layout.keys)).take(pa.array(batch.starts))
        new = [pa.array(values, mask=np.isnan(values)) for values in result.values.values()]
        yield pa.table([*table.columns, *new], schema=plain_schema(self.schema))  # of no columns, a table has no rows

    def last(self, counts: Counts) -> Iterator[pa.Table]:
        if self.asked.reduction != "none":
            totals, is_mean = counts.totals or [Total() for _ in self.results], self.asked.reduction == "mean"
            sums = [of_it.mean if is_mean else float(of_it) if of_it.count else None for of_it in totals]
            yield pa.table([pa.array([one], pa.float64()) for one in sums], schema=self.schema)
