"""What is timed, on scores N(0, 1) from a fixed seed.

rank    soft_rank    beside np.argsort and a scatter of the places to ranks
topk    soft_topk    beside np.argpartition at the k-th largest score
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from ..api import soft_rank, soft_topk
from ..errors import OptionError
from ..quantities import Alpha, K

SHAPES = ("1x10000000", "100000x100", "10000x1000")


@dataclass(frozen=True)
class Case:
    """One operation on `rankings` rankings of `length` scores each; k is of use to some operations only."""

    rankings: int
    length: int
    dtype: str
    alpha: float
    k: float
    threads: int

    name = hard_name = ""

    def __str__(self):
        return f"{self.name} {self.rankings}x{self.length} {self.dtype}"

    def scores(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((self.rankings, self.length), self.dtype)


@dataclass(frozen=True)
class RankCase(Case):
    name, hard_name = "rank", "np.argsort, scatter"

    def soft(self, scores) -> np.ndarray:
        return soft_rank(scores, alpha=self.alpha, threads=self.threads)

    def hard(self, scores) -> np.ndarray:
        """Ranks, best first from 1: argsort alone gives an order, which is not yet the rank of each score."""
        order = np.argsort(scores, axis=-1)
        ranks = np.empty(scores.shape, np.int32)
        np.put_along_axis(ranks, order, np.arange(self.length, 0, -1, dtype=np.int32)[None], axis=-1)
        return ranks


@dataclass(frozen=True)
class TopKCase(Case):
    name, hard_name = "topk", "np.argpartition"

    def __post_init__(self):
        if not 0 < self.k < self.length:
            raise OptionError(f"k must be above 0 and below the {self.length} scores of a ranking, got {self.k:g}")

    def soft(self, scores) -> np.ndarray:
        return soft_topk(scores, self.k, alpha=self.alpha, threads=self.threads)

    def hard(self, scores) -> np.ndarray:
        """Indices, of which the last k are those of the k largest."""
        return np.argpartition(scores, self.length - math.ceil(self.k), axis=-1)


CASES = {case.name: case for case in (RankCase, TopKCase)}


def make_cases(operations, shapes, dtype, alpha, k, threads) -> list[Case]:
    """Every operation on every shape; whatever cannot be timed is refused here, before the first run."""
    operations, alpha, k = operations or list(CASES), Alpha(alpha).value, K.parse(k)
    for name in operations:
        if name not in CASES:
            raise OptionError(f"no operation {name!r} to time; known are {', '.join(CASES)}")
    if dtype not in ("float32", "float64"):
        raise OptionError(f"--dtype must be float32 or float64, got {dtype!r}")
    return [
        CASES[name](rankings, length, dtype, alpha, length * k.value / 100 if k.percent else k.value, threads)
        for rankings, length in map(_shape, shapes or SHAPES)
        for name in operations
    ]


def _shape(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise OptionError(f"--shape must be rankings times scores, such as 10000x1000, got {text!r}")
    return int(match[1]), int(match[2])
