"""Results by position: a row for each place of a ranking, best first, which is no item's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ..core.device import Device
from ..core.rankings import Rankings
from ..flow.batching import Batch
from ..formats.plain import plain_schema
from ..formats.sources import Rows
from ..operations import padding
from ..operations.operation import Operation
from ..operations.placed import places
from ..operations.slots import Result, Slot
from .layout import Layout, as_array
from .results import Asked, Table

COLUMN = "position"


class ByPosition(Table):
    """A row for each position of a ranking: its group, the position from 1, and the result there.

    Where the ranking's rows are in the input, there are these; those without a score have none. Columns of the input
    that were asked for (names.keep) are those of the item whose score has this place, ties as they came.
    """

    by_ranking = True
    without_score = "have no rows"

    def __init__(self, operation: Operation, layout: Layout, source: Rows, asked: Asked, on: Device):
        self.goes_along = tuple(dict.fromkeys(layout.names.keep))
        self.asks_places = bool(self.goes_along)
        super().__init__(operation, layout, source, asked, on)
        self.keeps_rows = asked.nan != "drop"
        self.cost += np.dtype(np.int64).itemsize

    def kept(self) -> pa.Schema:
        keys = pa.schema([self.input.field(name) for name in dict.fromkeys(self.layout.keys)])
        schema = self.with_new(keys, pa.field(COLUMN, pa.int64()))
        for name in self.goes_along:
            schema = schema if name in keys.names else self.with_new(schema, self.input.field(name))
        return schema

    def fields(self, slot: Slot) -> list[pa.Field]:
        return [pa.field(self.name_of(slot), self.kind_of(slot))]

    def put_back(self, batch: Batch, rankings: Rankings, result: Result) -> Iterator[pa.Table]:
        rows = batch.table()
        columns = {COLUMN: pa.array(_positions(rankings) + batch.before)}
        of_ranking = rows.select(list(dict.fromkeys(self.layout.keys)))
        if batch.valid is not None:
            of_ranking = of_ranking.filter(pa.array(batch.valid))
        columns |= dict(zip(of_ranking.schema.names, of_ranking.columns, strict=True))
        if self.asks_places:
            best_first = pa.array(self._rows(rankings, batch.valid))
            columns |= {name: rows.column(name).take(best_first) for name in self.goes_along if name not in columns}
        [(slot, values)] = result.values.items()
        columns[self.results[0]] = as_array(values, None, self.kind_of(slot))
        yield pa.table([columns[name] for name in self.schema.names], schema=plain_schema(self.schema))

    def _rows(self, rankings: Rankings, valid: np.ndarray | None) -> np.ndarray:
        """(N,) the row of the batch whose score is at each position."""
        descending = self.operation.descending
        rankings = rankings if descending else padding.last(rankings)
        first = np.repeat(rankings.offsets[:-1], rankings.lengths)
        order = np.empty(len(first), np.int64)
        order[first + np.asarray(places(rankings, self.asked.threads, descending))] = np.arange(len(first))
        return order if valid is None else np.flatnonzero(valid)[order]


def _positions(rankings: Rankings) -> np.ndarray:
    """(N,) int64 from 1 in every ranking, in no more memory than they take."""
    made = np.ones(len(rankings.values), np.int64)
    lengths = rankings.lengths[rankings.lengths > 0]
    made[np.cumsum(lengths[:-1])] = 1 - lengths[:-1]
    return np.cumsum(made, out=made)
