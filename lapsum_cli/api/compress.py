"""The top-k compressor of gradients with its memory: what is sent is few, and what is not sent is kept for next time.

a = memory + gradient; the k largest |a| are sent, as index and value; the rest is the new memory. So all that was sent
and the memory sum to all gradients that there were (Stich, Cordonnier, Jaggi, NeurIPS 2018).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy

from ..core.errors import DataError, InputMissing, OptionError
from ..core.quantities import K
from ..core.rankings import Array, has_nan
from ..flow.process import memory_size
from ..formats import output_format
from ..formats.files import Output
from ..formats.sinks import Made, open_sink
from ..tables.results import Counts

_HELD = 6  # arrays of a row that are held at once: the gradient, the memory, their sum, sizes, a copy, what is left


def compress(
    source: str,
    sink: str | None,
    memory_file: str,
    k: K,
    *,
    to_format: str | None = None,
    force: bool = False,
    memory: str | int | None = None,
    how: Mapping[str, object],
) -> Counts:
    """Send the k largest |a| of each row of an NPY file, and keep the rest in another, which is made if it is missing.

    source, memory_file  NPY of one or two dimensions, of one shape and dtype, float32 or float64
    sink                 a table of index and value, and of the row where there are several; None is standard output
    The output is in place before the memory is replaced: a run that fails in between has lost nothing, and is said.
    """
    if away := [path for path in (source, memory_file) if "://" in path]:
        raise OptionError(f"{away[0]}: ⟨residual⟩ reads a file of this machine, and keeps its memory in another")
    given, kept = _opened(source), _opened(memory_file) if os.path.exists(memory_file) else None
    if kept is not None and (kept.shape != given.shape or kept.dtype != given.dtype):
        raise DataError(
            f"{memory_file}: is {kept.dtype} of the shape {kept.shape}, and {source} is {given.dtype} of "
            f"{given.shape}; a memory goes with the gradients that it is of"
        )
    rows, count = np.atleast_2d(given), _count(k, given.shape[-1])
    needed, size = _HELD * rows.shape[1] * given.dtype.itemsize, memory_size(memory)
    if needed > size:
        raise OptionError(f"{source}: a row of {rows.shape[1]} numbers needs {needed >> 20} MiB; raise ⟨memory⟩")
    counts, schema = Counts(), _schema(given)
    with contextlib.ExitStack() as opened:
        left = opened.enter_context(Output(memory_file, True, []))
        output = opened.enter_context(Output(sink, force, []))
        made = Made(output_format(sink, to_format, False), schema, ["value"], count * len(rows), how)
        out = open_sink(output, made)
        npy.write_array_header_1_0(left.stream, npy.header_data_from_array_1_0(given))
        try:
            for r in range(len(rows)):
                total = rows[r] + (0 if kept is None else np.atleast_2d(kept)[r])
                if has_nan(total) or np.isinf(total).any():
                    raise DataError(f"{source}, row {r + 1}: a number is NaN or infinite; there is no sending it")
                sent = largest(total, count)
                columns = [np.full(len(sent), r)] if given.ndim == 2 else []
                out.write(pa.table([*columns, sent, total[sent]], schema=schema))
                total[sent] = 0
                left.stream.write(total.tobytes())
                counts.rankings, counts.scores = counts.rankings + 1, counts.scores + len(total)
                counts.rows, counts.written = counts.rows + len(total), counts.written + len(sent)
            out.close({**how, "rankings": counts.rankings, "scores": counts.scores})
        except BaseException:
            out.abandon()
            raise
    return counts


def largest(values: Array, count: int) -> Array:
    """(count,) int64, rising: where the largest magnitudes are; of equal ones the first."""
    sizes = np.abs(values)
    if count >= len(sizes):
        return np.arange(len(sizes))
    least = np.partition(sizes, len(sizes) - count)[len(sizes) - count]
    above, ties = np.flatnonzero(sizes > least), np.flatnonzero(sizes == least)
    found: Array = np.sort(np.concatenate([above, ties[: count - len(above)]]))
    return found


def _count(k: K, length: int) -> int:
    """How many are sent: a share is rounded down, and is one at least."""
    if k.percent:
        return max(1, int(length * k.value / 100)) if length else 0
    if k.value % 1:
        raise OptionError(f"k must be a whole number, or a share such as 1%, where ⟨residual⟩ is given, got {k}")
    return min(int(k.value), length)


def _opened(path: str) -> Any:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputMissing(f"{path}: no such file") from None
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: is no NPY file of numbers: {error}") from None
    if not isinstance(found, np.ndarray) or found.ndim not in (1, 2) or found.dtype not in (np.float32, np.float64):
        raise DataError(f"{path}: must hold one array of float32 or float64, of one or two dimensions")
    return found


def _schema(given: Any) -> pa.Schema:
    row = [("row", pa.int64())] if given.ndim == 2 else []
    return pa.schema([*row, ("index", pa.int64()), ("value", pa.from_numpy_dtype(given.dtype))])
