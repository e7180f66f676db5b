"""What is timed, on scores N(0, 1) from a fixed seed, and what the same machine offers instead.

rank       soft_rank        beside the hard ranks of np.argsort, scipy.stats.rankdata, torch.argsort, polars rank
sort       soft_sort        beside np.sort, torch.sort
topk       soft_topk        beside np.argpartition, torch.topk
log-topk   log_soft_topk    beside the same
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from ..api import log_soft_topk, soft_rank, soft_sort, soft_topk
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

    name = ""

    def __str__(self):
        return f"{self.name} {self.rankings}x{self.length} {self.dtype}"

    def scores(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((self.rankings, self.length), self.dtype)

    def soft(self, scores) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True)
class RankCase(Case):
    name = "rank"

    def soft(self, scores) -> np.ndarray:
        return soft_rank(scores, alpha=self.alpha, threads=self.threads)

    def numpy(self, scores) -> np.ndarray:
        """argsort, and a scatter of the places: it gives an order, which is not yet the rank of each score."""
        order = np.argsort(scores, axis=-1)
        ranks = np.empty(scores.shape, np.int32)
        np.put_along_axis(ranks, order, np.arange(self.length, 0, -1, dtype=np.int32)[None], axis=-1)
        return ranks

    def scipy(self, scores):
        """rankdata"""
        from scipy.stats import rankdata

        return rankdata(scores, axis=-1)

    def torch(self, scores):
        """argsort, and a scatter of the places"""
        import torch

        order = torch.from_numpy(scores).argsort(-1)
        places = torch.arange(self.length, 0, -1, dtype=torch.int32).expand(order.shape)
        return torch.empty(order.shape, dtype=torch.int32).scatter_(-1, order, places)

    def polars(self, scores):
        """rank, over a column of groups if there are several"""
        import polars as pl

        rank = pl.col("score").rank("average", descending=True)
        if self.rankings == 1:
            return pl.DataFrame({"score": scores[0]}).select(rank)
        group = np.repeat(np.arange(self.rankings), self.length)
        return pl.DataFrame({"group": group, "score": scores.reshape(-1)}).select(rank.over("group"))


@dataclass(frozen=True)
class SortCase(Case):
    name = "sort"

    def soft(self, scores) -> np.ndarray:
        return soft_sort(scores, alpha=self.alpha, threads=self.threads)

    def numpy(self, scores) -> np.ndarray:
        """sort"""
        return np.sort(scores, axis=-1)[:, ::-1]

    def torch(self, scores):
        """sort"""
        import torch

        return torch.from_numpy(scores).sort(-1, descending=True)


@dataclass(frozen=True)
class TopKCase(Case):
    name = "topk"

    def __post_init__(self):
        if not 0 < self.k < self.length:
            raise OptionError(f"k must be above 0 and below the {self.length} scores of a ranking, got {self.k:g}")

    def soft(self, scores) -> np.ndarray:
        return soft_topk(scores, self.k, alpha=self.alpha, threads=self.threads)

    def numpy(self, scores) -> np.ndarray:
        """argpartition: indices, of which the last k are those of the k largest"""
        return np.argpartition(scores, self.length - math.ceil(self.k), axis=-1)

    def torch(self, scores):
        """topk"""
        import torch

        return torch.from_numpy(scores).topk(math.ceil(self.k), -1)


@dataclass(frozen=True)
class LogTopKCase(TopKCase):
    name = "log-topk"

    def soft(self, scores) -> np.ndarray:
        return log_soft_topk(scores, self.k, alpha=self.alpha, threads=self.threads)


CASES = {case.name: case for case in (RankCase, SortCase, TopKCase, LogTopKCase)}
PEERS = ("numpy", "scipy", "torch", "polars")


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


def find_peers(given: str | None) -> list[str]:
    """The libraries to compare with: as named, or those that are installed."""
    if given is None:
        return [name for name in PEERS if find_spec(name)]
    names = [name.strip() for name in given.split(",") if name.strip()]
    for name in names:
        if name not in PEERS:
            raise OptionError(f"--peers {name}: unknown; known are {', '.join(PEERS)}")
        if not find_spec(name):
            raise OptionError(f"--peers {name}: not installed here")
    return names


def _shape(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise OptionError(f"--shape must be rankings times scores, such as 10000x1000, got {text!r}")
    return int(match[1]), int(match[2])
