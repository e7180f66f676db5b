"""Soft counts by a card, for the check of rankings whose counts would take a CPU minutes.

By the definition, score after score in float64, with none of the kernels that are checked.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...core.reference import Reals
from ...kernels.cuda import adapter
from ...kernels.cuda.adapter import cuda

THREADS, BLOCKS = 256, 256


class Counting:
    """core.reference.soft_count for arrays in memory here; the ranking that was counted last stays on the card."""

    def __init__(self, lane: adapter.Lane):
        self.lane = lane
        self._last: tuple[np.ndarray, Any] | None = None

    def __call__(self, x: np.ndarray, t: Reals, alpha: float, origin: float = 0.0, less: Reals = 0.0) -> np.ndarray:
        """Counts (m,), or one, at origin + t, less so many; with the digits of float64 where soft_count has more."""
        if self._last is None or (self._last[0].ctypes.data, self._last[0].size) != (x.ctypes.data, x.size):
            self._last = x, self.lane.put(x)
        at = np.asarray(t, np.float64)
        counts = self.lane.empty((at.size, BLOCKS * THREADS), np.int64)
        tails = self.lane.empty(counts.shape, np.float64)
        arguments = self._last[1], self.lane.put(at.reshape(-1)), float(alpha), float(origin), counts, tails
        self.lane.launch(_count, BLOCKS, THREADS, 0, *arguments)
        above, rest = (self.lane.get(parts).sum(axis=1).reshape(at.shape) for parts in (counts, tails))
        return above - less + rest


@adapter.here.jit
def _count(x: Any, at: Any, alpha: float, origin: float, counts: Any, tails: Any) -> None:
    """For each t the number of scores above it, and the sum of their tails, of each thread's share of the scores."""
    thread = cuda.grid(1)
    for i in range(len(at)):
        above, tail = 0, 0.0
        for j in range(thread, len(x), cuda.gridsize(1)):
            z = (np.float64(x[j]) - origin - at[i]) / alpha
            half = math.exp(-abs(z)) / 2
            above += z > 0
            tail += -half if z > 0 else half
        counts[i, thread] = above
        tails[i, thread] = tail
