"""Ways of methods that go through rankings one by one: what all have in common, around the loops of kernels.methods.

A module there has a function for every operation that it computes, and one for its gradient:

    topk(place, given) -> (memberships (N,), state)
    topk_gradient(place, given, state, upstream) -> gradients for scores (N,), alpha (m,), k (m,)

and likewise rank (from 1) and sort; place is where a device's kernels run, `given` what its `finite` has. They see
finite scores, of which the largest is best. Those whose loops are written for teams (kernels/scalars/team.py) leave
arrays and loops to `given`, and so run on a card too; the others know cores and NumPy. A permutation has a state alone,
rows that are made of it where they are read, and upstream a matrix for each ranking:

    permute(cores, given) -> state
    permute_rows(given, state, r, items) -> (len(items), n) how likely these items of a ranking are at every position
    permute_gradient(cores, given, state, upstream) -> gradients for scores (N,) and alpha (m,)
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from ...core.device import DeviceWithKernels
from ...core.errors import BadRanking, OptionError
from ...core.rankings import Array, Rankings
from ..method import Way
from ..slots import Derivatives, Forward
from ..softness import refuse
from .matrices import Matrices

LONGEST = 20_000  # scores of a ranking, beyond whose square steps must be asked for


def quadratic(choices: dict[str, Any], lengths: Any, ks: Any) -> Any:
    """(m,) steps of rankings of which every score meets every other."""
    return lengths * lengths


class State(NamedTuple):
    """What a forward pass leaves: the finite scores, and what its loop keeps."""

    finite: Any
    kept: Any


class Members(NamedTuple):
    """The same where logarithms of memberships were taken."""

    kept: Any
    values: Array


class Rows(NamedTuple):
    """The passes of one operation by a module of kernels.methods.

    passes       the object of the module that has them, of several; by default the module itself
    whole_k      whether k is a whole number, and a part of a place counts as one
    steps        as a Way has it
    has_members  whether results are memberships, all of them 1 where k takes all scores
    has_logs     whether its loops make logarithms of memberships; else they are taken of these
    """

    operation: str
    module: str
    whole_k: bool = False
    steps: Callable[..., Any] | None = None
    has_members: bool = True
    has_logs: bool = False
    passes: str = ""

    def forward(
        self, operation: Any, rankings: Rankings, on: DeviceWithKernels, results: bool = True, keep: bool = False
    ) -> Forward:
        """As a Way has it."""
        if self.steps is not None and not operation.force:
            _refuse_long(operation, rankings, self.steps)
        asks_log = self.operation == "topk" and operation.log
        if asks_log and not self.has_members:
            raise OptionError(f"{operation.method} gives no memberships, of which there would be logarithms")
        _refuse_ends(operation, rankings, on)
        how = (operation.descending, operation.choices, asks_log and self.has_logs, self.whole_k)
        finite = on.kernels.finite.Finite.of(on.place, rankings, *how)
        made = getattr(self._kernels, self.operation)(on.place, finite.given)
        if self.operation == "permute":
            rows = Matrices(finite, self._kernels, made, operation.dtype(rankings.dtype))
            return Forward(None, State(finite, made), {operation.result: rows})
        values, kept = made
        if asks_log and not self.has_logs:
            kept, values = Members(kept, values), finite.logs(on.place, values)
        dtype = operation.dtype(rankings.dtype, rankings.longest)
        values = _PUT_BACK[self.operation](self, on, finite, values, operation, dtype)
        return Forward(values, State(finite, kept), self._thresholds(operation, on, finite, kept))

    def backward(
        self, operation: Any, rankings: Rankings, state: State, upstream: Array, on: DeviceWithKernels
    ) -> Derivatives:
        """As a Way has it."""
        finite, kept = state
        upstream = _UPSTREAM[self.operation](on, finite, upstream, operation)
        if isinstance(kept, Members):
            upstream, kept = finite.upstream_of_logs(on.place, upstream, kept.values), kept.kept
        gradient = getattr(self._kernels, f"{self.operation}_gradient")
        found = Derivatives(*gradient(on.place, finite.given, kept, upstream))
        return finite.gradients(on.place, found, rankings.dtype, self.has_members)

    def _thresholds(self, operation: Any, on: DeviceWithKernels, finite: Any, kept: Any) -> dict[str, Any]:
        """The threshold of each ranking, where one is asked for; OptionError for a method without."""
        if self.operation != "topk" or not operation.threshold:
            return {}
        if not hasattr(self._kernels, "thresholds"):
            raise OptionError(f"{operation.method} has no ⟨threshold⟩")
        kept = kept.kept if isinstance(kept, Members) else kept
        return {"threshold": finite.number(on.place, self._kernels.thresholds(finite.given, kept))}

    @property
    def _kernels(self) -> Any:
        found = import_module(f"lapsum_cli.kernels.methods.{self.module}")
        return getattr(found, self.passes) if self.passes else found

    def way(self, work_bytes: int = 64, card_bytes: tuple[int, int] | None = None) -> Way:
        """With so many bytes per score while a ranking is computed; card_bytes: on a card those of a pass, and those
        of a gradient too, beside the scores and results, where its loops are written for teams.
        """

        def of_card(itemsize: int, gradient: bool) -> int:
            return (card_bytes[gradient] if card_bytes else 0) + (4 if gradient else 2) * itemsize

        devices = ("cpu", "cuda") if card_bytes else ("cpu",)
        return Way(self.forward, self.backward, lambda itemsize, gradient: work_bytes, of_card, self.steps, devices)


# What is made of the results for all scores, infinite ones too, and of what is upstream of them for the finite ones.
_PUT_BACK: dict[str, Callable[..., Array]] = {
    "topk": lambda rows, on, finite, values, operation, dtype: finite.members(
        on.place, values, dtype, operation.log, rows.has_members
    ),
    "rank": lambda rows, on, finite, values, operation, dtype: finite.ranks(values, operation.base).astype(
        dtype, copy=False
    ),
    "sort": lambda rows, on, finite, values, operation, dtype: finite.sorted(values).astype(dtype, copy=False),
}
_UPSTREAM: dict[str, Callable[..., Array]] = {
    "topk": lambda on, finite, upstream, operation: finite.upstream(on.place, upstream),
    "rank": lambda on, finite, upstream, operation: finite.upstream(on.place, upstream),
    "sort": lambda on, finite, upstream, operation: finite.upstream_by_place(upstream),
    "permute": lambda on, finite, upstream, operation: finite.upstream_of_squares(
        operation.squares(upstream, finite.whole)
    ),
}


def _refuse_ends(operation: Any, rankings: Rankings, on: DeviceWithKernels) -> None:
    """BadRanking for the first with a score or an alpha whose square no float holds. Of those on a card only where it
    is known that there is one: by then results are NaN, for whoever does not wait.
    """
    import numpy as np

    from ...kernels.scalars.cut import MOST

    if rankings.dtype == "float64" and on.kernels.finite.sees_scores(on.place, rankings.values):
        x = on.here_array(rankings.values)
        wrong = (np.abs(x) > MOST) & (np.abs(x) < np.inf)
        if wrong.any():
            at = int(wrong.argmax())
            r = int(np.searchsorted(rankings.offsets, at, "right")) - 1
            raise BadRanking(r, f"a score of {x[at]:.3g} is too large for {operation.method}; divide scores and alpha")
    alphas = rankings.each["alpha"]
    if not on.kernels.finite.sees_alphas(on.place, alphas):
        return
    alphas = on.here_array(alphas)
    of_constant = on.here_array(rankings.each.get("constant", np.asarray(alphas == operation.of_constant)))
    wrong = ((alphas > MOST) | (alphas < 1 / MOST)) & ~of_constant
    refuse(wrong, f"an alpha of {{:.3g}} is too near an end of the floats for {operation.method}", alphas)


def _refuse_long(operation: Any, rankings: Rankings, steps: Callable[..., Any]) -> None:
    """BadRanking for the first ranking whose steps are so many that they must be asked for."""
    lengths = rankings.lengths.astype(float)
    taken = steps(operation.choices, lengths, rankings.each.get("k"))
    if not (taken > LONGEST**2).any():
        return
    r = int((taken > LONGEST**2).argmax())
    raise BadRanking(
        r,
        f"{operation.method} takes {taken[r]:.3g} steps for its {lengths[r]:.0f} scores; pass ⟨force=True⟩ to take "
        "them, or use a method that is linear after a sort",
    )
