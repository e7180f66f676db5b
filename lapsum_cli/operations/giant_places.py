"""A loss of items at the places of their targets, of a ranking that no memory holds (losses/permutation_parts.py).

The edges of places are found in bands of the scores, and lie on the disk, by place. Items are put into rows by their
targets (giant_rows.py), each of which has some of the places; what moves each item comes back in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..core.rankings import Array, Rankings, frozen
from .giant_parts import WIDE, Parts, Piece
from .giant_ranking import Column
from .giant_rows import Row, Rows
from .giant_scores import rate_of

_BYTES_PLACED = 100  # of an item at its place: two edges, what its loop works with, and what it gives
_BYTES_MOVED = 72  # of a sorted score, as a sort with a gradient has it


class Placed(Parts):
    """The parts of such a loss."""

    @cached_property
    def loss(self) -> float:
        """The loss; with it all that a gradient is made of is put on the disk."""
        pieces, n = self.ranking.pieces, self.ranking.items
        of_gradient = 32 if self.moves else 0
        pieces.will_spill(n * (16 + 8 + 2 * self.ranking.dtype.itemsize + of_gradient))
        self._find_edges()
        work, bands = self.target.bands(_hard(), more=_BYTES_PLACED)
        self.room = work.room
        self.rows = Rows(bands, work.room, self.span, self.edges, self.ranking.alpha, self.operation.descending)
        self._put_apart(work)
        total, self.held = 0.0, (np.empty(0), np.empty(0))
        for task, told in pieces.over(lambda task: (task, task.compute(self, bands)), self._tasks()):
            total += told.total
            self.moment += told.moment
            task.keep(self, told)
        bands.close()
        self.items.close()
        return -total / n

    @property
    def moves(self) -> bool:
        return bool(self.operation.gradient and not self.ranking.constant)

    def _find_edges(self) -> None:
        """In bands of the scores, which wait for a gradient; and what is put on the disk by place."""
        from ..kernels.cpu import sort_parts

        scores, alpha, pieces = self.scores, self.ranking.alpha, self.ranking.pieces
        self.work, self.bands = scores.bands(rate_of(alpha), more=_BYTES_MOVED if self.moves else 16)
        start = int(self.bands.at[-1])
        self.span, self.moment = (start, scores.length), 0.0
        self.middle = float(scores.sign) * sort_parts.middle_of(self.bands)
        self.found: list[Column] = [pieces.column(WIDE) for _ in range(4 if self.moves else 2)]
        for place, edges in sort_parts.edges_of_bands(self.work, self.bands, alpha, self.operation.descending):
            for column, values in zip(self.found, edges, strict=False):
                column.put(place, values)
        if not self.moves:
            self.bands.close()

    def edges(self, place: int, stop: int) -> np.ndarray:
        """Those above and below places; 0 where there is none."""
        out, (start, end) = np.zeros((2, stop - place + 1)), self.span
        first, last = max(place - 1, start), min(stop, end - 1)
        if first < last:
            for values, column in zip(out, self.found, strict=False):
                values[first - place + 1 : last - place + 1] = column.take(first, last - first)
        return out

    def _put_apart(self, work: Any) -> None:
        """Every score into its row; and how many of each are finite."""
        from ..kernels.cpu.bands import Apart

        rows, nothing = self.rows, np.zeros(len(self.rows), np.int64)

        def of_part(first: int, rankings: Rankings) -> Any:
            piece = self.piece(first, rankings)
            order, counts = rows.of(piece)
            x, stops = piece.scores[order], np.cumsum(counts)
            parts = [(row, [x[stops[row] - counts[row] : stops[row]]]) for row in np.flatnonzero(counts).tolist()]
            finite = np.add.reduceat(np.append(np.isfinite(x), False), stops - counts, dtype=np.int64)
            return Apart((counts, np.where(counts > 0, finite, 0)), parts, nothing)

        self.items = work.store(len(rows), self.ranking.dtype)
        self.own: Any = work.store(len(rows), WIDE) if self.moves else None
        self.counts, self.finite = self.ranking.parted(of_part, [self.items])

    def _tasks(self) -> Iterator[_OfBand | _OfTie]:
        """The rows, those of ties with some of their items at a time."""
        ties: list[int] = []
        for number, row in enumerate(self.rows.rows):
            if row.tie is None:
                if self.counts[number]:
                    yield _OfBand(number, row)
                continue
            ties.append(number)
            if row.stop == row.tie[1]:
                yield from self._of_tie(ties)
                ties = []

    def _of_tie(self, numbers: list[int]) -> Iterator[_OfTie]:
        """Of a tie, which has these rows."""
        rows, (start, stop) = [self.rows.rows[number] for number in numbers], self.span
        (first, last), sums, before = rows[0].tie or (0, 0), (0.0, 0.0, 0.0), [(0.0, 0.0, 0.0)]
        is_finite, at = start <= first and last <= stop, max(start, min(first, stop - 2))
        origin = float(self.edges(at, at + 1)[0, 1])
        for row in rows if is_finite else ():
            edges = self.edges(row.place, row.stop)
            sums = self.sum_up(edges, row.place, origin, sums, self.room_at(edges))
            before.append(sums)
        above, below = 0, int(self.finite[numbers].sum())
        for number, row, sums_before in zip(numbers, rows, before, strict=False):
            count, here = int(self.counts[number]), int(self.finite[number])
            below -= here
            for done in range(0, max(count, 1), self.room):
                x, is_last = self.items.next(number, min(self.room, count - done)), done + self.room >= count
                others = (below, above) if is_finite else None
                yield _OfTie(number, row, x, (origin, sums_before, sums), others, done == 0, is_last)
            above += here

    def room_at(self, edges: np.ndarray) -> np.ndarray:
        """What loops work with at some places."""
        from ..kernels.losses.tied import ROWS

        return np.empty((ROWS, edges.shape[1]))

    def sum_up(self, edges: np.ndarray, place: int, origin: float, sums: Any, work: np.ndarray) -> Any:
        """As `tied.sum_up` has it."""
        from ..kernels.losses.permutation_parts import sums_of_tie

        return sums_of_tie(edges, place, self.whole, origin, sums, self.ranking.alpha, self.operation.descending, work)

    @property
    def whole(self) -> tuple[int, int, int]:
        """As the loops have it: the length, and the places of finite scores."""
        return (self.ranking.items, *self.span)

    def moved(self, x: Array, own: Array) -> float:
        """The sum of what moves each score, times the score, from the middle."""
        return float((own * np.where(own != 0.0, x.astype(WIDE) - self.middle, 0.0)).sum())

    def put(self, place: int, upstream: np.ndarray) -> None:
        """Gradients along the distances to edges, of places."""
        for column, values in zip(self.found[2:], upstream, strict=True):
            column.put(place, values)

    def put_nothing(self, row: Row, is_last: bool) -> None:
        """Nothing is pulled at the edges of these places, once all items are there."""
        for place in range(row.place, row.stop, self.room) if is_last else ():
            self.put(place, np.zeros((2, min(self.room, row.stop - place))))

    def take(self, order: Array, counts: Array) -> Array:
        """What moves each item of the next piece."""
        parts = [self.own.next(row, int(counts[row])) for row in np.flatnonzero(counts).tolist()]
        out = np.empty(len(order))
        out[order] = np.concatenate([np.empty(0), *parts])
        return out

    def pulls(self, place: int, count: int) -> np.ndarray:
        """The gradient with respect to the edges below places."""
        above, below = self.found[2:]
        return above.take(place + 1, count) - below.take(place, count)

    def upstreams(self, piece: Piece) -> dict[str, Array]:
        """They wait on the disk."""
        return dict.fromkeys(self.kernels.moves, frozen(np.empty(0)))

    def close(self) -> None:
        """Let go of what is on the disk."""
        for one in (*self.__dict__.get("found", ()), self.__dict__.get("own"), self.__dict__.get("bands")):
            if one is not None:
                one.close()


class _Told(NamedTuple):
    """The sum of log P, that of `moved`, what moves each item, and what is kept of the places."""

    total: float
    moment: float
    own: Array
    kept: Any


class _OfBand(NamedTuple):
    """A band, with all ties of its targets."""

    number: int
    row: Row

    def compute(self, parts: Placed, bands: Any) -> _Told:
        """What its items and places make."""
        from ..kernels.losses.permutation_parts import of_places
        from ..kernels.losses.tied import ITEM, ROWS

        (place, stop, _), y, x = self.row, bands.scores.take(self.number), parts.items.take(self.number)
        size, operation = stop - place, parts.operation
        work, upstream = np.zeros((ROWS, size + 1)), np.zeros((2, size + 1 if parts.moves else 0))
        order = np.argsort(-y, kind="stable")
        work[ITEM, 1:] = order
        given = parts.whole, parts.ranking.alpha, operation.descending, upstream, work
        total = of_places(x, y, parts.edges(place, stop), place, *given)
        own = np.empty(size if parts.moves else 0)
        if parts.moves:
            own[order] = upstream[1, 1:] - upstream[0, 1:]
        return _Told(total, parts.moved(x, own) if parts.moves else 0.0, own, upstream[:, 1:])

    def keep(self, parts: Placed, told: _Told) -> None:
        """For a gradient, on the disk."""
        if parts.moves:
            parts.own.put(self.number, told.own)
            parts.put(self.row.place, told.kept)


class _OfTie(NamedTuple):
    """Some items of a row of a tie.

    x         their scores
    sums      the origin of distances, the sums before these places, and those of all of the tie
    others    how many items of other rows are below these places, and above; None of places that finite scores lack
    is_first, is_last  of the items of the row
    """

    number: int
    row: Row
    x: Array
    sums: tuple[float, Any, Any]
    others: tuple[int, int] | None
    is_first: bool
    is_last: bool

    def compute(self, parts: Placed, bands: Any) -> _Told:
        """What these make."""
        from ..kernels.losses.permutation_parts import of_tie

        (place, stop, tie), (origin, before, whole) = self.row, self.sums
        edges, own = parts.edges(place, place if self.others is None else stop), np.empty(len(self.x))
        work = parts.room_at(edges)
        if self.others is not None:
            parts.sum_up(edges, place, origin, before, work)
        given = parts.whole, origin, whole, parts.ranking.alpha, parts.operation.descending, work, own
        total, *outside = of_tie(self.x, edges, place, tie, *given)
        moment = parts.moved(self.x, own) if parts.moves else 0.0
        return _Told(total, moment, own, (edges, work, np.array(outside)))

    def keep(self, parts: Placed, told: _Told) -> None:
        """Likewise; of the places, when all items are there."""
        from ..kernels.losses.permutation_parts import edges_of_tie
        from ..kernels.losses.tied import ABOVE, BELOW, IN

        if not parts.moves:
            return
        parts.own.put(self.number, told.own)
        if self.others is None:
            parts.put_nothing(self.row, self.is_last)
            return
        edges, work, outside = told.kept
        if not self.is_first:
            with np.errstate(over="ignore"):  # of equal edges, between which there is next to nothing
                work[[IN, ABOVE, BELOW]] += parts.held[0]
            outside += parts.held[1]
        parts.held = work[[IN, ABOVE, BELOW]], outside
        if self.is_last:
            upstream, others = np.empty((2, edges.shape[1])), self.others + outside
            given = parts.whole, tuple(others.tolist()), parts.ranking.alpha, parts.operation.descending
            edges_of_tie(edges, self.row.place, self.row.tie, *given, work, upstream)
            parts.put(self.row.place, upstream[:, 1:])


class OfEdges:
    """The way back: every item moves its own distances, and the edges those of others."""

    def __init__(self, parts: Placed, name: str):
        from ..kernels.cpu import sort_parts

        self.parts, alpha, descending = parts, parts.ranking.alpha, parts.operation.descending
        given = parts.work, parts.bands, alpha, parts.pulls, descending, sort_parts.EDGES, WIDE
        self.moved, _, self.moment = sort_parts.sort_gradient(*given)
        parts.bands.close()

    def to_alpha(self) -> float:
        """As a _Way has it: a loss of distances over alpha is that of scores over alpha."""
        return -(self.parts.moment + self.moment) / self.parts.ranking.alpha

    def look(self, piece: Piece, upstream: Array) -> Any:
        """As a _Way has it."""
        from ..kernels.cpu import rank_parts

        return rank_parts.places_of(self.moved, piece.scores, self.parts.scores.sign), self.parts.rows.of(piece)

    def give(self, piece: Piece, upstream: Array, seen: Any) -> Array:
        """As a _Way has it."""
        from ..kernels.cpu import rank_parts

        of_edges, rows = seen
        moved: Array = rank_parts.take(self.moved, piece.scores, None, self.parts.scores.sign, *of_edges)[0]
        return moved + self.parts.take(*rows)


def _hard() -> float:
    from ..kernels.scalars.laplace import HARD

    return rate_of(HARD)
