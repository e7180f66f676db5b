"""What is timed: an operation on so many rankings of so many scores; and what that took."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import numpy as np

from ...api.functions import compute
from ...core.errors import OptionError
from ...core.quantities import Alpha, K
from ...operations import METHODS, method_called, operation_called
from ...operations.operation import ByMethod, Operation
from .clock import Times
from .scores import SCORES, draw
from .shapes import Even, Shape, parse_shape
from .timed import DTYPES, SHAPES, TIMED, UNEVEN

SHORTEST = 1 << 10  # where growth starts


@dataclass(frozen=True)
class Case:
    """One operation on rankings; k is of use to some operations only. Arrays of it have the form of its shape."""

    operation: str
    shape: Shape
    dtype: str
    scores: str
    alpha: float
    k: K
    threads: int | None
    method: str = field(default="lapsum", kw_only=True)

    def __str__(self) -> str:
        return f"{self.operation} {self.shape} {self.dtype} {self.scores}"

    @property
    def rankings(self) -> int:
        """How many there are."""
        return self.shape.rankings

    @property
    def length(self) -> int:
        """Scores of each ranking, where all have as many."""
        assert isinstance(self.shape, Even)
        return self.shape.length

    @property
    def top(self) -> int:
        """The whole number of scores at the top of each ranking, where all have as many scores."""
        return math.ceil(self.k.value)

    @property
    def ks(self) -> np.ndarray:
        """(m,) how many are at the top of each ranking: at most all of its scores."""
        return np.minimum(self.shape.sizes * self.k.value / 100 if self.k.percent else self.k.value, self.shape.sizes)

    def inputs(self) -> list[np.ndarray]:
        """The scores, and for a gradient the upstream one."""
        scores = draw(self.scores, self.shape, self.dtype)
        if not self.operation.endswith("-gradient"):
            return [scores]
        upstream = np.random.default_rng(1).standard_normal(self.shape.total, np.dtype(self.dtype))
        return [scores, self.shape.formed(upstream)]

    def outputs(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """What the operation makes of them."""
        upstream, given = inputs[1] if len(inputs) > 1 else None, self.shape.taken(inputs[0])
        _, result = compute(self.made(), given, self.alpha, self.threads or 1, upstream=upstream)
        return [self.shape.formed(values) for values in result.values.values()]

    def made(self) -> Operation:
        """The operation, with its options."""
        name, options = TIMED[self.operation]
        made = cast(type[ByMethod], operation_called(name))
        k: dict[str, Any] = {"ks": (self.k,)} if "k" in made.takes else {}
        return made(alpha=Alpha(self.alpha), method=self.method, **k, **options)

    def evened(self, k: str) -> Case | None:
        """The same of as many scores in rankings of the mean length, with k as it was given; None if it is even."""
        even = self.shape.evened
        return replace(self, shape=even, k=k_of(k, even, self.operation)) if even else None

    def as_dict(self) -> dict:
        """All of it, as JSON takes it; `length` is how lengths are drawn where they differ."""
        fields = {name: value for name, value in vars(self).items() if name not in ("shape", "k")}
        length = self.shape.length if isinstance(self.shape, Even) else self.shape.lengths
        k = str(self.k) if self.k.percent else self.k.value
        return {**fields, "rankings": self.rankings, "length": length, "total": self.shape.total, "k": k}


OWN = ("lapsum", "cpu")  # sides that are lapsum: with the device that was chosen, and without
COPIES = ("memcpy", "copy")  # of what lapsum reads, in memory and on a card: their ratio is all that counts
EVEN = "even"  # lapsum on as many scores in rankings of one length, beside rankings of several
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
        return {**self.case.as_dict(), "bytes": self.moved, "remarks": self.remarks, "sides": sides}

    def ratios(self) -> dict[str, float]:
        """lapsum's time over that of each other side."""
        return {name: self.lapsum.median / times.median for name, times in self.sides.items() if name != "lapsum"}


@dataclass(frozen=True)
class Choice:
    """What the user asks to be timed: lists are tried in every combination; without shapes, each table has its own."""

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
        K.parse(self.k)
        self._given()

    def name_of(self, kind: str) -> str:
        """A kind of table as it is kept: what a card took stands beside what the CPU took, and not in its place."""
        return kind if self.device == "cpu" else f"{self.device}-{kind}"

    def kinds(self) -> list[str]:
        """The tables in which the shapes are timed."""
        return list(dict.fromkeys(shape.kind for shape in self._given())) or [Even.kind]

    def shape_cases(self) -> list[Case]:
        """Every operation on every shape whose rankings have one length."""
        return self._cases(self._even("shapes"))

    def uneven_cases(self) -> list[Case]:
        """Every operation on every shape whose rankings differ in length."""
        given = [s for s in self._given() if not isinstance(s, Even)] if self.shapes else map(parse_shape, UNEVEN)
        if not (shapes := list(given)):
            raise OptionError(f"--shapes uneven has no part for --shape {', '.join(self.shapes)}; give {UNEVEN[0]}")
        return self._cases(shapes)

    def growth_cases(self) -> list[Case]:
        """Every operation on rankings that double in length, up to the longest of the shapes: as many of each length as
        make the same number of scores in all, so that what grows is the ranking and not the call.
        """
        longest = max(shape.length for shape in self._even("growth"))
        if longest < SHORTEST:
            raise OptionError(
                f"--growth starts from rankings of {SHORTEST} scores; give a longer --shape than {longest}"
            )
        doublings = (longest // SHORTEST).bit_length()
        total = SHORTEST << doublings - 1
        return self._cases(Even.of(total // length, length) for length in (SHORTEST << i for i in range(doublings)))

    def _given(self) -> list[Shape]:
        return list(map(parse_shape, self.shapes))

    def _even(self, kind: str) -> list[Even]:
        """The shapes whose rankings have one length; by default those of the device."""
        given = self._given() if self.shapes else map(parse_shape, SHAPES[self.device])
        shapes = [shape for shape in given if isinstance(shape, Even)]
        if not shapes:
            raise OptionError(f"--{kind} has no part for --shape {', '.join(self.shapes)}; give one such as 10000x1000")
        return shapes

    def _cases(self, shapes: Iterable[Shape]) -> list[Case]:
        return [
            Case(
                operation=operation,
                shape=shape,
                dtype=dtype,
                scores=scores,
                alpha=self.alpha,
                k=k_of(self.k, shape, operation),
                threads=self.threads or 1,
                method=method,
            )
            for shape in shapes
            for dtype in self.dtypes
            for scores in self.scores
            for operation in self.operations
            for method in self.methods
        ]


def k_of(text: str, shape: Shape, operation: str) -> K:
    """How many are at the top of a ranking, a number where all have one length; for a top-k not none and not all, which
    need no computing.
    """
    k, longest = K.parse(text), shape.longest
    number = longest * k.value / 100 if k.percent else k.value
    if "topk" in operation and not 0 < number < longest:
        raise OptionError(f"k must be above 0 and below the {longest} scores of a ranking, got {number:g}")
    return K(number) if isinstance(shape, Even) else k
