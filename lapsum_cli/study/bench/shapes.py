"""The shape of a case: how many rankings, and how long each is. All of one length are a matrix; others are uneven.

100000x100              rankings times scores of each
400000xgeometric:10     rankings times how their lengths are drawn, of LENGTHS
geometric:10            likewise, of as many rankings as have TOTAL scores
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ...core.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

TOTAL = 4_000_000  # scores of a shape that says how long rankings are, and not how many there are
LONGEST_LOGNORMAL, LONGEST_ZIPF = 4000, 50_000


class Lengths(NamedTuple):
    """A way to draw the lengths of rankings, all of them 1 or more.

    parameters  as they are written behind the name, each N a whole number
    mean        of the lengths, by the parameters
    draw        (random numbers, count, *parameters) -> (count,) lengths
    """

    parameters: str
    mean: Callable[..., float]
    draw: Callable[..., np.ndarray]


def _geometric(rng: np.random.Generator, count: int, mean: int) -> np.ndarray:
    return rng.geometric(1 / mean, count)


def _uniform(rng: np.random.Generator, count: int, low: int, high: int) -> np.ndarray:
    return rng.integers(low, high, count, endpoint=True)


def _lognormal(rng: np.random.Generator, count: int, mean: int) -> np.ndarray:
    """exp of N(log mean - 1/2, 1), whose mean that is; what is cut off at the end is 0.1 % of it at a mean of 90."""
    import numpy as np

    drawn = np.exp(rng.standard_normal(count) - 0.5) * mean
    return drawn.round().clip(1, LONGEST_LOGNORMAL).astype(np.int64)


def _zipf(rng: np.random.Generator, count: int) -> np.ndarray:
    """P(n) ~ 1 / n^2: four of five rankings have 1 to 3 scores, and of 10^5 six have more than 10^4."""
    return rng.zipf(2, count).clip(max=LONGEST_ZIPF)


LENGTHS = {
    "geometric": Lengths(":N", lambda mean: mean, _geometric),
    "uniform": Lengths(":N-N", lambda low, high: (low + high) / 2, _uniform),
    "lognormal": Lengths(":N", lambda mean: mean, _lognormal),
    "zipf": Lengths("", lambda: 6.9, _zipf),
}


@dataclass(frozen=True)
class Shape:
    """Rankings whose lengths are drawn, always from the same seed; in memory they are flat, with offsets."""

    rankings: int
    lengths: str  # such as geometric:10

    kind: ClassVar[str] = "uneven"  # of table in which it is timed

    def __str__(self) -> str:
        """As --shape takes it."""
        return f"{self.rankings}x{self.lengths}"

    @cached_property
    def offsets(self) -> np.ndarray:
        """(m + 1,): ranking r is offsets[r] to offsets[r + 1]."""
        import numpy as np

        rng, numbers = np.random.default_rng(3), _parameters(self.lengths) or ()
        lengths = _way(self.lengths).draw(rng, self.rankings, *numbers)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        offsets.flags.writeable = False  # a card keeps what it has found out about them
        return offsets

    @cached_property
    def sizes(self) -> np.ndarray:
        """(m,) scores of each ranking."""
        import numpy as np

        return np.diff(self.offsets)

    @cached_property
    def queries(self) -> np.ndarray:
        """(N,) the number of the ranking of each score: the column that a table has."""
        import numpy as np

        return np.repeat(np.arange(self.rankings), self.sizes)

    @property
    def total(self) -> int:
        """Scores in all."""
        return int(self.offsets[-1])

    @property
    def longest(self) -> int:
        """Scores of the longest ranking."""
        return int(self.sizes.max())

    @property
    def evened(self) -> Even | None:
        """As many scores in rankings that all have the mean length, in whole scores; None of what is even itself."""
        mean = max(1, round(self.total / self.rankings))
        return Even.of(max(1, round(self.total / mean)), mean)

    def formed(self, flat: np.ndarray) -> np.ndarray:
        """Numbers of each score (N,), as an array of rankings has them: these are flat."""
        return flat

    def taken(self, scores: np.ndarray) -> Any:
        """The scores as functions of the package take them."""
        from ...core.rankings import Rankings

        return Rankings(scores, self.offsets)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(m,) the sum of each ranking, in float64."""
        import numpy as np

        return np.add.reduceat(values.reshape(-1), self.offsets[:-1], dtype=np.float64)

    def maxima(self, values: np.ndarray) -> np.ndarray:
        """(m,) the largest value of each ranking."""
        import numpy as np

        return np.maximum.reduceat(values.reshape(-1), self.offsets[:-1])


@dataclass(frozen=True)
class Even(Shape):
    """Rankings of one length, which `lengths` is: a matrix."""

    kind = "shapes"

    @classmethod
    def of(cls, rankings: int, length: int) -> Even:
        """So many rankings of so many scores."""
        return cls(rankings, str(length))

    @property
    def length(self) -> int:
        """Scores of each ranking."""
        return int(self.lengths)

    @cached_property
    def offsets(self) -> np.ndarray:
        """The multiples of the length."""
        from ...core.rankings import equal_offsets

        return equal_offsets(self.rankings, self.length)

    @property
    def total(self) -> int:
        """Scores in all."""
        return self.rankings * self.length

    @property
    def longest(self) -> int:
        """Scores of each ranking."""
        return self.length

    @property
    def evened(self) -> None:
        """It is what others are compared with."""
        return None

    def formed(self, flat: np.ndarray) -> np.ndarray:
        """Numbers of each score as a matrix (m, n)."""
        return flat.reshape(self.rankings, self.length)

    def taken(self, scores: np.ndarray) -> np.ndarray:
        """The matrix itself."""
        return scores

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(m,) the sum of each ranking, in float64; where reduceat would hold all of it as float64."""
        import numpy as np

        return self.formed(values).sum(axis=1, dtype=np.float64)


def parse_shape(text: str) -> Shape:
    """The shape of a text such as 10000x1000, 400000xgeometric:10 or zipf; OptionError where it is none."""
    count, _, lengths = text.rpartition("x") if re.match(r"\d", text) else ("", "", text)
    if not re.fullmatch(r"([1-9]\d*)?", count):
        lengths = ""
    if count and re.fullmatch(r"[1-9]\d*", lengths):
        return Even(int(count), lengths)
    numbers = _parameters(lengths)
    if numbers is None:
        known = ", ".join(name + way.parameters for name, way in LENGTHS.items())
        raise OptionError(
            f"--shape must be rankings times scores, such as 10000x1000, got {text!r}; lengths that are drawn are "
            f"{known}, by themselves or behind 1000x"
        )
    if list(numbers) != sorted(numbers) or not all(1 <= number <= TOTAL for number in numbers):
        raise OptionError(f"--shape {text}: lengths must be from 1 to {TOTAL}, the smaller first")
    return Shape(int(count) if count else max(1, round(TOTAL / _way(lengths).mean(*numbers))), lengths)


def _way(lengths: str) -> Lengths:
    return LENGTHS[lengths.partition(":")[0]]


def _parameters(lengths: str) -> tuple[int, ...] | None:
    """The parameters of a way to draw lengths; None where it is unknown, or they are not as it has them."""
    for name, way in LENGTHS.items():
        if match := re.fullmatch(name + way.parameters.replace("N", r"(\d{1,9})"), lengths):
            return tuple(map(int, match.groups()))
    return None
