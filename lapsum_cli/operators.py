"""The menu: every operation, its options, the columns it adds, and what it costs in memory.

An operation is a frozen value. `apply` computes it on rankings; nothing above this file knows a kernel, and nothing
here needs Numba until `apply` is called, so that `lapsum --help` is instant.

    rank    soft rank          r_i = base + sum over j != i of F((x_j - x_i) / alpha)
    topk    soft top-k         p_i = F((x_i - b) / alpha), b such that the p_i sum to k

F is the CDF of the Laplace distribution: LapSum (Struski, Bednarczyk, Podolak, Tabor, ICML 2025).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .errors import DataError, OptionError


@dataclass(frozen=True)
class Alpha:
    """The softness: a number in the unit of the scores, or (`relative`) in standard deviations of each ranking."""

    value: float
    relative: bool = False

    def __post_init__(self):
        if not 0 < self.value < math.inf:
            raise OptionError(
                f"alpha must be positive and finite, got {self.value:g}; for the hard limit use one such as 1e-6std"
            )

    @classmethod
    def parse(cls, text: str | float) -> Alpha:
        return cls(*_number(text, "std", "alpha must be a number such as 0.1, or 0.1std"))

    def __str__(self):
        return f"{self.value!r}{'std' if self.relative else ''}"


@dataclass(frozen=True)
class K:
    """How many are at the top: a number, possibly fractional, or (`percent`) a share of each ranking's length."""

    value: float
    percent: bool = False

    def __post_init__(self):
        if not 0 <= self.value < math.inf:
            raise OptionError(f"k must be 0 or more and finite, got {self.value:g}")
        if self.percent and self.value > 100:
            raise OptionError(f"k must be at most 100%, got {self.value:g}%")

    @classmethod
    def parse(cls, text: str | float) -> K:
        return cls(*_number(text, "%", "k must be a number such as 10, or a share such as 10%"))

    def __str__(self):
        return f"{self.value:.15g}{'%' if self.percent else ''}"


def _number(text: str | float, unit: str, rule: str) -> tuple[float, bool]:
    """A number, and whether the unit follows it."""
    has_unit = isinstance(text, str) and text.endswith(unit)
    try:
        return float(text.removesuffix(unit) if has_unit else text), has_unit
    except (TypeError, ValueError):
        raise OptionError(f"{rule}, got {text!r}") from None


@dataclass
class Result:
    """What an operation computed: arrays with a value for every score, or for every ranking, and counts."""

    scores: dict
    rankings: dict = field(default_factory=dict)
    short: int = 0


@dataclass(frozen=True)
class Rank:
    """Soft ranks, best first from 1: the differentiable np.argsort(np.argsort(-x)) + 1."""

    alpha: Alpha = Alpha(0.1, relative=True)
    descending: bool = True
    base: int = 1
    column: str = "soft_rank"

    name = "rank"

    def __post_init__(self):
        if self.base not in (0, 1):
            raise OptionError(f"base must be 0 or 1, got {self.base}")

    @property
    def score_columns(self) -> list[str]:
        return [self.column]

    @property
    def ranking_columns(self) -> list[str]:
        return []

    def dtype(self, scores, longest: int = 0):
        """float32 holds every integer up to 2^24; ranks beyond it are float64 whatever the scores are."""
        return "float64" if longest > 1 << 24 else ("float32" if scores == "float16" else str(scores))

    def work_bytes(self, itemsize: int) -> int:
        """Bytes per score while a ranking is computed: packed keys, sorted scores, places; the result."""
        return (8 + 4 + itemsize if itemsize == 4 else 8 + 8 + 8 + 8) + itemsize

    def describe(self) -> dict:
        return {"operation": self.name, "alpha": str(self.alpha), "descending": self.descending, "base": self.base}

    def apply(self, rankings, alphas=None, ks=None, dtype=None, threads: int = 1) -> Result:
        from .kernels import rank

        alphas = _alphas(self.alpha, rankings, alphas, threads)
        ranks = rank.soft_rank(rankings.values, rankings.offsets, alphas, self.descending, self.base, dtype, threads)
        return Result({self.column: ranks})


@dataclass(frozen=True)
class TopK:
    """Soft top-k memberships in [0, 1] that sum to k: the differentiable x >= np.sort(x)[-k]."""

    ks: tuple[K, ...] = ()
    alpha: Alpha = Alpha(0.1, relative=True)
    descending: bool = True
    strict: bool = False
    minimum: float | None = None
    threshold: bool = False
    column: str = "soft_topk"

    name = "topk"

    def __post_init__(self):
        if len(set(map(str, self.ks))) < len(self.ks):
            raise OptionError(f"k is given twice in {','.join(map(str, self.ks))}")
        if self.minimum is not None and not 0 <= self.minimum <= 1:
            raise OptionError(f"--min must be a membership from 0 to 1, got {self.minimum:g}")
        if self.minimum is not None and len(self.ks) > 1:
            raise OptionError("--min needs a single k")

    @property
    def score_columns(self) -> list[str]:
        return self._named(self.column)

    @property
    def ranking_columns(self) -> list[str]:
        return self._named("threshold") if self.threshold else []

    def _named(self, column):
        return [f"{column}_{k}" for k in self.ks] if len(self.ks) > 1 else [column]

    def dtype(self, scores, longest: int = 0):
        return str(scores)

    def work_bytes(self, itemsize: int) -> int:
        """Bytes per score while a ranking is computed: the scores inside the bracket; a result for each k."""
        return itemsize * (1 + max(1, len(self.ks)))

    def describe(self) -> dict:
        return {
            "operation": self.name,
            "k": [str(k) for k in self.ks] or "column",
            "alpha": str(self.alpha),
            "descending": self.descending,
            **({} if self.minimum is None else {"min": self.minimum}),
        }

    def apply(self, rankings, alphas=None, ks=None, dtype=None, threads: int = 1) -> Result:
        from .kernels import topk

        alphas = _alphas(self.alpha, rankings, alphas, threads)
        lengths = rankings.lengths
        result = Result({}, {}, 0)
        wanted = [ks] if ks is not None else [_k_of(k, lengths) for k in self.ks]
        for column, threshold, k in zip(self.score_columns, self._named("threshold"), wanted, strict=True):
            short = k > lengths
            _refuse(~(k >= 0), "k must be 0 or more, got {:g}", k)
            _refuse(self.strict & short, "it has fewer scores than k = {:g}", k)
            result.short += int(short.sum())
            memberships, thresholds = topk.soft_topk(
                rankings.values, rankings.offsets, k, alphas, self.descending, threads
            )
            result.scores[column] = memberships
            if self.threshold:
                result.rankings[threshold] = thresholds
        return result


class BadRanking(DataError):
    """An option or a score is wrong for one ranking of a batch; the caller knows what that ranking is called."""

    def __init__(self, ranking: int, problem: str):
        super().__init__(f"ranking {ranking}: {problem}")
        self.ranking, self.problem = ranking, problem


def _refuse(wrong, problem: str, values) -> None:
    if wrong.any():
        r = int(wrong.argmax())
        raise BadRanking(r, problem.format(values[r]))


def prepare(name: str, dtype, notice=lambda line: None) -> None:
    """Compile the kernels of an operation, which is said, or load them from the cache, before anything is measured or
    timed.
    """
    import numpy as np

    from .kernels import jit
    from .rankings import Rankings

    tiny = Rankings(np.arange(3, dtype=dtype), np.array([0, 1, 3]))
    operation = {"rank": Rank(), "topk": TopK((K(1.0),))}[name]
    if not jit.is_compiled(name, dtype):
        kept = "later runs of it start at once" if jit.CACHE else "no cache can be written, see lapsum doctor"
        notice(f"compiling the {np.dtype(dtype).name} kernels of {name} for this processor, some 10 s; {kept}")
    jit.prepare(name, dtype, lambda: operation.apply(tiny))


OPERATIONS = {operation.name: operation for operation in (Rank, TopK)}


def _k_of(k: K, lengths):
    import numpy as np

    return lengths * k.value / 100 if k.percent else np.full(len(lengths), k.value)


def _alphas(alpha: Alpha, rankings, given, threads):
    """One alpha per ranking, in the unit of the scores. A constant ranking is all ties, whatever its alpha: it takes
    1.
    """
    import numpy as np

    if given is not None:
        given = np.asarray(given, np.float64)
        _refuse(~((given > 0) & (given < np.inf)), "alpha must be positive and finite, got {:g}", given)
        return given
    if not alpha.relative:
        return np.full(len(rankings), alpha.value)
    from .kernels import spread

    deviations = spread.standard_deviations(rankings.values, rankings.offsets, threads)
    return np.where(deviations > 0, np.maximum(alpha.value * deviations, np.finfo(np.float64).tiny), 1.0)
