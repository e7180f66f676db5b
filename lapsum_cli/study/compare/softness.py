"""Alphas at which methods are as soft as each other: the median ranking has the same number of undecided items.

An item of membership p counts 4 p (1 - p) as undecided: 1 at a half, 0 where it is in or out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...api import functions
from ...core.rankings import Array, Rankings, sums_of
from ...operations import METHODS, method_called
from ...operations.topk import TopK

LOOKED_AT = 64  # rankings, of which the median is taken
LOWEST, HIGHEST = 1e-5, 1e5  # standard deviations, between which an alpha is looked for
DRAWS = 64  # of noise


@dataclass(frozen=True)
class Choice:
    """A method, and how soft it is: alpha in standard deviations of each ranking, None for what has none.

    undecided  items of the median ranking at that alpha
    """

    method: str
    alpha: float | None
    undecided: float
    options: dict[str, Any] = field(default_factory=dict)

    def topk(self, rankings: Rankings, k: float, **given: Any) -> Array:
        """Memberships (N,)."""
        found: Array = functions.soft_topk(rankings, self._k(k), **self._how(given)).values
        return found

    def topk_vjp(self, rankings: Rankings, k: float, upstream: Array, **given: Any) -> Array:
        """The gradient of sum(upstream * memberships) (N,) for the scores."""
        found = functions.soft_topk_vjp(rankings, self._k(k), rankings.with_values(upstream), **self._how(given))
        values: Array = found.scores.values
        return values

    def _k(self, k: float) -> float | None:
        return k if METHODS[self.method].takes_k else None

    def _how(self, given: dict[str, Any]) -> dict[str, Any]:
        alpha = "1std" if self.alpha is None else f"{self.alpha:.6g}std"
        return {"method": self.method, "alpha": alpha, "force": True, **self.options, **given}


def comparable() -> list[str]:
    """The methods that give memberships of a top k, the default first."""
    made = [name for name, entry in METHODS.items() if "topk" in entry.operations]
    return [name for name in made if "members" not in method_called(name, "topk").lacks]


def steps(method: str, rankings: Rankings, k: float) -> float:
    """How many a pass over these rankings takes, where they are not linear in the scores; else 0."""
    count = method_called(method, "topk").ways["topk"].steps
    if count is None:
        return 0.0
    made = TopK(method=method)
    return float(np.sum(count(made.choices, rankings.lengths.astype(float), rankings.same(k))))


def undecided(members: Array, offsets: np.ndarray) -> float:
    """Of the median ranking."""
    return float(np.median(sums_of(4 * members * (1 - members), offsets)))


def evenly(rankings: Rankings, count: int) -> Rankings:
    """So many of them, or all, evenly spread."""
    chosen = np.unique(np.linspace(0, len(rankings) - 1, min(count, len(rankings))).round().astype(int))
    return Rankings.joined([rankings[int(r)] for r in chosen])


def matched(method: str, rankings: Rankings, k: float, wanted: float) -> Choice:
    """The method at the alpha that leaves so many items undecided, or as many as it can."""
    some = evenly(rankings, LOOKED_AT)
    options = {"draws": DRAWS} if "draws" in METHODS[method].options else {}

    def at(alpha: float | None) -> Choice:
        choice = Choice(method, alpha, 0.0, options)
        return Choice(method, alpha, undecided(choice.topk(some, k), some.offsets), options)

    if method == "hard":
        return at(None)
    low, high = math.log(LOWEST), math.log(HIGHEST)
    best = at(math.exp((low + high) / 2))
    for _ in range(30):
        if abs(best.undecided - wanted) <= 2e-3 * max(wanted, 1e-3):
            break
        middle = (low + high) / 2
        tried = at(math.exp(middle))
        best = min(best, tried, key=lambda choice: abs(choice.undecided - wanted))
        if tried.undecided < wanted:
            low = middle
        else:
            high = middle
    return best
