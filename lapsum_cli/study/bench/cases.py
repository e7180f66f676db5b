"""What is timed: an operation on so many rankings of so many scores.

rank            soft_rank
rank-gradient   soft_rank and its gradient from one sort, as a run of the command with --upstream makes them
sort            soft_sort
topk            soft_topk
topk-gradient   soft_topk and its gradient from one threshold
log-topk        log_soft_topk
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ...api.functions import compute, log_soft_topk, soft_rank, soft_sort, soft_topk
from ...core.errors import OptionError
from ...core.quantities import Alpha, K
from ...operations.menu import Rank, TopK
from .clock import Times
from .scores import SCORES, draw

SHAPES = {  # by device
    "cpu": ("1x10000000", "100000x100", "10000x1000"),
    "cuda": ("1x1000000", "1x10000000", "1x100000000", "100000x1000"),
}
SHORTEST = 1 << 10  # where growth starts


@dataclass(frozen=True)
class Case:
    """One operation on `rankings` rankings of `length` scores each; k is of use to some operations only."""

    operation: str
    rankings: int
    length: int
    dtype: str
    scores: str
    alpha: float
    k: float
    threads: int

    def __str__(self):
        return f"{self.operation} {self.shape} {self.dtype} {self.scores}"

    @property
    def shape(self) -> str:
        return f"{self.rankings}x{self.length}"

    def inputs(self) -> list[np.ndarray]:
        """The scores (m, n), and for a gradient the upstream one (m, n)."""
        shape = (self.rankings, self.length)
        scores = draw(self.scores, shape, self.dtype)
        if not self.operation.endswith("-gradient"):
            return [scores]
        return [scores, np.random.default_rng(1).standard_normal(shape, self.dtype)]

    def soft(self, *inputs) -> list[np.ndarray]:
        """The results of the operation, each (m, n)."""
        return OPERATIONS[self.operation](self, *inputs)


def _rank(case, scores):
    return [soft_rank(scores, alpha=case.alpha, threads=case.threads)]


def _rank_gradient(case, scores, upstream):
    return _with_gradient(Rank(alpha=Alpha(case.alpha), gradient=True), case, scores, upstream)


def _sort(case, scores):
    return [soft_sort(scores, alpha=case.alpha, threads=case.threads)]


def _topk(case, scores):
    return [soft_topk(scores, case.k, alpha=case.alpha, threads=case.threads)]


def _topk_gradient(case, scores, upstream):
    return _with_gradient(TopK(alpha=Alpha(case.alpha), ks=(K(case.k),), gradient=True), case, scores, upstream)


def _log_topk(case, scores):
    return [log_soft_topk(scores, case.k, alpha=case.alpha, threads=case.threads)]


def _with_gradient(operation, case, scores, upstream):
    form, result = compute(operation, scores, case.alpha, case.threads, upstream=upstream)
    return [form.scores(result.scores[name]) for name in operation.score_columns]


OPERATIONS = {
    "rank": _rank,
    "rank-gradient": _rank_gradient,
    "sort": _sort,
    "topk": _topk,
    "topk-gradient": _topk_gradient,
    "log-topk": _log_topk,
}


OWN = ("lapsum", "cpu")  # sides that are lapsum: with the device that was chosen, and without
COPIES = ("memcpy", "copy")  # of what lapsum reads, in memory and on a card: their ratio is all that counts
TRANSFERS = ("to card", "from card")


@dataclass(frozen=True)
class Measured:
    """A case, and every run of its sides: "lapsum" first, a bare copy where there is one, then peers by name.

    remarks: why a side is missing.
    """

    case: Case
    sides: dict[str, Times]
    moved: int  # bytes that lapsum reads and writes
    remarks: list[str] = field(default_factory=list, kw_only=True)

    @property
    def soft(self) -> Times:
        return self.sides["lapsum"]

    def ratios(self) -> dict[str, float]:
        """lapsum's time over that of each other side."""
        return {name: self.soft.median / times.median for name, times in self.sides.items() if name != "lapsum"}


@dataclass(frozen=True)
class Choice:
    """What the user asks to be timed: lists are tried in every combination."""

    operations: list[str]
    shapes: list[str]
    dtypes: list[str]
    scores: list[str]
    alpha: float
    k: str
    threads: int | None
    device: str = "cpu"

    def __post_init__(self):
        for what, given, known in (
            ("--device", [self.device], SHAPES),
            ("operation", self.operations, OPERATIONS),
            ("--dtype", self.dtypes, ("float32", "float64")),
            ("--scores", self.scores, SCORES),
        ):
            for value in given:
                if value not in known:
                    raise OptionError(f"{what} {value!r} is unknown; known are {', '.join(known)}")
        Alpha(self.alpha)
        self.shape_cases()

    def name_of(self, kind: str) -> str:
        """A kind of table as it is kept: what a card took stands beside what the CPU took, and not in its place."""
        return kind if self.device == "cpu" else f"{self.device}-{kind}"

    def shape_cases(self) -> list[Case]:
        """Every operation on every shape."""
        return self._cases(map(parse_shape, self.shapes))

    def growth_cases(self) -> list[Case]:
        """Every operation on rankings that double in length, up to the longest of the shapes: as many of each length as
        make the same number of scores in all, so that what grows is the ranking and not the call.
        """
        longest = max(length for _, length in map(parse_shape, self.shapes))
        if longest < SHORTEST:
            raise OptionError(
                f"--growth starts from rankings of {SHORTEST} scores; give a longer --shape than {longest}"
            )
        doublings = (longest // SHORTEST).bit_length()
        total = SHORTEST << doublings - 1
        return self._cases((total // length, length) for length in (SHORTEST << i for i in range(doublings)))

    def _cases(self, shapes: Iterable[tuple[int, int]]) -> list[Case]:
        return [
            Case(operation, *shape, dtype, scores, self.alpha, k_of(self.k, shape[1], operation), self.threads or 1)
            for shape in shapes
            for dtype in self.dtypes
            for scores in self.scores
            for operation in self.operations
        ]


def k_of(text: str, length: int, operation: str) -> float:
    """How many are at the top of a ranking; for a top-k not none and not all, which need no computing."""
    k = K.parse(text)
    number = length * k.value / 100 if k.percent else k.value
    if "topk" in operation and not 0 < number < length:
        raise OptionError(f"k must be above 0 and below the {length} scores of a ranking, got {number:g}")
    return number


def parse_shape(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise OptionError(f"--shape must be rankings times scores, such as 10000x1000, got {text!r}")
    return int(match[1]), int(match[2])
