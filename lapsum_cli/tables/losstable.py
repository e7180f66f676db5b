"""Losses as a table: a row for each ranking, or one for all of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from .results import Transform


class LossTable(Transform):
    """A row for each ranking: its group and its loss; where a row of the input is a ranking, that row and its loss.

    reduction: "none", or "sum" or "mean" for a single row.
    """

    def __init__(self, operation, layout, source, nan, on, reduction="none"):
        self.reduction = reduction
        self.keeps_rows = layout.closes_with_row and reduction == "none"
        super().__init__(operation, layout, source, nan, on)
        self.is_array = source.is_array and reduction == "none"

    def _fields(self):
        new = [pa.field(name, pa.float64()) for name in self.operation.ranking_columns]
        if self.reduction != "none":
            return pa.schema([]), new[:1]
        if self.layout.closes_with_row:
            return self.input, new
        return pa.schema([self.input.field(name) for name in self.layout.group]), new

    def compute(self, batch, summary):
        _, result, _ = self.apply(batch, summary)
        summary.short += result.short
        known = ~np.isnan(result.losses)
        summary.total.add(result.losses[known])
        if self.reduction != "none":
            return
        table = pa.Table.from_batches([chunk.batch for chunk in batch.chunks])
        if not self.layout.closes_with_row:
            table = table.select(list(self.layout.group)).take(pa.array(batch.starts))
        for field, values in zip(self.new_fields, result.rankings.values(), strict=True):
            table = table.append_column(field, pa.array(values, mask=~known))
        yield table.replace_schema_metadata(self.schema.metadata)

    def last(self, summary):
        if self.reduction != "none":
            loss = summary.loss / (max(summary.losses, 1) if self.reduction == "mean" else 1)
            yield pa.table([pa.array([loss if summary.losses else None], pa.float64())], schema=self.schema)
