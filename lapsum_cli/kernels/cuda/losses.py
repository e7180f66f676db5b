"""Losses on a card: loops over rankings, a block for each; ..losses has what is computed.

A block takes a ranking, however long: little beside sorting it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import topk
from .adapter import Lane, cuda, kernel
from .teams import by_teams, fresh


def each_ranking(
    lane: Lane, loss: Any, offsets: np.ndarray, given: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]
) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Losses (m,) in memory here, and upstream gradients of these shapes on the card; as ..cpu.losses.each_ranking."""
    losses = lane.room("losses", (len(offsets) - 1,), np.float64)
    upstreams = tuple(fresh(lane, shape) for shape in shapes)
    read = tuple(_on_card(lane, name, value) for name, value in given.items())
    by_teams(lane, loss.loop, offsets, read, losses, upstreams, sums=loss.sums)
    return lane.get(losses), upstreams


def _on_card(lane, name, value):
    if not isinstance(value, np.ndarray):
        return value
    value = np.ascontiguousarray(value)  # loops know one for each ranking
    return lane.put(value, name) if value.size else fresh(lane, value.shape)


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
