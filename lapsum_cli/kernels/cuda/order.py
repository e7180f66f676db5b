"""Sorting every ranking on a card, best first, with the place each score came from.

A float's bits become an unsigned integer that orders like it (scalars/keys.py), so that whoever sorts (a team of
threads what fits into shared memory, a library of sorters.py what is longer) compares the same keys: -0 as 0, ties in
the order of the input.
"""

from __future__ import annotations

import numpy as np
from numba import types

from ..scalars.keys import bit_order, bits_of, key_of
from . import sorted_by_team, sorters
from .adapter import IS_SIMULATED, Lane, cuda, kernel
from .tiles import OnTiles


class Order:
    """Rankings best first: y (N,) the scores, places (N,) uint32 in the ranking; None unless asked for."""

    def __init__(self, lane: Lane, rankings, descending=True, keep=False, name="scores"):
        """name: of the rooms that it takes on the lane, until the next of this name; keep: it has arrays of its own."""
        self.lane, self.rankings, self.descending, self.name, self.keep = lane, rankings, descending, name, keep
        self.values, self.layout = rankings.values, OnTiles.of(lane, rankings.offsets)
        self.dtype = np.dtype(self.values.dtype)
        self.kind = np.dtype(f"u{self.dtype.itemsize}")
        self.bits = bit_order(self.kind, descending)  # what value_of and key_of ask for
        self._sorted, self._are_keys = None, True

    def keys(self):
        """Keys (`value_of`) and places, sorted once; until the scores themselves are asked for."""
        if self._sorted is None:
            self._sorted = self._sort()
        self._turn(True)
        return self._sorted

    def sorted(self):
        """Scores and places; until keys are asked for."""
        keys, places = self._sorted or self.keys()
        self._turn(False)
        return keys.view(self.dtype), places

    def _turn(self, to_keys):
        """Scores into keys or back, in place."""
        keys, _ = self._sorted
        if to_keys != self._are_keys and keys.size:
            self.lane.launch(_turn, -(-keys.size // 256), 256, 0, keys, self.bits, to_keys)
        self._are_keys = to_keys

    def positions(self):
        """The place of every score in its ranking, from 0, best first; ties in the order of the input. int64."""
        layout, (_, places) = self.layout, self._sorted or self.keys()
        out = self.lane.empty(layout.size, np.int64)
        layout.each_tile(layout.tiles, _positions, 0, layout.offsets, places, out)
        return out

    def _sort(self):
        lane, layout, size, kind = self.lane, self.layout, self.layout.size, self.kind
        if self.keep:
            keys, target = lane.empty(size, kind), lane.empty(size, np.uint32)
        else:
            keys = lane.room(f"sorted {self.name}", size, kind)
            target = lane.room(f"places of {self.name}", size, np.uint32)
        if size:
            bits = lane.put(self.values, self.name).view(kind)
            sorted_by_team.sort(lane, layout, bits, self.bits, keys, target)
            if layout.longest > sorted_by_team.LONGEST:
                unsorted, places = lane.room("keys", size, kind), lane.room("places", size, np.uint32)
                layout.each_part(_to_keys, 0, layout.offsets, bits, self.bits, unsorted, places)
                sorters.sorter()(lane, layout, unsorted, places, keys, target)
        return keys, target


def value_of(key, order):
    """The score that has this key, or that is one itself; order: `Order.bits`."""
    return key if key.dtype.kind == "f" else bits_of(key, order).view(f"f{key.itemsize}")


if not IS_SIMULATED:
    from .adapter import overload

    _FLOATS = {32: (np.uint32, np.float32), 64: (np.uint64, np.float64)}

    @overload(value_of)
    def _value_of(key, order):
        if isinstance(key, types.Float):
            return lambda key, order: key
        kind, of = _FLOATS[key.bitwidth]
        return lambda key, order: kind(bits_of(key, order)).view(of)


@kernel
def _to_keys(numbers, ranking, begin, end, offsets, bits, order, keys, places):
    tile = numbers[cuda.blockIdx.x]
    start = offsets[ranking[tile]]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        keys[i], places[i] = key_of(bits[i], order), np.uint32(i - start)


@kernel
def _turn(keys, order, to_keys):
    i = cuda.grid(1)
    if i < keys.size:
        keys[i] = key_of(keys[i], order) if to_keys else bits_of(keys[i], order)


@kernel
def _positions(numbers, ranking, begin, end, offsets, places, out):
    tile = numbers[cuda.blockIdx.x]
    low = offsets[ranking[tile]]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        out[low + places[i]] = i - low
