"""Soft ranks: the differentiable np.argsort(np.argsort(-x)) + 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.errors import OptionError
from .operation import option
from .placed import Placed

HALVES = ("float16", "bfloat16")  # computed in float32; NumPy has the second from ml_dtypes, where JAX brings it


@dataclass(frozen=True)
class Rank(Placed):
    """Soft ranks: the largest score of a ranking is near 1, and they sum to n(n+1)/2.

    Every row and column of the input stays, in its order, unless --order asks for another.

    r_i = base + sum over j != i of F((x_j - x_i) / alpha), with F the CDF of the Laplace distribution. Ties share
    their mean rank.
    """

    base: int = option(1, "The best possible rank.", "--base", metavar="0|1")

    name: ClassVar[str] = "rank"
    about: ClassVar[str] = "Soft ranks: near 1 for the best score, near n for the last."
    result: ClassVar[str] = "soft_rank"
    takes: ClassVar[tuple[str, ...]] = ("upstream",)
    only_top: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base not in (0, 1):
            raise OptionError(f"base must be 0 or 1, got {self.base!r}")

    def dtype(self, scores: str, longest: int = 0) -> str:
        """float32 holds every integer up to 2^24; ranks beyond it are float64 whatever the scores are."""
        return "float64" if longest > 1 << 24 else ("float32" if scores in HALVES else scores)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "base": self.base}
