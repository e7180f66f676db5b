"""A budget of bytes becomes cuts between rankings: batches hold whole rankings, and all of them together keep the
budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from ..core.cuts import cut, sizes_before
from ..core.errors import RankingTooLarge
from ..formats.sources import Chunk
from .budget import Budget


@dataclass
class Batch:
    """Consecutive whole rankings: their rows, and the rows (from 0) at which rankings begin."""

    chunks: list[Chunk]
    starts: np.ndarray
    cost: int
    valid: np.ndarray | None = None  # which scores take part, where some are left out
    # Where the rows are a piece of one ranking: how many of its rows, and of its scores, came before.
    first: int = 0
    before: int = 0

    @property
    def rows(self) -> int:
        """How many rows of the input."""
        return sum(chunk.batch.num_rows for chunk in self.chunks)

    def table(self) -> pa.Table:
        """The rows as they came."""
        return pa.Table.from_batches([chunk.batch for chunk in self.chunks])

    def locate(self, row: int) -> tuple[Chunk, int]:
        """The chunk that holds a row of the batch, and the row in it."""
        for chunk in self.chunks:
            if row < chunk.batch.num_rows:
                return chunk, row
            row -= chunk.batch.num_rows
        raise IndexError(row)


def whole_rankings(
    chunks: Iterable[Chunk], layout: Any, score_cost: int, budget: Budget, giants: Giants | None = None
) -> Iterator[Any]:
    """Batches of whole rankings, of about `budget.batch` bytes or one ranking.

    score_cost: bytes of work and result for every score. The last ranking of a long table stays open until the next
    begins. giants: makes something of a ranking that no batch holds, which takes its place; without, it is refused.
    """
    rows_of = _Reader(layout, score_cost, layout.seen(budget.size // 4))
    whole, open_ranking = _Pieces(), _Pieces()
    unread = _Unread(rows_of, rows_of.split(chunks, budget.batch))
    for chunk, starts in unread:
        cost = rows_of.cost(chunk)
        held = whole.cost + open_ranking.cost
        if whole.chunks and held + cost > budget.batch:
            yield whole.flush()
            held = open_ranking.cost
        if not budget.take(cost, held):
            refusal = giants.refusal if giants is not None else ""
            if giants is None or refusal or layout.closes_with_row:
                raise too_large(rows_of.refused(open_ranking, chunk, starts, unread), budget, refusal)
            budget.give(open_ranking.cost)
            name = rows_of.name(open_ranking.chunks[0] if open_ranking.chunks else chunk)
            unread.back(chunk, starts)
            giant = giants.made(name, unread.until_next(open_ranking))
            yield giant
            if giant.ends_input:
                return
            open_ranking = _Pieces()
            continue
        if len(starts):  # whatever lies before the last start is whole
            rows = chunk.batch.num_rows
            cut = rows if layout.closes_with_row else int(starts[-1])
            before = cost * cut // rows
            whole.extend(open_ranking)
            open_ranking = _Pieces()
            if cut > 0:
                whole.add(chunk.slice(0, cut), starts[starts < cut], before)
            if cut < rows:
                open_ranking.add(chunk.slice(cut, rows), np.zeros(1, np.int64), cost - before)
        else:
            open_ranking.add(chunk, starts, cost)
        if whole.cost >= budget.batch:
            yield whole.flush()
    whole.extend(open_ranking)
    if whole.chunks:
        yield whole.flush()


class Giants(Protocol):
    """What makes something of rankings that no batch holds."""

    @property
    def refusal(self) -> str | None:
        """Why it cannot; None where it can."""

    def made(self, name: str, chunks: Iterator[Chunk]) -> Any:
        """What takes the place of a batch, of a ranking's name and chunks; `ends_input`: whether it is the last."""


class _Unread:
    """Chunks, each with the rows of it at which rankings begin; some may come again."""

    def __init__(self, rows_of: _Reader, chunks: Iterator[Chunk]):
        self.rows_of, self.chunks = rows_of, chunks
        self.returned: list[tuple[Chunk, np.ndarray]] = []

    def __iter__(self) -> Iterator[tuple[Chunk, np.ndarray]]:
        return self

    def __next__(self) -> tuple[Chunk, np.ndarray]:
        if self.returned:
            return self.returned.pop()
        chunk = next(self.chunks)
        return chunk, self.rows_of.starts(chunk)

    def back(self, chunk: Chunk, starts: np.ndarray) -> None:
        """Have this come next."""
        self.returned.append((chunk, starts))

    def until_next(self, held: _Pieces) -> Iterator[Chunk]:
        """The chunks of the open ranking, of which some are held, until the next begins."""
        rows, held.chunks = held.rows, [*reversed(held.chunks)]
        while held.chunks:
            yield held.chunks.pop()
        for chunk, starts in self:
            later = starts[starts > 0] if rows == 0 else starts
            stop = int(later[0]) if len(later) else chunk.batch.num_rows
            rows += stop
            if stop:
                yield chunk.slice(0, stop)
            if len(later):
                self.back(chunk.slice(stop, chunk.batch.num_rows), starts[starts >= stop] - stop)
                return


class _Pieces:
    """Rows that are gathered for a batch, in the chunks that they came in."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.starts: list[np.ndarray] = []
        self.rows = self.cost = 0

    def add(self, chunk: Chunk, starts: np.ndarray, cost: int) -> None:
        self.chunks.append(chunk)
        self.starts.append(starts + self.rows)
        self.rows += chunk.batch.num_rows
        self.cost += cost

    def extend(self, other: _Pieces) -> None:
        self.chunks += other.chunks
        self.starts += [starts + self.rows for starts in other.starts]
        self.rows += other.rows
        self.cost += other.cost

    def flush(self) -> Batch:
        batch = Batch(self.chunks, np.concatenate(self.starts), self.cost)
        self.chunks, self.starts, self.rows, self.cost = [], [], 0, 0
        return batch


class Refused(NamedTuple):
    """A ranking that does not fit: what it is called, its scores, and the bytes of its rows and of the work on them."""

    name: str
    scores: int
    cost: int


class _Reader:
    """What reading the rows of one input knows: where rankings begin, given those seen before, and what rows cost."""

    def __init__(self, layout: Any, score_cost: int, seen: Any):
        self.layout, self.score_cost, self.seen = layout, score_cost, seen

    def starts(self, chunk: Chunk) -> np.ndarray:
        """Rows of the next chunk at which a ranking begins."""
        return self.layout.starts(chunk, self.seen)

    def cost(self, chunk: Chunk) -> int:
        """Bytes of rows, and of the work on their scores."""
        return chunk.batch.nbytes + int(self.layout.lengths(chunk.batch).sum()) * self.score_cost

    def split(self, chunks: Iterable[Chunk], most: int) -> Iterator[Chunk]:
        """The chunks, in parts of about `most` bytes with their work, or one row: rows that are rankings may be
        long.
        """
        for chunk in chunks:
            if not self.layout.closes_with_row or self.cost(chunk) <= most:
                yield chunk
                continue
            rows = chunk.batch.num_rows
            scores = self.layout.lengths(chunk.batch)
            costs = scores * self.score_cost + chunk.batch.nbytes * (scores + 1) / (scores.sum() + rows)
            for start, stop in cut(sizes_before(costs), most):
                yield chunk.slice(start, stop)

    def refused(self, held: _Pieces, chunk: Chunk, starts: np.ndarray, rest: _Unread) -> Refused:
        """The ranking for which there is no room: the longest row of a chunk with a ranking in each, or the open one,
        for which the input is read to that ranking's end, and nothing of it kept.
        """
        if self.layout.closes_with_row:
            lengths = self.layout.lengths(chunk.batch)
            row = int(lengths.argmax())
            alone = chunk.slice(row, row + 1)
            return Refused(self.name(alone), int(lengths[row]), self.cost(alone))
        name, rows, cost = self.name(held.chunks[0] if held.chunks else chunk), 0, 0
        rest.back(chunk, starts)
        for part in rest.until_next(held):
            rows += part.batch.num_rows
            cost += self.cost(part)
        return Refused(name, rows, cost)

    def name(self, chunk: Chunk) -> str:
        """What the ranking is called with which the chunk begins."""
        return self.layout.name(Batch([chunk], np.zeros(1, np.int64), 0), 0)


def too_large(refused: Refused, budget: Budget, why: str | None) -> RankingTooLarge:
    """The refusal of a ranking that no budget holds, by its name and with what it would need, and why there is no way
    around.
    """
    needs = budget.refusal(refused.cost, "while it is computed")
    return RankingTooLarge(f"{refused.name}: a ranking of {refused.scores} scores {needs}{f' ({why})' if why else ''}")
