"""A budget of bytes becomes cuts between rankings: batches hold whole rankings, and all of them together keep the
budget.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..core.cuts import cut, sizes_before
from ..core.errors import RankingTooLarge
from ..formats.sources import Chunk

MIB = 1 << 20


@dataclass
class Batch:
    """Consecutive whole rankings: their rows, and the rows (from 0) at which rankings begin."""

    chunks: list[Chunk]
    starts: np.ndarray
    cost: int

    @property
    def rows(self) -> int:
        return sum(chunk.batch.num_rows for chunk in self.chunks)

    def locate(self, row: int) -> tuple[Chunk, int]:
        """The chunk that holds a row of the batch, and the row in it."""
        for chunk in self.chunks:
            if row < chunk.batch.num_rows:
                return chunk, row
            row -= chunk.batch.num_rows
        raise IndexError(row)


class Budget:
    """Bytes that may be in flight between reading and writing. Whoever would exceed them waits until one is written.

    memory: what the process may hold; used: what it holds otherwise. A fifth of the rest is for what allocators keep.
    batch: the most that one batch may take.
    """

    SHARE = 0.8
    LEAST = 16 * MIB

    def __init__(self, memory: int, used: int = 0, batch: int = 8 * MIB):
        self.overhead = used
        self.size = max(self.LEAST, int(self.SHARE * (memory - used)))
        self.batch = min(batch, self.size // 6)
        self.chunk = max(1 << 16, min(MIB, self.size // 32))
        self.used = 0
        self.closed = False
        self.changed = threading.Condition()

    def memory_for(self, cost: int) -> int:
        """The memory with which `cost` bytes would fit, in MiB; 80 of them for a process that need not be lean."""
        return _mib(int(cost / self.SHARE) + self.overhead) + 80

    def take(self, cost: int, held: int) -> bool:
        """Reserve `cost` more; False when nothing but the `held` bytes of the caller is left to wait for."""
        with self.changed:
            while self.used + cost > self.size and not self.closed:
                if self.used <= held:
                    return False
                self.changed.wait()
            self.used += cost
            return True

    def give(self, cost: int) -> None:
        with self.changed:
            self.used -= cost
            self.changed.notify_all()

    def close(self) -> None:
        """No more work: whoever waits, goes on."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


def whole_rankings(chunks: Iterable[Chunk], layout, score_cost: int, budget: Budget) -> Iterator[Batch]:
    """Batches of whole rankings, of about `budget.batch` bytes or one ranking.

    score_cost: bytes of work and result for every score. The last ranking of a long table stays open until the next
    begins.
    """
    whole, open_ranking = _Pieces(), _Pieces()
    chunks = _split(chunks, layout, score_cost, budget.batch)
    for chunk in chunks:
        starts = layout.starts(chunk)
        cost = _cost(chunk, layout, score_cost)
        held = whole.cost + open_ranking.cost
        if whole.chunks and held + cost > budget.batch:
            yield whole.flush()
            held = open_ranking.cost
        if not budget.take(cost, held):
            raise _too_large(open_ranking, chunk, starts, chunks, layout, score_cost, budget)
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


def _split(chunks: Iterable[Chunk], layout, score_cost: int, most: int) -> Iterator[Chunk]:
    """The chunks, in parts of about `most` bytes with their work, or one row: rows that are rankings may be long."""
    for chunk in chunks:
        if not layout.closes_with_row or _cost(chunk, layout, score_cost) <= most:
            yield chunk
            continue
        rows = chunk.batch.num_rows
        scores = np.broadcast_to(layout.lengths(chunk.batch), rows)
        costs = scores * score_cost + chunk.batch.nbytes * (scores + 1) / (scores.sum() + rows)
        for start, stop in cut(sizes_before(costs), most):
            yield chunk.slice(start, stop)


class _Pieces:
    def __init__(self):
        self.chunks, self.starts, self.rows, self.cost = [], [], 0, 0

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
        self.__init__()
        return batch


def _cost(chunk: Chunk, layout, score_cost: int) -> int:
    lengths = layout.lengths(chunk.batch)
    scores = int(lengths.sum()) if isinstance(lengths, np.ndarray) else lengths * chunk.batch.num_rows
    return chunk.batch.nbytes + scores * score_cost


def _too_large(held: _Pieces, chunk: Chunk, starts, rest, layout, score_cost: int, budget: Budget) -> RankingTooLarge:
    if layout.closes_with_row:
        name, scores, cost = _largest_row(chunk, layout, score_cost)
    else:
        name, scores, cost = _rest_of_run(held, chunk, starts, rest, layout, score_cost)
    return RankingTooLarge(
        f"{name}: a ranking of {scores} scores needs {_mib(cost)} MiB while it is computed, and --memory leaves "
        f"{_mib(budget.size)} MiB; raise --memory to {budget.memory_for(cost)}MiB or more"
    )


def _largest_row(chunk: Chunk, layout, score_cost: int):
    """Name, scores and cost of the longest row of a chunk that holds a ranking in each."""
    lengths = np.broadcast_to(layout.lengths(chunk.batch), chunk.batch.num_rows)
    row = int(lengths.argmax())
    alone = Batch([chunk.slice(row, row + 1)], np.zeros(1, np.int64), 0)
    return layout.name(alone, 0), int(lengths[row]), _cost(alone.chunks[0], layout, score_cost)


def _rest_of_run(held, chunk, starts, rest, layout, score_cost):
    """Name, scores and cost of the open ranking: the input is read to its end, and nothing of it kept."""
    first = held.chunks[0] if held.chunks else chunk
    cost, rows = held.cost, held.rows
    while chunk is not None:
        later = starts[starts > 0] if rows == 0 else starts
        stop = int(later[0]) if len(later) else chunk.batch.num_rows
        cost += _cost(chunk.slice(0, stop), layout, score_cost)
        rows += stop
        chunk = None if len(later) else next(rest, None)
        starts = layout.starts(chunk) if chunk is not None else starts
    return layout.name(Batch([first], np.zeros(1, np.int64), 0), 0), rows, cost


def _mib(size: int) -> int:
    return -(-size // MIB)
