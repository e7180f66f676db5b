"""Padding: scores of -inf, whatever the direction, and those of +inf in ascending order, where they are the last too.

Kernels know one kind of padding, the infinity that comes last. So in ascending order a score of -inf, which would be
the first, becomes +inf at the door, and a soft sort puts it back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core.device import DeviceWithKernels

if TYPE_CHECKING:
    from ..core.rankings import Array, Rankings

MOVED = "padding"  # of Rankings.each: how many scores of -inf are +inf now


def last(rankings: Rankings, on: DeviceWithKernels | None = None) -> Rankings:
    """Rankings in ascending order, with padding last, and how many scores that moved in `each`; else themselves."""
    import numpy as np

    moved = count(rankings, -np.inf, on)
    if on and rankings.is_on_card:  # where nobody waits to know whether there are any
        values = on.kernels.padding.last(on.place, rankings.values)
    elif not moved.any():
        return rankings
    else:
        values = np.where(np.isneginf(rankings.values), rankings.values.dtype.type(np.inf), rankings.values)
    return replace(rankings, values=values, each={**rankings.each, MOVED: moved})


def count(rankings: Rankings, infinity: float, on: DeviceWithKernels | None = None) -> Any:
    """(m,) float64, where the scores are: how many scores of each ranking are this infinity."""
    import numpy as np

    if on and rankings.is_on_card:
        return on.kernels.padding.count(on.place, rankings, infinity)
    end = rankings.values.min(initial=0) if infinity < 0 else rankings.values.max(initial=0)
    if end != infinity:  # one pass, and nothing to store
        return np.zeros(len(rankings))
    before = np.concatenate([[0.0], np.cumsum(rankings.values == infinity)])
    return before[rankings.offsets[1:]] - before[rankings.offsets[:-1]]


def put_back(values: Array, rankings: Rankings, on: DeviceWithKernels) -> None:
    """Of sorted scores (N,) the last of each ranking, as many as were moved, are -inf again."""
    if MOVED not in rankings.each:
        return
    import numpy as np

    if not isinstance(values, np.ndarray):
        on.kernels.padding.put_back(on.place, values, rankings.offsets, rankings.each[MOVED])
        return
    ends = rankings.offsets[1:] - rankings.each[MOVED]
    values[np.arange(len(values)) >= np.repeat(ends, rankings.lengths)] = -np.inf
