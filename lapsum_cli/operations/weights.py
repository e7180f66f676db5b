"""What a ranking counts beside others: 0 or more, by which its loss is multiplied, and so are the gradients of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .softness import refuse

if TYPE_CHECKING:
    from ..core.rankings import Array

WEIGHT = "weight"  # of Rankings.each


def weights_in(each: Mapping[str, Any]) -> Array | None:
    """(m,) the weights among numbers of rankings, None where there are none. BadRanking for the first that is below 0
    or no number.
    """
    weights = each.get(WEIGHT)
    if weights is not None:
        refuse(~((weights >= 0) & (weights < float("inf"))), "weight must be 0 or more, got {:g}", weights)
    return weights


def weighed(losses: Array, weights: Array) -> Array:
    """Losses (m,) times their weights: NaN where there is none, 0 where it counts nothing though it may be infinite."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        return np.where(~np.isnan(losses) & (weights == 0), 0.0, losses * weights)
