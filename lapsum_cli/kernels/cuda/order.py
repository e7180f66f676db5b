"""Sorting every ranking on a card, best first, with the place each score came from.

A float's bits become an unsigned integer that orders like it (scalars/keys.py), so that every library of sorters.py
sorts the same keys: -0 as 0, ties in the order of the input.
"""

from __future__ import annotations

import numpy as np

from ..scalars.keys import bit_order, bits_of, key_of
from . import sorters
from .adapter import Lane, cuda, kernel
from .tiles import OnTiles


class Order:
    """Rankings best first: y (N,) the scores, places (N,) uint32 in the ranking; None unless asked for."""

    def __init__(self, lane: Lane, rankings, descending=True, keep=False, name="scores"):
        """name: of the rooms that it takes on the lane, until the next of this name; keep: it has arrays of its own."""
        self.lane, self.rankings, self.descending, self.name, self.keep = lane, rankings, descending, name, keep
        self.values, self.layout = rankings.values, OnTiles.of(lane, rankings.offsets)
        self.dtype = np.dtype(self.values.dtype)
        self._sorted = None

    def sorted(self):
        """Scores and places; sorted once."""
        if self._sorted is None:
            self._sorted = self._sort()
        return self._sorted

    def positions(self):
        """The place of every score in its ranking, from 0, best first; ties in the order of the input. int64."""
        layout, (_, places) = self.layout, self.sorted()
        out = self.lane.empty(layout.size, np.int64)
        layout.each_tile(layout.tiles, _positions, 0, layout.offsets, places, out)
        return out

    def _sort(self):
        lane, layout, size = self.lane, self.layout, self.layout.size
        kind = np.dtype(f"u{self.dtype.itemsize}")
        there, places = lane.room("keys", size, kind), lane.room("places", size, np.uint32)
        if self.keep:
            keys, target = lane.empty(size, kind), lane.empty(size, np.uint32)
        else:
            keys = lane.room(f"sorted {self.name}", size, kind)
            target = lane.room(f"places of {self.name}", size, np.uint32)
        if not size:
            return keys.view(self.dtype), target
        values = lane.put(self.values, self.name)
        order = bit_order(kind, self.descending)
        layout.each_tile(layout.tiles, _to_keys, 0, layout.offsets, values.view(kind), order, keys, places)
        sorters.sorter()(lane, layout, keys, places, there, target)
        lane.launch(_from_keys, -(-size // 256), 256, 0, there, order, keys)
        return keys.view(self.dtype), target


@kernel
def _to_keys(numbers, ranking, begin, end, offsets, bits, order, keys, places):
    tile = numbers[cuda.blockIdx.x]
    start = offsets[ranking[tile]]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        keys[i], places[i] = key_of(bits[i], order), np.uint32(i - start)


@kernel
def _from_keys(keys, order, bits):
    i = cuda.grid(1)
    if i < keys.size:
        bits[i] = bits_of(keys[i], order)


@kernel
def _positions(numbers, ranking, begin, end, offsets, places, out):
    tile = numbers[cuda.blockIdx.x]
    low = offsets[ranking[tile]]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        out[low + places[i]] = i - low
