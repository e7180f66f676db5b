"""Stages: several scores of the same items, as a cascade has them, each stage of which keeps the best for the next.

A loss of them reads a ranking for each stage, those of a query one after the other, and its kernels the stages of a
query together. So whatever is made of one ranking, such as its alpha and its order, is made of each stage by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.device import DeviceWithKernels
from .slots import RANKING, Result, Slot

if TYPE_CHECKING:
    import numpy as np

    from ..core.rankings import Rankings

STAGE = "stage"  # of Rankings.beside: the scores of the second stage; those of the first are the values


def together(rankings: Rankings, on: DeviceWithKernels, descending: bool) -> Rankings:
    """A ranking for each stage of every query, as long as it; what is masked in one stage is masked in all."""
    import numpy as np

    from ..core.rankings import Rankings

    scores = [on.here_array(rankings.values), on.here_array(rankings.beside[STAGE])]
    masked: Any = np.isneginf(scores) if descending else np.isinf(scores)
    is_masked = masked.any(axis=0)
    worst = scores[0].dtype.type(-np.inf)
    values = np.empty(2 * len(is_masked), worst.dtype)
    target = np.empty(len(values))
    for at, of_stage in zip(places(rankings.offsets), scores, strict=True):
        values[at] = np.where(is_masked, worst, of_stage)
        target[at] = on.here_array(rankings.beside["target"])
    lengths = np.repeat(rankings.lengths, 2)
    each = {name: np.repeat(on.here_array(numbers), 2) for name, numbers in rankings.each.items()}
    return Rankings(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), {"target": target}, each)


def apart(result: Result, rankings: Rankings, on: DeviceWithKernels, gives: tuple[Slot, ...]) -> Result:
    """What was computed of rankings `together`, by the slots of the queries: a gradient for each stage."""
    found, seen = {slot.name: values for slot, values in result.values.items()}, dict.fromkeys(result.values, 0)
    made: dict[Slot, Any] = {}
    at = places(rankings.offsets)
    for slot in gives:
        stage = seen.get(Slot(slot.name, slot.per), 0)
        seen[Slot(slot.name, slot.per)] = stage + 1
        made[slot] = found[slot.name][stage::2] if slot.per == RANKING else found[slot.name][at[stage]]
    alphas = None if result.alphas is None else on.here_array(result.alphas)[::2]
    return Result(made, result.losses[::2], alphas)


def places(offsets: np.ndarray) -> list[np.ndarray]:
    """Where the scores of each stage are, when they are together."""
    import numpy as np

    lengths = offsets[1:] - offsets[:-1]
    own = np.arange(offsets[-1]) + np.repeat(offsets[:-1], lengths)
    return [own, own + np.repeat(lengths, lengths)]
