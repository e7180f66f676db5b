"""NumPy, on one core."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cases import Case

LABEL = "numpy"


def ranks(case: Case, scores: Any) -> Any:
    """argsort, and a scatter of the places."""
    import numpy as np

    order = np.argsort(scores, axis=-1)
    ranks = np.empty(scores.shape, np.int32)
    np.put_along_axis(ranks, order, np.arange(case.length, 0, -1, dtype=np.int32)[None], axis=-1)
    return ranks


def sort(case: Case, scores: Any) -> Any:
    """The scores, highest first: a view of an ascending sort."""
    import numpy as np

    return np.sort(scores, axis=-1)[:, ::-1]


def topk(case: Case, scores: Any) -> Any:
    """argpartition: indices, of which the last k are those of the k largest."""
    import numpy as np

    return np.argpartition(scores, case.length - math.ceil(case.k), axis=-1)


MODULES = {"numpy": {"rank": ranks, "sort": sort, "topk": topk, "log-topk": topk}}
