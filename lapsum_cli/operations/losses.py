"""Several losses and metrics of the same rankings at once, a column each; and how they are asked for by name.

A metric is hard, has no gradient, and larger is better: ndcg@10, recall@10, mrr, map, kendall, hard-spearman.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ..core.device import DeviceWithKernels
from ..core.errors import OptionError
from ..core.quantities import K
from . import LOSSES, METRICS, entry_of
from .loss import Loss
from .loss_choices import CHOICES
from .operation import Operation
from .slots import RANKING, Result, Slot

if TYPE_CHECKING:
    from ..core.rankings import Rankings
    from .giant_ranking import LastPass
    from .giant_ranking import Ranking as Giant


def asked_for(text: str) -> list[tuple[str, str | None]]:
    """The losses of "ndcg,ndcg@10", by their names in LOSSES and METRICS, with the k that stands in a name.

    OptionError for what is neither, or twice.
    """
    if not isinstance(text, str):
        raise OptionError(f"a loss or a metric is asked for by its name, got {text!r}")
    found: list[tuple[str, str | None]] = []
    for part in map(str.strip, text.split(",")):
        base, at, k = part.partition("@")
        name = f"{base}@k" if at and k != "k" and f"{base}@k" in METRICS else part
        if name.endswith("@k") and not k.strip("k"):
            raise OptionError(f"{name} needs its k, such as {base}@10")
        if name not in LOSSES and name not in METRICS:
            raise OptionError(f"no loss {part!r}; known are {', '.join([*LOSSES, *METRICS])}")
        if (name, k if at else None) in found:
            raise OptionError(f"loss {part} is asked for twice")
        found.append((name, k if at else None))
    return found


def need_of_k(text: str) -> str:
    """Whether k is "needed", "optional" or of no use ("none") to the losses that are asked for."""
    needs = {entry_of(name).k for name, k in asked_for(text) if k is None}
    return next((need for need in ("needed", "optional") if need in needs), "none")


def losses_of(loss: str = "spearman", ks: tuple[K, ...] = (), **given: Any) -> Loss | Losses:
    """The loss that is asked for, or several of them: each with those options that it has a use for."""
    asked = asked_for(loss)
    own = [entry_of(name).options for name, _ in asked]
    moot = {name for name in CHOICES if name in given and not any(name in options for options in own)}
    made = []
    for (name, k), options in zip(asked, own, strict=True):
        left = {key: value for key, value in given.items() if key not in CHOICES or key in options or key in moot}
        of_it = ks if entry_of(name).k != "none" else ()
        made.append(Loss(loss=name, ks=of_it if k is None else (K.parse(k),), **left))
    first = made[0]
    if len(made) == 1 and first.entry.is_soft:
        return first
    return Losses(first.alpha, first.descending, first.gradient, first.grad_alpha, tuple(made))


@dataclass(frozen=True)
class Losses(Operation):
    """Losses and metrics of rankings against the same target; what each gives is called by its name."""

    several: tuple[Loss, ...] = ()

    name: ClassVar[str] = Loss.name
    result: ClassVar[str] = Loss.result
    takes: ClassVar[tuple[str, ...]] = Loss.takes

    @property
    def called(self) -> tuple[str, ...]:  # type: ignore[override]
        """What is said of each: "loss ndcg", or a metric's name."""
        return tuple(f"loss {part.label}" if part.entry.is_soft else part.label for part in self.several)

    @property
    def gives(self) -> tuple[Slot, ...]:
        return tuple(_slot(part, slot) for part in self.several for slot in part.gives)

    def work_bytes(self, itemsize: int) -> int:
        return max(part.work_bytes(itemsize) for part in self.several)

    def card_bytes(self, itemsize: int) -> int:
        return max(part.card_bytes(itemsize) for part in self.several)

    def describe(self) -> dict[str, Any]:
        told = [part.describe() for part in self.several]
        shared = super().describe()
        return {**shared, "losses": [{k: v for k, v in of_it.items() if k not in shared} for of_it in told]}

    @property
    def kernels(self) -> str:
        return "+".join(part.kernels for part in self.several)

    def on_a_tiny_ranking(self) -> Self:
        return replace(super().on_a_tiny_ranking(), several=tuple(part.on_a_tiny_ranking() for part in self.several))

    @property
    def by_number(self) -> bool:
        """Whether one of them draws noise by it."""
        return any(part.by_number for part in self.several)

    def short(self, rankings: Rankings) -> int:
        return max(part.short(_of(part, rankings)) for part in self.several)

    def scaled(self, counts: Sequence[float]) -> Self:
        """With the gradients of means over so many losses, or such sums of weights."""
        several = [part.scaled([count]) for part, count in zip(self.several, counts, strict=True)]
        return replace(self, several=tuple(several))

    def without_gradient(self) -> Self:
        """The losses alone."""
        several = tuple(part.without_gradient() for part in self.several)
        return replace(self, several=several, gradient=False, grad_alpha=False)

    def forced(self) -> Self:
        """Also of rankings that are long for what takes n^2 steps."""
        return replace(self, several=tuple(replace(part, force=True) for part in self.several))

    @property
    def needs_memory(self) -> str | None:
        return next((part.needs_memory for part in self.several if part.needs_memory), None)

    @property
    def needs_one_process(self) -> str | None:
        return next((part.needs_one_process for part in self.several if part.needs_one_process), None)

    def passes(self, ranking: Giant) -> dict[str, LastPass]:
        found = {}
        for part in self.several:
            [found[_slot(part, part.gives[0]).k]] = part.passes(_of(part, ranking)).values()
        return found

    def compute(self, rankings: Rankings, on: DeviceWithKernels, results: bool = True) -> Result:
        import numpy as np

        values, losses, alphas = {}, [], None
        for part in self.several:
            found = part.compute(_of(part, rankings), on, results)
            values.update({_slot(part, slot): value for slot, value in found.values.items()})
            losses.append(found.losses)
            alphas = found.alphas if part.entry.is_soft and alphas is None else alphas
        return Result(values, np.stack(losses, axis=1), alphas)


def _of(part: Loss, rankings: Any) -> Any:
    """The rankings as one of several losses is to see them: a k that stands in its name is its own."""
    own = entry_of(part.loss).k == "none" or part.loss.endswith("@k")
    return rankings.with_each({k: v for k, v in rankings.each.items() if k != "k"}) if own else rankings


def _slot(part: Loss, slot: Slot) -> Slot:
    """What it is called among those of others."""
    return (
        slot._replace(k="_".join(filter(None, [part.label, slot.k])))
        if part.entry.is_soft
        else Slot(part.label, RANKING)
    )
