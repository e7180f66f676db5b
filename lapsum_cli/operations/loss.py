"""Losses: soft parts of every ranking, a function of them against a target, and the way back through the parts.

A loss of LOSSES says what its body reads and of which parts it writes gradients (kernels/losses). Here stands what all
have in common: masked scores take no part, and a ranking whose target cannot define a loss has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from ..core.device import DeviceWithKernels
from ..core.errors import BadRanking, OptionError
from ..core.quantities import K
from . import LossEntry, entry_of, loss_called, stages, units
from .loss_choices import READS, LossChoices, check, chosen
from .method import Along
from .operation import Operation, option
from .slots import GRADIENT, RANKING, SCORE, Derivatives, Forward, Result, Slot
from .softness import k_of, refuse_ks
from .weights import WEIGHT, weighed, weights_in

if TYPE_CHECKING:
    from ..core.rankings import Array, Rankings
    from .giant_ranking import LastPass
    from .giant_ranking import Ranking as Giant

REDUCTIONS = ("none", "sum", "mean")


def check_reduction(name: str) -> None:
    """OptionError unless it is one of REDUCTIONS."""
    if name not in REDUCTIONS:
        raise OptionError(f"reduction must be none, sum or mean, got {name!r}")


def _columns(stages: int) -> str:
    return "one score" if stages == 1 else f"{stages} columns of scores, as ⟨stages=first,second⟩"


def check_stages(name: str, count: int) -> None:
    """OptionError unless a loss is of so many scores of each item."""
    if entry_of(name).stages != count:
        raise OptionError(f"loss {name} takes {_columns(entry_of(name).stages)}, got {count}")


def check_k(name: str, k: Any) -> None:
    """OptionError where a loss needs a k and has none, or has one and no use for it."""
    need = entry_of(name).k
    if need == "needed" and k is None:
        raise OptionError(f"loss {name} needs k, how many are at the top")
    if need == "none" and k is not None:
        raise OptionError(f"loss {name} takes no k")


class Kept(NamedTuple):
    """The state of a loss: that of its kernels; what these were given, of which the first are the rankings that take
    part; which scores (N,) these are, or None for all; and which rankings (m,) have a loss.
    """

    kernels: Any
    given: tuple[Any, ...]
    taken: Any
    known: Any

    @property
    def part(self) -> Rankings:
        """Scores that take part."""
        part: Rankings = self.given[0]
        return part

    def spread(self, values: Array) -> Array:
        """Values of scores that take part, for all scores (N,): 0 for others."""
        if self.taken is None:
            return values
        import numpy as np

        out = np.zeros(len(self.taken), values.dtype)
        out[self.taken] = values
        return out


@dataclass(frozen=True)
class Loss(LossChoices, Operation):
    """Losses of rankings against a target, and their gradients; the mean is said on stderr.

    A row for each ranking, in the input's order; with --gradient every row and column of the input, in its order.

    spearman: 1 - the correlation of the soft ranks r with the ranks of the target y. ndcg: 1 - DCG / ideal, DCG = sum
    of gain(y_i) / log2(1 + r_i); with --k each term times the soft membership p_i. topk: the cross-entropy
    -(1/n) sum of t_i log p_i + (1 - t_i) log(1 - p_i), t the k largest targets. recall: 1 - sum of t_i p_i / k.
    permutation: -(1/n) sum of log P[i, place of y_i], P the soft permutation. graded-topk: topk over all grades of y.

    As their authors have them, alpha in the place of a temperature: ranknet, lambda, listnet, listmle, approx-ndcg,
    neural-ndcg, bce-dftopk, topk-hinge, topk-cross-entropy, topk-svm; of a cascade, --stages, cascade-dftopk,
    cascade-lapsum, lcron, arf. Metrics, without gradients: ndcg@k, recall@k, mrr, mrr@k, map, kendall, hard-spearman.

    Scores of -inf take no part, nor do those of +inf in ascending order. A ranking with fewer than two others, a
    constant target or no gain has a null loss and gradient 0.
    """

    loss: str = "spearman"
    ks: tuple[K, ...] = ()
    gradient: bool = option(False, "Write the gradient for every score (grad) instead of the losses.", "--gradient")
    grad_alpha: bool = option(False, "With --gradient, also that with respect to each ranking's alpha.", "--grad-alpha")
    force: bool = False  # also where a ranking is so long that what takes n^2 steps would refuse it
    scale: float = 1.0  # multiplies gradients, such as 1 / m for the mean of m losses
    stages: tuple[str, ...] = ()  # what the scores of each are called, where a loss is of several

    name: ClassVar[str] = "loss"
    about: ClassVar[str] = "Losses of rankings against a target, and their gradients."
    result: ClassVar[str] = "loss"
    takes: ClassVar[tuple[str, ...]] = ("target", "k")
    called: ClassVar[tuple[str, ...]] = ("loss",)

    def __post_init__(self) -> None:
        check(self, self.loss)
        if self.gradient and not self.entry.is_soft:
            raise OptionError(f"{self.label} is a metric of hard orders, which has no gradient; losses have")
        if len(self.ks) > 1:
            raise OptionError("a loss takes a single k")
        if self.stages:
            check_stages(self.loss, len(self.stages))

    @cached_property
    def gives(self) -> tuple[Slot, ...]:
        if not self.gradient:
            return (Slot("loss", RANKING),)
        each, alphas = self.stages or ("",), [(f"{GRADIENT}_alpha", RANKING)] if self.grad_alpha else []
        return tuple(Slot(name, per, stage) for name, per in [(GRADIENT, SCORE), *alphas] for stage in each)

    def work_bytes(self, itemsize: int) -> int:
        """Beside sorting, kept from one pass to the next: float64 targets, ranks, places, upstreams and gradients; and
        what its loop works with.
        """
        from .methods.lapsum import sorting_bytes

        of_one = 2 * sorting_bytes(itemsize) + 9 * 8 + 8 * loss_called(self.loss).work
        return of_one if self.entry.stages == 1 else 2 * of_one + 100  # and where the scores of each stage are

    def card_bytes(self, itemsize: int) -> int:
        return (loss_called(self.loss).card_bytes + 4 * itemsize) * self.entry.stages

    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            "loss": self.loss,
            **({"k": str(self.ks[0])} if self.ks else {}),
            **chosen(self, self.loss),
            **({"stages": list(self.stages)} if self.stages else {}),
            **({"gradient": True, "scale": self.scale} if self.gradient else {}),
        }

    @property
    def label(self) -> str:
        """What it is called: ndcg@10 of a metric at k."""
        return self.loss.replace("@k", f"@{self.ks[0]}") if self.ks else self.loss

    def scaled(self, counts: Sequence[float]) -> Self:
        """With the gradient of the mean of so many losses, or of such a sum of weights, for each that it has."""
        return replace(self, scale=1 / counts[0] if counts[0] > 0 else 1.0)

    def without_gradient(self) -> Self:
        """The losses alone."""
        return replace(self, gradient=False, grad_alpha=False)

    @property
    def entry(self) -> LossEntry:
        """The line of the loss."""
        return entry_of(self.loss)

    @property
    def kernels(self) -> str:
        return f"{self.name}-{self.loss}" + ("-gradient" if self.gradient else "")

    def on_a_tiny_ranking(self) -> Self:
        return replace(super().on_a_tiny_ranking(), ks=() if self.entry.k == "none" else (K(1.0),))

    @property
    def by_number(self) -> bool:
        """Noise is drawn by it."""
        return "seed" in self.entry.options

    @cached_property
    def asks_how_many(self) -> bool:
        return any(k.percent for k in self.ks)

    def by_k(self, rankings: Any) -> Iterator[tuple[str, Any]]:
        each = dict(rankings.each)
        if "k" not in each and self.ks:
            each["k"] = k_of(self.ks[0], rankings)
        if "k" in each:
            refuse_ks(each["k"])
        yield "", rankings.with_each(each)

    @property
    def needs_memory(self) -> str | None:
        if loss_called(self.loss).in_parts is None:
            return f"loss {self.label} needs all of it in memory"
        return None

    @property
    def needs_one_process(self) -> str | None:
        from ..kernels.losses.declared import InPlaces

        if isinstance(loss_called(self.loss).in_parts, InPlaces):
            return f"loss {self.label} has numbers for every place, which are no file's"
        return None

    def passes(self, ranking: Giant) -> dict[str, LastPass]:
        import numpy as np

        from .giant_loss import passes

        weights = weights_in(ranking.each)
        if weights is None:
            return {name: passes(self, of_k) for name, of_k in self.by_k(ranking)}
        found = {}
        for name, of_k in self.by_k(ranking):
            last = passes(replace(self, scale=self.scale * float(weights[0])), of_k)
            loss = float(weighed(np.array([last.numbers["loss"]]), weights)[0])
            found[name] = last._replace(numbers={**last.numbers, "loss": loss})
        return found

    def compute(self, rankings: Rankings, on: DeviceWithKernels, results: bool = True) -> Result:
        """Every slot that it gives; of several stages those of each, which a ranking of its own stands for."""
        if stages.STAGE not in rankings.beside:
            return super().compute(rankings, on, results)
        try:
            found = replace(self, stages=()).compute(stages.together(rankings, on, self.descending), on, results)
        except BadRanking as error:
            raise BadRanking(error.ranking // self.entry.stages, error.problem) from None
        return stages.apart(found, rankings, on, self.gives)

    def forward(self, rankings: Rankings, on: DeviceWithKernels, results: bool = True, keep: bool = False) -> Forward:
        """Losses (m,), NaN where there is none, as the number "loss"; rankings.beside has the target (N,). Of several
        stages all rankings of a query have its loss.
        """
        import numpy as np

        from ..core.rankings import Rankings, frozen
        from ..kernels import losses

        self._refuse_long(rankings)
        here = on.here(rankings)
        given_target = rankings.beside["target"]
        values, offsets, target = here.values, here.offsets, np.asarray(given_target, np.float64)
        sorted_before = None if on.has_own_memory else getattr(given_target, "known", None)  # of one that is prepared
        counts = self._partaking(here, target, on.host)
        defined, taken = counts > 0, None
        if (counts == here.lengths)[defined].all():  # what defines no loss is computed with the others, and moot
            if keep and sorted_before is None:
                target = target.copy()  # whose owner may change it before the way back
        else:
            taken = (values != self.masked) & np.repeat(defined, here.lengths)
            values, target = values[taken], target[taken]
            offsets = np.concatenate([[0], np.cumsum(np.where(defined, counts, 0.0))]).astype(np.int64)
        sorted_before = sorted_before and sorted_before.among(offsets, taken)
        # One number for all has a stride of 0, for which kernels would compile again.
        each = {name: np.ascontiguousarray(on.here_array(numbers)) for name, numbers in rankings.each.items()}
        part = Rankings(values, offsets, {}, each)
        given = (part, frozen(target), each["alpha"], each.get("k"), self.own_options(), self.descending)
        found, state = losses.forward(
            on.kernels, on.place, loss_called(self.loss), *given, keep or self.gradient, sorted_before
        )
        found = np.repeat(found, self.entry.stages)
        found[~defined] = np.nan
        known, weights = ~np.isnan(found), weights_in(each)
        made = Forward(
            None, Kept(state, given, taken, known), {"loss": found if weights is None else weighed(found, weights)}
        )
        units.put_back(made, rankings, self.in_scores, self.result, on)
        return made

    def backward(self, rankings: Rankings, state: Kept, upstream: Array, on: DeviceWithKernels) -> Derivatives:
        """upstream: (m,) gradient with respect to the losses, or None for 1; of a ranking without a loss it is moot."""
        import numpy as np

        from ..kernels import losses

        part = state.part
        made = losses.backward(on.kernels, on.place, loss_called(self.loss), state.kernels)
        to_scores, to_alpha, _ = units.gradients_back(Derivatives(*made), part, on)
        weights = self._weights(state, upstream)
        to_scores = losses.weighted(on.host.kernels, on.host.place, part.offsets, on.here_array(to_scores), weights)
        with np.errstate(over="ignore"):  # at an alpha of 1e-40 a gradient may well be beyond float32: inf
            to_scores = to_scores.astype(rankings.values.dtype, copy=False)
        to_alpha = on.here_array(to_alpha)
        to_alpha = np.where((to_alpha != 0) & (weights != 0), to_alpha * weights, 0.0)
        return Derivatives(state.spread(to_scores), to_alpha)

    def _weights(self, state: Kept, upstream: Array | None) -> Array:
        """(m,) what gradients of the losses are multiplied by: 0 where there is no loss, or no scale."""
        import numpy as np

        known, constant = state.known, state.part.each.get("constant")
        if constant is not None:
            known = known & ~constant
        if upstream is not None and self.entry.stages > 1:
            upstream = np.repeat(upstream.reshape(-1, self.entry.stages).sum(axis=1), self.entry.stages)
        own = state.part.each.get(WEIGHT, 1.0)
        return np.where(known, self.scale * own if upstream is None else self.scale * own * upstream, 0.0)

    def along(
        self, rankings: Rankings, state: Kept, upstream: Array | None, towards: Derivatives, on: DeviceWithKernels
    ) -> Along:
        """How the gradients of a loss move; the losses themselves move by their gradients, and so that is left out."""
        along = towards.scores if state.taken is None else towards.scores[state.taken]
        return Along(None, self._second(lambda of, *given: of.along(*given, along), state, upstream, on))

    def diagonal(self, rankings: Rankings, state: Kept, upstream: Array | None, on: DeviceWithKernels) -> Array:
        """The diagonals (N,) of the Hessians of the losses by z, as along.py has it; NotDifferentiable where they are
        not known.
        """

        def make(of: Any, *given: Any) -> Any:
            return None if of.diagonal is None else of.diagonal(*given)

        return self._second(make, state, upstream, on)

    def _second(self, make: Any, state: Kept, upstream: Array | None, on: DeviceWithKernels) -> Array:
        import numpy as np

        from ..kernels.losses.second import second

        given: tuple[Any, ...] = (on.kernels, on.place, self.label, loss_called(self.loss), *state.given)
        found, weights = second(make, *given), np.repeat(self._weights(state, upstream), state.part.lengths)
        return state.spread(np.where(weights != 0, found * weights, 0.0))

    def _refuse_long(self, rankings: Rankings) -> None:
        """BadRanking for the first ranking that is so long that its pairs must be asked for."""
        from .methods.rows import LONGEST

        if not self.entry.is_square or self.force or rankings.longest <= LONGEST:
            return
        r = int((rankings.lengths > LONGEST).argmax())
        n = int(rankings.lengths[r])
        raise BadRanking(
            r,
            f"{self.loss} takes n^2 steps, {n * n:.3g} for its {n} scores; pass ⟨force=True⟩ to take them, or use a "
            "loss that is linear after a sort",
        )

    def own_options(self) -> dict[str, Any]:
        """Its own options, for the loops that read them."""
        return {name: read(self) for name, read in READS.items()}

    @property
    def masked(self) -> float:
        """The score that takes no part."""
        return -math.inf if self.descending else math.inf

    def _partaking(self, rankings: Rankings, target: Any, on: DeviceWithKernels) -> Any:
        """(m,) how many scores of a ranking take part; 0 unless two of them or more have targets that differ.

        BadRanking for the first whose targets the loss cannot use.
        """
        import numpy as np

        from ..kernels import losses

        counts = losses.partaking(on.kernels, on.place, rankings, target, self.masked, loss_called(self.loss))
        wrong = counts < 0
        if wrong.any():
            r = int(wrong.argmax())
            of_it = np.where(rankings[r] == self.masked, 0.0, target[rankings.offsets[r] : rankings.offsets[r + 1]])
            raise self.refused_targets(r, of_it.min(), of_it.max())
        return counts

    def refused_targets(self, ranking: int, least: float, most: float) -> BadRanking:
        """What is said of targets with these ends, which are no gains."""
        needed, worst = ("of 0 or more", least) if least < 0 else ("that are finite", most)
        return BadRanking(ranking, f"{self.loss} needs targets {needed}, got {worst:g}")
