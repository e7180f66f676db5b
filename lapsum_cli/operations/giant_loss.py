"""The passes of a loss over a ranking that no memory holds: sums over its parts, and the way back through each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..core.errors import BadRanking
from ..core.rankings import Array, Rankings, frozen
from . import loss_called
from .giant_parts import WIDE, Parts, Piece, ends, ends_of
from .giant_places import OfEdges, Placed
from .giant_ranking import LastPass, Ranking
from .giant_scores import Weights, common_of, rate_of
from .slots import GRADIENT

GRADES = 100  # of a target, each of which takes passes of its own


class _Moved(NamedTuple):
    """A soft part that moves with the scores: of which parts, what a change of these counts for, and its way back."""

    parts: Parts
    weight: float
    name: str
    way: _Way


def passes(operation: Any, ranking: Ranking) -> LastPass:
    """The passes of a loss, and its number; of a ranking without one all gradients are 0."""
    whole = _parts(operation, ranking)
    every = _levels(whole) if whole.is_defined() else []
    numbers = {"loss": sum(weight * parts.loss for parts, weight in every) if every else np.nan}
    moved: list[_Moved] = []
    if operation.gradient and not np.isnan(numbers["loss"]) and not ranking.constant:
        for parts, weight in every:
            names = [name for name in parts.kernels.moves if parts.depends_on(name)]
            moved += [_Moved(parts, weight, name, _WAYS[name](parts, name)) for name in names]
    if not moved:
        for parts, _ in every:
            parts.close()
    if operation.grad_alpha:
        to_alpha = sum(one.weight * one.way.to_alpha() for one in moved)
        numbers[f"{GRADIENT}_alpha"] = operation.scale * to_alpha

    def look(first: int, rankings: Rankings) -> Any:
        if not operation.gradient:
            return None
        piece, found = whole.piece(first, rankings), []
        for one in moved:
            upstream = one.parts.upstreams(piece)[one.name]
            found.append((upstream, one.way.look(piece, upstream)))
        return piece, found

    def give(first: int, rankings: Rankings, seen: Any) -> dict[str, Any]:
        if not operation.gradient:
            return {}
        piece, found = seen
        gradient, out = np.zeros(len(piece.scores)), np.zeros(len(rankings.values), ranking.dtype)
        with np.errstate(over="ignore"):  # at an alpha of 1e-40 a gradient may well be beyond float32: inf
            for one, looked in zip(moved, found, strict=True):
                gradient += one.weight * one.way.give(piece, *looked)
            out[piece.taken] = gradient * operation.scale
        return {GRADIENT: out}

    return LastPass(look, give, numbers)


def _parts(operation: Any, ranking: Ranking) -> Parts:
    from ..kernels.losses.declared import InParts, InPlaces

    of_kind = {InParts: Parts, InPlaces: Placed}
    return of_kind[type(loss_called(operation.loss).in_parts)](operation, ranking)


def _levels(whole: Parts) -> list[tuple[Parts, float]]:
    """Whose losses are added, and how often: the ranking itself; or, of a loss over grades, with each of their ks.

    BadRanking where these are too many to have passes of their own.
    """
    if whole.kernels.levels is None:
        return [(whole, 1.0)]
    ranking, grades = whole.ranking, np.empty(0)
    for some in whole.of_pieces(lambda piece: np.unique(piece.target)[: GRADES + 1]):
        grades = np.unique(np.concatenate([grades, some]))[: GRADES + 1]
    if len(grades) > GRADES:
        raise BadRanking(
            0,
            f"{whole.operation.loss} of a ranking of this size takes passes for every grade of its target, of which "
            f"there are more than {GRADES}; round them",
        )
    counts = sum(whole.of_pieces(lambda piece: np.array([np.count_nonzero(piece.target >= one) for one in grades])))
    return [
        (Parts(whole.operation, ranking.with_each({**ranking.each, "k": np.array([float(k)])})), float(ranking.items))
        for k in np.asarray(counts)[:0:-1].tolist()
    ]


class _Way(Protocol):
    """The way back of a soft part."""

    def to_alpha(self) -> float:
        """The gradient for alpha."""

    def look(self, piece: Piece, upstream: Array) -> Any:
        """What takes long of the gradient for the scores of a piece."""

    def give(self, piece: Piece, upstream: Array, seen: Any) -> Array:
        """That gradient; of every piece in turn."""


class _OfRanks:
    """In bands again, with the upstream gradient of every score."""

    def __init__(self, parts: Parts, name: str):
        from ..kernels.cpu import rank_parts

        self.common = common_of(*ends(parts.of_pieces(lambda piece: ends_of(parts.upstreams(piece)[name]))))
        self.scores, self.rate = parts.scores, rate_of(parts.ranking.alpha)

        def weights(first: int, rankings: Rankings) -> Array:
            return frozen(parts.upstreams(parts.piece(first, rankings))[name])

        work, bands = self.scores.bands(self.rate, Weights(weights, WIDE, self.common))
        given = self.rate, 1.0, self.scores.largest, None, self.common
        self.ranked = rank_parts.rank_bands(work, bands, *given)
        bands.close()

    def to_alpha(self) -> float:
        """As a _Way has it."""
        return -self.ranked.total * self.rate

    def look(self, piece: Piece, upstream: Array) -> Any:
        """As a _Way has it."""
        from ..kernels.cpu import rank_parts

        return rank_parts.places_of(self.ranked, piece.scores, self.scores.sign)

    def give(self, piece: Piece, upstream: Array, seen: Any) -> Array:
        """As a _Way has it."""
        from ..kernels.cpu import rank_parts

        gradient: Array = rank_parts.take(self.ranked, piece.scores, upstream, self.scores.sign, *seen)[1]
        return gradient


class _OfTopK:
    """Two sums over the scores."""

    def __init__(self, parts: Parts, name: str):
        from ..kernels.cpu.topk_gradient import gradient_of_parts
        from ..kernels.scalars.cut import GIVEN, MEMBERSHIP, rates_of

        self.parts, self.name, self.scores = parts, name, parts.wide
        slope = MEMBERSHIP if name == "members" else GIVEN
        rate = rates_of(np.array([parts.ranking.alpha]), WIDE)[0]
        self.made = gradient_of_parts(self._of_parts, parts.cut.cut, rate, self.scores.sign, slope)

    def _of_parts(self, function: Callable[[int, Array, Array], Any]) -> Iterator[Any]:
        def of_piece(piece: Piece) -> Any:
            return function(piece.first, frozen(piece.scores.astype(WIDE, copy=False)), self._upstream(piece))

        return self.parts.of_pieces(of_piece)

    def _upstream(self, piece: Piece) -> Array:
        return frozen(self.parts.upstreams(piece)[self.name])

    def to_alpha(self) -> float:
        """As a _Way has it."""
        made = self.made
        return 0.0 if made is None else float(sum(self._of_parts(lambda _, x, v: made.of_part(x, v)[1])))

    def look(self, piece: Piece, upstream: Array) -> Any:
        """As a _Way has it."""
        if self.made is None:
            return np.zeros(len(piece.scores))
        return self.made.of_part(frozen(piece.scores.astype(WIDE, copy=False)), frozen(upstream))[0]

    def give(self, piece: Piece, upstream: Array, seen: Any) -> Array:
        """As a _Way has it."""
        return seen


_WAYS: dict[str, Callable[[Any, str], _Way]] = {
    "ranks": _OfRanks,
    "members": _OfTopK,
    "distances to the threshold": _OfTopK,
    "distances to edges": OfEdges,
}
