"""The soft permutation: how likely each item is at each position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.device import DeviceWithKernels
from ..core.errors import OptionError
from .operation import ByMethod, option
from .slots import PAIR, Slot

if TYPE_CHECKING:
    from ..core.rankings import Array, Rankings

SHORT = 100  # scores of a ranking whose matrix takes a moment


def check_tolerance(tolerance: float | None) -> None:
    """OptionError for what cannot be left out of a probability."""
    if tolerance is not None and not 0 <= tolerance < 1:
        raise OptionError(f"⟨tolerance⟩ must be 0 or more and below 1, got {tolerance:g}")


def check_places(function: str, k: Any, is_uneven: bool) -> None:
    """OptionError for what is no number of first places, or where rankings are of several lengths."""
    if isinstance(k, bool) or not isinstance(k, int) or k < 0:
        raise OptionError(f"k of {function} must be a whole number of 0 or more, got {k!r}")
    if is_uneven:
        raise OptionError(f"{function} has as many places of every ranking; pad rankings with -inf, (m, n)")


@dataclass(frozen=True)
class Permute(ByMethod):
    """Soft permutation: a row for each item and likely position (from 1, best first), with its probability.

    Rankings and their items keep the input's order, and of its columns the group and the item's name stay.

    P_il = F((x_i - b_l) / alpha) - F((x_i - b_l-1) / alpha), with b_l the threshold of the soft top l. Each item keeps
    its most probable positions until those left out hold at most --tol. How many rows that makes is said before they
    are written; more than 10^9, or than the disk holds, need --force.
    """

    tolerance: float = option(
        1e-3, "Of each item's probability, at most how much may be left out.", "--tol", metavar="MASS"
    )
    dense: bool = option(False, "Write the whole matrix as NPY: a row an item, a column a position.", "--dense")
    places: int | None = None  # how many first columns of matrices are of interest; None for all

    name: ClassVar[str] = "permute"
    about: ClassVar[str] = "Soft permutations: how likely each item is at each place."
    result: ClassVar[str] = "probability"
    takes: ClassVar[tuple[str, ...]] = ("item",)
    in_pieces: ClassVar[bool] = False  # boundaries are of all rankings together

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tolerance(self.tolerance)

    @cached_property
    def gives(self) -> tuple[Slot, ...]:
        """What has the rows of each matrix: dense(r, first, last), and sparse ones (kernels.cpu.permute.Matrices)."""
        return (Slot(self.result, PAIR),)

    def columns(self, length: int) -> int:
        """Of the matrix of a ranking of so many scores."""
        return length if self.places is None else min(self.places, length)

    def flat(self, matrices: Any, rankings: Rankings) -> Array:
        """The columns of interest of the matrices of all rankings, flat, one after the other."""
        import numpy as np

        lengths = rankings.lengths.tolist()
        found = [matrices.dense(r, 0, n, self.places).reshape(-1) for r, n in enumerate(lengths)]
        return np.concatenate([np.empty(0, rankings.dtype), *found])

    def squares(self, upstream: Array, offsets: Array) -> Array:
        """What is upstream of the columns of interest as that of whole matrices, flat: 0 for the others."""
        import numpy as np

        if self.places is None:
            return upstream
        lengths, found, start = np.diff(offsets).tolist(), [np.empty(0)], 0
        for n in lengths:
            columns = self.columns(n)
            whole = np.zeros((n, n))
            whole[:, :columns] = upstream[start : start + n * columns].reshape(n, columns)
            found, start = [*found, whole.reshape(-1)], start + n * columns
        return np.concatenate(found)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **({"dense": True} if self.dense else {"tol": self.tolerance})}

    def run_once(self, rankings: Rankings, cpu: DeviceWithKernels) -> None:
        [rows] = self.compute(rankings, cpu).values.values()
        rows.dense(0, 0, 1)
        rows.sparse(self.tolerance, 0, 1, rows.widths(self.tolerance)[:1])
        if rankings.longest < SHORT:
            self._run_gradient_once(rankings, cpu)

    def _run_gradient_once(self, rankings: Rankings, cpu: DeviceWithKernels) -> None:
        """Of the matrix itself, which functions have, and no command."""
        import numpy as np

        ready = self.ready(rankings, cpu)
        upstream = np.ones(int((ready.lengths**2).sum()), ready.dtype)
        self.backward(ready, self.forward(ready, cpu, keep=True).state, upstream, cpu)
