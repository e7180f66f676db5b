"""A ranking in memory as pieces of it, with what operations.giant asks of them: to have its kernels ready, and to
compare what comes of pieces with what comes of all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..core.rankings import Rankings
from ..core.stored import added, put_away, put_down
from . import giant
from .operation import Operation
from .slots import Result


class Stored:
    """Rows of numbers, as kernels.cpu.bands.Store has them."""

    def __init__(self, rows: int, dtype: Any):
        self.dtype = np.dtype(dtype)
        self.ties = np.zeros(rows, np.int64)
        self.rows: list[list[np.ndarray]] = [[] for _ in range(rows)]
        self.given = [0] * rows

    def put(self, row: int, values: np.ndarray) -> None:
        """Some more of a row."""
        self.rows[row].append(values.copy())

    def take(self, row: int) -> np.ndarray:
        """All of a row."""
        return np.concatenate([np.empty(0, self.dtype), *self.rows[row]])

    def some(self, row: int, count: int) -> np.ndarray:
        """About so many of a row, from all over it."""
        whole = self.take(row)
        return whole[:: max(1, len(whole) // count)]

    def next(self, row: int, count: int) -> np.ndarray:
        """The next so many of a row."""
        start = self.given[row]
        self.given[row] += count
        return self.take(row)[start : start + count]

    def close(self) -> None:
        """Nothing."""


class Column:
    """A number for every score, as giant.Column has it."""

    def __init__(self, length: int, dtype: Any):
        self.values = np.empty(length, dtype)

    def put(self, first: int, values: np.ndarray) -> None:
        """As there."""
        self.values[first : first + len(values)] = values

    def take(self, first: int, count: int) -> np.ndarray:
        """As there."""
        return self.values[first : first + count].copy()

    def close(self) -> None:
        """Nothing."""


class OfArray:
    """The pieces of one ranking, of `size` scores each; held: for how many numbers there is room."""

    threads = 1

    def __init__(self, rankings: Rankings, size: int, held: int):
        self.rankings, self.size, self.held = rankings, size, held

    def pieces(self) -> Iterator[tuple[int, Rankings]]:
        """Each with the place of its first score."""
        whole = self.rankings
        for first in range(0, len(whole.values), self.size):
            here = slice(first, first + self.size)
            beside = {name: values[here] for name, values in whole.beside.items()}
            values = whole.values[here]
            yield first, Rankings(values, np.array([0, len(values)]), beside, whole.each)

    def of_parts(self, function: Callable[[int, Rankings], Any]) -> Iterator[Any]:
        """As giant_ranking.Pieces has it."""
        return (function(*piece) for piece in self.pieces())

    def parted(self, function: Callable[[int, Rankings], Any], stores: Sequence[Any]) -> tuple[Any, ...]:
        """As giant_ranking.Pieces has it."""
        return added(put_away(apart, stores) for apart in self.of_parts(function))

    def filled(self, column: Any, look: Callable[[int, Rankings], Any], give: Callable[[Any], Any]) -> None:
        """As giant_ranking.Pieces has it."""
        for first, rankings in self.pieces():
            column.put(first, give(look(first, rankings)))

    def over(self, function: Callable[[Any], Any], items: Iterable) -> Iterator[Any]:
        """As giant_ranking.Pieces has it."""
        return map(function, items)

    def kept(self, function: Callable[[int], Any], rows: Sequence[int], stores: Sequence[Any]) -> Iterator[Any]:
        """As giant_ranking.Pieces has it."""
        return put_down(self.over(function, rows), rows, stores)

    def store(self, rows: int, dtype: Any, like: Any = None) -> Stored:
        """As giant_ranking.Pieces has it."""
        return Stored(rows, dtype)

    def column(self, dtype: Any) -> Column:
        """As giant_ranking.Pieces has it."""
        return Column(len(self.rankings.values), dtype)

    def room(self, bytes_each: int, share: float) -> int:
        """As giant_ranking.Pieces has it: the same for all."""
        return self.held

    def room_of_a_band(self, bytes_each: int, length: int, stores: int) -> int:
        """As giant_ranking.Pieces has it: the same for all."""
        return self.held

    def will_spill(self, wanted: int) -> None:
        """As giant_ranking.Pieces has it: nothing does."""


def compute(operation: Operation, pieces: OfArray, on: Any) -> Result:
    """What an operation gives for a ranking, piece by piece: as Operation.compute gives it for the whole."""
    ranking = giant.begin(operation, pieces, on)
    last = operation.passes(ranking)
    found = [
        giant.give(operation, ranking, first, giant.look(operation, first, rankings, last), last)
        for first, rankings in pieces.pieces()
    ]
    values = {
        slot: np.concatenate([one.values[slot] for one in found]) if slot.per != "ranking" else found[0].values[slot]
        for slot in found[0].values
    }
    return Result(values, found[0].losses)
