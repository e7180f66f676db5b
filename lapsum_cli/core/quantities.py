"""Numbers that carry a unit or a bound: how soft, how many, and which quantile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

from .errors import OptionError

# What alpha may be in, a spread of the scores of each ranking: whether a few outliers do not move it, for which the
# scores are sorted.
UNITS = {"std": False, "iqr": True, "mad": True}


@dataclass(frozen=True)
class Alpha:
    """The softness: a number in the unit of the scores, or in a spread of each ranking's scores, one of UNITS."""

    value: float
    unit: str = ""

    @cached_property
    def relative(self) -> bool:
        """Whether it is in a spread of each ranking."""
        return self.unit != ""

    @cached_property
    def is_robust(self) -> bool:
        """Whether it is in one that a few outliers do not move."""
        return UNITS.get(self.unit, False)

    def __post_init__(self) -> None:
        if self.unit and self.unit not in UNITS:
            raise OptionError(f"alpha has no unit {self.unit!r}; known are {', '.join(UNITS)}")
        if not 0 < self.value < math.inf:
            raise OptionError(
                f"alpha must be positive and finite, got {self.value:g}; for the hard limit use one such as 1e-6std"
            )

    @classmethod
    def parse(cls, text: str | float) -> Alpha:
        """Of a number, or of a text such as 0.1 or 0.1std; OptionError where it is none."""
        return cls(*_number(text, tuple(UNITS), "alpha must be a number such as 0.1, or 0.1std, 0.1iqr or 0.1mad"))

    def __str__(self) -> str:
        return f"{self.value!r}{self.unit}"


@dataclass(frozen=True)
class K:
    """How many are at the top: a number, possibly fractional, or (`percent`) a share of each ranking's length."""

    value: float
    percent: bool = False

    name: ClassVar[str] = "k"

    def __post_init__(self) -> None:
        if not 0 <= self.value < math.inf:
            raise OptionError(f"k must be 0 or more and finite, got {self.value:g}")
        if self.percent and self.value > 100:
            raise OptionError(f"k must be at most 100%, got {self.value:g}%")

    @classmethod
    def parse(cls, text: str | float) -> K:
        """Of a number, or of a text such as 10 or 10%; OptionError where it is none."""
        value, unit = _number(text, ("%",), "k must be a number such as 10, or a share such as 10%")
        return cls(value, unit == "%")

    def __str__(self) -> str:
        return f"{self.value:.15g}{'%' if self.percent else ''}"


@dataclass(frozen=True)
class Q:
    """Which quantile: the share of a ranking's scores that lie below it, from 0 to 1."""

    value: float

    name: ClassVar[str] = "q"

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise OptionError(f"q must be from 0 to 1, got {self.value:g}")

    @classmethod
    def parse(cls, text: str | float) -> Self:
        """Of a number, or of a text such as 0.9; OptionError where it is none."""
        return cls(_number(text, (), "q must be a number from 0 to 1, such as 0.9")[0])

    def __str__(self) -> str:
        return f"{self.value:.15g}"


def _number(text: str | float, units: tuple[str, ...], rule: str) -> tuple[float, str]:
    """A number, and which unit follows it, or none; what Python and NumPy would only make a number of is none."""
    unit = next((unit for unit in units if isinstance(text, str) and text.endswith(unit)), "")
    number = text.removesuffix(unit) if isinstance(text, str) else text
    of_numpy = getattr(text, "dtype", None)
    try:
        if isinstance(text, bool | bytes | bytearray) or getattr(of_numpy, "kind", "f") not in "iufU":
            raise TypeError
        return float(number), unit
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"{rule}, got {' '.join(repr(text).split())[:80]}") from None
