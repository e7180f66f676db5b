"""A budget of bytes becomes cuts between rankings: batches hold whole rankings, and all of them together keep the
budget.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from .errors import OptionError, RankingTooLarge
from .formats import Chunk

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


class Budget:
    """Bytes that may be in flight between reading and writing. Whoever would exceed them waits until something is
    written.
    """

    def __init__(self, size: int):
        self.size = size
        # Small batches keep every stage busy and leave room; more than 8 MiB only waits.
        self.batch = min(8 * MIB, size // 6)
        self.chunk = max(1 << 16, min(MIB, size // 32))
        self.used = 0
        self.closed = False
        self.changed = threading.Condition()

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
    chunks = iter(chunks)
    for chunk in chunks:
        starts = layout.starts(chunk)
        cost = _cost(chunk, layout, score_cost)
        rows = chunk.batch.num_rows
        cut = rows if layout.closes_with_row else (int(starts[-1]) if len(starts) else 0)
        held = whole.cost + open_ranking.cost
        if whole.chunks and (held + cost > budget.batch):
            yield whole.flush()
            held = open_ranking.cost
        if not budget.take(cost, held):
            raise _too_large(open_ranking, chunk, starts, chunks, layout, score_cost, budget)
        if cut > 0 or (len(starts) and cut == 0):
            before = cost * cut // max(rows, 1)
            whole.extend(open_ranking)
            open_ranking = _Pieces()
            if cut > 0:
                whole.add(chunk.slice(0, cut), starts[starts < cut], before)
            if cut < rows:
                open_ranking.add(chunk.slice(cut, rows), np.zeros(1, np.int64), cost - before)
            else:
                whole.cost += cost - before
        else:
            open_ranking.add(chunk, starts, cost)
        if whole.cost >= budget.batch:
            yield whole.flush()
    whole.extend(open_ranking)
    if whole.chunks:
        yield whole.flush()


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
    """Read on to the end of the ranking, keeping nothing, so that the message can say how much memory would do."""
    first = held.chunks[0] if held.chunks else chunk
    batch = Batch([first], np.zeros(1, np.int64), 0)
    needed, rows = held.cost, held.rows
    while chunk is not None:
        cost = _cost(chunk, layout, score_cost)
        if len(starts) > (0 if rows else 1) or layout.closes_with_row:
            end = 1 if layout.closes_with_row else int(starts[0 if rows else 1])
            needed, rows = needed + cost * end // chunk.batch.num_rows, rows + end
            break
        needed, rows = needed + cost, rows + chunk.batch.num_rows
        chunk = next(rest, None)
        starts = layout.starts(chunk) if chunk is not None else starts
    lengths = layout.lengths(first.batch)
    scores = rows if isinstance(lengths, int) and lengths == 1 else int(np.atleast_1d(lengths)[0])
    return RankingTooLarge(
        f"{layout.name(batch, 0)}: a ranking of {scores} scores needs {_mib(needed)} MiB while it is computed, "
        f"and --memory leaves {_mib(budget.size)} MiB; raise --memory by {_mib(needed - budget.size) + 1} MiB or more"
    )


def _mib(size: int) -> int:
    return -(-size // MIB)


def parse_memory(text: str | int) -> int:
    """Bytes from a text such as 256MiB, 2GB or 1.5G; a number is bytes."""
    if isinstance(text, int):
        return text
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    units |= {
        unit: 1 << shift
        for shift, names in ((10, "K KIB"), (20, "M MIB"), (30, "G GIB"), (40, "T TIB"))
        for unit in names.split()
    }
    number = text.strip().rstrip("BbIiKkMmGgTt")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        return int(float(number) * units[unit])
    except (ValueError, KeyError, OverflowError):
        raise OptionError(f"--memory must be a size such as 256MiB or 2GB, got {text!r}") from None
