"""How soft a run is: how far its results are from the hard ones, told of a sample of its rankings.

Of up to 64 rankings, evenly spread by their number, whatever the batches are. What is compared depends on the operation
(`Operation.compared`): soft ranks with hard ranks, or how much of k the k best have of the memberships.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ..core.rankings import Rankings
    from .operation import Operation, Result

MOST = 64  # rankings that are looked at
SCORES = 1024  # of a ranking that are looked at for its ranks
ITEMS = 16  # whose soft ranks are found
BLOCK = 1 << 16  # memberships at a time
TOP = 1 << 14  # memberships of a top k that are added up

FAR = 0.05  # of a ranking, by which soft ranks are far from hard
FEW = 0.5  # of k, of which the hard top k should hold more
STRETCHED = 4.0  # times as large as of a normal distribution: a standard deviation that outliers have made


class Seen(NamedTuple):
    """What was seen of a ranking: its number in the run, what its measure found, its length, and its standard deviation
    in units of what its middle half would have in a normal distribution.
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
        for number in range(-(-first // self.step) * self.step, last, self.step):
            r = number - first
            x = _some(rankings[r])
            value = MEASURES[operation.compared].of_ranking(operation, rankings, result, r, x)
            if value is not None:
                self.seen.append(Seen(number, value, int(rankings.lengths[r]), _stretch(x)))

    def line(self) -> str | None:
        """What is to be said of the run; None where nothing was comparable."""
        if self.operation is None or not self.seen:
            return None
        measure = MEASURES[self.operation.compared]
        alpha = "alpha by column" if self.has_own_alphas else f"alpha = {self.operation.alpha}"
        return f"{alpha}: {measure.words(self.seen)}{self._hint(measure, self.operation.alpha.unit)}"

    def _hint(self, measure: Measure, unit: str) -> str:
        if not measure.is_far(self.seen):
            return ""
        is_stretched = float(np.median([seen.stretch for seen in self.seen])) > STRETCHED
        if is_stretched and unit == "std" and not self.has_own_alphas:
            return ", which is far: outliers stretch the standard deviation; 0.15mad does not feel them"
        return ", which is far: a smaller alpha is harder"


class Measure(NamedTuple):
    """What is compared of a ranking, what is said of those that were seen, and whether that is far from hard."""

    of_ranking: Callable[[Any, Any, Any, int, np.ndarray], float | None]
    words: Callable[[list[Seen]], str]
    is_far: Callable[[list[Seen]], bool]


def _some(x: np.ndarray) -> np.ndarray:
    """Finite scores of a ranking, sorted, as many as are looked at."""
    x = x[:: max(1, -(-len(x) // SCORES))]
    return np.sort(x[np.isfinite(x)].astype(np.float64))


def _stretch(x: np.ndarray) -> float:
    """The standard deviation of sorted scores (n,), in deviations of a normal distribution with the same quartiles; 1
    where there is none.
    """
    if len(x) < 4:
        return 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        quartiles = float(x[3 * len(x) // 4] - x[len(x) // 4])
        stretch = float(x.std()) * 1.349 / quartiles if quartiles else 1.0
    return stretch if math.isfinite(stretch) else 1.0


def _from_hard_ranks(operation: Operation, rankings: Rankings, result: Result, r: int, x: np.ndarray) -> float | None:
    """The median distance of soft ranks from hard ones, in places: half of the sum of e^-distance/alpha over the lower
    scores less that over the higher ones. Of a part of the scores, and so many times as much.
    """
    if len(x) < 2:
        return None
    alpha = float(result.alphas[r])
    items = x[np.linspace(0, len(x) - 1, min(ITEMS, len(x))).round().astype(int)]
    with np.errstate(over="ignore", under="ignore"):
        far = (0.5 * items[:, None] - 0.5 * x) / (0.5 * alpha)
        off = 0.5 * np.abs((np.sign(far) * np.exp(-np.abs(far))).sum(axis=1))
    return float(np.median(off)) * int(rankings.lengths[r]) / len(x)


def _held_by_the_best(operation: Operation, rankings: Rankings, result: Result, r: int, x: np.ndarray) -> float | None:
    """How much of k the k largest memberships of a ranking hold; None where k is none or all of them."""
    values = next(iter(result.values.values()))[rankings.offsets[r] : rankings.offsets[r + 1]]
    membership: Callable[[Any], Any] = np.exp if operation.result.startswith("log") else np.asarray
    blocks = (membership(values[at : at + BLOCK]) for at in range(0, len(values), BLOCK))
    k = sum(float(block.sum(dtype=np.float64)) for block in blocks)
    if not 0 < k < len(values) - 0.25:
        return None
    step = max(1, int(k) // TOP)
    best = membership(_largest(values[::step], math.ceil(k / step)))
    shares = np.clip(k / step - np.arange(len(best)), 0.0, 1.0)  # of a fractional k the last counts in part
    return float((shares * best).sum()) * step / k


def _largest(p: np.ndarray, count: int) -> np.ndarray:
    """The largest of numbers (n,), so many or all of them, in float64 and falling; a block at a time."""
    best = np.empty(0)
    for start in range(0, len(p), BLOCK):
        block = p[start : start + BLOCK]
        if len(best) == count:
            block = block[block > best[-1]]
        best = np.sort(np.concatenate([best, block]))[::-1][:count]
    return best


def _rank_words(seen: list[Seen]) -> str:
    places, length = (float(np.median([getattr(s, name) for s in seen])) for name in ("value", "length"))
    return f"soft ranks are {places:.3g} places from the hard ones, of {length:g} (medians)"


def _is_far(seen: list[Seen]) -> bool:
    return float(np.median([s.value / s.length for s in seen])) > FAR


def _member_words(seen: list[Seen]) -> str:
    return f"the hard top k holds {100 * float(np.mean([s.value for s in seen])):.0f} % of k"


def _is_few(seen: list[Seen]) -> bool:
    return float(np.mean([s.value for s in seen])) < FEW


MEASURES = {
    "ranks": Measure(_from_hard_ranks, _rank_words, _is_far),
    "members": Measure(_held_by_the_best, _member_words, _is_few),
}
