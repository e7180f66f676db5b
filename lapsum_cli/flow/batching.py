"""A budget of bytes becomes cuts between rankings: batches hold whole rankings, and all of them together keep the
budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.cuts import cut, sizes_before
from ..core.errors import RankingTooLarge
from ..formats.sources import Chunk
from .budget import Budget, in_mib


@dataclass
class Batch:
    """Consecutive whole rankings: their rows, and the rows (from 0) at which rankings begin."""

    chunks: list[Chunk]
    starts: np.ndarray
    cost: int
    valid: np.ndarray | None = None  # which scores take part, where some are left out

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


def whole_rankings(chunks: Iterable[Chunk], layout: Any, score_cost: int, budget: Budget) -> Iterator[Batch]:
    """Batches of whole rankings, of about `budget.batch` bytes or one ranking.

    score_cost: bytes of work and result for every score. The last ranking of a long table stays open until the next
    begins.
    """
    whole, open_ranking = _Pieces(), _Pieces()
    seen = layout.seen(budget.size // 4)
    chunks = _split(chunks, layout, score_cost, budget.batch)
    for chunk in chunks:
        starts = layout.starts(chunk, seen)
        cost = _cost(chunk, layout, score_cost)
        held = whole.cost + open_ranking.cost
        if whole.chunks and held + cost > budget.batch:
            yield whole.flush()
            held = open_ranking.cost
        if not budget.take(cost, held):
            raise _too_large(open_ranking, chunk, starts, chunks, layout, seen, score_cost, budget)
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


def _split(chunks: Iterable[Chunk], layout: Any, score_cost: int, most: int) -> Iterator[Chunk]:
    """The chunks, in parts of about `most` bytes with their work, or one row: rows that are rankings may be long."""
    for chunk in chunks:
        if not layout.closes_with_row or _cost(chunk, layout, score_cost) <= most:
            yield chunk
            continue
        rows = chunk.batch.num_rows
        scores = layout.lengths(chunk.batch)
        costs = scores * score_cost + chunk.batch.nbytes * (scores + 1) / (scores.sum() + rows)
        for start, stop in cut(sizes_before(costs), most):
            yield chunk.slice(start, stop)


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


def _cost(chunk: Chunk, layout: Any, score_cost: int) -> int:
    """Bytes of rows, and of the work on their scores."""
    return chunk.batch.nbytes + int(layout.lengths(chunk.batch).sum()) * score_cost


def _too_large(
    held: _Pieces,
    chunk: Chunk,
    starts: np.ndarray,
    rest: Iterator[Chunk],
    layout: Any,
    seen: Any,
    score_cost: int,
    budget: Budget,
) -> RankingTooLarge:
    """The refusal of a ranking that no budget holds, by its name and with what it would need."""
    if layout.closes_with_row:
        name, scores, cost = _largest_row(chunk, layout, score_cost)
    else:
        name, scores, cost = _rest_of_run(held, chunk, starts, rest, layout, seen, score_cost)
    return RankingTooLarge(
        f"{name}: a ranking of {scores} scores needs {in_mib(cost)} MiB while it is computed, and --memory leaves "
        f"{in_mib(budget.size)} MiB; raise --memory to {budget.memory_for(cost)}MiB or more"
    )


def _largest_row(chunk: Chunk, layout: Any, score_cost: int) -> tuple[str, int, int]:
    """Name, scores and cost of the longest row of a chunk that holds a ranking in each."""
    lengths = layout.lengths(chunk.batch)
    row = int(lengths.argmax())
    alone = Batch([chunk.slice(row, row + 1)], np.zeros(1, np.int64), 0)
    return layout.name(alone, 0), int(lengths[row]), _cost(alone.chunks[0], layout, score_cost)


def _rest_of_run(
    held: _Pieces,
    chunk: Chunk,
    starts: np.ndarray,
    rest: Iterator[Chunk],
    layout: Any,
    seen: Any,
    score_cost: int,
) -> tuple[str, int, int]:
    """Name, scores and cost of the open ranking: the input is read to its end, and nothing of it kept."""
    first = held.chunks[0] if held.chunks else chunk
    cost, rows = held.cost, held.rows
    current: Chunk | None = chunk
    while current is not None:
        later = starts[starts > 0] if rows == 0 else starts
        stop = int(later[0]) if len(later) else current.batch.num_rows
        cost += _cost(current.slice(0, stop), layout, score_cost)
        rows += stop
        current = None if len(later) else next(rest, None)
        starts = layout.starts(current, seen) if current is not None else starts
    return layout.name(Batch([first], np.zeros(1, np.int64), 0), 0), rows, cost
