"""The files that are made for the benchmark: seeded, and on the disk before anything is timed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .shapes import Shape

QUERY = 100  # rows of a query, scores of a ranking
PART = 1 << 20  # rows that are drawn, and written, at a time


def make_parquet(path: Path, shape: Shape) -> None:
    """A long table of qid, docid and score, with a query for each ranking, compressed with zstd."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(7)
    schema = pa.schema([("qid", pa.int64()), ("docid", pa.int64()), ("score", pa.float32())])
    with pq.ParquetWriter(path, schema, compression="zstd") as out:
        for start in range(0, shape.total, PART):
            row = np.arange(start, min(start + PART, shape.total))
            query = np.searchsorted(shape.offsets, row, side="right") - 1
            columns = [query, rng.integers(0, 1 << 40, row.size), rng.standard_normal(row.size, np.float32)]
            out.write_table(pa.table(columns, schema=schema), row_group_size=PART)
    _sync(path)


def make_npy(path: Path, shape: tuple[int, ...]) -> None:
    """Scores (float32) of this shape."""
    rng = np.random.default_rng(7)
    scores = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    every = scores.reshape(-1)
    for start in range(0, every.size, PART):
        part = every[start : start + PART]
        part[:] = rng.standard_normal(part.size, np.float32)
    scores.flush()
    _sync(path)


def _sync(path: Path) -> None:
    """What is still being written while others run would slow them down."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
