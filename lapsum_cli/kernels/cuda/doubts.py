"""What may be wrong with numbers on the card: noted there, and read only by who has to know.

A NaN among the scores is refused by name where a call waits for its results anyway. Where nothing waits, in PyTorch, it
makes every result of the call NaN: a result is never a wrong number that looks like a right one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.rankings import Array
from .adapter import Lane, cuda, kernel


class Doubts:
    """Whether anything is wrong with what one call is given: a flag on the card."""

    def __init__(self, lane: Lane):
        self.lane, self.flag = lane, lane.empty((1,), np.int32)
        lane.fill(self.flag, 0)

    @classmethod
    def of(cls, lane: Lane) -> Doubts:
        """Those of the operation that the lane is at."""
        if lane.doubts is None:
            lane.doubts = cls(lane)
        return lane.doubts

    def nan(self, values: Array) -> None:
        """It is wrong if any of the values (N,), on the card, is NaN."""
        self.lane.launch(_note_nan, min(-(-values.size // 256), 4096), 256, 0, values, self.flag)

    def outside(self, values: Array, least: float, most: float) -> None:
        """It is wrong unless all of the numbers (m,), on the card, are from the least to the most."""
        self.lane.launch(_note_outside, -(-values.size // 256), 256, 0, values, least, most, self.flag)

    def beyond(self, values: Array, most: float) -> None:
        """It is wrong if the magnitude of any of the values (N,), on the card, is more than the most, and finite."""
        self.lane.launch(_note_beyond, min(-(-values.size // 256), 4096), 256, 0, values, most, self.flag)

    def spoil(self, values: Array) -> None:
        """Make all values, a flat array on the card, NaN if anything is wrong."""
        self.lane.launch(_spoil, min(-(-values.size // 256), 4096), 256, 0, self.flag, values)

    def read(self) -> bool:
        """Whether anything is wrong; waits for all that was enqueued."""
        return bool(self.lane.get(self.flag)[0])


@kernel
def _note_nan(values, flag):
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        if values[i] != values[i]:
            flag[0] = 1


@kernel
def _note_outside(values, least, most, flag):
    i = cuda.grid(1)
    if i < values.size and not least <= values[i] <= most:
        flag[0] = 1


@kernel
def _note_beyond(values, most, flag):
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        if most < abs(values[i]) < np.inf:
            flag[0] = 1


@kernel
def _spoil(flag, values):
    if flag[0] != 0:
        for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
            values[i] = np.nan


def has_nan(lane: Lane, values: Any) -> bool:
    """Whether any value (N,) on the card is NaN."""
    doubts = Doubts(lane)
    doubts.nan(values)
    return doubts.read()
