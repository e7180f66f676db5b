"""Soft quantiles of every ranking: the differentiable np.quantile; the median, the maximum and the minimum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ..core.device import DeviceWithKernels
from ..core.errors import OptionError
from ..core.quantities import K, Q
from . import units
from .method import Along
from .operation import ByMethod, option
from .slots import GRADIENT, RANKING, Derivatives, Forward, Slot
from .softness import items_of, refuse

if TYPE_CHECKING:
    from ..core.rankings import Array, Rankings


@dataclass(frozen=True)
class Quantile(ByMethod):
    """Soft quantiles: a row for each ranking, in the input's order, and a column for each q.

    With --gradient every row and column of the input, in its order, with its ranking's quantiles beside it, and the
    gradient of each with respect to the score.

    The t at which the soft count of scores above, sum over j of F((x_j - t) / alpha), is 1/2 + (1 - q)(n - 1): at
    q = (n - l) / (n - 1) the l-th of the soft-sorted scores. q = 1 is alpha log sum e^(x / alpha), the soft maximum. As
    alpha tends to 0 it is the score at numpy.quantile's position, or the nearest to it, and midway the mean of two.

    Scores of -inf take no part, with --ascending nor do those of +inf. A ranking without others has a null quantile.
    """

    qs: tuple[Q, ...] = ()
    gradient: bool = option(False, "Also write the gradient of each quantile for every score (grad).", "--gradient")
    grad_alpha: bool = option(False, "With --gradient, also that with respect to each ranking's alpha.", "--grad-alpha")
    grad_q: bool = option(False, "With --gradient, also that with respect to q.", "--grad-q")

    name: ClassVar[str] = "quantile"
    about: ClassVar[str] = "Soft quantiles: the median, the maximum, or any other."
    result: ClassVar[str] = "soft_quantile"
    takes: ClassVar[tuple[str, ...]] = ("q",)
    at: ClassVar[type[K | Q]] = Q
    in_scores: ClassVar[tuple[str, ...]] = ("soft_quantile",)
    of_constant: ClassVar[float | None] = 1e-300  # at which a constant ranking's is its score, and a shift shifts it

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(map(str, self.qs))) < len(self.qs):
            raise OptionError(f"q is given twice in {','.join(map(str, self.qs))}")

    @cached_property
    def gives(self) -> tuple[Slot, ...]:
        qs = [str(q) for q in self.qs] if len(self.qs) > 1 else [""]
        wanted = {f"{GRADIENT}_alpha": self.grad_alpha, f"{GRADIENT}_q": self.grad_q}
        numbers = [self.result], [name for name, is_wanted in wanted.items() if is_wanted]
        first, more = ([Slot(name, RANKING, q) for name in names for q in qs] for names in numbers)
        return (*first, *(Slot(GRADIENT, k=q) for q in qs if self.gradient), *more)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "q": [str(q) for q in self.qs], **({"gradient": True} if self.gradient else {})}

    def on_a_tiny_ranking(self) -> Self:
        return replace(super().on_a_tiny_ranking(), qs=(Q(0.5),))

    @property
    def asks_how_many(self) -> bool:
        return True

    def by_k(self, rankings: Any) -> Iterator[tuple[str, Any]]:
        """For each q what slots call it, and the rankings with the k of its soft top-k, whose threshold it is; 0 where
        nothing takes part. BadRanking for the first q that is none.
        """
        import numpy as np

        if "q" in rankings.each:
            wanted = [("", rankings.each["q"])]
            refuse(
                ~((rankings.each["q"] >= 0) & (rankings.each["q"] <= 1)),
                "q must be from 0 to 1, got {:g}",
                wanted[0][1],
            )
        else:
            wanted = [(str(q) if len(self.qs) > 1 else "", q.value) for q in self.qs]
        n = items_of(rankings)
        for name, q in wanted:
            # Of a q as it is typed q (n - 1) has no rounding where that is a whole number, or half of one.
            above = (n - 1) - q * (n - 1) if self.descending else q * (n - 1)
            yield name, rankings.with_each({**rankings.each, "k": np.where(n > 0, 0.5 + above, 0.0)})

    def forward(self, rankings: Rankings, on: DeviceWithKernels, results: bool = True, keep: bool = False) -> Forward:
        """The quantiles (m,) as the number "soft_quantile", NaN where nothing takes part."""
        import numpy as np

        made = super().forward(rankings, on, results, keep)
        found = made.numbers[self.result]
        return replace(made, numbers={self.result: np.where(items_of(rankings) > 0, found, np.nan)})

    def backward(self, rankings: Rankings, state: Any, upstream: Array, on: DeviceWithKernels) -> Derivatives:
        """upstream (m,), or None for ones; of k it makes the gradient for q."""
        import numpy as np

        found = super().backward(rankings, state, upstream, on)
        to_q = self.to_q(found.k, items_of(rankings))
        if units.SCORES in rankings.each:
            with np.errstate(over="ignore"):
                to_q = np.ldexp(to_q, -rankings.each[units.ALPHA])
        return found._replace(k=to_q)

    def along(
        self, rankings: Rankings, state: Any, upstream: Array | None, towards: Derivatives, on: DeviceWithKernels
    ) -> Along:
        """upstream (m,); towards.k is a direction of q, and so is k of what is found."""
        items = items_of(rankings)
        found = super().along(rankings, state, upstream, towards._replace(k=self.to_q(towards.k, items)), on)
        return found if found.k is None else found._replace(k=self.to_q(found.k, items))

    def to_q(self, to_k: Any, items: Any) -> Any:
        """(m,) gradients for q, of those for k in rankings of so many items."""
        import numpy as np

        of_q = (items - 1) * (-1.0 if self.descending else 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.where((of_q != 0) & (to_k != 0), to_k * of_q, 0.0)
