"""Is an output file right? What stood in the input stands there unchanged, row by row, and the results are checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .cases import Case
from .check import WrongResult, check_output

BY_PLACE = {"sort": ["qid", "position"]}  # columns before a result that belongs to places, and not to scores


def check_table(case: Case, source: Path, sink: Path, check: Callable[..., None] = check_output) -> None:
    """Raise WrongResult unless the Parquet has the input's columns, and one more that is right as `check` has it."""
    before, after = (pq.read_schema(path).names for path in (source, sink))
    if after[:-1] != BY_PLACE.get(case.operation, before):
        raise WrongResult(f"{case}: the columns are {', '.join(after)}; no time is shown")
    for name in (name for name in before if name in after):
        if not _column(source, name).equals(_column(sink, name)):
            raise WrongResult(f"{case}: column {name} is not that of the input; no time is shown")
    columns = (source, "score"), (sink, after[-1])
    scores, result = (case.shape.formed(_column(path, name).to_numpy()) for path, name in columns)
    check(case, [scores], [result])


def check_array(case: Case, source: Path, sink: Path) -> None:
    """Raise WrongResult unless the NPY has the input's shape and is right; both are mapped, not read."""
    scores, result = (np.load(path, mmap_mode="r") for path in (source, sink))
    if scores.shape != result.shape:
        raise WrongResult(f"{case}: the result has shape {result.shape}, not {scores.shape}; no time is shown")
    scores, result = (case.shape.formed(array) for array in (scores, result))
    check_output(case, [scores], [result])


def keeps_order(tool: str, source: Path, sink: Path) -> bool:
    """Whether each row stands where it stood; a row more or less is a WrongResult."""
    before, after = (pq.ParquetFile(path).metadata.num_rows for path in (source, sink))
    if before != after:
        raise WrongResult(f"{tool} wrote {after} rows, not {before}; no time is shown")
    return _column(source, "docid").equals(_column(sink, "docid"))


def _column(path: Path, name: str) -> pa.ChunkedArray:
    return pq.read_table(path, columns=[name]).column(name)
