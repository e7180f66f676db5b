"""Rows as a reader gives them: those that are asked for, checked, and in parts of a size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from ..core.cuts import cut
from ..core.errors import DataError
from .faults import first_line
from .sizes import cumulative_bytes

_ROWS_OF_NOTHING = 1 << 24  # rows without a byte, as of a matrix without columns, that are taken for meant


def within(
    batches: Iterator[pa.RecordBatch], row: int, first: int, stop: int | None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows from `first` to before `stop`, each batch with how many rows of its input come before it; row: how many
    come before the first batch.
    """
    batches = iter(batches)
    while stop is None or row < stop:
        batch = next(batches, None)
        if batch is None:
            return
        rows, start = batch.num_rows, max(first - row, 0)
        end = rows if stop is None else min(rows, stop - row)
        if (start, end) != (0, rows):
            batch = batch.slice(min(start, rows), max(end - start, 0))
        yield row + start, batch
        row += rows
        del batch


def check(batch: pa.RecordBatch, file: str, row: int) -> None:
    """Raise DataError where lengths, offsets, dictionaries or text are not what they say.

    Readers of binary formats take them as they are, and whoever follows them later reads foreign memory. For numbers
    this costs nothing, for text a third of a millisecond a MB, about what it takes to decode it.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        rows = f"rows {row + 1} to {row + batch.num_rows}"
        raise DataError(f"{file}, {rows}: the file is damaged: {first_line(error)}") from None
    if batch.num_rows > max(_ROWS_OF_NOTHING, 8 * batch.nbytes):
        raise DataError(f"{file}: the file is damaged: {batch.num_rows} rows are said to lie in {batch.nbytes} bytes")


def parts(batch: pa.RecordBatch, plain: pa.Schema, size: int) -> Iterable[tuple[int, int]]:
    """Ranges of rows of about `size` bytes in plain form, or of as many as the batch has if that is nearly so."""
    if batch.num_rows <= 1 or (batch.schema.types == plain.types and batch.nbytes <= 2 * size):
        return [(0, batch.num_rows)]
    return cut(cumulative_bytes(batch), size, reaching=True)
