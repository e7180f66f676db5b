"""Losses of a ranking that no memory holds: its parts piece by piece, sums over them, and the way back.

What a loss reads has the names that it has in memory (kernels.losses.parts.Parts). Memberships are made of a cut for
every pass; ranks and places are made once, in bands, and wait on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..core.rankings import Array, Rankings, frozen
from . import loss_called
from .giant import Column, LastPass, Ranking
from .giant_scores import Cut, Scores, Weights, common_of, rate_of
from .operation import GRADIENT

_WIDE = np.dtype(np.float64)


def passes(operation: Any, ranking: Ranking) -> LastPass:
    """The passes of a loss, and its number; of a ranking without one all gradients are 0."""
    parts = _Parts(operation, ranking)
    of_one = parts.loss if parts.is_defined() else np.nan
    numbers, ways = {"loss": of_one}, {}
    if operation.gradient and not np.isnan(of_one) and not ranking.constant:
        ways = {name: _WAYS[name](parts, name) for name in parts.kernels.moves if parts.depends_on(name)}
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


class _Piece(NamedTuple):
    """Of a piece the scores that take part, and their targets; first: as Pieces.of_parts has it."""

    first: int
    scores: Array
    target: Array
    taken: Array


@dataclass
class _Parts:
    """What a loss is made of; what is known of all of a ranking is found when it is first asked for."""

    operation: Any
    ranking: Ranking

    def piece(self, first: int, rankings: Rankings) -> _Piece:
        """Those of it that take part."""
        x, y = rankings.values, rankings.beside["target"]
        taken = x != self.operation.masked
        if taken.all():
            return _Piece(first, x, frozen(y), taken)
        return _Piece(first, frozen(x[taken]), frozen(y[taken]), taken)

    def of_pieces(self, function: Callable[[_Piece], Any]) -> Iterator[Any]:
        """What a function returns for every piece, in their order."""
        return self.ranking.of_parts(lambda first, rankings: function(self.piece(first, rankings)))

    def is_defined(self) -> bool:
        """Whether two targets or more differ; BadRanking where the loss cannot use them."""
        least, most = _ends(self.of_pieces(lambda piece: _ends_of(piece.target)))
        if self.kernels.needs_gains and (least < 0 or most == np.inf):
            raise self.operation.refused_targets(0, least, most)
        return bool(least < most)

    @cached_property
    def kernels(self) -> Any:
        """The loss, as its file declares it."""
        return loss_called(self.operation.loss)

    # What is known of all of it.

    @cached_property
    def known(self) -> tuple[Any, ...]:
        """How many scores take part, and what the rounds of the loss make of all of them."""
        known: tuple[Any, ...] = (self.ranking.items,)
        for of_items, largest in self.kernels.in_parts.rounds:
            call = partial(self._call, of_items, tuple(np.empty(0) for _ in self.kernels.moves), known)
            known += tuple((np.max if largest else np.sum)(list(self.of_pieces(call)), axis=0).tolist())
        return known

    @cached_property
    def loss(self) -> float:
        """The loss; NaN where the target defines none after all."""
        empty = _Piece(0, np.empty(0, self.ranking.dtype), np.empty(0), np.empty(0, bool))
        return float(self.kernels.in_parts.loss(0, self._read(empty), self.known))

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """What a loss reads beside items: numbers of the ranking, and options."""
        k = self.ranking.each.get("k")
        of_it = {"alphas": np.array([self.ranking.alpha]), "limits": np.array([np.inf]) if k is None else k, "ks": k}
        cuts = {"cuts": self.cut.cut[None]} if "cuts" in self.kernels.reads else {}
        given = {name: frozen(values) for name, values in (of_it | cuts).items() if values is not None}
        return {"descending": self.operation.descending, **self.operation.own_options(), **given}

    @property
    def scores(self) -> Scores:
        """Those that take part."""
        return self._scores(lambda piece: piece.scores, self.ranking.dtype, self.operation.descending)

    @property
    def wide(self) -> Scores:
        """The same in float64."""
        return self._scores(lambda piece: frozen(piece.scores.astype(_WIDE)), _WIDE, self.operation.descending)

    @property
    def target(self) -> Scores:
        """Their targets, the largest of which is best."""
        return self._scores(lambda piece: piece.target, _WIDE, True)

    def _scores(self, of_piece: Callable[[_Piece], Array], dtype: Any, largest: bool) -> Scores:
        given = self.ranking.items, np.dtype(dtype), largest
        return Scores(self.ranking, lambda first, rankings: of_piece(self.piece(first, rankings)), *given)

    @cached_property
    def cut(self) -> Cut:
        """That of the soft top k."""
        return self.wide.cut(float(self.ranking.each["k"][0]), self.ranking.alpha)

    @cached_property
    def target_cut(self) -> Cut:
        """That of the k largest targets."""
        from ..kernels.scalars.laplace import HARD

        return self.target.cut(float(self.ranking.each["k"][0]), HARD)

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Ranks and places, on the disk; bands of each, which are there for a while, take as much again, and those of a
        gradient.
        """
        pieces, wanted = self.ranking.pieces, [name for name in _COLUMNS if name in self.kernels.reads]
        if wanted:
            moves = self.operation.gradient and "ranks" in self.kernels.moves
            for_a_while = self.ranking.dtype.itemsize + 16 if moves else 16
            pieces.will_spill(self.ranking.items * (8 * len(wanted) + for_a_while))
        return {name: _filled(pieces.column(_COLUMNS[name].dtype), *_COLUMNS[name].made(self)) for name in wanted}

    # And of a piece.

    def members(self, piece: _Piece) -> Array:
        """Of the soft top k; empty where there is no k, and all are in."""
        if "k" not in self.ranking.each:
            return np.empty(0)
        return self._members(piece.scores, self.wide.sign, self.cut, self.ranking.alpha)

    def target_members(self, piece: _Piece) -> Array:
        """Of the k largest targets; ties share what is left of k."""
        from ..kernels.scalars.laplace import HARD

        return self._members(piece.target, self.target.sign, self.target_cut, HARD)

    def _members(self, x: Array, sign: Any, found: Cut, alpha: float) -> Array:
        from ..kernels.cpu.topk import write_part
        from ..kernels.scalars.cut import rates_of

        p, rate = np.empty(len(x)), rates_of(np.array([alpha]), _WIDE)[0]
        k = float(self.ranking.each["k"][0])
        write_part(frozen(x.astype(_WIDE, copy=False)), sign, k, found.top, found.finite, found.cut, rate, None, p)
        return p

    def _read(self, piece: _Piece) -> tuple[Any, ...]:
        """What the loss reads, of a piece."""
        return tuple(self._of_piece(name, piece) for name in self.kernels.reads)

    def _of_piece(self, name: str, piece: _Piece) -> Any:
        if name in self.numbers:
            return self.numbers[name]
        if name in self.columns:
            return frozen(self.columns[name].take(piece.first, len(piece.scores)))
        if name in piece._fields:
            return getattr(piece, name)
        return frozen(getattr(self, name)(piece))

    def _call(self, of_items: Any, upstreams: Any, known: Any, piece: _Piece) -> Any:
        """What a round of the loss makes of a piece."""
        from ..kernels.scalars.team import Alone

        n = len(piece.scores)
        return of_items(Alone(0, 1, 0, 1), 0, 0, n, self._read(piece), upstreams, known)

    def upstreams(self, piece: _Piece) -> dict[str, Array]:
        """The gradient of the loss with respect to every soft part, by its name."""
        found = tuple(np.empty(len(piece.scores) * self.depends_on(name)) for name in self.kernels.moves)
        self._call(self.kernels.in_parts.slopes, found, self.known, piece)
        return dict(zip(self.kernels.moves, found, strict=True))

    def depends_on(self, name: str) -> bool:
        """As of those in memory."""
        return name != "members" or "k" in self.ranking.each


def _ends_of(values: Array) -> tuple[float, float]:
    """The least and the largest."""
    return float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))


def _ends(of_pieces: Iterator[tuple[float, float]]) -> tuple[float, float]:
    """Those of all pieces."""
    least, most = zip(*of_pieces, strict=True)
    return min(least), max(most)


class _Column(NamedTuple):
    """A number for every score that waits on the disk: of these scores, what is to be taken for each."""

    made: Callable[[_Parts], tuple[Scores, Any]]
    dtype: Any = _WIDE


def _ranked(scores: Scores, alpha: float) -> tuple[Scores, Any]:
    from ..kernels.cpu import rank_parts

    rate = rate_of(alpha)
    work, bands = scores.bands(rate)
    ranked = rank_parts.rank_bands(work, bands, rate, 1.0, scores.largest, _WIDE)
    bands.close()
    return scores, ranked


def _target_ranked(parts: _Parts) -> tuple[Scores, Any]:
    from ..kernels.scalars.laplace import HARD

    return _ranked(parts.target, HARD)


def _target_placed(parts: _Parts) -> tuple[Scores, Any]:
    from ..kernels.cpu import rank_parts
    from ..kernels.scalars.laplace import HARD

    work, bands = parts.target.bands(rate_of(HARD))
    placed = rank_parts.place_bands(work, bands)
    bands.close()
    return parts.target, placed


_COLUMNS = {
    "ranks": _Column(lambda parts: _ranked(parts.scores, parts.ranking.alpha)),
    "target_ranks": _Column(_target_ranked),
    "target_places": _Column(_target_placed, np.int64),
}


def _filled(column: Column, scores: Scores, ranked: Any) -> Column:
    """What there is for every score in its place, piece by piece."""
    from ..kernels.cpu import rank_parts

    def of_part(first: int, x: Array) -> Any:
        return first, x, rank_parts.places_of(ranked, x, scores.sign)

    for first, x, seen in scores.of_parts(of_part):
        column.put(first, rank_parts.take(ranked, x, None, scores.sign, *seen)[0])
    ranked.close()
    return column


class _Way(Protocol):
    """The way back of a soft part."""

    def to_alpha(self) -> float:
        """The gradient for alpha."""

    def look(self, piece: _Piece, upstream: Array) -> Any:
        """What takes long of the gradient for the scores of a piece."""

    def give(self, piece: _Piece, upstream: Array, seen: Any) -> Array:
        """That gradient; of every piece in turn."""


class _OfRanks:
    """In bands again, with the upstream gradient of every score."""

    def __init__(self, parts: _Parts, name: str):
        from ..kernels.cpu import rank_parts

        self.common = common_of(*_ends(parts.of_pieces(lambda piece: _ends_of(parts.upstreams(piece)[name]))))
        self.scores, self.rate = parts.scores, rate_of(parts.ranking.alpha)

        def weights(first: int, rankings: Rankings) -> Array:
            return frozen(parts.upstreams(parts.piece(first, rankings))[name])

        work, bands = self.scores.bands(self.rate, Weights(weights, _WIDE, self.common))
        given = self.rate, 1.0, self.scores.largest, None, self.common
        self.ranked = rank_parts.rank_bands(work, bands, *given)
        bands.close()

    def to_alpha(self) -> float:
        """As a _Way has it."""
        return -self.ranked.total * self.rate

    def look(self, piece: _Piece, upstream: Array) -> Any:
        """As a _Way has it."""
        from ..kernels.cpu import rank_parts

        return rank_parts.places_of(self.ranked, piece.scores, self.scores.sign)

    def give(self, piece: _Piece, upstream: Array, seen: Any) -> Array:
        """As a _Way has it."""
        from ..kernels.cpu import rank_parts

        gradient: Array = rank_parts.take(self.ranked, piece.scores, upstream, self.scores.sign, *seen)[1]
        return gradient


class _OfTopK:
    """Two sums over the scores."""

    def __init__(self, parts: _Parts, name: str):
        from ..kernels.cpu.topk_gradient import gradient_of_parts
        from ..kernels.scalars.cut import GIVEN, MEMBERSHIP, rates_of

        self.parts, self.name, self.scores = parts, name, parts.wide
        slope = MEMBERSHIP if name == "members" else GIVEN
        rate = rates_of(np.array([parts.ranking.alpha]), _WIDE)[0]
        self.made = gradient_of_parts(self._of_parts, parts.cut.cut, rate, self.scores.sign, slope)

    def _of_parts(self, function: Callable[[int, Array, Array], Any]) -> Iterator[Any]:
        def of_piece(piece: _Piece) -> Any:
            return function(piece.first, frozen(piece.scores.astype(_WIDE)), self._upstream(piece))

        return self.parts.of_pieces(of_piece)

    def _upstream(self, piece: _Piece) -> Array:
        return frozen(self.parts.upstreams(piece)[self.name])

    def to_alpha(self) -> float:
        """As a _Way has it."""
        made = self.made
        return 0.0 if made is None else float(sum(self._of_parts(lambda _, x, v: made.of_part(x, v)[1])))

    def look(self, piece: _Piece, upstream: Array) -> Any:
        """As a _Way has it."""
        if self.made is None:
            return np.zeros(len(piece.scores))
        return self.made.of_part(frozen(piece.scores.astype(_WIDE)), frozen(upstream))[0]

    def give(self, piece: _Piece, upstream: Array, seen: Any) -> Array:
        """As a _Way has it."""
        return seen


_WAYS: dict[str, Callable[[_Parts, str], _Way]] = {
    "ranks": _OfRanks,
    "members": _OfTopK,
    "distances to the threshold": _OfTopK,
}
