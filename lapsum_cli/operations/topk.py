"""Soft top-k memberships: the differentiable x >= np.sort(x)[-k]; or their logarithms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ..core.errors import OptionError
from ..core.quantities import K
from . import METHODS
from .operation import option
from .placed import Placed
from .slots import GRADIENT, RANKING, Derivatives, Slot
from .softness import items_of, k_of, refuse, refuse_ks

if TYPE_CHECKING:
    from ..core.device import DeviceWithKernels
    from ..core.rankings import Array, Rankings

TIES = ("input", "all")
BY = ("score", "magnitude")
SIGN = "sign"  # of Rankings.beside: of the scores, where magnitudes are compared


@dataclass(frozen=True)
class TopK(Placed):
    """Soft top-k: memberships in [0, 1] that sum to k in every ranking.

    Every row and column of the input stays, in its order, unless --only-top, --min or --order asks for others.

    p_i = F((x_i - b) / alpha), with F the CDF of the Laplace distribution and the threshold b such that they sum to k.
    """

    ks: tuple[K, ...] = ()
    strict: bool = option(False, "Refuse a ranking shorter than k instead of taking all of it.", "--strict-k")
    log: bool = option(False, "Write log memberships, accurate in both tails (log_soft_topk).", "--log")
    minimum: float | None = option(None, "Write only items with a membership of at least P.", "--min", metavar="P")
    only_top: bool = option(False, "Write only the k best items of each ranking, by their scores.", "--only-top")
    ties: str = option(
        "input",
        "With --only-top, of equal scores at the boundary: the first in the input, exactly k in all, or all of them.",
        "--ties",
        metavar="input|all",
    )
    by: str = option("score", "What is compared: the scores, or their magnitudes.", "--by", metavar="score|magnitude")
    residual: str | None = option(
        None,
        "Compress gradients (NPY): send the k largest magnitudes of scores and this file's, as index and value, and "
        "keep the rest in it for the next run.",
        "--residual",
        metavar="FILE.npy",
    )
    threshold: bool = option(False, "Also write each ranking's threshold b.", "--threshold")
    grad_k: bool = option(False, "With a gradient, also that with respect to each ranking's k.", "--grad-k")

    name: ClassVar[str] = "topk"
    direction: ClassVar[str] = "largest"
    about: ClassVar[str] = "Soft top-k: memberships in [0, 1] that sum to k."
    takes: ClassVar[tuple[str, ...]] = ("k", "upstream")
    in_scores: ClassVar[tuple[str, ...]] = ("threshold",)
    compared: ClassVar[str] = "members"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ks and not self.takes_k:
            raise OptionError(f"{self.method} takes no k")
        if len(set(map(str, self.ks))) < len(self.ks):
            raise OptionError(f"k is given twice in {','.join(map(str, self.ks))}")
        if self.only_top and not self.takes_k:
            raise OptionError(f"⟨only_top=True⟩ needs a k, and {self.method} takes none")
        if self.minimum is not None and not 0 <= self.minimum <= 1:
            raise OptionError(f"⟨minimum⟩ must be a membership from 0 to 1, got {self.minimum:g}")
        if self.minimum is not None and len(self.ks) > 1:
            raise OptionError("⟨minimum⟩ needs a single k")
        if self.only_top and len(self.ks) > 1:
            raise OptionError("⟨only_top=True⟩ needs a single k")
        if self.by not in BY:
            raise OptionError(f"⟨by⟩ must be {' or '.join(BY)}, got {self.by!r}")
        if self.ties not in TIES:
            raise OptionError(f"⟨ties⟩ must be {' or '.join(TIES)}, got {self.ties!r}")
        if self.ties != TIES[0] and not self.only_top:
            raise OptionError("⟨ties⟩ goes with ⟨only_top=True⟩")
        if self.minimum is not None and self.log:
            raise OptionError("⟨minimum⟩ is a membership, and ⟨log=True⟩ writes logarithms; choose one of them")

    @property
    def takes_k(self) -> bool:
        """Whether the method goes by a k."""
        return self.method not in METHODS or METHODS[self.method].takes_k

    @property
    def asks_places(self) -> bool:
        return self.only_top or super().asks_places

    @property
    def moves_rows(self) -> bool:
        return self.only_top or self.minimum is not None or super().moves_rows

    @cached_property
    def result(self) -> str:  # type: ignore[override]
        return "log_soft_topk" if self.log else "soft_topk"

    @cached_property
    def gives(self) -> tuple[Slot, ...]:
        gradients = {GRADIENT: self.gradient}
        numbers = {"threshold": self.threshold, f"{GRADIENT}_alpha": self.grad_alpha, f"{GRADIENT}_k": self.grad_k}
        ks = [str(k) for k in self.ks] if len(self.ks) > 1 else [""]
        scores = [Slot(name, k=k) for name in (self.result, *_wanted(gradients)) for k in ks]
        return (*scores, *(Slot(name, RANKING, k) for name in _wanted(numbers) for k in ks))

    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            "k": [str(k) for k in self.ks] or "column",
            **({"log": True} if self.log else {}),
            **({} if self.minimum is None else {"min": self.minimum}),
            **({"only_top": self.ties} if self.only_top else {}),
            **({"by": self.by} if self.by != BY[0] else {}),
        }

    def on_a_tiny_ranking(self) -> Self:
        return replace(
            super().on_a_tiny_ranking(),
            ks=(K(1.0),) if self.takes_k else (),
            strict=False,
            minimum=None,
            only_top=False,
            ties=TIES[0],
        )

    def seen(self, rankings: Rankings, on: DeviceWithKernels | None = None) -> Rankings:
        rankings = super().seen(rankings, on)
        if self.by == BY[0]:
            return rankings
        import numpy as np

        if rankings.is_on_card:
            raise OptionError("⟨by=magnitude⟩ is for scores in memory here, not on a GPU")
        x = rankings.values
        sizes = np.where(x == -np.inf, x, np.abs(x))  # which is padding, and no large magnitude
        return replace(rankings, values=sizes, beside={**rankings.beside, SIGN: np.sign(x)})

    def backward(self, rankings: Rankings, state: Any, upstream: Array, on: DeviceWithKernels) -> Derivatives:
        found = super().backward(rankings, state, upstream, on)
        return found._replace(scores=found.scores * rankings.beside[SIGN]) if SIGN in rankings.beside else found

    @cached_property
    def asks_how_many(self) -> bool:
        return self.strict or any(k.percent for k in self.ks)

    def by_k(self, rankings: Rankings) -> Iterator[tuple[str, Rankings]]:
        """BadRanking for the first ranking whose k cannot be used; one that was parsed can."""
        if not self.takes_k:
            yield "", rankings
            return
        if "k" in rankings.each:
            wanted = [("", rankings.each["k"])]
            refuse_ks(rankings.each["k"])
        else:
            several = len(self.ks) > 1
            wanted = [(str(k) if several else "", k_of(k, rankings)) for k in self.ks]
        for name, k in wanted:
            if self.strict:
                refuse(k > items_of(rankings), "it has fewer scores than k = {:g}", k)
            yield name, rankings.with_each({**rankings.each, "k": k})


def _wanted(slots: dict[str, bool]) -> list[str]:
    return [name for name, is_wanted in slots.items() if is_wanted]
