"""LapSum: sums of Laplace distributions along the sorted scores, inverted in closed form.

Struski, Bednarczyk, Podolak, Tabor, ICML 2025. Exact on a CPU and on a card; O(n) after a sort, and O(n) at all for a
top-k. The arithmetic is in the kernels of a device (`on.kernels`), which have one signature on both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from ...core.device import DeviceWithKernels
from ...core.rankings import Array, Rankings
from ..method import Along, Method, Way
from ..slots import Derivatives, Forward


class Sorted(NamedTuple):
    """The state of what is made of sorted scores: their order; and the gradients, where the upstream one was known."""

    order: Any
    known: Derivatives | None


def _order(operation: Any, rankings: Rankings, on: DeviceWithKernels, keep: bool) -> Any:
    return on.kernels.order.Order(on.place, rankings, operation.descending, keep=keep)


def _known(rankings: Rankings, gradient: Any, to_alpha: Any) -> Derivatives | None:
    return Derivatives(gradient, to_alpha) if "upstream" in rankings.beside else None


def _rank(operation: Any, rankings: Rankings, on: DeviceWithKernels, results: bool, keep: bool) -> Forward:
    order = _order(operation, rankings, on, keep)
    dtype = operation.dtype(rankings.dtype, rankings.longest)
    given = (operation.base, dtype, rankings.beside.get("upstream"), results)
    ranks, *gradients = on.kernels.rank.soft_rank(order, rankings.each["alpha"], *given)
    return Forward(ranks, Sorted(order, _known(rankings, *gradients)))


def _rank_gradient(
    operation: Any, rankings: Rankings, state: Sorted, upstream: Array, on: DeviceWithKernels
) -> Derivatives:
    if state.known is not None:
        return state.known
    given = (operation.base, None, upstream, False)
    return Derivatives(*on.kernels.rank.soft_rank(state.order, rankings.each["alpha"], *given)[1:])


def _sort(operation: Any, rankings: Rankings, on: DeviceWithKernels, results: bool, keep: bool) -> Forward:
    order = _order(operation, rankings, on, keep)
    given = (rankings.beside.get("upstream"), results)
    values, *gradients = on.kernels.sort.soft_sort(order, rankings.each["alpha"], *given)
    return Forward(values, Sorted(order, _known(rankings, *gradients)))


def _sort_gradient(
    operation: Any, rankings: Rankings, state: Sorted, upstream: Array, on: DeviceWithKernels
) -> Derivatives:
    if state.known is not None:
        return state.known
    return Derivatives(*on.kernels.sort.soft_sort(state.order, rankings.each["alpha"], upstream, False)[1:])


def _topk(operation: Any, rankings: Rankings, on: DeviceWithKernels, results: bool, keep: bool) -> Forward:
    topk, alphas, upstream = on.kernels.topk, rankings.each["alpha"], rankings.beside.get("upstream")
    given = (on.numbers(rankings.each["k"]), alphas, operation.descending, operation.log, upstream, results)
    memberships, cuts = topk.soft_topk(on.place, rankings, *given)
    numbers = {}
    if operation.threshold:
        numbers["threshold"] = topk.thresholds(on.place, cuts, alphas, operation.descending)
    return Forward(memberships, cuts, numbers)


def _topk_gradient(
    operation: Any, rankings: Rankings, cuts: Any, upstream: Array, on: DeviceWithKernels
) -> Derivatives:
    given = (upstream, cuts, rankings.each["alpha"], operation.descending, _slope(operation.log))
    scores, to_k, to_alpha = on.kernels.topk.topk_gradient(on.place, rankings, *given)
    return Derivatives(scores, to_alpha, to_k)


def _quantile(operation: Any, rankings: Rankings, on: DeviceWithKernels, results: bool, keep: bool) -> Forward:
    """The threshold of a top-k whose memberships nobody reads."""
    topk, alphas = on.kernels.topk, rankings.each["alpha"]
    given = (on.numbers(rankings.each["k"]), alphas, operation.descending, False, None, False)
    _, cuts = topk.soft_topk(on.place, rankings, *given)
    found = topk.thresholds(on.place, cuts, alphas, operation.descending)
    return Forward(None, cuts, {operation.result: found})


def _quantile_gradient(
    operation: Any, rankings: Rankings, cuts: Any, upstream: Array | None, on: DeviceWithKernels
) -> Derivatives:
    import numpy as np

    pulls = np.ones(len(rankings)) if upstream is None else np.asarray(upstream, np.float64)
    given = (pulls, cuts, rankings.each["alpha"], operation.descending)
    scores, to_k, to_alpha = on.kernels.quantile.quantile_gradient(on.place, rankings, *given)
    return Derivatives(scores, to_alpha, to_k)


@functools.cache
def _slope(log: bool) -> int:
    """What an upstream gradient of a top-k is with respect to, as kernels call it."""
    from ...kernels.scalars import cut

    return cut.LOGARITHM if log else cut.MEMBERSHIP


def _permute(operation: Any, rankings: Rankings, on: DeviceWithKernels, results: bool, keep: bool) -> Forward:
    """The boundaries between positions, of which dense or sparse rows are made where they are read."""
    from ...kernels.cpu.permute import Matrices

    order = _order(operation, rankings, on, keep)
    boundaries = on.kernels.permute.boundaries(order, rankings.each["alpha"])
    return Forward(None, (order, boundaries), {operation.result: Matrices(boundaries)})


def _permute_gradient(
    operation: Any, rankings: Rankings, state: Any, upstream: Array, on: DeviceWithKernels
) -> Derivatives:
    """Of matrices, on a CPU; upstream has one for each ranking."""
    return Derivatives(*on.kernels.permute.matrix_gradient(*state, upstream, operation.places))


def _rank_along(
    operation: Any, rankings: Rankings, state: Sorted, upstream: Array | None, towards: Derivatives, on: Any
) -> Along:
    alphas = rankings.each["alpha"]
    return Along(*on.kernels.along.ranks_along(state.order, alphas, towards.scores, upstream))


def _sort_along(
    operation: Any, rankings: Rankings, state: Sorted, upstream: Array | None, towards: Derivatives, on: Any
) -> Along:
    alphas = rankings.each["alpha"]
    return Along(*on.kernels.along.levels_along(state.order, alphas, (0.5, 0), towards.scores, upstream))


def _topk_along(
    operation: Any, rankings: Rankings, cuts: Any, upstream: Array | None, towards: Derivatives, on: Any
) -> Along:
    """A result is a function of the distance from the threshold: F, or its logarithm."""
    along, offsets = on.kernels.along, rankings.offsets
    given = (rankings, cuts, rankings.each["alpha"], operation.descending, towards.scores, towards.k)
    cut = along.cut_along(on.place, *given)
    slope, bend = along.of_distances(cut, operation.log)
    if upstream is None:
        return Along(slope * cut.moved)
    curves = along.cut_curves(on.place, offsets, cut, upstream * slope, upstream * bend * cut.moved)
    return Along(slope * cut.moved, *curves)


def _quantile_along(
    operation: Any, rankings: Rankings, cuts: Any, upstream: Array | None, towards: Derivatives, on: Any
) -> Along:
    """A result is the threshold, which moves as its gradients say: less what the distances from it do."""
    import numpy as np

    from ...core.rankings import sums_of

    if upstream is None:
        return Along(None)
    along, offsets, lengths = on.kernels.along, rankings.offsets, rankings.lengths
    given = (rankings, cuts, rankings.each["alpha"], operation.descending, towards.scores, towards.k)
    cut = along.cut_along(on.place, *given)
    taken = sums_of(np.abs(cut.signs), offsets)
    slopes = -np.repeat(upstream / np.maximum(taken, 1.0), lengths)
    return Along(None, *along.cut_curves(on.place, offsets, cut, slopes, np.zeros(len(slopes))))


def _in_parts(name: str) -> Callable[..., Any]:
    """The way of an operation over a ranking that no memory holds."""

    def passes(operation: Any, ranking: Any) -> Any:
        from . import lapsum_parts

        return getattr(lapsum_parts, name)(operation, ranking)

    return passes


def sorting_bytes(itemsize: int) -> int:
    """Bytes per score of sorting: the scores and their places, to and fro; a short float64 row has an index besides."""
    return 2 * (itemsize + 4) + (8 if itemsize == 8 else 0)


_DEVICES = ("cpu", "cuda")

METHOD = Method(
    {
        "rank": Way(
            _rank,
            _rank_gradient,
            lambda itemsize, gradient: sorting_bytes(itemsize) + (itemsize if gradient else 0),
            lambda itemsize, gradient: 32 + 6 * itemsize + (4 + 2 * itemsize if gradient else 0),
            devices=_DEVICES,
            in_parts=_in_parts("rank"),
            along=_rank_along,
        ),
        # Beside sorting: a score and a step in float64, and for a gradient as much again.
        "sort": Way(
            _sort,
            _sort_gradient,
            lambda itemsize, gradient: sorting_bytes(itemsize) + (32 if gradient else 16),
            lambda itemsize, gradient: 104 + 4 * itemsize + (120 + 2 * itemsize if gradient else 0),
            devices=_DEVICES,
            in_parts=_in_parts("sort"),
            along=_sort_along,
        ),
        # The scores inside the bracket.
        "topk": Way(
            _topk,
            _topk_gradient,
            lambda itemsize, gradient: itemsize,
            lambda itemsize, gradient: 5 * itemsize + (2 * itemsize if gradient else 0),
            devices=_DEVICES,
            in_parts=_in_parts("topk"),
            along=_topk_along,
        ),
        "quantile": Way(
            _quantile,
            _quantile_gradient,
            lambda itemsize, gradient: itemsize,
            in_parts=_in_parts("quantile"),
            along=_quantile_along,
        ),
        # Beside sorting: boundaries, a score and a step in float64; the widths of rows; a row of the result.
        "permute": Way(
            _permute,
            _permute_gradient,
            lambda itemsize, gradient: sorting_bytes(itemsize) + 32 + 8 + 64,
            lambda itemsize, gradient: 104 + 4 * itemsize,
            devices=_DEVICES,
        ),
    },
    promises=("sums_to_k", "keeps_order", "hard_limit", "shift_invariant", "scale_invariant"),
    any_unit=True,
)
