"""What a loss is made of, for a ranking that no memory holds: what is known of all of it, and the rest piece by piece.

The names are those of kernels.losses.parts.Parts. Memberships are made of a cut whenever they are read; ranks and
places are made once, in bands, and wait on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from ..core.rankings import Array, Rankings, frozen
from . import loss_called
from .giant_ranking import Column, Ranking
from .giant_scores import Cut, Scores, rate_of

WIDE = np.dtype(np.float64)


class Piece(NamedTuple):
    """Of a piece the scores that take part, and their targets; first: as Pieces.of_parts has it."""

    first: int
    scores: Array
    target: Array
    taken: Array


_NOTHING = Piece(0, frozen(np.empty(0)), frozen(np.empty(0)), frozen(np.empty(0, bool)))


@dataclass
class Parts:
    """What a loss is made of; what is known of all of a ranking is found when it is first asked for."""

    operation: Any
    ranking: Ranking

    def piece(self, first: int, rankings: Rankings) -> Piece:
        """Those of it that take part."""
        x, y = rankings.values, rankings.beside["target"]
        taken = x != self.operation.masked
        if taken.all():
            return Piece(first, x, frozen(y), taken)
        return Piece(first, frozen(x[taken]), frozen(y[taken]), taken)

    def of_pieces(self, function: Callable[[Piece], Any]) -> Iterator[Any]:
        """What a function returns for every piece, in their order."""
        return self.ranking.of_parts(lambda first, rankings: function(self.piece(first, rankings)))

    def is_defined(self) -> bool:
        """Whether two targets or more differ; BadRanking where the loss cannot use them."""
        least, most = ends(self.of_pieces(lambda piece: ends_of(piece.target)))
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
        self._read(_NOTHING)  # which has cuts and columns made, before pieces are read side by side
        known: tuple[Any, ...] = (self.ranking.items,)
        for of_items, largest in self.kernels.in_parts.rounds:
            call = partial(self._call, of_items, tuple(np.empty(0) for _ in self.kernels.moves), known)
            known += tuple((np.max if largest else np.sum)(list(self.of_pieces(call)), axis=0).tolist())
        return known

    @cached_property
    def loss(self) -> float:
        """The loss; NaN where the target defines none after all."""
        known = self.known
        return float(self.kernels.in_parts.loss(0, self._read(_NOTHING), known))

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
        return self._scores(
            lambda piece: frozen(piece.scores.astype(WIDE, copy=False)), WIDE, self.operation.descending
        )

    @property
    def target(self) -> Scores:
        """Their targets, the largest of which is best."""
        return self._scores(lambda piece: piece.target, WIDE, True)

    def _scores(self, of_piece: Callable[[Piece], Array], dtype: Any, largest: bool) -> Scores:
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
        pieces, wanted = self.ranking.pieces, [name for name in COLUMNS if name in self.kernels.reads]
        if wanted:
            moves = self.operation.gradient and "ranks" in self.kernels.moves
            for_a_while = self.ranking.dtype.itemsize + 16 if moves else 16
            pieces.will_spill(self.ranking.items * (8 * len(wanted) + for_a_while))
        return {name: _filled(pieces.column(COLUMNS[name].dtype), *COLUMNS[name].made(self)) for name in wanted}

    def close(self) -> None:
        """Let go of what is on the disk."""
        for column in self.__dict__.get("columns", {}).values():
            column.close()

    # And of a piece.

    def members(self, piece: Piece) -> Array:
        """Of the soft top k; empty where there is no k, and all are in."""
        if "k" not in self.ranking.each:
            return np.empty(0)
        return self._members(piece.scores, self.wide.sign, self.cut, self.ranking.alpha)

    def target_members(self, piece: Piece) -> Array:
        """Of the k largest targets; ties share what is left of k."""
        from ..kernels.scalars.laplace import HARD

        return self._members(piece.target, self.target.sign, self.target_cut, HARD)

    def _members(self, x: Array, sign: Any, found: Cut, alpha: float) -> Array:
        from ..kernels.cpu.topk import write_part
        from ..kernels.scalars.cut import rates_of

        p, rate = np.empty(len(x)), rates_of(np.array([alpha]), WIDE)[0]
        k = float(self.ranking.each["k"][0])
        write_part(frozen(x.astype(WIDE, copy=False)), sign, k, found.top, found.finite, found.cut, rate, None, p)
        return p

    def _read(self, piece: Piece) -> tuple[Any, ...]:
        """What the loss reads, of a piece."""
        return tuple(self._of_piece(name, piece) for name in self.kernels.reads)

    def _of_piece(self, name: str, piece: Piece) -> Any:
        if name in self.numbers:
            return self.numbers[name]
        if name in self.columns:
            return frozen(self.columns[name].take(piece.first, len(piece.scores)))
        if name in piece._fields:
            return getattr(piece, name)
        return frozen(getattr(self, name)(piece))

    def _call(self, of_items: Any, upstreams: Any, known: Any, piece: Piece) -> Any:
        """What a round of the loss makes of a piece."""
        from ..kernels.scalars.team import Alone

        n = len(piece.scores)
        return of_items(Alone(0, 1, 0, 1), 0, 0, n, self._read(piece), upstreams, known)

    def upstreams(self, piece: Piece) -> dict[str, Array]:
        """The gradient of the loss with respect to every soft part, by its name."""
        found = tuple(np.empty(len(piece.scores) * self.depends_on(name)) for name in self.kernels.moves)
        self._call(self.kernels.in_parts.slopes, found, self.known, piece)
        return dict(zip(self.kernels.moves, found, strict=True))

    def depends_on(self, name: str) -> bool:
        """As of those in memory."""
        return name != "members" or "k" in self.ranking.each


def ends_of(values: Array) -> tuple[float, float]:
    """The least and the largest."""
    return float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))


def ends(of_pieces: Iterator[tuple[float, float]]) -> tuple[float, float]:
    """Those of all pieces."""
    least, most = zip(*of_pieces, strict=True)
    return min(least), max(most)


class _Column(NamedTuple):
    """A number for every score that waits on the disk: of these scores, what is to be taken for each."""

    made: Callable[[Parts], tuple[Scores, Any]]
    dtype: Any = WIDE


def _ranked(scores: Scores, alpha: float) -> tuple[Scores, Any]:
    from ..kernels.cpu import rank_parts

    rate = rate_of(alpha)
    work, bands = scores.bands(rate)
    ranked = rank_parts.rank_bands(work, bands, rate, 1.0, scores.largest, WIDE)
    bands.close()
    return scores, ranked


def _target_ranked(parts: Parts) -> tuple[Scores, Any]:
    from ..kernels.scalars.laplace import HARD

    return _ranked(parts.target, HARD)


def _target_placed(parts: Parts) -> tuple[Scores, Any]:
    from ..kernels.cpu import rank_parts
    from ..kernels.scalars.laplace import HARD

    work, bands = parts.target.bands(rate_of(HARD))
    placed = rank_parts.place_bands(work, bands)
    bands.close()
    return parts.target, placed


COLUMNS = {
    "ranks": _Column(lambda parts: _ranked(parts.scores, parts.ranking.alpha)),
    "target_ranks": _Column(_target_ranked),
    "target_places": _Column(_target_placed, np.int64),
}


def _filled(column: Column, scores: Scores, ranked: Any) -> Column:
    """What there is for every score in its place, piece by piece."""
    from ..kernels.cpu import rank_parts

    of_piece, sign = scores.of_piece, scores.sign

    def look(first: int, rankings: Rankings) -> Any:
        x = of_piece(first, rankings)
        return x, rank_parts.places_of(ranked, x, sign)

    def give(looked: Any) -> Array:
        x, seen = looked
        return frozen(rank_parts.take(ranked, x, None, sign, *seen)[0])

    scores.ranking.filled(column, look, give)
    ranked.close()
    return column
