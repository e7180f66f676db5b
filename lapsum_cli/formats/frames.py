"""Tables in memory, in and out: Arrow, pandas, Polars, DuckDB, and whatever else gives an Arrow stream of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from ..core.errors import DataError
from .faults import first_line
from .plain import as_declared, is_encoded, plain_type, with_types
from .sinks import Sink

FORMAT = "arrow"  # what a table in memory is like


def is_frame(given: Any) -> bool:
    """Whether it gives an Arrow stream of itself (the Arrow PyCapsule interface): a table, a frame, a relation."""
    return hasattr(given, "__arrow_c_stream__")


class Frame:
    """An input and its source: rows that are in memory, or that a stream gives, as it is asked for them.

    rows is None for a stream. is_read_once: whether asking for them again would give nothing, as of a stream that is
    none of a relation.
    """

    is_regular, head, first, stop = False, b"", 0, None

    def __init__(self, given: Any, name: str):
        self.name, self.given = name, given
        held = isinstance(getattr(given, "num_rows", None), int)  # of Arrow
        held = held or isinstance(getattr(given, "height", None), int) or hasattr(given, "iloc")  # of Polars, pandas
        is_relation = not held and hasattr(given, "limit")  # DuckDB: one has a single result at a time
        self.is_read_once = not held and not is_relation
        try:
            self.given = pa.table(given) if held else given
            self.stream = self._stream(given) if self.is_read_once else None
            self.schema = (self.stream or self._stream(given.limit(0) if is_relation else self.given)).schema
        except Exception as error:  # whatever a library may raise of its own table
            is_column = "non-struct" in str(error)
            said = "is a column, not a table; functions such as soft_rank take columns"
            said = said if is_column else f"cannot be read as an Arrow table: {first_line(error)}"
            raise DataError(f"{name}: {said}") from None
        self.rows = self.given.num_rows if held else None

    @staticmethod
    def _stream(given: Any) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_stream(given)

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """All rows, in views of about `size` bytes."""
        try:
            for batch in self.stream or self._stream(self.given):
                step = max(1, int(size // max(1, batch.nbytes / max(1, batch.num_rows))))
                for start in range(0, batch.num_rows, step):
                    yield batch.slice(start, step)
        except Exception as error:  # whatever whoever makes the stream may raise
            raise DataError(f"{self.name}: reading failed: {first_line(error)}") from None

    def size(self) -> int | None:
        """Bytes; None for a stream."""
        return None if self.rows is None else max(1, int(self.given.nbytes))

    def position(self) -> int:
        """Of no use: the rows of a frame are counted."""
        return 0

    def close(self) -> None:
        """Nothing: it is somebody else's."""


class InMemory(Sink):
    """A sink that keeps what is written: `table` when it is closed, with the record of how it was made (lapsum)."""

    def __init__(self) -> None:
        self.schema: pa.Schema | None = None
        self.batches: list[pa.RecordBatch] = []
        self.table: pa.Table | None = None

    def begin(self, schema: pa.Schema) -> None:
        """Which columns there will be. Categories that have an order of their own are values."""
        self.schema = with_types(schema, _without_order)

    def write(self, table: pa.Table) -> None:
        """Some more rows."""
        assert self.schema is not None
        self.batches += [as_declared(batch, self.schema) for batch in table.to_batches()]

    def close(self, metadata: Mapping[str, object]) -> None:
        """No more rows."""
        assert self.schema is not None
        noted = {**(self.schema.metadata or {}), b"lapsum": json.dumps(metadata).encode()}
        table = pa.Table.from_batches(self.batches, self.schema).replace_schema_metadata(noted)
        self.table, self.batches = table.unify_dictionaries(), []

    def abandon(self) -> None:
        """No rows at all."""
        self.batches = []


def _without_order(kind: pa.DataType) -> pa.DataType:
    """The type of a column whose dictionary may be made anew, batch by batch: small indices might not do."""
    if pa.types.is_dictionary(kind) and not kind.ordered:
        return pa.dictionary(pa.int32(), kind.value_type)
    return plain_type(kind) if is_encoded(kind) else kind
