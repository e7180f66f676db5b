"""Soft-sorted scores: the differentiable -np.sort(-x)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from ..core.device import DeviceWithKernels
from . import padding
from .operation import ByMethod
from .slots import POSITION, Forward, Slot

if TYPE_CHECKING:
    from ..core.rankings import Rankings


@dataclass(frozen=True)
class Sort(ByMethod):
    """Soft-sorted scores, best first: a row for each position of a ranking, which is no row of the input.

    Rows have the group, the position from 1, and its soft-sorted score; of the input's other columns those of --keep.
    A ranking in one row, such as a list, is sorted in its row.

    y_l is the t at which the soft count of scores above, sum over j of F((x_j - t) / alpha), is l - 1/2. The
    l-th row of --upstream in a ranking is of position l; with it a table with a row for each item keeps its rows, in
    their order, and has the gradient (grad) of each item's score in place of the sorted scores.
    """

    name: ClassVar[str] = "sort"
    about: ClassVar[str] = "Soft-sorted scores, best first."
    result: ClassVar[str] = "soft_sort"
    takes: ClassVar[tuple[str, ...]] = ("upstream", "keep")
    in_scores: ClassVar[tuple[str, ...]] = ("soft_sort",)
    of_constant: ClassVar[float | None] = 1e-300  # at which a constant ranking sorts to itself, and a shift shifts it

    @cached_property
    def gives(self) -> tuple[Slot, ...]:
        """As of any operation, but that the result goes by position."""
        result, *gradients = super().gives
        return (result._replace(per=POSITION), *gradients)

    def forward(self, rankings: Rankings, on: DeviceWithKernels, results: bool = True, keep: bool = False) -> Forward:
        made = super().forward(rankings, on, results, keep)
        if made.values is not None:
            padding.put_back(made.values, rankings, on)
        return made
