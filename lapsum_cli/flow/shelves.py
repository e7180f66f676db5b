"""Numbers that wait on a disk: in rows, put row by row as they come, and read back row by row, or a little of each; or
each in its place.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core.errors import IOFailed
from ..formats.faults import writing
from ..formats.temporary import temporary_place
from .budget import in_mib

LEAST, _MOST = 1 << 12, 1 << 20  # bytes of a row that are written at once


class Shelves:
    """Rows of numbers of one dtype in a temporary file, which goes with the process.

    Of every row some bytes wait in memory until a block of them is written: of all rows together about `room`.
    """

    def __init__(self, rows: int, dtype: Any, folder: str | None, room: int):
        self.dtype = np.dtype(dtype)
        self.ties = np.zeros(rows, np.int64)
        self.name = f"a temporary file in {temporary_place(folder)}"
        self.block = min(max(room // (2 * max(rows, 1)), LEAST), _MOST)
        with writing(self.name):
            self.file = tempfile.TemporaryFile(dir=folder, prefix="lapsum-")  # noqa: SIM115  ends with this object
        self.end = 0
        self.places: list[list[tuple[int, int]]] = [
            [] for _ in range(rows)
        ]  # of the blocks of each row, and their bytes
        self.waiting: list[list[np.ndarray]] = [[] for _ in range(rows)]
        self.bytes = [0] * rows
        self.read = [(0, 0)] * rows  # blocks of each row that `next` has read, and bytes of the next
        self.rest: dict[int, np.ndarray] = {}  # what it has read and not given

    def put(self, row: int, values: np.ndarray) -> None:
        """Some more of a row."""
        self.waiting[row].append(values.copy())
        self.bytes[row] += values.nbytes
        if self.bytes[row] >= self.block:
            data = np.concatenate(self.waiting[row])
            with writing(self.name):
                self.file.seek(self.end)
                self.file.write(data.data.cast("B"))
                self.file.flush()
            self.places[row].append((self.end, data.nbytes))
            self.end += data.nbytes
            self.waiting[row], self.bytes[row] = [], 0

    def take(self, row: int) -> np.ndarray:
        """All of a row; several threads may ask at once."""
        written = sum(size for _, size in self.places[row]) // self.dtype.itemsize
        waiting = self.bytes[row] // self.dtype.itemsize
        out, at = np.empty(written + waiting, self.dtype), 0
        for place, size in self.places[row]:
            count = size // self.dtype.itemsize
            self._fetch(place, out[at : at + count])
            at += count
        if waiting:
            np.concatenate(self.waiting[row], out=out[at:])
        return out

    def size(self, row: int) -> int:
        """How many numbers a row has."""
        return (sum(size for _, size in self.places[row]) + self.bytes[row]) // self.dtype.itemsize

    def blocks(self, row: int) -> Iterator[np.ndarray]:
        """A row in blocks, as they were written."""
        for place, size in self.places[row]:
            block = np.empty(size // self.dtype.itemsize, self.dtype)
            self._fetch(place, block)
            yield block
        yield from self.waiting[row]

    def some(self, row: int, count: int) -> np.ndarray:
        """About so many of a row, from all over it."""
        stride = max(1, self.size(row) // max(count, 1))
        parts = [block[stride // 2 :: stride] for block in self.blocks(row)]
        return np.concatenate([np.empty(0, self.dtype), *parts])

    def next(self, row: int, count: int) -> np.ndarray:
        """The next so many of a row, of which there are as many."""
        rest = self.rest.pop(row, np.empty(0, self.dtype))
        parts, held = [rest], len(rest)
        while held < count:
            block = self._block(row)
            parts.append(block)
            held += len(block)
        together = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if held > count:
            self.rest[row] = together[count:]
        return together[:count]

    def _block(self, row: int) -> np.ndarray:
        """The next of a row that nobody has read, at most a block of it."""
        block, done = self.read[row]
        if block == len(self.places[row]):
            return np.concatenate(self.waiting[row])
        place, size = self.places[row][block]
        out = np.empty(min(size - done, self.block) // self.dtype.itemsize, self.dtype)
        self._fetch(place + done, out)
        done += out.nbytes
        self.read[row] = (block, done) if done < size else (block + 1, 0)
        return out

    def _fetch(self, place: int, out: np.ndarray) -> None:
        """Numbers from a place in the file."""
        _fetch(self.file, self.name, place, out)

    def close(self) -> None:
        """Let go of all of it."""
        self.file.close()

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


class Column:
    """Numbers of one dtype in a temporary file, which goes with the process: threads put and take them side by side."""

    def __init__(self, dtype: Any, folder: str | None):
        self.dtype = np.dtype(dtype)
        self.name = f"a temporary file in {temporary_place(folder)}"
        with writing(self.name):
            self.file = tempfile.TemporaryFile(dir=folder, prefix="lapsum-")  # noqa: SIM115  ends with this object

    def put(self, first: int, values: np.ndarray) -> None:
        """Numbers, of which the first has this place."""
        view, place = np.ascontiguousarray(values, self.dtype).data.cast("B"), first * self.dtype.itemsize
        with writing(self.name):
            while view:
                put = os.pwrite(self.file.fileno(), view, place)
                view, place = view[put:], place + put

    def take(self, first: int, count: int) -> np.ndarray:
        """So many numbers from a place on."""
        out = np.empty(count, self.dtype)
        _fetch(self.file, self.name, first * self.dtype.itemsize, out)
        return out

    def close(self) -> None:
        """Let go of all of it."""
        self.file.close()

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


def _fetch(file: Any, name: str, place: int, out: np.ndarray) -> None:
    """Numbers from a place in a file."""
    view = out.data.cast("B")
    with writing(name):
        while view:
            got = os.preadv(file.fileno(), [view], place)
            if not got:
                raise IOFailed(f"{name}: is shorter than what was written to it")
            view, place = view[got:], place + got


def refuse_without_space(name: str, wanted: int, folder: str | None) -> None:
    """IOFailed where a ranking needs more bytes in temporary files than the disk has left."""
    place = temporary_place(folder)
    with writing(f"temporary files in {place}"):
        free = shutil.disk_usage(place).free
    if wanted > free:
        raise IOFailed(
            f"{name}: needs {in_mib(wanted)} MiB of temporary files, and {place} has {in_mib(free)} MiB "
            "left; name another folder with ⟨temp_dir⟩"
        )
