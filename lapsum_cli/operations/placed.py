"""Operations with a result for every item, and its hard place: the best alone, or best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .operation import ByMethod, option

if TYPE_CHECKING:
    from ..core.rankings import Array, Rankings


@dataclass(frozen=True)
class Placed(ByMethod):
    """What such an operation may be asked for besides; a table does it."""

    hard: bool = option(False, "Also write the hard rank, from 1; ties share the mean of their places.", "--hard")
    order: bool = option(False, "Write each ranking best first, and its rows together.", "--order")

    @property
    def asks_places(self) -> bool:
        """Whether the place of every item is needed."""
        return self.hard or self.order

    @property
    def needs_memory(self) -> str | None:
        if self.asks_places:
            return "⟨hard⟩, ⟨order⟩ and ⟨only_top⟩ need all of it in memory"
        return super().needs_memory

    @property
    def moves_rows(self) -> bool:
        """Whether the rows of the result are not those of the input, one after another."""
        return self.order

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **({"order": True} if self.order else {})}

    def places(self, rankings: Rankings, threads: int) -> Array:
        """(N,) int64: the place of every score in its ranking, from 0, best first; ties in the order of the input."""
        return places(rankings, threads, self.descending)


def places(rankings: Rankings, threads: int, descending: bool = True) -> Array:
    """As of an operation, by kernels of their own."""
    from ..kernels.cpu.order import Order
    from ..kernels.cpu.parallel import Cores

    found: Array = Order(Cores(threads), rankings, descending).positions()
    return found
