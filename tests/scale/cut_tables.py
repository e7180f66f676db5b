"""Data sets for tests: a table cut into files anywhere, and results put together again."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
from tables import get, put

LENGTHS = [9, 1, 30, 2, 25, 7, 1, 12]
# Cuts of 87 rows: queries that straddle two and three files, files that are wholly within a query, empty ones, an even
# cut; the whole; nothing at either end.
SHAPES = {
    "even": [9, 40, 67],
    "straddling": [5, 20, 41, 50],
    "within a query": [15, 20, 30, 39],
    "empty files": [0, 0, 12, 12, 12, 40, 87],
    "one file": [],
    "a row a file": list(range(1, 87)),
}


def scored(lengths=LENGTHS, seed=7, **columns) -> pa.Table:
    """A row an item, queries in no order but together; ids as text, and labels."""
    drawn = np.random.default_rng(seed)
    total = sum(lengths)
    names = [f"q{(5 * i) % 97:02}" for i in range(len(lengths))]
    return pa.table(
        {
            "qid": np.repeat(names, lengths),
            "docid": pa.array(np.arange(total) + 9007199254740993007),
            "score": drawn.normal(size=total).astype(np.float32).astype(np.float64),
            "label": drawn.integers(0, 3, total).astype(np.float64),
            **columns,
        }
    )


def written(table, folder, cuts, format="parquet", rows=7):
    """The table as files, cut before these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    bounds = [0, *cuts, len(table)]
    for i, (start, stop) in enumerate(pairwise(bounds)):
        put(table.slice(start, stop - start), folder / f"p{i:03}.{format}", rows=rows)
    return sorted(folder.glob(f"*.{format}"))


def files(folder, format="parquet"):
    """The results in a directory, in order."""
    return [path for path in sorted(folder.rglob(f"*.{format}")) if not path.name.startswith("_")]


def together(folder, format="parquet") -> pa.Table:
    """The results of a directory, one after another; of text without a row nobody asks for columns."""
    is_text = format in ("csv", "tsv", "jsonl")
    some = [
        path for path in files(folder, format) if not is_text or path.read_bytes().count(b"\n") > (format != "jsonl")
    ]
    return pa.concat_tables([get(path, format) for path in some], promote_options="permissive")
