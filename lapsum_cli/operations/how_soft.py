"""How soft a run is: how far its results are from the hard ones, told of a sample of its rankings.

Of up to 64 rankings, evenly spread by their number, whatever the batches are. What is compared depends on the operation
(`Operation.compared`): soft ranks with hard ranks, or how much of k the k best hold of the memberships. Both by all
scores of a ranking: of a part of them a difference that small cannot be told. What would take too long is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .operation import ByMethod

if TYPE_CHECKING:
    from ..core.rankings import Rankings
    from .operation import Operation
    from .slots import Result

MOST = 64  # rankings that are looked at
ITEMS = 16  # of a ranking, whose soft ranks are found
WORK = 1 << 16  # items times scores of a ranking
WORK_OF_FIRST = 1 << 22  # the same of the first ranking, which may be the only one
LEAST = 3  # items, of which a median says something

FAR = 0.05  # of a ranking, by which soft ranks are far from hard
FEW = 0.5  # of k, of which the hard top k should hold more
STRETCHED = 4.0  # times as large as of a normal distribution: a standard deviation that outliers have made


class Seen(NamedTuple):
    """What was seen of a ranking: its number in the run, what its measure found, how many finite scores it has, and its
    standard deviation in units of what its middle half would have in a normal distribution.
    """

    number: int
    value: float
    length: int
    stretch: float


@dataclass
class HowSoft:
    """A sample of the rankings of a run, which holds every 2^i-th as soon as there are too many others."""

    step: int = 1
    count: int = 0
    seen: list[Seen] = field(default_factory=list)
    operation: Operation | None = None
    has_own_alphas: bool = False  # each ranking brought one

    def add(self, operation: Operation, rankings: Rankings, result: Result) -> None:
        """The next rankings of the run, and what was computed of them."""
        if result.alphas is None:  # beyond what a float holds, so that each has a unit of its own
            return
        self.operation, self.has_own_alphas = operation, "alpha" in rankings.each
        first, last = self.count, self.count + len(rankings)
        while -(-last // self.step) > MOST:
            self.step *= 2
        self.seen = [seen for seen in self.seen if seen.number % self.step == 0]
        self.count = last
        measure = MEASURES[operation.compared]
        for number in range(-(-first // self.step) * self.step, last, self.step):
            r = number - first
            work = WORK_OF_FIRST if number == 0 else WORK
            if int(rankings.lengths[r]) > work:
                continue
            x = rankings[r]
            finite = x[np.isfinite(x)].astype(np.float64)
            value = measure.of_ranking(operation, rankings, result, r, finite, work)
            if value is not None:
                self.seen.append(Seen(number, value, len(finite), _stretch(finite)))

    @classmethod
    def joined(cls, runs: Sequence[HowSoft]) -> HowSoft:
        """What was seen in several runs of one operation."""
        told = [run for run in runs if run.operation is not None]
        if not told:
            return cls()
        return replace(told[0], count=sum(run.count for run in told), seen=[seen for run in told for seen in run.seen])

    def line(self) -> str | None:
        """What is to be said of the run; None where nothing was comparable."""
        if self.operation is None or not self.seen:
            return None
        measure = MEASURES[self.operation.compared]
        alpha = "alpha by column" if self.has_own_alphas else f"alpha = {self.operation.alpha}"
        return f"{alpha}: {measure.words(self.operation, self.seen)}{self._hint(measure, self.operation.alpha.unit)}"

    def _hint(self, measure: Measure, unit: str) -> str:
        if not measure.is_far(self.seen):
            return ""
        is_stretched = float(np.median([seen.stretch for seen in self.seen])) > STRETCHED
        if is_stretched and unit == "std" and not self.has_own_alphas:
            return ", which is far: outliers stretch the standard deviation; 0.15mad does not feel them"
        return ", which is far: a smaller alpha is harder"


class Measure(NamedTuple):
    """What is compared of a ranking, what is said of those that were seen, and whether that is far from hard."""

    of_ranking: Callable[[Any, Any, Any, int, np.ndarray, int], float | None]
    words: Callable[[Any, list[Seen]], str]
    is_far: Callable[[list[Seen]], bool]


def _stretch(x: np.ndarray) -> float:
    """The standard deviation of scores (n,), in deviations of a normal distribution with the same quartiles; 1 where
    there is none.
    """
    if len(x) < 4:
        return 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = np.partition(x, [len(x) // 4, 3 * len(x) // 4])[[len(x) // 4, 3 * len(x) // 4]]
        stretch = float(x.std()) * 1.349 / float(high - low) if high > low else 1.0
    return stretch if math.isfinite(stretch) else 1.0


def _from_hard_ranks(
    operation: Any, rankings: Rankings, result: Result, r: int, x: np.ndarray, work: int
) -> float | None:
    """The median distance of soft ranks from hard ones, of some items, in places: half of the sum of e^-distance/alpha
    over the lower scores less that over the higher ones.
    """
    if len(x) < 2:
        return None
    if isinstance(operation, ByMethod) and operation.method != "lapsum":
        return _between_ranks(operation, rankings, result, r)
    count = min(ITEMS, len(x), work // len(x))
    if count < min(LEAST, len(x)):
        return None
    some = x if count == len(x) else x[np.arange(1, count + 1) * 2654435761 % len(x)]
    return float(np.median(0.5 * np.abs(_pulled(some, x, float(result.alphas[r])))))


def _pulled(some: np.ndarray, x: np.ndarray, alpha: float) -> np.ndarray:
    """For each of some scores the sum over all, x, of e^-distance/alpha, with the sign of how far it is above; in
    blocks, since all pairs at once would take many times the memory of a ranking.
    """
    total, block = np.zeros(len(some)), max(1, WORK // len(some))
    with np.errstate(over="ignore", under="ignore"):
        for start in range(0, len(x), block):
            far = (0.5 * some[:, None] - 0.5 * x[start : start + block]) / (0.5 * alpha)
            total += (np.sign(far) * np.exp(-np.abs(far))).sum(axis=1)
    return total


def _between_ranks(operation: Any, rankings: Rankings, result: Result, r: int) -> float | None:
    """The same of what another method gave, where it gave ranks: from their places, which for ties is not a mean."""
    if operation.name != "rank":
        return None
    here = slice(rankings.offsets[r], rankings.offsets[r + 1])
    x = rankings.values[here] if operation.descending else -rankings.values[here]
    ranks = np.sort(next(iter(result.values.values()))[here][np.isfinite(x)])
    return float(np.median(np.abs(ranks - np.arange(operation.base, operation.base + len(ranks)))))


def _held_by_the_best(
    operation: Any, rankings: Rankings, result: Result, r: int, finite: np.ndarray, work: int
) -> float | None:
    """How much of k, the sum of the memberships, is where the hard top k has it: the k best scores, of which those that
    tie across the boundary share what is left; None where k is none or all of them.
    """
    if not operation.takes_k or "members" in operation.how.lacks:
        return None
    here = slice(rankings.offsets[r], rankings.offsets[r + 1])
    x = operation.seen(rankings.piece(r, r + 1)).values
    x = x if operation.descending else np.where(x == -np.inf, x, -x)  # padding is last in either order
    p = next(iter(result.values.values()))[here].astype(np.float64)
    p = np.exp(p) if operation.result.startswith("log") else p
    k = float(p.sum())
    if not 0 < k < np.count_nonzero(x != -np.inf) - 0.25:
        return None
    last = np.partition(x, -math.ceil(k))[-math.ceil(k)]
    is_above, ties = x > last, x == last
    share = (k - np.count_nonzero(is_above)) / np.count_nonzero(ties)
    return float(p[is_above].sum() + np.minimum(p[ties], share).sum()) / k


def _rank_words(operation: Operation, seen: list[Seen]) -> str:
    places, length = (float(np.median([getattr(s, name) for s in seen])) for name in ("value", "length"))
    return f"soft ranks are {places:.3g} places from the hard ones, of {length:g} (medians)"


def _is_far(seen: list[Seen]) -> bool:
    return float(np.median([s.value / s.length for s in seen])) > FAR


def _member_words(operation: Any, seen: list[Seen]) -> str:
    k = str(operation.ks[0]) if operation.ks else "k"
    return f"the hard top {k} holds {100 * float(np.mean([s.value for s in seen])):.0f} % of k"


def _is_few(seen: list[Seen]) -> bool:
    return float(np.mean([s.value for s in seen])) < FEW


MEASURES = {
    "ranks": Measure(_from_hard_ranks, _rank_words, _is_far),
    "members": Measure(_held_by_the_best, _member_words, _is_few),
}
