"""Numbers that tasks leave to each other in files, where each is a task of an input file, or of some rows of a store.

Rows that are parted by value lie in a file for each input file, row after row. What is made of a row, in the order in
which its numbers came, lies in a file for some rows; so each input file has a stretch of every row, where its own
begin. An index before the numbers says where that is, and how many ties of the files before lie in no row: (files,
rows) int64 of each.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

from ..core.errors import IOFailed
from ..formats.faults import writing
from ..formats.files import Output
from ..formats.places import place_at
from .shelves import LEAST, Column, Shelves

_COPIED = 1 << 17  # numbers that are copied at a time


class Here(NamedTuple):
    """Where a task is: at an input file, before whose rows so many others come; or at these rows of stores. room: bytes
    for what it reads ahead, or what waits until it is written.
    """

    file: int = -1
    before: int = 0
    rows: tuple[int, int] = (0, 0)
    room: int = 0
    temp_dir: str | None = None


_NOWHERE = Here()


@dataclass
class _Laid:
    """What is in files: their path but for a number, how many there are, and where whoever has them is."""

    path: str
    dtype: np.dtype
    count: int
    here: Here = _NOWHERE

    def at(self, here: Here) -> Self:
        """The same for a task."""
        return replace(self, here=here)

    def part(self, number: int) -> str:
        """One of the files."""
        return f"{self.path}-{number:06}"

    def close(self) -> None:
        """They go."""
        for number in range(self.count):
            place_at(self.path).remove(self.part(number))


@dataclass
class ByFile(_Laid):
    """Rows of numbers, of which every input file has some: a kernels.cpu.bands.Store to read."""

    rows: int = 0
    lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("lock", "index")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, lock=threading.Lock())

    def write(self, shelves: Shelves, ties: np.ndarray) -> None:
        """Those of the input file that is here."""
        sizes = np.array([shelves.size(row) for row in range(self.rows)])
        index = np.zeros((2, self.rows + 1), np.int64)
        index[0, 1:] = np.cumsum(sizes)
        index[1, :-1] = ties
        with Output(self.part(self.here.file), True, temp_dir=self.here.temp_dir) as output, writing(output.name):
            output.stream.write(index.data)
            for row in np.flatnonzero(sizes).tolist():
                for block in shelves.blocks(row):
                    output.stream.write(block.data)

    @cached_property
    def index(self) -> tuple[np.ndarray, np.ndarray]:
        """For the rows that are here: where each begins in every file, and the next (files, rows + 1); and how many
        ties are in no row (files, rows).
        """
        first, stop = self.here.rows
        starts = np.empty((self.count, stop - first + 1), np.int64)
        ties = np.empty((self.count, stop - first), np.int64)
        for number in range(self.count):
            with _opened(self.part(number)) as file:
                _read(file, 8 * first, starts[number])
                _read(file, 8 * (self.rows + 1 + first), ties[number])
        return starts, ties

    def take(self, row: int) -> np.ndarray:
        """All of a row, which is here."""
        return np.concatenate([block for _, _, block in self._blocks(row)] or [np.empty(0, self.dtype)])

    def some(self, row: int, count: int) -> np.ndarray:
        """About so many of a row, from all over it."""
        one = self.at(self.here._replace(rows=(row, row + 1)))
        stride = max(1, one.sizes[:, 0].sum() // max(count, 1))
        found = [block[(stride // 2 - at) % stride :: stride] for at, _, block in one._blocks(row, _COPIED)]
        return np.concatenate([np.empty(0, self.dtype), *found])

    @property
    def sizes(self) -> np.ndarray:
        """(files, rows) of the rows that are here."""
        with self.lock:
            return np.diff(self.index[0], axis=1)

    def _blocks(self, row: int, most: int = 1 << 62) -> Iterator[tuple[int, int, np.ndarray]]:
        """A row, at most so many numbers at a time, with how many came before; and of which file."""
        sizes, first = self.sizes, row - self.here.rows[0]
        done = 0
        for number in np.flatnonzero(sizes[:, first]).tolist():
            size, at = int(sizes[number, first]), int(self.index[0][number, first])
            with _opened(self.part(number)) as file:
                for start in range(0, size, most):
                    out = np.empty(min(most, size - start), self.dtype)
                    _read(file, 16 * (self.rows + 1) + (at + start) * self.dtype.itemsize, out)
                    yield done, number, out
                    done += len(out)


@dataclass
class ByRows(_Laid):
    """Rows of numbers that tasks of some rows make, and tasks of input files read: a kernels.cpu.bands.Store.

    like    whose numbers these are for
    bounds  (count + 1,) the rows of each file
    """

    like: ByFile = field(default=None)  # type: ignore[assignment]
    bounds: Sequence[int] = ()
    rest: dict[int, np.ndarray] = field(default_factory=dict)

    def at(self, here: Here) -> Self:
        """As of all; and so is what it is like."""
        return replace(self, here=here, like=self.like.at(here), rest={})

    @contextlib.contextmanager
    def putting(self, number: int) -> Iterator[_Put]:
        """Whoever puts the rows that are here."""
        sizes, (_, ties) = self.like.sizes, self.like.index
        ends = np.cumsum(sizes.T.reshape(-1)).reshape(sizes.T.shape).T
        before = np.cumsum(ties, axis=0) - ties
        index = np.concatenate([ends - sizes, before])
        with Output(self.part(number), True, temp_dir=self.here.temp_dir) as output:
            output.stream.write(np.ascontiguousarray(index).data)
            where = index.nbytes + (ends - sizes)[0] * self.dtype.itemsize
            yield _Put(output, self.here.rows[0], where, self.dtype)

    @cached_property
    def _found(self) -> tuple[np.ndarray, np.ndarray]:
        """Of every row, where in its file the next number of this input file is; and how many ties came before."""
        found = [np.empty((2, 0), np.int64)]
        files = self.like.count
        for number in range(self.count):
            own = np.empty((2, self.bounds[number + 1] - self.bounds[number]), np.int64)
            with _opened(self.part(number)) as file:
                for kind in range(2):
                    _read(file, 8 * (kind * files + self.here.file) * own.shape[1], own[kind])
            own[0] = own[0] * self.dtype.itemsize + 16 * files * own.shape[1]
            found.append(own)
        places, ties = np.concatenate(found, axis=1)
        return places, ties

    @property
    def ties(self) -> np.ndarray:
        """As a Store has it."""
        return self._found[1]

    def next(self, row: int, count: int) -> np.ndarray:
        """The next so many of a row for this input file; what is read ahead may be another's, for whom nobody asks."""
        rest = self.rest.pop(row, np.empty(0, self.dtype))
        if len(rest) < count:
            places, _ = self._found
            ahead = max(LEAST, self.here.room // len(places)) // self.dtype.itemsize
            out = np.empty(max(count - len(rest), ahead), self.dtype)
            number = int(np.searchsorted(self.bounds, row, "right")) - 1
            with _opened(self.part(number)) as file:
                got = _read(file, int(places[row]), out, least=count - len(rest))
            places[row] += got * self.dtype.itemsize
            rest = np.concatenate([rest, out[:got]])
        if len(rest) > count:
            self.rest[row] = rest[count:].copy()
        return rest[:count]


@dataclass
class _Put:
    """Puts whole rows into their places."""

    output: Output
    first: int
    places: np.ndarray
    dtype: np.dtype

    def put(self, row: int, values: np.ndarray) -> None:
        """All of a row."""
        with writing(self.output.name):
            self.output.stream.seek(int(self.places[row - self.first]))
            self.output.stream.write(np.ascontiguousarray(values, self.dtype).data)


@dataclass
class ColumnByFile(_Laid):
    """A number for every score, of each input file in a file: an operations.giant.Column."""

    def write(self, column: Column, count: int) -> None:
        """Those of the input file that is here."""
        with Output(self.part(self.here.file), True, temp_dir=self.here.temp_dir) as output, writing(output.name):
            for start in range(0, count, _COPIED):
                output.stream.write(column.take(start, min(_COPIED, count - start)).data)

    def take(self, first: int, count: int) -> np.ndarray:
        """So many numbers from a place on, of the input file that is here."""
        out = np.empty(count, self.dtype)
        if count:
            with _opened(self.part(self.here.file)) as file:
                _read(file, (first - self.here.before) * self.dtype.itemsize, out)
        return out


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    file = place_at(path).file(path)
    with writing(path), contextlib.closing(file), contextlib.closing(file.raw()) as raw:
        yield raw  # type: ignore[misc]


def _read(file: Any, place: int, out: np.ndarray, least: int | None = None) -> int:
    """Numbers from a place on: all that there is room for, or at least so many; how many there were."""
    file.seek(place)
    view, got = out.data.cast("B"), 0
    while got < len(view):
        more = file.readinto(view[got:])
        if not more:
            break
        got += more
    found = got // out.itemsize
    if found < (len(out) if least is None else least):
        raise IOFailed("a file that tasks leave to each other is shorter than what was written to it")
    return found
