"""The passes of a loss over a ranking that no memory holds: sums over its parts, and the way back through each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from ..core.rankings import Array, Rankings, frozen
from .giant import LastPass, Ranking
from .giant_parts import WIDE, Parts, Piece, ends, ends_of
from .giant_scores import Weights, common_of, rate_of
from .operation import GRADIENT


def passes(operation: Any, ranking: Ranking) -> LastPass:
    """The passes of a loss, and its number; of a ranking without one all gradients are 0."""
    parts = Parts(operation, ranking)
    of_one = parts.loss if parts.is_defined() else np.nan
    numbers, ways = {"loss": of_one}, {}
    if operation.gradient and not np.isnan(of_one) and not ranking.constant:
        ways = {name: _WAYS[name](parts, name) for name in parts.kernels.moves if parts.depends_on(name)}
    if not ways:
        parts.close()
    if operation.grad_alpha:
        numbers[f"{GRADIENT}_alpha"] = operation.scale * sum(way.to_alpha() for way in ways.values())

    def look(first: int, rankings: Rankings) -> Any:
        if not operation.gradient:
            return None
        piece = parts.piece(first, rankings)
        upstreams = parts.upstreams(piece) if ways else {}
        return piece, {name: (upstreams[name], way.look(piece, upstreams[name])) for name, way in ways.items()}

    def give(first: int, rankings: Rankings, seen: Any) -> dict[str, Any]:
        if not operation.gradient:
            return {}
        piece, found = seen
        gradient, out = np.zeros(len(piece.scores)), np.zeros(len(rankings.values), ranking.dtype)
        for name, way in ways.items():
            gradient += way.give(piece, *found[name])
        with np.errstate(over="ignore"):  # at an alpha of 1e-40 a gradient may well be beyond float32: inf
            out[piece.taken] = gradient * operation.scale
        return {GRADIENT: out}

    return LastPass(look, give, numbers)


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


_WAYS: dict[str, Callable[[Parts, str], _Way]] = {
    "ranks": _OfRanks,
    "members": _OfTopK,
    "distances to the threshold": _OfTopK,
}
