"""Who sorts the keys of long rankings, and with them the places they come from: a library, in the order of the input
where keys are alike.

cuda.compute of cuda-cccl sorts a ranking by radix, and several as segments; else PyTorch or CuPy sort one after the
other. The simulator sorts with NumPy.

NVRTC compiles each of the sorters of cuda.compute for some 15 s, and cuda.compute keeps none of them: they are built
for a kind of card, which need not be there, and are kept in the cache of kernels. Each lane loads its own, as a sorter
is one thread's at a time, and sorts in a room of its own.
"""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import jit
from . import sorted_by_team
from .adapter import IS_SIMULATED, Lane, compute_capability

# What sorting takes, in nanoseconds, estimated for an H100. A segment is sorted by a single block, in some six passes
# of 20 bytes a score; a card has room for so many blocks. A radix sort fills the card, but is several launches.
OF_SEGMENT, BLOCKS, OF_RADIX, RADIX = 2.4, 256, 0.03, 50_000


@functools.cache
def sorter():
    """The function that sorts keys and places of every long ranking into two other arrays."""
    if IS_SIMULATED:
        return _by_numpy
    for package, needed, function in _SORTERS:
        if _has(package, needed):
            return function
    raise ModuleNotFoundError("sorting on a GPU needs cuda-cccl, CuPy or PyTorch; pip install 'lapsum-cli[cuda]'")


def _has(package: str, needed: str) -> bool:
    try:
        return hasattr(importlib.import_module(package), needed)
    except ImportError:
        return False


def alone(lengths: np.ndarray) -> np.ndarray:
    """Which rankings to sort by themselves: the longest, as many as make the time of all least.

    Segments take as long as the longest, on its one block, or as all of them on all blocks. So a hundred rankings of
    10^6 are segments, which fill the card, and one is not; and none is long enough that a block sorts before a radix
    sort has been launched.
    """
    candidates = np.flatnonzero(lengths * OF_SEGMENT > RADIX)
    candidates = candidates[np.argsort(-lengths[candidates], kind="stable")]
    by_radix = np.concatenate([[0.0], np.cumsum(RADIX + lengths[candidates] * OF_RADIX)])
    longest = np.append(lengths[candidates], min(lengths.max(initial=0), RADIX / OF_SEGMENT))
    rest = lengths.sum() - np.concatenate([[0], np.cumsum(lengths[candidates])])
    as_segments = OF_SEGMENT * np.maximum(longest, rest / BLOCKS)
    return np.sort(candidates[: np.argmin(by_radix + as_segments)])


def _by_cccl(lane, layout, keys, places, out_keys, out_places):
    """A radix sort for every ranking that is better alone, and one sort of segments for all others."""
    from cuda import compute

    by_radix, segments = layout.kept(_plan)

    def sort(name, part, **more):
        arrays = {"in_keys": keys, "out_keys": out_keys, "in_values": places, "out_values": out_places}
        given = {f"d_{name}": array[part] for name, array in arrays.items()}
        given |= {"num_items": part.stop - part.start, "stream": lane.stream, **more}
        if not hasattr(compute, "deserialize"):  # a version that gives no sorter away
            getattr(compute, name)(**given, order=compute.SortOrder.ASCENDING)
            return
        sorter = _cccl(lane, name, keys.dtype)
        room = lane.room("sorting", sorter(temp_storage=None, **given), np.uint8)
        sorter(temp_storage=room, **given)

    for part in by_radix:
        sort("radix_sort", part)
    if segments:
        starts, ends = segments
        more = {"num_segments": len(starts), "start_offsets_in": starts, "end_offsets_in": ends}
        sort("segmented_sort", slice(0, layout.size), **more)


def _plan(layout: Any) -> tuple[list[slice], tuple | None]:
    """The long rankings to sort by themselves, and where the other long ones begin and end, on the card."""
    of_long, here = _long(layout), layout.here
    by_radix = of_long[alone(layout.lengths[of_long])]
    others, segments = np.setdiff1d(of_long, by_radix), None
    if len(others):
        segments = layout.put(here[others]), layout.put(here[others + 1])
    return _spans(layout, by_radix), segments


def _long(layout: Any) -> np.ndarray:
    return np.flatnonzero(layout.lengths > sorted_by_team.LONGEST)


def _spans(layout: Any, rankings: np.ndarray) -> list[slice]:
    """Where the scores of rankings are."""
    return [slice(int(layout.here[r]), int(layout.here[r + 1])) for r in rankings]


def _cccl(lane: Lane, name: str, kind: np.dtype) -> Any:
    """A sorter of cuda.compute, this lane's own."""
    if (name, kind) not in lane.tables:
        lane.tables[name, kind] = kept(name, kind, compute_capability())
    return lane.tables[name, kind]


def kept(name: str, kind: np.dtype, capability: tuple[int, int]) -> Any:
    """A fresh sorter out of the cache, built if it is not there."""
    from cuda import compute

    file = f"{name}-{kind}-with_places-sm_{capability[0]}{capability[1]}-cccl_{version('cuda-cccl')}"
    return jit.kept(file, lambda: build(name, kind, capability), compute.deserialize)


class Like:
    """An array on a card, of this dtype, that is not there: what a sorter is built for.

    It is somewhere, unlike a cuda.compute.ProxyArray (1.2): where values are nowhere, a sorter of keys alone is built.
    """

    def __init__(self, dtype: DTypeLike):
        self.dtype, self.shape = np.dtype(dtype), (1,)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": self.dtype.str, "version": 3, "strides": None, "data": (256, False)}


def build(name: str, kind: np.dtype, capability: tuple[int, int]) -> bytes:
    """The sorter radix_sort or segmented_sort for keys of this dtype, compiled for cards of a compute capability."""
    from cuda import compute

    arrays = {"d_in_keys": kind, "d_out_keys": kind, "d_in_values": np.uint32, "d_out_values": np.uint32}
    if name == "segmented_sort":
        arrays |= {"start_offsets_in": np.int64, "end_offsets_in": np.int64}
    like = {name: Like(dtype) for name, dtype in arrays.items()}
    make = getattr(compute, f"make_{name}")
    return make(**like, order=compute.SortOrder.ASCENDING, compute_capability=capability).serialize()


def _by_torch(lane, layout, keys, places, out_keys, out_places):
    import torch

    signed = {4: np.int32, 8: np.int64}[keys.dtype.itemsize]
    key, place, to_key, to_place = (
        torch.as_tensor(a.view(kind), device="cuda")
        for a, kind in ((keys, signed), (places, np.int32), (out_keys, signed), (out_places, np.int32))
    )
    with torch.cuda.stream(torch.cuda.ExternalStream(int(lane.stream))):
        for part in _spans(layout, _long(layout)):
            # The lowest signed integer flips the top bit: signed integers then order as the unsigned ones do.
            origin = torch.sort(key[part] ^ torch.iinfo(key.dtype).min, stable=True).indices
            torch.take(key[part], origin, out=to_key[part])
            torch.take(place[part], origin, out=to_place[part])


def _by_cupy(lane, layout, keys, places, out_keys, out_places):
    import cupy

    with cupy.cuda.ExternalStream(int(lane.stream)):
        for part in _spans(layout, _long(layout)):
            origin = cupy.argsort(cupy.asarray(keys[part]))
            cupy.take(cupy.asarray(keys[part]), origin, out=cupy.asarray(out_keys[part]))
            cupy.take(cupy.asarray(places[part]), origin, out=cupy.asarray(out_places[part]))


def _by_numpy(lane, layout, keys, places, out_keys, out_places):
    for part in _spans(layout, _long(layout)):
        key, place = keys[part].copy_to_host(), places[part].copy_to_host()
        origin = np.argsort(key, kind="stable")
        out_keys[part].copy_to_device(key[origin])
        out_places[part].copy_to_device(place[origin])


# And what a package lacks that is half there, such as cuda.compute without a driver.
_SORTERS = (("cuda.compute", "SortOrder", _by_cccl), ("torch", "sort", _by_torch), ("cupy", "argsort", _by_cupy))
