"""A ranking that no memory holds: its pieces, what is known once all was seen, and the pass that gives its results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..core.rankings import Rankings, one_for_all


class Column(Protocol):
    """A number for every score, on a disk, which threads put and take side by side: from a place on, such as that of a
    piece as Pieces.of_parts has it.
    """

    def put(self, first: int, values: np.ndarray) -> None:
        """Some more."""

    def take(self, first: int, count: int) -> np.ndarray:
        """So many."""

    def close(self) -> None:
        """Let go of them."""


class Pieces(Protocol):
    """A ranking of which pieces are at hand, one after another, and what there is to work on it with (flow.giant)."""

    threads: int

    def of_parts(self, function: Callable[[int, Rankings], Any]) -> Iterator[Any]:
        """What function(first, rankings) returns for every piece, side by side, in their order; first: about how many
        scores came before.
        """

    def parted(self, function: Callable[[int, Rankings], Any], stores: Sequence[Any]) -> tuple[Any, ...]:
        """The same of a function that returns a kernels.cpu.bands.Apart for these stores: the sums of what it tells."""

    def filled(self, column: Column, look: Callable[[int, Rankings], Any], give: Callable[[Any], Any]) -> None:
        """A column, of what give(look(first, rankings)) returns for every piece: `look` side by side, `give` in their
        order.
        """

    def over(self, function: Callable[[Any], Any], items: Iterable) -> Iterator[Any]:
        """What a function returns for other items, side by side, in their order."""

    def kept(self, function: Callable[[int], Any], rows: Sequence[int], stores: Sequence[Any]) -> Iterator[Any]:
        """The same of a function of a row of these stores: what it tells, besides an array for each of them."""

    def store(self, rows: int, dtype: Any, like: Any = None) -> Any:
        """Rows of numbers on a disk (kernels.cpu.bands.Store); like: that whose numbers these are for."""

    def column(self, dtype: Any) -> Column:
        """A number for every score on a disk."""

    def room(self, bytes_each: int, share: float) -> int:
        """For how many numbers of so many bytes there is room in a share of what it may take."""

    def room_of_a_band(self, bytes_each: int, length: int, stores: int) -> int:
        """For how many scores of so many bytes there is room in a band, of which each has rows in so many stores."""

    def will_spill(self, wanted: int) -> None:
        """Say that so many bytes will be on the disk, or refuse where it has no room for them."""


class LastPass(NamedTuple):
    """What makes the results of a piece.

    look(first, rankings)        whatever takes long, side by side; called for every piece; first: as Pieces.of_parts
                                 has it
    give(first, rankings, seen)  values by the name of their slot, in order; first: how many scores came before; seen:
                                 what `look` has
    numbers                      of the ranking, by the name of their slot
    """

    look: Callable[[int, Rankings], Any]
    give: Callable[[int, Rankings, Any], dict[str, Any]]
    numbers: dict[str, float]


@dataclass
class Ranking:
    """What is known of it once all of it was seen.

    seen           what is compared of the rankings of a piece (Operation.seen)
    length, items  scores, and those that are no padding; moved: padding that was -inf in ascending order
    alpha          in the unit of the scores; constant: whether all scores are one
    common         what all upstream gradients have in common, which ranks do not see
    each           k, if there is one
    """

    pieces: Pieces
    seen: Callable[[Rankings], Rankings]
    length: int
    items: int
    moved: int
    alpha: float
    constant: bool
    dtype: np.dtype
    least: float
    most: float
    each: dict[str, np.ndarray]

    def of_parts(self, function: Callable[[int, Rankings], Any]) -> Iterator[Any]:
        """As Pieces has it, of what is compared."""
        return self.pieces.of_parts(self._of_seen(function))

    def parted(self, function: Callable[[int, Rankings], Any], stores: Sequence[Any]) -> tuple[Any, ...]:
        """Likewise."""
        return self.pieces.parted(self._of_seen(function), stores)

    def filled(self, column: Column, look: Callable[[int, Rankings], Any], give: Callable[[Any], Any]) -> Column:
        """Likewise, and the column."""
        self.pieces.filled(column, self._of_seen(look), give)
        return column

    def _of_seen(self, function: Callable[[int, Rankings], Any]) -> Callable[[int, Rankings], Any]:
        seen = self.seen
        return lambda first, rankings: function(first, seen(rankings))

    @property
    def lengths(self) -> np.ndarray:
        """As those of rankings."""
        return np.array([self.length])

    def same(self, value: float) -> np.ndarray:
        """As that of rankings."""
        return one_for_all(value, 1)

    def with_each(self, each: dict[str, np.ndarray]) -> Ranking:
        """As that of rankings."""
        return Ranking(**{**self.__dict__, "each": each})
