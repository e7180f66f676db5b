"""Losses on a card: loops over rankings, a block for each; ..losses has what is computed.

A block takes a ranking, however long: little beside sorting it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import tiles, topk
from .adapter import Lane, cuda, kernel
from .teams import Grid
from .tiles import OnTiles


def each_ranking(
    lane: Lane, loss: Any, offsets: np.ndarray, given: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]
) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Losses (m,) in memory here, and upstream gradients of these shapes on the card; as ..cpu.losses.each_ranking."""
    layout = OnTiles.of(lane, offsets)
    losses = lane.room("losses", (layout.count,), np.float64)
    upstreams = tuple(lane.empty(shape, np.float64) if shape[-1] else _nothing(lane, shape) for shape in shapes)
    read = tuple(_on_card(lane, name, value) for name, value in given.items())
    arguments = (Grid(0), layout.offsets, read, losses, upstreams)
    lane.launch(_compiled(loss.loop), layout.count, tiles.THREADS, loss.sums, *arguments)
    return lane.get(losses), upstreams


@functools.cache
def _compiled(loop: Callable[..., None]) -> Any:
    """The same loop as a kernel."""
    return kernel(getattr(loop, "py_func", loop))


def _on_card(lane, name, value):
    if not isinstance(value, np.ndarray):
        return value
    value = np.ascontiguousarray(value)  # loops know one for each ranking
    return lane.put(value, name) if value.size else _nothing(lane, value.shape)


def _nothing(lane, shape):
    """An empty array, which the driver has no memory for."""
    return lane.room("nothing", shape, np.float64)


def widened(lane: Lane, values: Any) -> Any:
    """The values in float64."""
    return topk.cast(lane, lane.put(values, "scores"), np.float64)


def cuts_of(cuts: topk.Cuts) -> Any:
    """(m, 4) of what topk.soft_topk keeps."""
    return cuts.cuts


def here(lane: Lane, numbers: Any) -> np.ndarray:
    """Numbers of rankings (m,), in memory here."""
    return lane.get(numbers)


def add(lane: Lane, to: Any, more: Any) -> None:
    """Add to values (N,), or to numbers of rankings (m,), in place."""
    lane.launch(_add, -(-to.size // 256), 256, 0, to, more)


@kernel
def _add(to, more):
    i = cuda.grid(1)
    if i < to.size:
        to[i] += more[i]
