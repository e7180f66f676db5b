"""An operation on one ranking that no memory holds, in passes over pieces of it.

The first tells how long it is, and alpha and k; an operation's own (Operation.passes) go over it as often as it needs
to; the last one gives what belongs to each piece, while its rows are at hand.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..core.errors import BadRanking
from ..core.rankings import Rankings
from .giant_ranking import LastPass, Pieces, Ranking
from .operation import Operation
from .slots import GRADIENT, Result
from .weights import WEIGHT

MODERATE = 2.0**900  # alphas and scores from its inverse up to which there is no need for a unit of a ranking's own


class _Seen(NamedTuple):
    """Of a piece: its scores, how many are padding, and were moved there; moments; alpha and k beside it; the ends of
    the upstream gradient.
    """

    length: int
    padded: int
    moved: float
    moments: tuple[int, float, float]
    each: dict[str, float]
    ends: tuple[float, float]
    dtype: np.dtype


def refusal(operation: Operation, device: str) -> str | None:
    """Why a ranking that no memory holds cannot be computed by an operation; None where it can."""
    if operation.needs_memory is not None:
        return operation.needs_memory
    if device != "cpu":
        return "on a GPU it needs all of it there; leave out ⟨device⟩"
    if operation.alpha.is_robust:
        return (
            f"an alpha in {operation.alpha.unit} needs all of it in memory; give it in std or in the unit of the scores"
        )
    return None


def begin(operation: Operation, pieces: Pieces, on: Any) -> Ranking:
    """All of it seen once; BadRanking where alpha cannot be used, or changes."""
    seen = list(pieces.of_parts(lambda first, rankings: _seen(operation, rankings)))
    length = sum(one.length for one in seen)
    each: dict[str, Any] = {}
    for name in seen[0].each:
        values = {one.each[name] for one in seen}
        if len(values) > 1:
            raise BadRanking(
                0, f"{name} changes within it, from {min(values):g} to {max(values):g}; it must be one value"
            )
        each[name] = np.array([values.pop()])
    alpha, constant = _alpha_of(operation, each, [one.moments for one in seen], on)
    items = length - sum(one.padded for one in seen)
    ends = [one.ends for one in seen]
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    moved = int(sum(one.moved for one in seen))
    each["items"] = np.array([float(items)])
    return Ranking(pieces, operation.seen, length, items, moved, alpha, constant, seen[0].dtype, least, most, each)


def _seen(operation: Operation, rankings: Rankings) -> _Seen:
    from ..kernels.cpu.deviations import moments
    from . import padding

    rankings = operation.seen(rankings)
    x = rankings.values
    padded = np.count_nonzero(x == (-np.inf if operation.descending else np.inf))
    moved = rankings.each.get(padding.MOVED, np.zeros(1))[0]
    found = moments(x) if operation.alpha.relative and "alpha" not in rankings.each else (0, 0.0, 0.0)
    each = {name: float(rankings.each[name][0]) for name in ("alpha", "k", WEIGHT) if name in rankings.each}
    v = rankings.beside.get("upstream")
    ends = (0.0, 0.0) if v is None or not len(v) else (float(v.min()), float(v.max()))
    return _Seen(len(x), int(padded), moved, found, each, ends, x.dtype)


def _alpha_of(operation: Operation, each: dict[str, Any], moments: Any, on: Any) -> tuple[float, bool]:
    """Alpha in the unit of the scores, and whether all scores are one, so that none has a gradient."""
    alpha = operation.alpha.value
    if "alpha" in each:
        alpha = float(each["alpha"][0])
        if not 0 < alpha < np.inf:
            raise BadRanking(0, f"alpha must be positive and finite, got {alpha:g}")
    elif operation.alpha.relative:
        deviation = on.kernels.deviations.deviation_of_parts(moments)
        if not deviation > 0:
            return operation.of_constant or 1.0, operation.of_constant is None
        alpha *= deviation
    if not 1 / MODERATE < alpha < MODERATE:
        raise BadRanking(0, f"an alpha of {alpha:.3g} is too near an end of the floats for a ranking of this size")
    return alpha, False


def look(operation: Operation, first: int, rankings: Rankings, last: dict[str, LastPass]) -> Any:
    """What is made of a piece, whatever came before."""
    rankings = operation.seen(rankings)
    return rankings, {name: of_k.look(first, rankings) for name, of_k in last.items()}


def give(operation: Operation, ranking: Ranking, first: int, looked: Any, last: dict[str, LastPass]) -> Result:
    """The results of a piece, after those of all before it."""
    rankings, seen = looked
    values: dict[Any, Any] = dict.fromkeys(operation.gives)
    losses = [of_k.numbers["loss"] for of_k in last.values() if "loss" in of_k.numbers]
    for name, of_k in last.items():
        found = of_k.give(first, rankings, seen[name]) | {key: np.array([v]) for key, v in of_k.numbers.items()}
        if ranking.constant and GRADIENT in found:
            found[GRADIENT] = np.zeros_like(found[GRADIENT])
        values |= {slot: found[slot.name] for slot in values if slot.k == name}
    return Result(values, np.array([losses]) if losses else None)
