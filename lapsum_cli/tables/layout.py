"""How a table holds rankings. A layout says where rankings begin, takes their scores out of record batches, and puts
results back beside them; it holds no state: what was seen of an input is its reader's (`seen`).

    long.py    a row is an item, consecutive rows of equal group a ranking
    lists.py   a row is a ranking, a list of scores
    wide.py    a row is a ranking, a score in each of some columns
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from ..core.errors import DataError
from ..formats.sources import Chunk
from ..formats.types import floats, holds_numbers, is_list, numpy_dtype, together
from .roles import Names


class Layout:
    """What the three layouts have in common, and what each must say."""

    names: Names
    group: tuple[str, ...] = ()  # columns that tell rankings apart
    keys: tuple[str, ...] = ()  # those that a result with a row for each ranking keeps
    closes_with_row: ClassVar[bool] = True  # a ranking ends with its row

    @property
    def is_one_ranking(self) -> bool:
        """Whether all rows are one ranking."""
        return not (self.closes_with_row or self.group)

    def value_type(self, schema: pa.Schema) -> pa.DataType:
        """The float type in which scores of these columns are returned."""
        raise NotImplementedError

    def dtype(self, schema: pa.Schema) -> np.dtype:
        """The dtype of the kernels: float16 is computed as float32."""
        return np.dtype(np.float64 if self.value_type(schema) == pa.float64() else np.float32)

    def width(self, schema: pa.Schema) -> int:
        """How many scores every ranking has, where the columns alone tell; else 0."""
        return 0

    def describe(self) -> dict[str, Any]:
        """Where the rankings are, for the record of how a result was made."""
        raise NotImplementedError

    def seen(self, limit: int) -> Any:
        """What a reader keeps of earlier rankings, in at most so many bytes, to be given to `starts` chunk by chunk."""

    def starts(self, chunk: Chunk, seen: Any) -> np.ndarray:
        """Rows of the chunk at which a ranking begins, given what was seen before, which is brought up to date."""
        return np.arange(chunk.batch.num_rows)

    def lengths(self, batch: pa.RecordBatch) -> np.ndarray:
        """(rows,) scores of each row."""
        raise NotImplementedError

    def scores(self, batch: Any, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """The scores (N,) of a flow.batching.Batch, null as NaN, and their offsets (m + 1,)."""
        raise NotImplementedError

    def offsets(self, batch: Any) -> np.ndarray:
        """(m + 1,) int64: where the rankings of the batch begin and end among its scores."""
        raise NotImplementedError

    def beside(self, name: str, batch: Any, dtype: np.dtype) -> np.ndarray:
        """The values of a column, or of those a pattern matches, that go with the scores: one for each, null as NaN."""
        raise NotImplementedError

    def place(self, batch: Any, score: int) -> str:
        """Where a score stands, for a message."""
        raise NotImplementedError

    def name(self, batch: Any, ranking: int) -> str:
        """What a ranking of the batch is called in a message."""
        chunk, row = batch.locate(ranking)
        return f"{chunk.file}, row {chunk.row + row}"

    def option(self, name: str, batch: Any) -> np.ndarray:
        """The value that a column gives to each ranking of the batch, (m,) float64."""
        kind = batch.chunks[0].batch.schema.field(name).type
        if not holds_numbers(kind) or is_list(kind):
            raise DataError(f'{batch.chunks[0].file}: column "{name}" has type {kind}; it must hold numbers')
        return self._one_per_ranking(numbers(name, batch, np.dtype(np.float64)), name, batch)

    def _one_per_ranking(self, values: np.ndarray, name: str, batch: Any) -> np.ndarray:
        return values

    def item_field(self, name: str, schema: pa.Schema) -> pa.Field:
        """The column that says what an item is called."""
        raise NotImplementedError

    def items(self, name: str, batch: Any) -> pa.ChunkedArray:
        """What the item of each score is called."""
        raise NotImplementedError

    def fields(self, schema: pa.Schema, name: str, kind: pa.DataType) -> list[pa.Field]:
        """The columns that hold values of this name and type, one for each score."""
        raise NotImplementedError

    def columns(
        self, batch: Any, values: np.ndarray, valid: np.ndarray | None, kind: pa.DataType
    ) -> list[list[pa.Array]]:
        """The values (N,) as these columns, each in chunks; null where not valid."""
        raise NotImplementedError

    def ranking_column(self, batch: Any, values: np.ndarray) -> pa.Array:
        """Values (m,) of whole rankings, such as thresholds, as a column."""
        return pa.array(values)


def numbers(name: str, batch: Any, dtype: np.dtype) -> np.ndarray:
    """(rows,) the numbers in a column of a batch, null as NaN."""
    what = f'values of "{name}"'
    return together([floats(c.batch.column(name), dtype, c.file, what, c.row) for c in batch.chunks])


def as_array(values: np.ndarray, valid: np.ndarray | None, kind: pa.DataType) -> pa.Array:
    """The values as a column of this type, null where not valid."""
    return pa.array(values.astype(numpy_dtype(kind), copy=False), kind, mask=None if valid is None else ~valid)
