"""The one protocol: what an operation needs and gives, `forward` and `backward` with a state between them.

An operation is a frozen value: options alone. It reads Rankings, whose `each` holds alpha and k of every ranking once
`ready` has put them there, and whose `beside` holds what goes with every score. What it gives are slots; tables name
them. Nothing here needs Numba until it computes, so that `lapsum --help` is instant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ..core.device import DeviceWithKernels
from ..core.errors import DeviceError, NotDifferentiable
from ..core.quantities import Alpha, K, Q
from . import METHODS, padding, units
from .choices import Choices, chosen
from .method import Along, Method, Way
from .slots import GRADIENT, POSITION, RANKING, Derivatives, Forward, Result, Slot
from .softness import DEFAULT_ALPHA, alphas_of, unit_bytes

if TYPE_CHECKING:  # NumPy
    from ..core.rankings import Array, Rankings
    from .giant_ranking import LastPass
    from .giant_ranking import Ranking as Giant

EACH = object()  # in place of an alpha or k that every ranking has its own of


def option(default: Any, help: str, flag: str | None = None, metavar: str | None = None) -> Any:
    """A field of an operation that a user can set: from Python by its name, on the command line by its flag."""
    return field(default=default, metadata={"help": help, "flag": flag, "metavar": metavar})


@dataclass(frozen=True)
class Operation:
    """Options that all operations have, and the passes.

    gradient: also give the gradient with respect to the scores, for the upstream one beside them; grad_alpha: that for
    alpha.
    """

    alpha: Alpha = DEFAULT_ALPHA
    descending: bool = True
    gradient: bool = False
    grad_alpha: bool = False

    name: ClassVar[str] = ""
    direction: ClassVar[str] = "descending"  # what users call the option whose True is best first
    about: ClassVar[str] = ""  # a line, for a list of operations
    result: ClassVar[str] = ""  # the slot of the result
    takes: ClassVar[tuple[str, ...]] = ()  # what it needs besides scores: of "k", "q", "upstream", "target", "item"
    at: ClassVar[type[K | Q]] = K  # the number that each ranking may have, beside alpha
    in_pieces: ClassVar[bool] = True  # some rankings can be computed apart from the others
    of_constant: ClassVar[float | None] = None  # alpha of a constant ranking; None where its gradient is 0 instead
    in_scores: ClassVar[tuple[str, ...]] = ()  # slots in the unit of the scores
    called: ClassVar[tuple[str, ...]] = ()  # what each of its losses is called, where it has some
    compared: ClassVar[str] = "ranks"  # what tells how soft a result is (how_soft.MEASURES)
    any_unit = True  # scores and alpha may be at the ends of the floats

    def __getstate__(self) -> dict[str, Any]:
        """The options that were given: what is found from them, another process finds by itself."""
        given = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in given.items() if value is not default}

    @cached_property
    def gives(self) -> tuple[Slot, ...]:
        """The slots of the result, in order."""
        gradients = [Slot(GRADIENT)] if self.gradient else []
        numbers = [Slot(f"{GRADIENT}_alpha", RANKING)] if self.grad_alpha else []
        return (Slot(self.result), *gradients, *numbers)

    @cached_property
    def _numbers(self) -> set[str]:
        """The names of the slots that have a number for each ranking."""
        return {slot.name for slot in self.gives if slot.per == RANKING}

    def dtype(self, scores: str, longest: int = 0) -> str:
        """The dtype of the result for scores of this dtype, in rankings of at most this length."""
        return scores

    def work_bytes(self, itemsize: int) -> int:
        """Bytes per score while a ranking is computed, besides the scores and the results."""
        raise NotImplementedError

    def card_bytes(self, itemsize: int) -> int:
        """Bytes per score on a card, the scores and the results included."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """The operation and whatever changes its numbers, for the record of how a result was made."""
        return {"operation": self.name, "alpha": str(self.alpha), "descending": self.descending}

    @property
    def kernels(self) -> str:
        """A name for the kernels that it runs: what is compiled, or not, together."""
        return self.name + ("-gradient" if self.gradient else "")

    def on_a_tiny_ranking(self) -> Self:
        """The same kernels, with options that a ranking of one score can take."""
        return replace(self, alpha=Alpha(1.0, self.alpha.unit))

    def run_once(self, rankings: Rankings, cpu: DeviceWithKernels) -> None:
        """Run every kernel that it needs on a CPU for such rankings."""
        self.compute(rankings, cpu)

    def ready(self, rankings: Rankings, on: DeviceWithKernels) -> Rankings:
        """The rankings with padding last, in a unit that kernels can compute, and with alpha of each, in that unit, and
        which of them are constant (`each`).

        BadRanking for the first whose alpha or k cannot be used.
        """
        rankings = self.seen(rankings, on)
        alphas, constant = alphas_of(self.alpha, rankings, on, self.of_constant)
        if self.any_unit:
            rankings, alphas = units.moderate(rankings, self.alpha, alphas, constant, on, self.of_constant)
        each = {**rankings.each, "alpha": alphas}
        if constant is not None and self.of_constant is None:
            each["constant"] = constant
        if self.asks_how_many:
            padded = padding.count(rankings, -math.inf if self.descending else math.inf, on)
            each["items"] = rankings.lengths - on.here_array(padded)
        return rankings.with_each(each)

    def seen(self, rankings: Rankings, on: DeviceWithKernels | None = None) -> Rankings:
        """The rankings with the scores that are compared, padding last."""
        return rankings if self.descending else padding.last(rankings, on)

    @property
    def by_number(self) -> bool:
        """Whether results depend on how many rankings came before."""
        return False

    def numbered(self, rankings: Rankings, first: int) -> Rankings:
        """Rankings of a file, of which so many came before, with their numbers where results depend on these."""
        return with_numbers(rankings, first) if self.by_number else rankings

    @property
    def asks_how_many(self) -> bool:
        """Whether k goes by how many items a ranking has without its padding, which takes a pass (each["items"])."""
        return False

    def by_k(self, rankings: Any) -> Iterator[tuple[str, Any]]:
        """For each k that was asked for what slots call it, and the rankings with it."""
        yield "", rankings

    def short(self, rankings: Rankings) -> int:
        """How many rankings are shorter than k, counted for every k."""
        of_each_k = [(of_k.each["k"], of_k.lengths) for _, of_k in self.by_k(rankings) if "k" in of_k.each]
        return sum(int((k > lengths).sum()) for k, lengths in of_each_k)

    @property
    def needs_memory(self) -> str | None:
        """Why a ranking that no memory holds cannot be computed; None where `passes` can."""
        return f"{self.name} needs all of it in memory"

    @property
    def needs_one_process(self) -> str | None:
        """Why the passes of one in many files cannot be tasks, of a file or of some bands each; None where they can."""
        if any(slot.per == POSITION for slot in self.gives):
            return f"the rows of a {self.name} are positions, and no file's"
        return None

    def passes(self, ranking: Giant) -> dict[str, LastPass]:
        """All passes over one that no memory holds but the last: what makes results, for each k that was asked for, by
        its name.
        """
        raise NotImplementedError

    def forward(self, rankings: Rankings, on: DeviceWithKernels, results: bool = True, keep: bool = False) -> Forward:
        """The result, and what a backward pass needs of it.

        rankings  as `ready` and `by_k` give them; an upstream gradient beside them is one that `backward` will be asked
                  for, of which some methods make a part in passing
        results   False where nobody reads the result: its state alone is made
        keep      a backward pass with an upstream gradient that is not known yet may follow
        """
        raise NotImplementedError

    def backward(self, rankings: Rankings, state: Any, upstream: Array, on: DeviceWithKernels) -> Derivatives:
        """The gradients of sum(upstream * result), given the state of a forward pass; upstream None stands for ones."""
        raise NotImplementedError

    def along(
        self, rankings: Rankings, state: Any, upstream: Array | None, towards: Derivatives, on: DeviceWithKernels
    ) -> Along:
        """How result and gradients move with scores in units of alpha, of which along.derivatives makes derivatives."""
        raise NotDifferentiable(f"{self.name} has no second derivatives, nor derivatives forward")

    def compute(self, rankings: Rankings, on: DeviceWithKernels, results: bool = True) -> Result:
        """Every slot that it gives, for rankings with what it needs in `beside` and `each`, on a device."""
        rankings = self.ready(rankings, on)
        made: dict[Slot, Any] = dict.fromkeys(self.gives)  # in this order
        result = Result(made, alphas=None if units.SCORES in rankings.each else rankings.each["alpha"])
        for k, of_k in self.by_k(rankings):
            forward = self.forward(of_k, on, results)
            found = {self.result: on.home(forward.values, rankings), **forward.numbers}
            if self.gradient:
                upstream = of_k.beside["upstream"] if "upstream" in self.takes else None
                scores, alpha, to_k = self.backward(of_k, forward.state, upstream, on)
                found |= {GRADIENT: on.home(scores, rankings), f"{GRADIENT}_alpha": alpha}
                found[f"{GRADIENT}_{self.at.name}"] = to_k
            found |= on.here_numbers({name: found[name] for name in self._numbers})
            made |= {slot: found[slot.name] for slot in made if slot.k == k}
            result.losses = found.get("loss")
        return result


@dataclass(frozen=True)
class ByMethod(Choices, Operation):
    """An operation that one of several methods computes (METHODS): its passes are those of the method's Way.

    force: also where a ranking is so long that a method which takes n^2 steps would refuse it.
    """

    method: str = option(
        "lapsum", "How it is computed; lapsum is exact, and linear after a sort.", "--method", metavar="NAME"
    )
    force: bool = False

    def __post_init__(self) -> None:
        if self.method in METHODS:
            self.choices  # noqa: B018, which refuses what cannot be chosen

    def on_a_tiny_ranking(self) -> Self:
        return replace(super().on_a_tiny_ranking(), noise=None)

    @cached_property
    def choices(self) -> dict[str, Any]:
        """The options that the method has."""
        return chosen(self, self.method)

    @property
    def by_number(self) -> bool:
        """Noise is drawn by it."""
        return "seed" in self.choices

    @property
    def any_unit(self) -> bool:  # type: ignore[override]
        return self.how.any_unit

    @cached_property
    def how(self) -> Method:
        """The method; OptionError where there is none of this name for the operation."""
        from . import method_called

        return method_called(self.method, self.name)

    @property
    def way(self) -> Way:
        """The Way of the method."""
        return self.how.ways[self.name]

    def ready(self, rankings: Rankings, on: DeviceWithKernels) -> Rankings:
        """As of any operation; DeviceError for a device that the method does not know."""
        known = self.how.ways[self.name].devices
        if on.name not in known:
            raise DeviceError(f"method {self.method} computes {self.name} on {' or '.join(known)}, not on {on.name}")
        return super().ready(rankings, on)

    @property
    def needs_memory(self) -> str | None:
        if self.way.in_parts is None:
            return f"{self.name} by {self.method} needs all of it in memory"
        return None

    def passes(self, ranking: Giant) -> dict[str, LastPass]:
        assert self.way.in_parts is not None
        return {name: self.way.in_parts(self, of_k) for name, of_k in self.by_k(ranking)}

    def work_bytes(self, itemsize: int) -> int:
        return max(self.way.work_bytes(itemsize, self.gradient), unit_bytes(self.alpha, itemsize))

    def card_bytes(self, itemsize: int) -> int:
        return max(self.way.card_bytes(itemsize, self.gradient), unit_bytes(self.alpha, itemsize, on_card=True))

    def describe(self) -> dict[str, Any]:
        own = {name: value for name, value in self.choices.items() if name != "noise"}
        return {**super().describe(), **({} if self.method == "lapsum" else {"method": self.method, **own})}

    @cached_property
    def kernels(self) -> str:
        own = "" if self.method == "lapsum" else f"-{self.method}"
        return super().kernels + own

    def forward(self, rankings: Rankings, on: DeviceWithKernels, results: bool = True, keep: bool = False) -> Forward:
        made: Forward = self.way.forward(self, rankings, on, results, keep)
        units.put_back(made, rankings, self.in_scores, self.result, on)
        return made

    def backward(self, rankings: Rankings, state: Any, upstream: Array, on: DeviceWithKernels) -> Derivatives:
        found: Derivatives = self.way.backward(self, rankings, state, upstream, on)
        if self.result not in self.in_scores:
            found = units.gradients_back(found, rankings, on)
        constant = rankings.each.get("constant")
        if constant is not None:  # no direction is better than another, and there is no scale
            on.clear(found.scores, rankings, constant)
            on.clear_numbers(found.alpha, constant)
        return found

    def along(
        self, rankings: Rankings, state: Any, upstream: Array | None, towards: Derivatives, on: DeviceWithKernels
    ) -> Along:
        if self.way.along is None:
            raise NotDifferentiable(f"{self.name} by {self.method} has no second derivatives, nor derivatives forward")
        return self.way.along(self, rankings, state, upstream, towards, on)


def with_numbers(rankings: Rankings, first: int) -> Rankings:
    """With the number of each in its file or call, of which so many came before (each["number"])."""
    import numpy as np

    return rankings.with_each({**rankings.each, "number": np.arange(first, first + len(rankings), dtype=float)})
