"""Sorting every ranking on a card, best first, with the place each score came from: a library's work.

A float's bits become an unsigned integer that orders like it (scalars/keys.py), so that every library sorts the same
keys: -0 as 0, ties in the order of the input. cuda.compute of cuda-cccl sorts one ranking by radix and several as
segments; else CuPy or PyTorch sort twice, by key and then, stably, by ranking. The simulator sorts with NumPy.
"""

from __future__ import annotations

import functools
import importlib

import numpy as np

from ..scalars.keys import bit_order, bits_of, key_of
from .adapter import IS_SIMULATED, Lane, cuda, kernel
from .tiles import OnTiles

ALONE = 1 << 17  # scores from which a ranking is sorted by itself: a segmented sort gives it a single block


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
        _sorter()(lane, layout, keys, places, there, target)
        lane.launch(_from_keys, -(-size // 256), 256, 0, there, order, keys)
        return keys.view(self.dtype), target


_NEEDED = {"cuda.compute": "SortOrder", "cupy": "argsort", "torch": "sort"}  # what a package lacks that is half there


@functools.cache
def _sorter():
    """The function that sorts keys and places of every ranking into two other arrays."""
    if IS_SIMULATED:
        return _by_numpy
    for package, sorter in (("cuda.compute", _by_cccl), ("cupy", _by_cupy), ("torch", _by_torch)):
        if _is_installed(package):
            return sorter
    raise ModuleNotFoundError("sorting on a GPU needs cuda-cccl, CuPy or PyTorch; pip install 'lapsum-cli[cuda]'")


def _is_installed(package: str) -> bool:
    try:
        return hasattr(importlib.import_module(package), _NEEDED[package])
    except ImportError:
        return False


def _by_cccl(lane, layout, keys, places, out_keys, out_places):
    """A radix sort for every long ranking, and one sort of segments for all others."""
    from cuda.compute import SortOrder, radix_sort, segmented_sort

    def given(part):
        return {
            "d_in_keys": keys[part],
            "d_out_keys": out_keys[part],
            "d_in_values": places[part],
            "d_out_values": out_places[part],
            "num_items": part.stop - part.start,
            "order": SortOrder.ASCENDING,
            "stream": lane.stream,
        }

    alone, segments = layout.kept(_alone_and_segments)
    for part in alone:
        radix_sort(**given(part))
    if segments is not None:
        segmented_sort(**given(slice(0, layout.size)), **segments)


def _alone_and_segments(layout):
    """The scores of every ranking that is sorted by itself; and all others as segments, None where there are none."""
    is_long = layout.lengths > ALONE
    alone = [slice(int(layout.here[r]), int(layout.here[r + 1])) for r in np.flatnonzero(is_long)]
    if is_long.all():
        return alone, None
    starts, ends = (layout.put(ends[~is_long]) for ends in (layout.here[:-1], layout.here[1:]))
    return alone, {"num_segments": len(starts), "start_offsets_in": starts, "end_offsets_in": ends}


def _by_cupy(lane, layout, keys, places, out_keys, out_places):
    import cupy

    with cupy.cuda.ExternalStream(int(lane.stream)):
        key, origin = cupy.asarray(keys), cupy.argsort(cupy.asarray(keys))
        if layout.count > 1:
            ranking = cupy.repeat(cupy.arange(layout.count), layout.lengths.tolist())
            origin = origin[cupy.argsort(ranking[origin])]
        cupy.take(key, origin, out=cupy.asarray(out_keys))
        cupy.take(cupy.asarray(places), origin, out=cupy.asarray(out_places))


def _by_torch(lane, layout, keys, places, out_keys, out_places):
    import torch

    signed = {4: np.int32, 8: np.int64}[keys.dtype.itemsize]
    key, place, to_key, to_place = (
        torch.as_tensor(a.view(kind), device="cuda")
        for a, kind in ((keys, signed), (places, np.int32), (out_keys, signed), (out_places, np.int32))
    )
    with torch.cuda.stream(torch.cuda.ExternalStream(int(lane.stream))):
        # The lowest signed integer flips the top bit: signed integers then order as the unsigned ones do.
        origin = torch.sort(key ^ torch.iinfo(key.dtype).min, stable=True).indices
        if layout.count > 1:
            lengths = torch.as_tensor(layout.lengths, device="cuda")
            ranking = torch.repeat_interleave(torch.arange(layout.count, device="cuda"), lengths)
            origin = origin[torch.sort(ranking[origin], stable=True).indices]
        torch.take(key, origin, out=to_key)
        torch.take(place, origin, out=to_place)


def _by_numpy(lane, layout, keys, places, out_keys, out_places):
    key, place = keys.copy_to_host(), places.copy_to_host()
    origin = np.lexsort([key, np.repeat(np.arange(layout.count), layout.lengths)])
    out_keys.copy_to_device(key[origin])
    out_places.copy_to_device(place[origin])


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
