"""What every operation is: options, the columns it adds, its cost in memory, and `apply`, which computes it.

An operation is a frozen value. Nothing above this layer knows a kernel, and nothing here needs Numba until `apply` is
called, so that `lapsum --help` is instant.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..core.errors import BadRanking
from ..core.quantities import Alpha, K
from ..devices.processors import Cpu

GRADIENT = "grad"  # the column of gradients with respect to the scores


DEFAULT_ALPHA = Alpha(0.1, relative=True)


@dataclass(frozen=True)
class Given:
    """What a batch of rankings brings besides its scores; None is what it lacks.

    alphas, ks          (m,) float64, a value for each ranking
    upstream, target    (N,) a value for each score
    """

    alphas: object = None
    ks: object = None
    upstream: object = None
    target: object = None

    def piece(self, rankings: slice, scores: slice) -> Given:
        """What some of the rankings bring."""
        of_rankings = [None if a is None else a[rankings] for a in (self.alphas, self.ks)]
        return Given(*of_rankings, *(None if a is None else a[scores] for a in (self.upstream, self.target)))


@dataclass
class Result:
    """What an operation computed: arrays with a value for every score, or for every ranking, and what to tell.

    short: rankings shorter than k; losses: what a loss was, also where its gradient was asked for.
    """

    scores: dict
    rankings: dict = field(default_factory=dict)
    short: int = 0
    losses: object = None


@dataclass(frozen=True)
class Operation:
    """Options that all operations have.

    gradient: also compute the gradient with respect to the scores, given an upstream one; for alpha with grad_alpha.
    """

    alpha: Alpha = DEFAULT_ALPHA
    descending: bool = True
    column: str = ""
    gradient: bool = False
    grad_alpha: bool = False

    name = ""
    in_pieces = True  # some rankings can be computed apart from the others
    needs = None  # the value for each score that it takes besides the upstream gradient

    @property
    def result_columns(self) -> list[str]:
        """The columns of the result itself, a value for each score."""
        return [self.column]

    @property
    def gradient_columns(self) -> list[str]:
        return [GRADIENT] if self.gradient else []

    @property
    def ranking_columns(self) -> list[str]:
        """Columns with a value for each ranking."""
        return [f"{GRADIENT}_alpha"] if self.grad_alpha else []

    @property
    def score_columns(self) -> list[str]:
        return [*self.result_columns, *self.gradient_columns]

    def dtype(self, scores: str, longest: int = 0) -> str:
        """The dtype of the result for scores of this dtype, in rankings of at most this length."""
        return scores

    def work_bytes(self, itemsize: int) -> int:
        """Bytes per score while a ranking is computed, besides the scores and the columns that stay."""
        raise NotImplementedError

    def card_bytes(self, itemsize: int) -> int:
        """Bytes per score on a card, the scores and the results included; measured by test_cuda.py."""
        raise NotImplementedError

    def describe(self) -> dict:
        """The operation and whatever changes its numbers, for the record of how a result was made."""
        return {"operation": self.name, "alpha": str(self.alpha), "descending": self.descending}

    def apply(self, rankings, given: Given = Given(), dtype=None, on=Cpu()) -> Result:
        """What it makes of the rankings, on a processor."""
        raise NotImplementedError

    @staticmethod
    def joined(results: list[Result]) -> Result:
        """The results of consecutive rankings as one."""
        import numpy as np

        def join(columns):
            return {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}

        losses = [result.losses for result in results]
        return Result(
            join([result.scores for result in results]),
            join([result.rankings for result in results]),
            sum(result.short for result in results),
            None if losses[0] is None else np.concatenate(losses),
        )

    def run_once(self, rankings, given: Given) -> None:
        """Run every kernel that the operation may need."""
        self.apply(rankings, given)

    @property
    def kernels(self) -> str:
        """A name for the kernels that it runs: what is compiled, or not, together."""
        return self.name + ("-gradient" if self.gradient else "")

    def on_a_tiny_ranking(self) -> Operation:
        """The same kernels, with options that a ranking of three scores can take."""
        return replace(self, alpha=DEFAULT_ALPHA)

    def _gradients(self, result: Result, gradient, to_alpha) -> Result:
        if self.gradient:
            result.scores[GRADIENT] = gradient
        if self.grad_alpha:
            result.rankings[f"{GRADIENT}_alpha"] = to_alpha
        return result


class InParts(Operation):
    """An operation that computes a long ranking in parts, side by side (processors.Cpu)."""

    def run_once(self, rankings, given):
        self.apply(rankings, given)
        self.apply(rankings, given, on=Cpu(part=1))


def sorting_bytes(itemsize: int) -> int:
    """Bytes per score of sorting: the scores and their places, to and fro; a short float64 row has an index besides."""
    return 2 * (itemsize + 4) + (8 if itemsize == 8 else 0)


def refuse(wrong, problem: str, values) -> None:
    """Raise BadRanking for the first ranking that is wrong."""
    if wrong.any():
        r = int(wrong.argmax())
        raise BadRanking(r, problem.format(values[r]))


def k_of(k: K, lengths):
    import numpy as np

    return lengths * k.value / 100 if k.percent else np.full(len(lengths), k.value)


def alphas_of(alpha: Alpha, rankings, given, on, of_constant: float = 1.0):
    """One alpha per ranking, in the unit of the scores; and which rankings are constant where alpha is in deviations.

    A constant ranking has none. It is all ties, and so its ranks and memberships are the same at any alpha.
    """
    import numpy as np

    if given is not None:
        given = np.array(given, np.float64)  # contiguous and writable: one kind of array for the kernels
        refuse(~((given > 0) & (given < np.inf)), "alpha must be positive and finite, got {:g}", given)
        return given, None
    if not alpha.relative:
        return np.full(len(rankings), alpha.value), None
    deviations = on.standard_deviations(rankings)
    alphas = np.maximum(alpha.value * deviations, np.finfo(np.float64).tiny)
    return np.where(deviations > 0, alphas, of_constant), deviations == 0


def prepare(operation: Operation, dtype, on=Cpu(), notice=lambda line: None) -> None:
    """Compile the kernels of an operation for a processor, which is said, or load them from the cache, before anything
    is measured or timed.
    """
    import numpy as np

    from ..core.rankings import Rankings
    from ..kernels import jit

    scores = np.arange(3, dtype=dtype)
    tiny = Rankings(scores, np.array([0, 1, 3]))
    given = Given(upstream=tiny.values, target=np.arange(3.0))
    kernels = operation.kernels if on.name == "cpu" else f"{on.name}-{operation.kernels}"
    if not jit.is_compiled(kernels, dtype):
        kept = "later runs of it start at once" if jit.CACHE else "no cache can be written, see lapsum doctor"
        name = kernels.replace("-", " ")
        notice(f"compiling the {np.dtype(dtype).name} kernels of {name} for this processor, some 10 s; {kept}")
    on_tiny = operation.on_a_tiny_ranking()
    if on.name == "cpu":
        run, run_all = (lambda: on_tiny.apply(tiny, given)), (lambda: on_tiny.run_once(tiny, given))
    else:
        run, run_all = (lambda: on.run(on_tiny, tiny, given)), (lambda: on.warm_up(on_tiny, tiny, given))
    jit.prepare(kernels, dtype, run, run_all)
