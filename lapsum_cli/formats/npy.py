"""NPY: one array of one or two dimensions, streamed in both directions; a pipe does as well as a file."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import NoReturn

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy

from ..core.errors import DataError, OptionError
from .faults import first_line, writing
from .files import Input, Output
from .sinks import Made, Sink
from .sources import Reading, Room
from .types import is_list, numpy_dtype, unlisted

COLUMN = "score"
_ROWS_OF_NOTHING = 1 << 20
_WIDEST = 2**31 - 1  # of a list of Arrow's
_DTYPES = (np.float16, np.float32, np.float64)

_NO_NULL = "an NPY file holds no null; dropped scores need a table: choose one with ⟨to_format⟩"


class _Reused:
    """Arrays of one dtype, each given again once nobody holds it: fresh memory costs a page fault every 4 KiB, which is
    more than to read that much.
    """

    MOST = 32  # that are kept

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype
        self.held = [np.empty(0, dtype)]
        [(self.alone, _)] = self._counted()

    def _counted(self) -> Iterator[tuple[int, np.ndarray]]:
        """How many refer to each, which of one that nobody else holds depends on Python's version; and itself."""
        for held in self.held:
            yield sys.getrefcount(held), held

    def array(self, size: int) -> np.ndarray:
        """One of this size, whatever it holds."""
        for count, held in self._counted():
            if len(held) == size and count == self.alone:
                return held
        made = np.empty(size, self.dtype)
        self.held = [*self.held[1 - self.MOST :], made]
        return made


class NpySource:
    """A vector is a column of scores, one ranking; a matrix is a column of lists, a ranking a row."""

    def __init__(self, file: Input, room: Room):
        """Read the header; DataError where it is no array of scores, or the file is shorter than it says."""
        self.name, self.room = file.name, room
        self.stream = file.stream
        self.shape, fortran, self.dtype = _header(file)
        if self.dtype.hasobject:
            raise DataError(
                f"{file.name}: holds pickled Python objects, which are not read; save an array of float32 or float64"
            )
        if self.dtype.newbyteorder("=") not in _DTYPES:
            raise DataError(
                f"{file.name}: has dtype {self.dtype}; scores must be float16, float32 or float64: convert with astype"
            )
        if len(self.shape) not in (1, 2):
            raise DataError(f"{file.name}: has {len(self.shape)} dimensions {self.shape}; reshape it to one or two")
        if any(type(n) is not int or not 0 <= n < 2**63 for n in self.shape):
            raise DataError(f"{file.name}: the header is damaged: there is no array of shape {self.shape}")
        if self.shape[1:] == (0,) and self.shape[0] > _ROWS_OF_NOTHING:
            raise DataError(f"{file.name}: has {self.shape[0]} rows without a score, shape {self.shape}; leave it out")
        if fortran and len(self.shape) == 2 and min(self.shape) > 1:
            raise DataError(f"{file.name}: is stored by columns (Fortran order); save np.ascontiguousarray of it")
        self.rows = self.shape[0]
        self.columns = self.shape[1] if len(self.shape) == 2 else 1
        self.native, self.start, self.in_rows = self.dtype.newbyteorder("="), 0, len(self.shape) == 2
        wanted, size = self.rows * self.columns * self.dtype.itemsize, file.size()
        if size is not None and size - self.stream.tell() < wanted:
            self._truncated(size - self.stream.tell(), wanted)
        if self.shape[1:] > (_WIDEST,):
            raise DataError(
                f"{file.name}: has rows of {self.columns} scores, and {_WIDEST} are the most; save each as an array of "
                "one dimension"
            )
        kind = pa.from_numpy_dtype(self.native)
        self.schema = pa.schema([(COLUMN, pa.list_(kind, self.columns) if len(self.shape) == 2 else kind)])

    def _truncated(self, got: int, wanted: int) -> NoReturn:
        raise DataError(f"{self.name}: is truncated: shape {self.shape} needs {wanted} bytes of data, {got} are there")

    def unroll(self) -> None:
        """Have a row for each score of a matrix, which is too wide for a ranking in each."""
        self.rows, self.columns, self.in_rows = self.rows * self.columns, 1, False
        self.schema = unlisted(self.schema)

    def seek(self, row: int) -> int:
        """Begin with this row, where the file can be read from there on, else with the first: with which."""
        if self.stream.seekable():
            self.stream.seek(self.stream.tell() + (row - self.start) * self.row_bytes)
            self.start = row
        return self.start

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in the file."""
        return self.columns * self.dtype.itemsize

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """Batches of about `size` bytes, of one row at least."""
        return self.blocks(max(1, size // max(self.row_bytes, 1)))

    def blocks(self, step: int) -> Iterator[pa.RecordBatch]:
        """Batches of so many rows."""
        reused = _Reused(self.dtype)
        for start in range(self.start, self.rows, step):
            rows = min(step, self.rows - start)
            if self.row_bytes > self.room.size:
                needs = self.room.refusal(self.row_bytes, "by itself")
                raise OptionError(f"{self.name}, row {start + 1}: a ranking of {self.columns} scores {needs}")
            block = reused.array(rows * self.columns)
            got = _read_into(self.stream, block.data.cast("B") if block.size else memoryview(b""))
            if got < block.nbytes:
                self._truncated(start * self.row_bytes + got, self.rows * self.row_bytes)
            values = pa.array(block.astype(self.native, copy=False))
            if self.in_rows:
                values = (
                    pa.FixedSizeListArray.from_arrays(values, type=self.schema.field(0).type)
                    if self.columns
                    else pa.Array.from_buffers(self.schema.field(0).type, rows, [None], children=[values])
                )
            yield pa.record_batch([values], schema=self.schema)


class NpyTable:
    """Arrays of one shape, read side by side: the scores, and what goes with each of them."""

    def __init__(self, scores: NpySource, beside: dict[str, NpySource]):
        self.name, self.rows, self.sources = scores.name, scores.rows, [scores, *beside.values()]
        for source in beside.values():
            if source.shape != scores.shape:
                raise DataError(f"{source.name}: has shape {source.shape}, the scores have {scores.shape}")
        kinds = [source.schema.field(0).type for source in self.sources]
        self.schema = pa.schema(list(zip([COLUMN, *beside], kinds, strict=True)))

    def unroll(self) -> None:
        """As NpySource has it."""
        for source in self.sources:
            source.unroll()
        self.rows, self.schema = self.sources[0].rows, unlisted(self.schema)

    def seek(self, row: int) -> int:
        """As NpySource has it."""
        [start] = {source.seek(row) for source in self.sources}
        return start

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """Batches of about `size` bytes of all arrays together, of one row at least."""
        step = max(1, size // max(sum(source.row_bytes for source in self.sources), 1))
        for batches in zip(*(source.blocks(step) for source in self.sources), strict=True):
            yield pa.record_batch([batch.column(0) for batch in batches], schema=self.schema)


def _header(file: Input) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is stored by columns, and dtype."""
    try:
        version = npy.read_magic(file.stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        return read(file.stream)
    except OSError:
        raise
    except Exception as error:  # NumPy gives the header to Python's parser, which raises whatever it likes
        raise DataError(f"{file.name}: not an NPY file, or a truncated one: {first_line(error)}") from None


def _read_into(stream: io.BufferedIOBase, buffer: memoryview) -> int:
    got = 0
    while got < len(buffer):
        more = stream.readinto(buffer[got:])
        if not more:
            break
        got += more
    return got


class NpySink(Sink):
    """Writes the result columns, each an array: the first to the output NAME.npy, others to NAME.COLUMN.npy beside it.

    What else the table holds has no place in an array.
    """

    def __init__(self, output: Output, made: Made):
        results = made.results
        if len(results) > 1 and not output.is_file:
            raise OptionError(
                f"{output.name} holds one array, not {', '.join(results)}; name a file with ⟨sink⟩, or choose another "
                "⟨to_format⟩"
            )
        outputs = [output, *(output.beside(name) for name in results[1:])]
        self.arrays = [_NpyArray(*each, made) for each in zip(outputs, results, strict=True)]

    def write(self, table: pa.Table) -> None:
        """Some more rows, to every array its column."""
        for array in self.arrays:
            array.write(table)

    def close(self, metadata: Mapping[str, object]) -> None:
        """Finish every array; an array holds no metadata."""
        for array in self.arrays:
            array.close()


class _NpyArray:
    """One array. Its header needs the shape, which is known only at the end: a file gets its header then, a pipe is
    spooled unless `rows` is known. Of rows that come unrolled it holds the scores, or the first number of each.
    """

    def __init__(self, output: Output, column: str, made: Made):
        self.output, self.column, self.of_matrices = output, column, made.of_matrices
        kind = made.schema.field(self.column).type
        self.is_list = is_list(kind)
        self.width = kind.list_size if pa.types.is_fixed_size_list(kind) else None
        value = kind.value_type if self.is_list else kind
        self.dtype = numpy_dtype(value)
        self.rows, self.unrolled, self.passed = 0, made.unrolled, 0
        known = made.rows is not None and not (self.is_list and self.width is None)
        self.spool = None if output.is_file or known else tempfile.TemporaryFile()  # noqa: SIM115
        self.stream = self.spool or output.stream
        with writing(output.name):
            if not self.spool:
                self.header = self._header(made.rows or 0)
                self.stream.write(self.header)

    def _header(self, rows: int) -> bytes:
        """128 bytes hold any shape of two dimensions: NumPy pads its header to a multiple of 64."""
        width = self.width or 0
        shape: tuple[int, ...] = (rows, width) if self.is_list else (rows,)
        if self.of_matrices:
            shape = (rows // max(width, 1), width, width)
        buffer = io.BytesIO()
        npy.write_array_header_1_0(
            buffer, {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        )
        return buffer.getvalue()

    def write(self, table: pa.Table) -> None:
        """Some more rows; DataError for null, and for a list that is not as long as those before it."""
        for array in table.column(self.column).chunks:
            array = self._rolled(array) if self.unrolled else array
            if array.null_count:
                raise DataError(_NO_NULL)
            values = array
            if self.is_list and not self.unrolled:
                lengths = np.unique(np.asarray(array.value_lengths())) if len(array) else np.empty(0, int)
                self.width = int(lengths[0]) if self.width is None and len(lengths) else self.width
                if len(lengths) > 1 or (len(lengths) and lengths[0] != self.width):
                    other = int(lengths[lengths != self.width][0])
                    raise DataError(
                        f"an NPY matrix needs rankings of one length, these have {self.width} and {other} scores: "
                        "choose another ⟨to_format⟩"
                    )
                values = array.flatten()
                if values.null_count:
                    raise DataError(_NO_NULL)
            with writing(self.output.name):
                if len(values):
                    self.stream.write(np.ascontiguousarray(np.asarray(values), self.dtype).data.cast("B"))
            self.rows += len(array)

    def _rolled(self, array: pa.Array) -> pa.Array:
        """Those of a row's numbers that have a place here, of which there is one beside each of its scores."""
        first, self.passed = -self.passed % self.unrolled, self.passed + len(array)
        return array if self.is_list else array[first :: self.unrolled]

    def close(self) -> None:
        """Put the header in its place, with the number of rows that were written."""
        self.rows //= self.unrolled if self.is_list and self.unrolled else 1
        with writing(self.output.name):
            if self.spool:
                self.output.stream.write(self._header(self.rows))
                self.spool.seek(0)
                shutil.copyfileobj(self.spool, self.output.stream, 1 << 20)
                return
            header = self._header(self.rows)
            if header != self.header:
                self.stream.flush()
                with contextlib.closing(io.FileIO(self.stream.fileno(), "r+", closefd=False)) as raw:
                    raw.seek(0)
                    raw.write(header)


def read(asked: Reading) -> NpySource | NpyTable:
    """The array, or a table of it and those beside it."""
    scores = NpySource(asked.file, asked.room)
    beside = {name: NpySource(file, asked.room) for name, file in asked.beside.items()}
    return NpyTable(scores, beside) if beside else scores


write = NpySink
