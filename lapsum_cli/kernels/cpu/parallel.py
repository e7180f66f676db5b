"""Work on many rankings, handed to threads in slices: kernels release the GIL, so plain threads suffice.

No result depends on how the rankings were sliced; each is computed by itself, by one kernel call, in one order.
"""

import itertools
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import NamedTuple

import numpy as np

from ..parts import Each
from ..scalars.team import Slice

# Scores in a slice: large enough to hide 10 us of Python, small enough to stay in the L2 cache and to balance skewed
# lengths.
SLICE = 1 << 16

# Scores in a part of a long ranking: its passes are made part by part, whatever the threads, so that sums do not depend
# on them. Large enough to hide 20 us of Python.
PART = 1 << 19


class Cores(NamedTuple):
    """Where the kernels of this folder run: so many threads; part: scores of a long ranking that make one task."""

    threads: int = 1
    part: int = PART


class Workspace(threading.local):
    """Arrays that a thread uses again for task after task, whatever they hold.

    Memory fresh from the system costs a page fault every 4 KiB: for rankings of 100 scores as much as sorting them.
    """

    def __reduce__(self) -> tuple:
        """In another process it is empty."""
        return type(self), ()

    def array(self, name: str, shape, dtype) -> np.ndarray:
        """Of this shape, until the thread asks for the name again."""
        held = self.__dict__.get(name)
        if held is not None and held.shape == shape and held.dtype is dtype:
            return held.array
        size = math.prod(shape) * np.dtype(dtype).itemsize
        memory = np.empty(size, np.uint8) if held is None or held.memory.size < size else held.memory
        found = memory[:size].view(dtype).reshape(shape)
        self.__dict__[name] = _Held(shape, dtype, found, memory)
        return found


class _Held(NamedTuple):
    """An array as it was asked for last, and the bytes that it is in."""

    shape: tuple[int, ...]
    dtype: type | np.dtype
    array: np.ndarray
    memory: np.ndarray


class Scratch:
    """Arrays for what a task forgets when it ends. Small ones are a thread's, from call to call: a batch of a training
    step makes none, and no page of theirs is fresh. Larger ones end with this, since nobody has counted on them.
    """

    large: Workspace | None = None

    def array(self, name: str, shape, dtype) -> np.ndarray:
        """As Workspace.array; nobody else in the thread may ask for the name meanwhile."""
        held = _SHARED.__dict__.get(name)
        if held is not None and held.shape == shape and held.dtype is dtype:
            return held.array
        if math.prod(shape) * np.dtype(dtype).itemsize <= _SMALL:
            return _SHARED.array(name, shape, dtype)
        self.large = self.large or Workspace()
        return self.large.array(name, shape, dtype)


_SMALL = 1 << 20  # bytes: a task's rows of 2^16 numbers; with more a file's --memory has less to spare
_SHARED = Workspace()


def parts(length: int, part: int) -> list[slice]:
    """The parts of a long ranking."""
    return [slice(start, min(start + part, length)) for start in range(0, length, part)]


def slices(offsets: np.ndarray, size: int = SLICE) -> list[tuple[int, int]]:
    """Consecutive ranges of rankings with about `size` scores each; a longer ranking has a range of its own."""
    rankings = len(offsets) - 1
    if rankings <= 1 or offsets[-1] <= size:
        return [(0, rankings)] if rankings else []
    targets = np.arange(0, offsets[-1] + size, size)
    cuts = np.minimum(np.searchsorted(offsets, targets, side="left"), len(offsets) - 1)
    long = np.flatnonzero(offsets[1:] - offsets[:-1] > size)
    cuts = np.unique(np.concatenate([[0, len(offsets) - 1], cuts, long, long + 1]))
    return list(itertools.pairwise(cuts.tolist()))


_POOLS: dict[int, ThreadPoolExecutor] = {}  # by their number of threads: starting some takes 0.3 ms, a pass over 10^6
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOLS.clear)  # the threads are the parent's


def for_each(work, tasks, threads: int) -> None:
    """Call work(*task) for every task on at most `threads` threads; the first exception comes out of this call.

    No task may call it in turn: its thread would wait for itself.
    """
    if threads <= 1 or len(tasks) <= 1:
        for task in tasks:
            work(*task)
        return
    pool = _POOLS.get(threads) or _POOLS.setdefault(threads, ThreadPoolExecutor(threads))
    futures = [pool.submit(work, *task) for task in tasks]
    try:
        for future in futures:
            future.result()
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


def each(threads: int) -> Each:
    """`map` by so many threads, as parts.run takes it."""

    def of_threads(function, *sequences):
        tasks = list(zip(*sequences, strict=True))
        results = [None] * len(tasks)

        def work(i, *task):
            results[i] = function(*task)

        for_each(work, [(i, *task) for i, task in enumerate(tasks)], threads)
        return results

    return of_threads


def by_teams(cores: Cores, loop, offsets: np.ndarray, *arrays) -> None:
    """Run a loop that is written for teams (..scalars.team), loop(rankings, offsets, *arrays), over all rankings."""
    for_each(lambda first, last: loop(Slice(first, last), offsets, *arrays), slices(offsets), cores.threads)


def each_ranking(blocks: list[tuple[int, int]], offsets: np.ndarray, cores: Cores, of_block, of_long) -> None:
    """Call of_block(first, last) for every block of rankings, side by side, and of_long(ranking) for one longer than a
    part, alone, so that it can have all threads.
    """
    most = cores.part
    is_long = [last == first + 1 and offsets[last] - offsets[first] > most for first, last in blocks]
    for_each(of_block, [block for block, alone in zip(blocks, is_long, strict=True) if not alone], cores.threads)
    for (first, _), alone in zip(blocks, is_long, strict=True):
        if alone:
            of_long(first)
