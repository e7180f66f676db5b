"""Hard results, with the gradients that they have: what is to be compared with."""

from __future__ import annotations

from typing import Any

from ...core.device import DeviceWithKernels
from ...core.rankings import Array, Rankings
from ..method import Method, Way
from ..slots import Derivatives, Forward
from .rows import Rows

_SORT = Rows("sort", "hard")


def _quantile(operation: Any, rankings: Rankings, on: DeviceWithKernels, results: bool, keep: bool) -> Forward:
    """The sorted score whose place from the best, k - 1/2 from 0, is nearest; the mean of the two midway."""
    import numpy as np

    made = _SORT.forward(operation, _sorted_alone(rankings), on, True, keep)
    places, found = _places(rankings), np.full(len(rankings), np.nan)
    has_any = rankings.lengths > 0
    first, second = (np.asarray(made.values, np.float64)[place[has_any]] for place in places)
    found[has_any] = np.where(first == second, first, 0.5 * first + 0.5 * second)
    return Forward(None, made.state, {operation.result: found})


def _quantile_gradient(
    operation: Any, rankings: Rankings, state: Any, upstream: Array | None, on: DeviceWithKernels
) -> Derivatives:
    """That of the sorted scores that it is made of; 0 for alpha and k."""
    import numpy as np

    of_places, has_any = np.zeros(len(rankings.values)), rankings.lengths > 0
    pulls = np.broadcast_to(1.0 if upstream is None else upstream, len(rankings))[has_any]
    for place in _places(rankings):
        of_places[place[has_any]] += 0.5 * pulls
    found = _SORT.backward(operation, _sorted_alone(rankings), state, of_places, on)
    return found._replace(k=np.zeros(len(rankings)))


def _sorted_alone(rankings: Rankings) -> Rankings:
    """Without the k that a sort has no use for."""
    return rankings.with_each({name: numbers for name, numbers in rankings.each.items() if name != "k"})


def _places(rankings: Rankings) -> tuple[Any, Any]:
    """(m,) where the two sorted scores are that a quantile is the mean of; mostly one twice."""
    import numpy as np

    whole = np.floor(rankings.each["k"])  # k - 1/2 rounded, up and down where it is midway
    is_midway = (whole == rankings.each["k"]) & (whole > 0)
    first = rankings.offsets[:-1] + whole.astype(np.int64) - is_midway
    return first, first + is_midway


METHOD = Method(
    {
        **{operation: Rows(operation, "hard").way() for operation in ("rank", "sort", "topk")},
        "quantile": Way(_quantile, _quantile_gradient, lambda itemsize, gradient: 64),
    },
    promises=("sums_to_k", "keeps_order", "exact_zeros", "hard_limit", "shift_invariant", "scale_invariant"),
)
