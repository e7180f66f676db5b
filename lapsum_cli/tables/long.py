"""A table with a row for each item: consecutive rows of equal group are a ranking."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import DataError
from ..formats.sources import Chunk
from ..formats.types import score_type
from .groups import ClosedGroups, Returned, run_starts
from .groupsfile import GroupsFile
from .keys import comparable, said
from .layout import Layout, as_array, numbers
from .roles import Names

_OF_GROUPS = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string, pa.types.is_date)
_LOOKED_AT = 50  # columns


class Seen:
    """What a reader of a long table keeps: the group of the row before, and the groups that have ended."""

    def __init__(self, limit: int):
        """limit: bytes for the groups."""
        self.previous: list[pa.Array] | None = None
        self.closed = ClosedGroups(limit)


def in_runs(batch: pa.RecordBatch, but: Collection[str]) -> list[str]:
    """Columns whose equal values stand together, of two rows or more on average: the first three among the first fifty,
    but for some, and for what no group has as a type.
    """
    found = []
    for name, column in itertools.islice(zip(batch.schema.names, batch.columns, strict=True), _LOOKED_AT):
        if name in but or not any(is_kind(column.type) for is_kind in _OF_GROUPS):
            continue
        runs = len(pc.run_end_encode(column).values)
        if 1 < runs <= batch.num_rows // 2 and runs == pc.count_distinct(column, mode="all").as_py():
            found.append(name)
    return found[:3]


class Long(Layout):
    """A row is an item; consecutive rows of equal group are a ranking. Without a group all rows are one."""

    closes_with_row = False

    def __init__(
        self, score: str, group: tuple[str, ...], names: Names, notice: Callable[[str], None] = lambda line: None
    ):
        """notice: who is told of columns that may be the group, where there is none."""
        self.score, self.group, self.names, self.notice = score, group, names, notice
        self.keys = group
        self.kept: GroupsFile | None = None  # of a shard, whose groups are compared with those of others

    def value_type(self, schema: pa.Schema) -> pa.DataType:
        return score_type(schema.field(self.score).type, self.score, "")

    def describe(self) -> dict[str, Any]:
        return {"score": self.score, "group": list(self.group)}

    def seen(self, limit: int) -> Seen:
        return Seen(limit)

    def starts(self, chunk: Chunk, seen: Seen) -> np.ndarray:
        if not self.group:
            first = np.arange(0 if seen.previous is not None else min(1, chunk.batch.num_rows))
            if len(first) and (found := in_runs(chunk.batch, {self.score, *self.names.named})):
                shown = " and ".join(f'"{name}"' for name in found)
                self.notice(f"equal values of {shown} stand together; if they make a ranking, pass ⟨group={found[0]}⟩")
            seen.previous = []
            return first
        columns = [comparable(chunk.batch.column(name)) for name in self.group]
        starts = run_starts(columns, seen.previous)
        seen.previous = [column[-1:] for column in columns]
        keys = [column.take(pa.array(starts)) for column in columns]
        returned = seen.closed.add(keys)
        if returned is not None:
            self._refuse(returned, starts, chunk)
        if self.kept is not None:
            self.kept.add(keys)
        return starts

    def _refuse(self, returned: Returned, starts: np.ndarray, chunk: Chunk) -> None:
        too_many, at = (True, returned[1]) if isinstance(returned, tuple) else (False, returned)
        row = chunk.row + int(starts[at])
        name = self.key(chunk.batch, int(starts[at]))
        by, together = ",".join(self.group), "run again with ⟨sort_groups=True⟩, which brings its rows together"
        if too_many:
            raise DataError(
                f"{chunk.file}, row {row}: {name} is out of order, and there are too many groups to check within "
                f'⟨memory⟩ that none returns; {together}, sort by "{by}" first, or raise ⟨memory⟩'
            )
        raise DataError(
            f"{chunk.file}, row {row}: {name} appears again after its ranking was closed; {together}, or sort by "
            f'"{by}" first'
        )

    def key(self, rows: pa.RecordBatch, row: int) -> str:
        """The group of a row, for a message."""
        return ", ".join(f'{name} "{said(rows.column(name).slice(row, 1))}"' for name in self.group)

    def lengths(self, batch: pa.RecordBatch) -> np.ndarray:
        return np.ones(batch.num_rows, np.int64)

    def scores(self, batch: Any, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        return numbers(self.score, batch, dtype), self.offsets(batch)

    def offsets(self, batch: Any) -> np.ndarray:
        return np.append(batch.starts, batch.rows).astype(np.int64)

    def beside(self, name: str, batch: Any, dtype: np.dtype) -> np.ndarray:
        return numbers(name, batch, dtype)

    def item_field(self, name: str, schema: pa.Schema) -> pa.Field:
        return schema.field(name)

    def items(self, name: str, batch: Any) -> pa.ChunkedArray:
        return pa.chunked_array([chunk.batch.column(name) for chunk in batch.chunks])

    def place(self, batch: Any, score: int) -> str:
        """Where a score stands, for a message."""
        chunk, row = batch.locate(score)
        return self.where(chunk, row) + (f" ({self.key(chunk.batch, row)})" if self.group else "")

    def where(self, chunk: Chunk, row: int) -> str:
        """The input of a row of a chunk, and its number there."""
        return f"{chunk.file}, row {chunk.row + row}"

    def name(self, batch: Any, ranking: int) -> str:
        return self.place(batch, int(batch.starts[ranking]))

    def _one_per_ranking(self, values: np.ndarray, name: str, batch: Any) -> np.ndarray:
        starts = np.append(batch.starts, len(values))
        first = values[starts[:-1]]
        expected = np.repeat(first, np.diff(starts))
        unlike = ~((values == expected) | (np.isnan(values) & np.isnan(expected)))
        if unlike.any():
            at = int(np.argmax(unlike))
            raise DataError(
                f'{self.place(batch, at)}: "{name}" changes within a ranking, from {expected[at]:g} to {values[at]:g}; '
                "it must be one value"
            )
        return first

    def fields(self, schema: pa.Schema, name: str, kind: pa.DataType) -> list[pa.Field]:
        return [pa.field(name, kind)]

    def columns(
        self, batch: Any, values: np.ndarray, valid: np.ndarray | None, kind: pa.DataType
    ) -> list[list[pa.Array]]:
        return [[as_array(values, valid, kind)]]

    def ranking_column(self, batch: Any, values: np.ndarray) -> pa.Array:
        return pa.array(np.repeat(values, np.diff(np.append(batch.starts, batch.rows))))
