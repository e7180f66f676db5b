"""Soft permutations as rows: a row for each item and position with its probability, or a line of a dense matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.cuts import cut, sizes_before
from ..core.device import Device
from ..core.errors import OptionError, OutputError
from ..core.rankings import Rankings
from ..flow.batching import Batch
from ..formats import FOR_KIND, FORMATS
from ..formats.plain import plain_schema
from ..formats.sources import Rows
from ..operations.permute import Permute
from ..operations.slots import Result, Slot
from .layout import Layout
from .results import Asked, Table

ROWS = 1 << 16  # rows that are made at a time: a few MiB, whatever the rankings are
MOST_ROWS = 10**9
SAMPLE = 256  # items whose rows are counted for an estimate


class Pairs(Table):
    """The most probable positions of every item. What was asked is told the estimate, and the output must hold it.

    With --dense a row is a line of the matrix, for NPY.
    """

    keeps_rows = False
    without_score = "have no rows"
    operation: Permute

    def __init__(self, operation: Permute, layout: Layout, source: Rows, asked: Asked, on: Device):
        super().__init__(operation, layout, source, asked, on)
        self.dense, self.tolerance = operation.dense, operation.tolerance
        self.item, self.say, self.free, self.threads = asked.item, asked.say, asked.free, asked.threads
        self.ranked = self.written = 0
        self.is_array = operation.dense
        # Lines of several matrices make an array of three dimensions.
        self.of_matrices = operation.dense and not layout.is_one_ranking

    def kept(self) -> pa.Schema:
        if self.operation.dense:
            return pa.schema([])
        keys = [self.input.field(name) for name in self.layout.keys]
        if self.layout.closes_with_row:
            keys = [pa.field("ranking", pa.int64())]
        item = self.asked.item
        named = self.layout.item_field(item, self.input) if item else pa.field("item", pa.int64())
        return self.with_new(pa.schema([*keys, named]), pa.field("position", pa.int64()))

    def fields(self, slot: Slot) -> list[pa.Field]:
        kind = self.kind_of(slot)
        return [pa.field(self.name_of(slot), pa.list_(kind) if self.operation.dense else kind)]

    def put_back(self, batch: Batch, rankings: Rankings, result: Result) -> Iterator[pa.Table]:
        """The rows of a batch, some at a time: the items of its rankings in order, the positions of each ascending."""
        [made] = result.values.values()
        if self.operation.dense:
            yield from self._dense(rankings, made)
            return
        widths = made.widths(self.tolerance, self.threads)
        keys, items = self._keys(batch, rankings), self.layout.items(self.item, batch) if self.item else None
        valid = batch.valid
        # Scores left out, as NaN, count in the numbers and names of the others.
        origins = None if valid is None else np.flatnonzero(valid)
        starts = rankings.offsets if valid is None else self.layout.offsets(batch)
        if self.written == 0 and len(rankings.values):
            self._estimate(made, widths, batch, keys, items)
        for first, last in cut(sizes_before(widths), ROWS):
            item, position, p = made.sparse(self.tolerance, first, last, widths[first:last])
            ranking = np.searchsorted(rankings.offsets, item, side="right") - 1
            if items is None:
                named = pa.array((item if origins is None else origins[item]) - starts[ranking] + 1)
            else:
                named = items.take(pa.array(item if origins is None else origins[item])).combine_chunks()
            columns = [key.take(pa.array(ranking)).combine_chunks() for key in keys]
            self._count(len(p))
            p = pa.array(p.astype(self.result_dtype, copy=False))
            yield pa.table([*columns, named, pa.array(position + 1), p], schema=plain_schema(self.schema))
        self.ranked += len(rankings)

    def check(self, format: str) -> None:
        is_array, npy = FORMATS[format].kind == "array", FOR_KIND["array"]
        if self.operation.dense and not is_array:
            known = f"name the output something{FORMATS[npy].extensions[0]}, or pass ⟨to_format={npy}⟩"
            raise OptionError(f"⟨dense=True⟩ is for {npy.upper()}, not {format}; {known}")
        if not self.operation.dense and is_array:
            raise OptionError("a permutation has a row for each item and position; write a table, or pass ⟨dense=True⟩")

    def _keys(self, batch: Batch, rankings: Rankings) -> list[pa.ChunkedArray]:
        """Columns with a value for each ranking of the batch."""
        if self.layout.closes_with_row:
            return [pa.chunked_array([pa.array(np.arange(len(rankings)) + self.ranked + 1)])]
        table = batch.table()
        return [table.column(name).take(pa.array(batch.starts)) for name in self.layout.keys]

    def _estimate(
        self,
        made: Any,
        widths: np.ndarray,
        batch: Batch,
        keys: list[pa.ChunkedArray],
        items: pa.ChunkedArray | None,
    ) -> None:
        """Count the rows of a few items of the first batch, and say what all will have; refuse what is too much."""
        sample = np.unique(np.linspace(0, len(widths) - 1, SAMPLE).astype(np.int64))
        kept = [len(made.sparse(self.tolerance, i, i + 1, widths[i : i + 1])[0]) for i in sample]
        in_batch = float(np.mean(kept)) * len(widths)
        known = self.source.rows
        rows = int(in_batch * (known / batch.rows if known is not None else 1))
        self.say(
            f"about {rows} rows" + ("" if known is not None else " of a first batch, and nobody knows how many follow")
        )
        beside = sum(column.nbytes / max(len(column), 1) for column in [*keys, *([items] if items else [])])
        self._refuse(
            rows, int(rows * (beside + 8 + 8 * (items is None) + np.dtype(self.result_dtype).itemsize)), "some "
        )

    def _count(self, rows: int) -> None:
        self.written += rows
        self._refuse(self.written, 0, "more than ")

    def _refuse(self, rows: int, size: int, about: str) -> None:
        if math.isnan(self.free):
            return
        hint = "raise ⟨tolerance⟩, lower ⟨alpha⟩, or pass ⟨force=True⟩"
        if rows > MOST_ROWS:
            raise OutputError(f"the permutation has {about}{rows} rows, over {MOST_ROWS}; {hint}")
        if size > self.free:
            raise OutputError(
                f"the permutation has {about}{rows} rows, {size >> 20} MiB before compression, and "
                f"{int(self.free) >> 20} MiB are free; {hint}"
            )

    def _dense(self, rankings: Rankings, made: Any) -> Iterator[pa.Table]:
        """The lines of the matrices of a batch, some at a time; the size of all is said, and refused without room."""
        kind = self.schema.field(0).type
        lengths = rankings.lengths
        if self.written == 0 and len(lengths):
            size = int((lengths.astype(float) ** 2).sum()) * np.dtype(self.result_dtype).itemsize
            known = self.source.rows if self.layout.closes_with_row else None
            size = int(size * (known / len(lengths) if known is not None else 1))
            if size > self.free:
                raise OutputError(
                    f"the matrix has {size >> 20} MiB, and {int(self.free) >> 20} MiB are free; leave out "
                    "⟨dense=True⟩, or pass ⟨force=True⟩"
                )
            self.say(f"a matrix of {size >> 20} MiB")
        for r, n in enumerate(lengths.tolist()):
            step = max(1, ROWS // max(n, 1))
            for first in range(0, n, step):
                block = made.dense(r, first, min(n, first + step))
                self.written += len(block)
                offsets = pa.array(np.arange(len(block) + 1) * n, pa.int32())
                values = pa.array(block.reshape(-1).astype(self.result_dtype, copy=False))
                yield pa.table([pa.ListArray.from_arrays(offsets, values, type=kind)], schema=self.schema)
