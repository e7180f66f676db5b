"""A table with a ranking in each row: a score in each of some columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ..core.errors import DataError
from ..formats.types import floats, score_type
from .layout import Layout, as_array
from .roles import Names, matching


class Wide(Layout):
    """A row is a ranking: one score in each of the named columns."""

    def __init__(self, scores: list[str], names: Names):
        self.score_names, self.names = scores, names

    def value_type(self, schema: pa.Schema) -> pa.DataType:
        kinds = {score_type(schema.field(name).type, name, "") for name in self.score_names}
        return kinds.pop() if len(kinds) == 1 else (pa.float64() if pa.float64() in kinds else pa.float32())

    def width(self, schema: pa.Schema) -> int:
        return len(self.score_names)

    def describe(self) -> dict[str, Any]:
        return {"columns": self.score_names}

    def lengths(self, batch: pa.RecordBatch) -> np.ndarray:
        return np.full(batch.num_rows, len(self.score_names))

    def scores(self, batch: Any, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        return self._matrix(self.score_names, batch, dtype), self.offsets(batch)

    def offsets(self, batch: Any) -> np.ndarray:
        return np.arange(batch.rows + 1, dtype=np.int64) * len(self.score_names)

    def _matrix(self, names: list[str], batch: Any, dtype: np.dtype) -> np.ndarray:
        matrix = np.empty((batch.rows, len(names)), dtype)
        start = 0
        for chunk in batch.chunks:
            for j, name in enumerate(names):
                column, what = chunk.batch.column(name), f'values of "{name}"'
                matrix[start : start + len(column), j] = floats(column, dtype, chunk.file, what, chunk.row)
            start += chunk.batch.num_rows
        return matrix.reshape(-1)

    def beside(self, name: str, batch: Any, dtype: np.dtype) -> np.ndarray:
        found = matching(name, batch.chunks[0].batch.schema.names)
        if len(found) != len(self.score_names):
            raise DataError(f'"{name}" matches {len(found)} columns for {len(self.score_names)} of scores')
        return self._matrix(found, batch, dtype)

    def item_field(self, name: str, schema: pa.Schema) -> pa.Field:
        return pa.field("item", pa.string())

    def items(self, name: str, batch: Any) -> pa.ChunkedArray:
        return pa.chunked_array([pa.array(self.score_names * batch.rows)])

    def place(self, batch: Any, score: int) -> str:
        row, column = divmod(score, len(self.score_names))
        return f'{self.name(batch, row)}, column "{self.score_names[column]}"'

    def fields(self, schema: pa.Schema, name: str, kind: pa.DataType) -> list[pa.Field]:
        return [pa.field(f"{name}_{score}", kind) for score in self.score_names]

    def columns(
        self, batch: Any, values: np.ndarray, valid: np.ndarray | None, kind: pa.DataType
    ) -> list[list[pa.Array]]:
        width = len(self.score_names)
        matrix = values.reshape(-1, width)
        mask = None if valid is None else valid.reshape(-1, width)
        return [
            [as_array(np.ascontiguousarray(matrix[:, j]), None if mask is None else mask[:, j], kind)]
            for j in range(width)
        ]
