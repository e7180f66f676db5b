"""How a loss is computed, on whatever device: the parts that it reads, one loop over rankings, and the way back.

What is known of a soft part's own gradient is in rank.py, topk.py and permute.py of the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ...core.rankings import Array, Rankings
from ...core.targets import Known
from ..scalars.cut import GIVEN, MEMBERSHIP
from ..scalars.laplace import HARD
from .declared import Loss
from .ends import SCALED, weighted


@dataclass
class Parts:
    """What losses are made of, each computed when it is first asked for.

    kernels   a device's: the package ..cpu or ..cuda; place: where they run
    rankings  without masked scores, their targets (N,) float64 and alphas (m,)
    ks        (m,) float64, how many count as the top, or None for all
    keep      whether a gradient may follow, for which orders and cuts are kept
    known     what calls before have made of the target; None for a target that is seen once
    """

    kernels: Any
    place: Any
    rankings: Rankings
    target: Array
    alphas: np.ndarray
    ks: np.ndarray | None
    descending: bool
    keep: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    known: Known | None = None
    upstreams: tuple[Array, ...] = ()

    def read(self, name: str) -> Any:
        """What a loss reads by this name: an option of its own, or a part."""
        return self.options[name] if name in self.options else getattr(self, name)

    @property
    def scores(self) -> Array:
        """(N,) without masked ones."""
        return self.rankings.values

    @cached_property
    def hard_ranks(self) -> Array:
        """(N,) from 1; ties take the mean of their places."""
        return self.kernels.rank.soft_rank(self.order, np.full(len(self.rankings), HARD), dtype=np.float64)[0]

    @cached_property
    def places(self) -> Array:
        """(N,) int64, places of the scores from 0, the best first; ties in the order of the input."""
        return self.order.positions()

    @property
    def numbers(self) -> np.ndarray:
        """(m,) of each ranking in its file or call, by which noise is drawn."""
        return np.asarray(self.rankings.each.get("number", np.arange(len(self.rankings))), np.int64)

    @property
    def limits(self) -> np.ndarray:
        """(m,) how many count: all, unless there is a k."""
        return np.full(len(self.rankings), np.inf) if self.ks is None else self.ks

    @cached_property
    def order(self) -> Any:
        """The scores, sorted."""
        return self.kernels.order.Order(self.place, self.rankings, self.descending, keep=self.keep)

    @cached_property
    def ranks(self) -> Array:
        """(N,) from 1."""
        return self.kernels.rank.soft_rank(self.order, self.alphas, dtype=np.float64)[0]

    @cached_property
    def wide(self) -> Rankings:
        """The scores in float64."""
        return Rankings(self.kernels.losses.widened(self.place, self.scores), self.rankings.offsets)

    @cached_property
    def members_and_cuts(self) -> tuple[Array, Any]:
        """Memberships (N,) in the top k, and the thresholds that make them."""
        return self.kernels.topk.soft_topk(self.place, self.wide, self.ks, self.alphas, self.descending)

    @property
    def members(self) -> Array:
        """(N,) of the top k; empty where there is no k, and all are in."""
        return np.empty(0) if self.ks is None else self.members_and_cuts[0]

    @property
    def cuts(self) -> Array:
        """(m, 4) of the top k; see scalars/cut.py."""
        return self.kernels.losses.cuts_of(self.members_and_cuts[1])

    @cached_property
    def edges(self) -> tuple[Array, Array, Array]:
        """Anchors, steps and spans of the ends of places."""
        return self.kernels.permute.edges(self.order, self.alphas)

    @property
    def anchors(self) -> Array:
        """(N,) the score next to the end of every place, of the places of finite scores but the last."""
        return self.edges[0]

    @property
    def steps(self) -> Array:
        """(N,) from there to the end of the place."""
        return self.edges[1]

    @property
    def spans(self) -> Array:
        """(m, 2) places from .. to that finite scores take."""
        return self.edges[2]

    def _once(self, what: Any, make: Callable[[], Any]) -> Any:
        """Something of the target, which need not be made again for one that is known."""
        return make() if self.known is None else self.known.get(what, make)

    @cached_property
    def target_order(self) -> Any:
        """The targets, sorted, the largest first."""

        def make() -> Any:
            rankings = Rankings(self.target, self.rankings.offsets)
            return self.kernels.order.Order(self.place, rankings, keep=self.known is not None, name="target")

        return self._once("order", make)

    @cached_property
    def target_ranks(self) -> Array:
        """(N,) ranks of the targets, the largest first; ties take the mean of their places."""
        hard = np.full(len(self.rankings), HARD)
        return self._once("ranks", lambda: self.kernels.rank.soft_rank(self.target_order, hard)[0])

    @cached_property
    def target_places(self) -> Array:
        """(N,) int64, places of the targets from 0, the largest first; ties in the order of the input."""
        return self._once("places", lambda: self.target_order.positions())

    @cached_property
    def target_members(self) -> Array:
        """(N,) of the k largest targets; ties share what is left of k."""

        def make() -> Any:
            rankings, hard = Rankings(self.target, self.rankings.offsets), np.full(len(self.rankings), HARD)
            return self.kernels.topk.soft_topk(self.place, rankings, self.ks, hard, name="target")[0]

        assert self.ks is not None
        return self._once(("members", self.ks.tobytes()), make)

    def depends_on(self, name: str) -> bool:
        """Whether this soft part moves with the scores: memberships do where there is a k."""
        return name != "members" or self.ks is not None

    def forget(self) -> None:
        """Drop what no gradient needs."""
        for name in ("ranks", "places", "edges", "target_order", "target_ranks", "target_members"):
            self.__dict__.pop(name, None)


class Way(NamedTuple):
    """The way back of a soft part: (parts, upstream) -> gradients for scores (N,) and alpha (m,).

    shape  of the upstream gradient, before (N,)
    """

    back: Callable[[Parts, Array], tuple[Array, np.ndarray]]
    shape: tuple[int, ...] = ()


def _of_ranks(parts: Parts, upstream: Array) -> tuple[Array, np.ndarray]:
    given = {"dtype": np.float64, "upstream": upstream, "results": False}
    return parts.kernels.rank.soft_rank(parts.order, parts.alphas, **given)[1:]


def _of_topk(slope: int) -> Callable[[Parts, Array], tuple[Array, np.ndarray]]:
    def back(parts: Parts, upstream: Array) -> tuple[Array, np.ndarray]:
        (_, cuts), gradient = parts.members_and_cuts, parts.kernels.topk.topk_gradient
        return gradient(parts.place, parts.wide, upstream, cuts, parts.alphas, parts.descending, slope)[::2]

    return back


def _of_edges(parts: Parts, upstream: Array) -> tuple[Array, np.ndarray]:
    return parts.kernels.permute.edges_gradient(parts.order, parts.alphas, parts.target_places, upstream)


def _of_scores(parts: Parts, upstream: Array) -> tuple[Array, np.ndarray]:
    given = {"scores": parts.scores, "upstream": upstream, "alphas": parts.alphas, "descending": parts.descending}
    size = int(parts.rankings.offsets[-1])
    each_ranking = parts.kernels.losses.each_ranking
    to_alpha, (gradient,) = each_ranking(parts.place, SCALED, parts.rankings.offsets, given, [(size,)])
    return gradient, to_alpha


WAYS_BACK = {
    "scores over alpha": Way(_of_scores),  # larger is better; of what a shift of them all does not move
    "ranks": Way(_of_ranks),
    "members": Way(_of_topk(MEMBERSHIP)),
    "distances to the threshold": Way(_of_topk(GIVEN)),  # the upstream is along x / alpha at a fixed threshold
    "distances to edges": Way(_of_edges, (2,)),  # of its target's place: the one above, that below; by place
}


def forward(
    kernels: Any,
    place: Any,
    loss: Loss,
    rankings: Rankings,
    target: Array,
    alphas: np.ndarray,
    ks: np.ndarray | None,
    how: Mapping[str, Any],
    descending: bool,
    keep: bool,
    known: Known | None = None,
) -> tuple[np.ndarray, Parts | _Gradients]:
    """Losses (m,), or one for the stages of each query, in memory here, NaN where a target defines none after all; and
    what `backward` needs, if keep.

    kernels, place  a device's kernels, ..cpu or ..cuda, and where they run: Cores or a Lane
    rankings        of two scores or more, none of them masked; target (N,) float64, not all alike, larger is better
    ks              (m,) float64, or None where the loss has no k
    how             options of the loss's own, by name
    known           what is known of the target
    """
    if loss.levels is not None:
        return _over_levels(kernels, place, loss, rankings, target, alphas, how, descending, keep, known)
    parts = Parts(kernels, place, rankings, target, alphas, ks, descending, keep, how, known)
    given = {name: parts.read(name) for name in loss.reads}
    size = int(rankings.offsets[-1])
    shapes = [(*WAYS_BACK[name].shape, size * (keep and parts.depends_on(name))) for name in loss.moves]
    shapes += [(loss.work, size)] if loss.work else []
    offsets = rankings.offsets if loss.stages == 1 else rankings.offsets[:: loss.stages].copy()
    losses, upstreams = kernels.losses.each_ranking(place, loss, offsets, given, shapes)
    parts.upstreams = upstreams[: len(loss.moves)]
    parts.forget()
    return losses, parts


class _Gradients(NamedTuple):
    """The state of a sum over levels: its gradients for scores and alpha, which hold no more than one level does."""

    scores: Array
    alpha: Array


def _over_levels(
    kernels: Any,
    place: Any,
    loss: Loss,
    rankings: Rankings,
    target: Array,
    alphas: np.ndarray,
    how: Mapping[str, Any],
    descending: bool,
    keep: bool,
    known: Known | None,
) -> tuple[np.ndarray, _Gradients]:
    """As `forward`, n times the sum of what there is for each k of the loss's levels; of no k there is nothing."""
    assert loss.levels is not None
    of_one, offsets, losses = loss._replace(levels=None), rankings.offsets, np.zeros(len(rankings))
    scores, alpha = None, np.zeros(len(rankings))
    made = loss.levels
    for ks in made(target, offsets) if known is None else known.get("levels", lambda: list(made(target, offsets))):
        weights = np.where(ks > 0, rankings.lengths, 0.0)
        found, parts = forward(kernels, place, of_one, rankings, target, alphas, ks, how, descending, keep, known)
        with np.errstate(over="ignore"):
            losses += np.where(ks > 0, found, 0.0) * weights
        if keep:
            gradient, to_alpha = backward(kernels, place, of_one, parts)
            gradient = weighted(kernels, place, offsets, gradient, weights)
            with np.errstate(over="ignore"):
                alpha += np.where(ks > 0, kernels.losses.here(place, to_alpha), 0.0) * weights
            if scores is None:
                scores = gradient
            else:
                kernels.losses.add(place, scores, gradient)
    if scores is None:
        scores = weighted(kernels, place, offsets, np.zeros(len(target)), alpha)
    return losses, _Gradients(scores, alpha)


def backward(kernels: Any, place: Any, loss: Loss, state: Any) -> tuple[Array, np.ndarray]:
    """Gradients of the losses for the scores (N,) float64, and for alpha (m,), wherever they are."""
    if isinstance(state, _Gradients):
        return state
    found = [
        WAYS_BACK[name].back(state, upstream)
        for name, upstream in zip(loss.moves, state.upstreams, strict=True)
        if state.depends_on(name)
    ]
    gradient, to_alpha = found[0]
    for more, more_alpha in found[1:]:
        kernels.losses.add(place, gradient, more)
        kernels.losses.add(place, to_alpha, more_alpha)
    return gradient, to_alpha
