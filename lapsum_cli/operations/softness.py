"""How soft, and how many: alpha and k of every ranking, from what a user gave; and what is wrong with one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.device import DeviceWithKernels
from ..core.errors import BadRanking
from ..core.quantities import Alpha, K

if TYPE_CHECKING:
    from ..core.rankings import Rankings

DEFAULT_ALPHA = Alpha(0.1, "std")


def refuse(wrong: Any, problem: str, values: Any) -> None:
    """Raise BadRanking for the first ranking (of m) that is wrong; problem has a place for its value."""
    if wrong.any():
        r = int(wrong.argmax())
        raise BadRanking(r, problem.format(values[r]))


def refuse_ks(ks: Any) -> None:
    """BadRanking for the first k (m,) that cannot be used; those on a card are doubted by who puts them there."""
    import numpy as np

    if isinstance(ks, np.ndarray):
        refuse(~(ks >= 0), "k must be 0 or more, got {:g}", ks)


def k_of(k: K, rankings: Rankings) -> Any:
    """(m,) float64: how many are at the top of each ranking; one number for all has a stride of 0."""
    return items_of(rankings) * k.value / 100 if k.percent else rankings.same(k.value)


def items_of(rankings: Rankings) -> Any:
    """(m,) how many items each ranking has: without padding, where `ready` has counted it."""
    items = rankings.each.get("items")
    return rankings.lengths if items is None else items


def unit_bytes(alpha: Alpha, itemsize: int, on_card: bool = False) -> int:
    """Bytes per score while the unit of alpha is found: of a robust one those of sorting, on a card of a rank."""
    if not alpha.is_robust:
        return 0
    from .methods.lapsum import METHOD, sorting_bytes

    return METHOD.ways["rank"].card_bytes(itemsize, False) if on_card else sorting_bytes(itemsize)


def alphas_of(alpha: Alpha, rankings: Rankings, on: DeviceWithKernels, of_constant: float | None) -> tuple[Any, Any]:
    """(m,) alphas in the unit of the scores, float64; and where alpha is in spreads, which rankings (m,) are
    constant, None where none is. Both are where the kernels are then: what is computed of scores on a card stays there.

    rankings.each["alpha"] goes before the option. A constant ranking has no spread: its alpha is of_constant, or 1.
    It is all ties, and so its ranks and memberships are the same at any alpha.
    """
    if "alpha" in rankings.each:
        import numpy as np

        if not isinstance(rankings.each["alpha"], np.ndarray):
            on.kernels.doubts.Doubts.of(on.place).outside(rankings.each["alpha"], 5e-324, np.finfo(np.float64).max)
            return rankings.each["alpha"], None
        given = np.array(rankings.each["alpha"], np.float64)  # contiguous and writable: one kind of array for kernels
        refuse(~((given > 0) & (given < np.inf)), "alpha must be positive and finite, got {:g}", given)
        return given, None
    if not alpha.relative:
        return on.numbers(rankings.same(alpha.value)), None
    spreads = on.kernels.deviations.spreads(on.place, rankings, alpha.unit)
    return on.kernels.deviations.in_units(on.place, spreads, alpha.value, of_constant)
