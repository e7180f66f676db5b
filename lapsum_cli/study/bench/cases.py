"""What is timed: an operation on so many rankings of so many scores; and what that took."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np

from ...api.functions import compute
from ...core.errors import OptionError
from ...core.quantities import Alpha, K
from ...operations import METHODS, method_called, operation_called
from ...operations.operation import ByMethod, Operation
from .clock import Times
from .scores import SCORES, draw
from .timed import DTYPES, SHAPES, TIMED

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
    threads: int | None
    method: str = field(default="lapsum", kw_only=True)

    def __str__(self) -> str:
        return f"{self.operation} {self.shape} {self.dtype} {self.scores}"

    @property
    def shape(self) -> str:
        """Rankings times scores, as --shape gives it."""
        return f"{self.rankings}x{self.length}"

    def inputs(self) -> list[np.ndarray]:
        """The scores (m, n), and for a gradient the upstream one (m, n)."""
        shape = (self.rankings, self.length)
        scores = draw(self.scores, shape, self.dtype)
        if not self.operation.endswith("-gradient"):
            return [scores]
        return [scores, np.random.default_rng(1).standard_normal(shape, np.dtype(self.dtype))]

    def outputs(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """What the operation makes of them, each (m, n)."""
        upstream = inputs[1] if len(inputs) > 1 else None
        form, result = compute(self.made(), inputs[0], self.alpha, self.threads or 1, upstream=upstream)
        return [form.scores(values) for values in result.values.values()]

    def made(self) -> Operation:
        """The operation, with its options."""
        name, options = TIMED[self.operation]
        made = cast(type[ByMethod], operation_called(name))
        k: dict[str, Any] = {"ks": (K(self.k),)} if "k" in made.takes else {}
        return made(alpha=Alpha(self.alpha), method=self.method, **k, **options)


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
    def lapsum(self) -> Times:
        """The runs that all others are compared with."""
        return self.sides["lapsum"]

    def as_dict(self) -> dict:
        """The case, and all runs of all sides, in seconds and bytes."""
        sides = {name: asdict(times) for name, times in self.sides.items()}
        return {**asdict(self.case), "bytes": self.moved, "remarks": self.remarks, "sides": sides}

    def ratios(self) -> dict[str, float]:
        """lapsum's time over that of each other side."""
        return {name: self.lapsum.median / times.median for name, times in self.sides.items() if name != "lapsum"}


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
    methods: list[str] = field(default_factory=lambda: ["lapsum"])

    def __post_init__(self) -> None:
        for what, given, known in (
            ("--device", [self.device], SHAPES),
            ("operation", self.operations, TIMED),
            ("--dtype", self.dtypes, DTYPES),
            ("--scores", self.scores, SCORES),
            ("--method", self.methods, METHODS),
        ):
            for value in given:
                if value not in known:
                    raise OptionError(f"{what} {value!r} is unknown; known are {', '.join(known)}")
        for operation in self.operations:
            for method in self.methods:
                method_called(method, TIMED[operation].operation)  # or what there is instead is said
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
            Case(
                operation=operation,
                rankings=rankings,
                length=length,
                dtype=dtype,
                scores=scores,
                alpha=self.alpha,
                k=k_of(self.k, length, operation),
                threads=self.threads or 1,
                method=method,
            )
            for rankings, length in shapes
            for dtype in self.dtypes
            for scores in self.scores
            for operation in self.operations
            for method in self.methods
        ]


def k_of(text: str, length: int, operation: str) -> float:
    """How many are at the top of a ranking; for a top-k not none and not all, which need no computing."""
    k = K.parse(text)
    number = length * k.value / 100 if k.percent else k.value
    if "topk" in operation and not 0 < number < length:
        raise OptionError(f"k must be above 0 and below the {length} scores of a ranking, got {number:g}")
    return number


def parse_shape(text: str) -> tuple[int, int]:
    """(rankings, scores of each) of a text such as 10000x1000."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise OptionError(f"--shape must be rankings times scores, such as 10000x1000, got {text!r}")
    return int(match[1]), int(match[2])
