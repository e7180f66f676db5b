"""Ways of methods that go through rankings one by one: what all have in common, around the loops of kernels.methods.

A module there has a function for every operation that it computes, and one for its gradient:

    topk(cores, given) -> (memberships (N,), state)
    topk_gradient(cores, given, state, upstream) -> gradients for scores (N,), alpha (m,), k (m,)

and likewise rank (from 1) and sort; `given` as finite.py has it. They see finite scores, of which the largest is best.
A permutation has a state alone, rows that are made of it where they are read, and upstream a matrix for each ranking:

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
from ..operation import Derivatives, Forward
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
        import numpy as np

        from .finite import Finite

        if self.steps is not None and not operation.force:
            _refuse_long(operation, rankings, self.steps)
        asks_log = self.operation == "topk" and operation.log
        if asks_log and not self.has_members:
            raise OptionError(f"{operation.method} gives no memberships, of which there would be logarithms")
        _refuse_ends(operation, rankings)
        finite = Finite.of(rankings, operation.descending, operation.choices, asks_log and self.has_logs, self.whole_k)
        made = getattr(self._kernels, self.operation)(on.place, finite.given)
        if self.operation == "permute":
            rows = Matrices(finite, self._kernels, made, operation.dtype(rankings.dtype))
            return Forward(None, State(finite, made), {operation.result: rows})
        values, kept = made
        if asks_log and not self.has_logs:
            kept = Members(kept, values)
            with np.errstate(divide="ignore"):
                values = np.log(values)
        values = _PUT_BACK[self.operation](operation, finite, values, self.has_members)
        dtype = operation.dtype(rankings.dtype, rankings.longest)
        return Forward(values.astype(dtype, copy=False), State(finite, kept), self._thresholds(operation, finite, kept))

    def backward(
        self, operation: Any, rankings: Rankings, state: State, upstream: Array, on: DeviceWithKernels
    ) -> Derivatives:
        """As a Way has it."""
        import numpy as np

        finite, upstream = state.finite, np.asarray(upstream, np.float64)
        if self.operation == "permute":
            upstream = finite.inner_squares(upstream)
        elif self.operation == "sort":
            upstream = finite.sign * finite.taken_by_place(upstream)
        elif finite.taken is not None:
            upstream = upstream[finite.taken]
        kept = state.kept
        if isinstance(kept, Members):
            upstream = np.divide(upstream, kept.values, out=np.zeros(len(upstream)), where=kept.values > 0)
            kept = kept.kept
        gradient = getattr(self._kernels, f"{self.operation}_gradient")
        # Read-only arrays are of another type to Numba: a run of a file would compile what a call has compiled.
        upstream = np.require(upstream, requirements=["C", "W"])
        found = Derivatives(*gradient(on.place, finite.given, kept, upstream))
        if finite.given.ks is not None and self.has_members:
            moot = (finite.given.ks <= 0) | (finite.given.ks >= finite.given.lengths)
            found.scores[np.repeat(moot, finite.given.lengths)] = 0
            found.alpha[moot], found.k[moot] = 0, 0
        return finite.gradients(found, rankings.dtype)

    def _thresholds(self, operation: Any, finite: Any, kept: Any) -> dict[str, Any]:
        """The threshold of each ranking, where one is asked for; OptionError for a method without."""
        if self.operation != "topk" or not operation.threshold:
            return {}
        if not hasattr(self._kernels, "thresholds"):
            raise OptionError(f"{operation.method} has no ⟨threshold⟩")
        kept = kept.kept if isinstance(kept, Members) else kept
        return {"threshold": finite.sign * self._kernels.thresholds(finite.given, kept)}

    @property
    def _kernels(self) -> Any:
        found = import_module(f"lapsum_cli.kernels.methods.{self.module}")
        return getattr(found, self.passes) if self.passes else found

    def way(self, work_bytes: int = 64) -> Way:
        """With so many bytes per score while a ranking is computed."""
        return Way(self.forward, self.backward, lambda itemsize, gradient: work_bytes, steps=self.steps)


def _topk_of_all(operation: Any, finite: Any, values: Array, has_members: bool) -> Array:
    """Memberships: of infinite scores, and of all scores of a ranking where k takes none or all of them."""
    import numpy as np

    given = finite.given
    if given.ks is None or not has_members:
        return finite.spread(values, np.full(1, _ALL[operation.log]), np.full(1, _NONE[operation.log]))
    lengths = given.lengths
    for moot, share in ((given.ks <= 0, _NONE[operation.log]), (given.ks >= lengths, _ALL[operation.log])):
        if moot.any():
            values[np.repeat(moot, lengths)] = share
    if finite.taken is None:
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        at_top = np.clip(finite.asked / finite.best, 0, 1)
        at_top = np.log(at_top) if operation.log else at_top
    return finite.spread(values, at_top, np.full(1, _NONE[operation.log]))


_NONE, _ALL = {False: 0.0, True: float("-inf")}, {False: 1.0, True: 0.0}  # by whether logarithms are asked for


def _ranks_of_all(operation: Any, finite: Any, values: Array, has_members: bool) -> Array:
    """Ranks from the base: infinite scores at an end share the mean of its places."""
    values = values + (operation.base - 1)
    if finite.taken is None:
        return values
    import numpy as np

    lengths = np.diff(finite.whole)
    values = values + np.repeat(finite.best, finite.given.lengths)
    end = finite.best + finite.given.lengths
    return finite.spread(values, operation.base + (finite.best - 1) / 2, operation.base + (end + lengths - 1) / 2)


def _sorted_of_all(operation: Any, finite: Any, values: Array, has_members: bool) -> Array:
    return finite.sign * finite.spread_by_place(values)


_PUT_BACK = {"topk": _topk_of_all, "rank": _ranks_of_all, "sort": _sorted_of_all}


def _refuse_ends(operation: Any, rankings: Rankings) -> None:
    """BadRanking for the first with a score or an alpha whose square no float holds."""
    import numpy as np

    from .finite import MOST

    if rankings.dtype == "float64":
        x = rankings.values
        wrong = (np.abs(x) > MOST) & (np.abs(x) < np.inf)
        if wrong.any():
            at = int(wrong.argmax())
            r = int(np.searchsorted(rankings.offsets, at, "right")) - 1
            raise BadRanking(r, f"a score of {x[at]:.3g} is too large for {operation.method}; divide scores and alpha")
    alphas = rankings.each["alpha"]
    of_constant = np.asarray(rankings.each.get("constant", alphas == operation.of_constant), bool)
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
