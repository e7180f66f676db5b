"""Soft-sorted scores: the differentiable -np.sort(-x)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..core.device import DeviceWithKernels
from . import padding
from .operation import ByMethod, Forward

if TYPE_CHECKING:
    from ..core.rankings import Rankings


@dataclass(frozen=True)
class Sort(ByMethod):
    """Soft-sorted scores, best first: the l-th row of a ranking gets its l-th best score, softened.

    y_l is the t at which the soft count of scores above, sum over j of F((x_j - t) / alpha), is l - 1/2. The upstream
    gradient goes by position too, the gradient written by item.
    """

    name: ClassVar[str] = "sort"
    about: ClassVar[str] = "Soft-sorted scores, best first."
    result: ClassVar[str] = "soft_sort"
    takes: ClassVar[tuple[str, ...]] = ("upstream",)
    in_scores: ClassVar[tuple[str, ...]] = ("soft_sort",)
    of_constant: ClassVar[float | None] = 1e-300  # at which a constant ranking sorts to itself, and a shift shifts it

    def forward(self, rankings: Rankings, on: DeviceWithKernels, results: bool = True, keep: bool = False) -> Forward:
        made = super().forward(rankings, on, results, keep)
        if made.values is not None:
            padding.put_back(made.values, rankings, on)
        return made
