"""The menu: every operation, its options, and what it computes.

    rank     soft rank          r_i = base + sum over j != i of F((x_j - x_i) / alpha)
    sort     soft sort          y_l = the t at which sum over j of F((x_j - t) / alpha) = l - 1/2
    topk     soft top-k         p_i = F((x_i - b) / alpha), b such that the p_i sum to k; or log p_i
    permute  soft permutation   P_il = F((x_i - b_l) / alpha) - F((x_i - b_l-1) / alpha), the b of the tops l and l - 1
    loss     of these           against a target, see LOSSES

F is the CDF of the Laplace distribution: LapSum (Struski, Bednarczyk, Podolak, Tabor, ICML 2025).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..core.errors import OptionError
from ..core.quantities import K
from ..devices.processors import Cpu
from .operation import GRADIENT, Given, InParts, Operation, Result, alphas_of, k_of, refuse, sorting_bytes


@dataclass(frozen=True)
class Rank(InParts):
    """Soft ranks, best first from 1: the differentiable np.argsort(np.argsort(-x)) + 1."""

    base: int = 1
    column: str = "soft_rank"

    name = "rank"

    def __post_init__(self):
        if self.base not in (0, 1):
            raise OptionError(f"base must be 0 or 1, got {self.base}")

    def dtype(self, scores, longest=0):
        """float32 holds every integer up to 2^24; ranks beyond it are float64 whatever the scores are."""
        return "float64" if longest > 1 << 24 else ("float32" if scores == "float16" else scores)

    def work_bytes(self, itemsize):
        return sorting_bytes(itemsize) + (itemsize if self.gradient else 0)

    def card_bytes(self, itemsize):
        return 64 + 4 * itemsize + (24 + 2 * itemsize if self.gradient else 0)

    def describe(self):
        return {**super().describe(), "base": self.base}

    @property
    def kernels(self):
        return self.name  # one kernel gives both

    def apply(self, rankings, given=Given(), dtype=None, on=Cpu()):
        alphas, constant = alphas_of(self.alpha, rankings, given.alphas, on)
        upstream = given.upstream if self.gradient else None
        best_first = on.order(rankings, self.descending)
        ranks, gradient, to_alpha = on.soft_rank(best_first, alphas, self.base, dtype, upstream)
        if self.gradient:
            on.without_constant(constant, rankings, gradient, to_alpha)
        return self._gradients(Result({self.column: ranks}), gradient, to_alpha)


@dataclass(frozen=True)
class Sort(InParts):
    """Soft-sorted scores, best first: the differentiable -np.sort(-x). Results, and upstream, go by position."""

    column: str = "soft_sort"

    name = "sort"

    def work_bytes(self, itemsize):
        """Beside sorting: a score and a step in float64, and for a gradient as much again."""
        return sorting_bytes(itemsize) + (32 if self.gradient else 16)

    def card_bytes(self, itemsize):
        return 104 + 4 * itemsize + (120 + 2 * itemsize if self.gradient else 0)

    @property
    def kernels(self):
        return self.name

    def apply(self, rankings, given=Given(), dtype=None, on=Cpu()):
        from ..kernels.scalars import laplace

        alphas, _ = alphas_of(self.alpha, rankings, given.alphas, on, laplace.HARD)
        upstream = given.upstream if self.gradient else None
        values, gradient, to_alpha = on.soft_sort(on.order(rankings, self.descending), alphas, upstream)
        return self._gradients(Result({self.column: values}), gradient, to_alpha)


@dataclass(frozen=True)
class TopK(InParts):
    """Soft top-k memberships in [0, 1] that sum to k: the differentiable x >= np.sort(x)[-k]; or their logarithms."""

    ks: tuple[K, ...] = ()
    log: bool = False
    strict: bool = False
    minimum: float | None = None
    threshold: bool = False
    grad_k: bool = False
    column: str = "soft_topk"

    name = "topk"

    def __post_init__(self):
        if len(set(map(str, self.ks))) < len(self.ks):
            raise OptionError(f"k is given twice in {','.join(map(str, self.ks))}")
        if self.minimum is not None and not 0 <= self.minimum <= 1:
            raise OptionError(f"--min must be a membership from 0 to 1, got {self.minimum:g}")
        if self.minimum is not None and len(self.ks) > 1:
            raise OptionError("--min needs a single k")
        if self.minimum is not None and self.log:
            raise OptionError("--min is a membership, and --log writes logarithms; choose one of them")
        if self.log and self.column == "soft_topk":
            object.__setattr__(self, "column", "log_soft_topk")

    @property
    def result_columns(self):
        return self._named(self.column)

    @property
    def gradient_columns(self):
        return self._named(GRADIENT) if self.gradient else []

    @property
    def ranking_columns(self):
        wanted = {"threshold": self.threshold, f"{GRADIENT}_alpha": self.grad_alpha, f"{GRADIENT}_k": self.grad_k}
        return [name for name, is_wanted in wanted.items() if is_wanted for name in self._named(name)]

    def _named(self, column):
        return [f"{column}_{k}" for k in self.ks] if len(self.ks) > 1 else [column]

    def work_bytes(self, itemsize):
        """The scores inside the bracket."""
        return itemsize

    def card_bytes(self, itemsize):
        return 5 * itemsize + (2 * itemsize if self.gradient else 0)

    def describe(self):
        return {
            **super().describe(),
            "k": [str(k) for k in self.ks] or "column",
            **({"log": True} if self.log else {}),
            **({} if self.minimum is None else {"min": self.minimum}),
        }

    def on_a_tiny_ranking(self):
        return replace(super().on_a_tiny_ranking(), ks=(K(1.0),), strict=False, minimum=None)

    def apply(self, rankings, given=Given(), dtype=None, on=Cpu()):
        alphas, constant = alphas_of(self.alpha, rankings, given.alphas, on)
        lengths = rankings.lengths
        result = Result({})
        wanted = [given.ks] if given.ks is not None else [k_of(k, lengths) for k in self.ks]
        for place, k in enumerate(wanted):
            refuse(~(k >= 0), "k must be 0 or more, got {:g}", k)
            refuse(self.strict & (k > lengths), "it has fewer scores than k = {:g}", k)
            result.short += int((k > lengths).sum())
            self._apply_one(result, place, k, rankings, alphas, constant, given.upstream, on)
        result.scores = {name: result.scores[name] for name in self.score_columns}
        result.rankings = {name: result.rankings[name] for name in self.ranking_columns}
        return result

    def _apply_one(self, result, place, k, rankings, alphas, constant, upstream, on):
        known = upstream if self.gradient else None
        memberships, cuts = on.soft_topk(rankings, k, alphas, self.descending, self.log, known)
        result.scores[self.result_columns[place]] = memberships
        if self.threshold:
            thresholds = on.thresholds(cuts, alphas, self.descending)
            result.rankings[self._named("threshold")[place]] = thresholds
        if self.gradient:
            given = (upstream, cuts, alphas, self.descending, self.log)
            gradient, to_k, to_alpha = on.topk_gradient(rankings, *given)
            on.without_constant(constant, rankings, gradient, to_alpha)
            result.scores[self.gradient_columns[place]] = gradient
            result.rankings[self._named(f"{GRADIENT}_k")[place]] = to_k
            result.rankings[self._named(f"{GRADIENT}_alpha")[place]] = to_alpha


@dataclass(frozen=True)
class Permute(Operation):
    """The soft permutation: how likely each item is at each position; rows and columns sum to 1.

    tolerance: of each item's probability, at most how much the positions that are left out may hold.
    """

    tolerance: float = 1e-3
    dense: bool = False
    column: str = "probability"

    name = "permute"
    in_pieces = False  # boundaries are no Result

    def __post_init__(self):
        if not 0 <= self.tolerance < 1:
            raise OptionError(f"--tol must be 0 or more and below 1, got {self.tolerance:g}")

    def work_bytes(self, itemsize):
        """Beside sorting: boundaries, a score and a step in float64; the widths of rows; a row of the result."""
        return sorting_bytes(itemsize) + 32 + 8 + 64

    def card_bytes(self, itemsize):
        return 104 + 4 * itemsize

    def describe(self):
        return {**super().describe(), **({"dense": True} if self.dense else {"tol": self.tolerance})}

    def apply(self, rankings, given=Given(), dtype=None, on=Cpu()):
        """Boundaries between positions, of which kernels.permute makes dense or sparse rows."""
        return on.boundaries(*self.best_first(rankings, given, on))

    def best_first(self, rankings, given, on):
        """What boundaries are made of: the rankings in order, and alpha of each."""
        alphas, _ = alphas_of(self.alpha, rankings, given.alphas, on)
        return on.order(rankings, self.descending), alphas

    def run_once(self, rankings, given):
        from ..kernels.cpu import permute

        at = self.apply(rankings, given)
        permute.dense(at, 1, 0, 2)
        permute.sparse(at, self.tolerance, 0, 3, permute.widths(at, self.tolerance))


LOSSES = {
    "spearman": "1 - correlation of the soft ranks with the ranks of the target (ties take their mean)",
    "topk": "-(1/n) sum of t_i log p_i + (1 - t_i) log(1 - p_i), p soft memberships, t the target's top k",
    "recall": "1 - sum of t_i p_i / k, one minus the soft recall at k",
    "ndcg": "1 - DCG / ideal DCG, DCG = sum of gain(y_i) / log2(1 + r_i), r soft ranks; with k each term times p_i",
    "permutation": "-(1/n) sum of log P[i, place of y_i], P the soft permutation; ties in the target by input order",
}

REDUCTIONS = ("none", "sum", "mean")


def check_reduction(name: str) -> None:
    if name not in REDUCTIONS:
        raise OptionError(f"reduction must be none, sum or mean, got {name!r}")


@dataclass(frozen=True)
class Loss(Operation):
    """A loss of every ranking against its target, larger being better; with `gradient`, that for every score instead.

    Masked scores (-inf) take no part. A ranking with fewer than two others, or whose target is constant or has no gain,
    has a null loss and gradient 0. scale: multiplies gradients, such as 1 / m for the mean of m losses.
    """

    loss: str = "spearman"
    ks: tuple[K, ...] = ()
    gain: str = "exp2"
    scale: float = 1.0
    column: str = ""

    name = "loss"
    needs = "target"

    def __post_init__(self):
        if self.loss not in LOSSES:
            raise OptionError(f"no loss {self.loss!r}; known are {', '.join(LOSSES)}")
        if self.gain not in ("exp2", "linear"):
            raise OptionError(f"--gain must be exp2 or linear, got {self.gain!r}")
        if self.gain != "exp2" and self.loss != "ndcg":
            raise OptionError(f"--gain is of use to ndcg, not to {self.loss}")
        if len(self.ks) > 1:
            raise OptionError("a loss takes a single k")
        if not self.column:
            object.__setattr__(self, "column", GRADIENT if self.gradient else "loss")

    @property
    def result_columns(self):
        return [self.column] if self.gradient else []

    @property
    def gradient_columns(self):
        return []

    @property
    def ranking_columns(self):
        return [*([] if self.gradient else [self.column]), *super().ranking_columns]

    def work_bytes(self, itemsize):
        """Beside sorting, kept from one pass to the next: float64 targets, ranks, places, upstreams and gradients."""
        return 2 * sorting_bytes(itemsize) + 9 * 8

    def card_bytes(self, itemsize):
        of_loss = {"spearman": 140, "topk": 72, "recall": 72, "ndcg": 192, "permutation": 240}
        return of_loss[self.loss] + 4 * itemsize

    def describe(self):
        return {
            **super().describe(),
            "loss": self.loss,
            **({"k": str(self.ks[0])} if self.ks else {}),
            **({"gain": self.gain} if self.loss == "ndcg" else {}),
            **({"gradient": True, "scale": self.scale} if self.gradient else {}),
        }

    @property
    def kernels(self):
        return f"{self.name}-{self.loss}"

    def on_a_tiny_ranking(self):
        """With its gradient, so that one compilation serves both."""
        gradient = replace(super().on_a_tiny_ranking(), gradient=True)
        return replace(gradient, ks=() if self.loss in ("spearman", "permutation") else (K(1.0),))

    def run_once(self, rankings, given):
        super().run_once(rankings, given)
        for part in (Rank(gradient=True), TopK(ks=(K(1.0),), gradient=True)):  # what losses are made of
            part.run_once(rankings, given)

    def apply(self, rankings, given=Given(), dtype=None, on=Cpu()):
        import numpy as np

        from ..core.rankings import Rankings, frozen

        rankings = on.here(rankings)  # masked scores are taken out, and undefined rankings
        alphas, constant = alphas_of(self.alpha, rankings, given.alphas, on)
        ks = given.ks if given.ks is not None else (k_of(self.ks[0], rankings.lengths) if self.ks else None)
        result = Result({})
        if ks is not None:
            refuse(~(ks >= 0), "k must be 0 or more, got {:g}", ks)
            result.short = int((ks > rankings.lengths).sum())
        target = np.asarray(given.target, np.float64)
        taken, defined = self._defined(rankings, target)
        lengths = np.add.reduceat(np.append(taken, False), rankings.offsets[:-1], dtype=np.int64) * (
            rankings.lengths > 0
        )
        part = Rankings(rankings.values[taken], np.concatenate([[0], np.cumsum(lengths[defined])]))
        losses, to_scores, to_alpha = self._compute(
            part, frozen(target[taken]), alphas[defined], None if ks is None else ks[defined], on
        )
        known = ~np.isnan(losses)
        result.losses = _spread(losses, defined, np.nan)
        if self.gradient:
            if constant is not None:
                on.without_constant(constant[defined], part, to_scores, to_alpha)
            to_scores = np.where(np.repeat(known, part.lengths), to_scores, 0.0) * self.scale
            with np.errstate(over="ignore"):  # at an alpha of 1e-40 a gradient may well be beyond float32: inf
                result.scores[self.column] = _spread(to_scores, taken, 0.0).astype(rankings.values.dtype)
        else:
            result.rankings[self.column] = result.losses
        if self.grad_alpha:
            to_alpha = np.where(known, to_alpha, 0.0) * self.scale
            result.rankings[f"{GRADIENT}_alpha"] = _spread(to_alpha, defined, 0.0)
        return result

    def _defined(self, rankings, target):
        """Which scores take part, and which rankings have two of them or more with targets that differ."""
        import numpy as np

        taken = rankings.values != (-np.inf if self.descending else np.inf)
        ranking = np.repeat(np.arange(len(rankings)), rankings.lengths)
        if self.loss == "ndcg":
            negative = np.zeros(len(rankings))
            np.minimum.at(negative, ranking[taken], target[taken])
            refuse(negative < 0, "ndcg needs targets of 0 or more, got {:g}", negative)
        low, high = np.full(len(rankings), np.inf), np.full(len(rankings), -np.inf)
        np.minimum.at(low, ranking[taken], target[taken])
        np.maximum.at(high, ranking[taken], target[taken])
        if self.loss == "ndcg":
            refuse(high == np.inf, "ndcg needs finite targets, got {:g}", high)
        defined = low < high
        return taken & defined[ranking], defined

    def _compute(self, rankings, target, alphas, ks, on):
        options = {"topk": (ks,), "recall": (ks,), "ndcg": (ks, self.gain == "exp2")}.get(self.loss, ())
        how = {"gradient": self.gradient, "descending": self.descending}
        return on.loss(self.loss, rankings, target, alphas, *options, **how)


def _spread(values, where, rest):
    """The values where they belong, `rest` elsewhere."""
    import numpy as np

    out = np.full(len(where), rest)
    out[where] = values
    return out


OPERATIONS = {operation.name: operation for operation in (Rank, Sort, TopK, Permute, Loss)}


def every_kernel() -> list[Operation]:
    """Operations that run every kernel between them, for `lapsum doctor --warm`."""
    k = (K(1.0),)
    losses = [Loss(loss=name, gradient=True, ks=k if name in ("topk", "recall", "ndcg") else ()) for name in LOSSES]
    return [Rank(), Sort(), TopK(ks=k), TopK(ks=k, gradient=True), Permute(), *losses]
