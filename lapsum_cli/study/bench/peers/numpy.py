"""NumPy, on one core."""

from __future__ import annotations

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

    return np.argpartition(scores, case.length - case.top, axis=-1)


def uneven_ranks(case: Case, scores: Any) -> Any:
    """lexsort by query and score, and a scatter of the places."""
    import numpy as np

    shape = case.shape
    ranks = np.empty(scores.shape, np.int32)
    ranks[np.lexsort((-scores, shape.queries))] = np.arange(1, scores.size + 1) - np.repeat(
        shape.offsets[:-1], shape.sizes
    )
    return ranks


def uneven_sort(case: Case, scores: Any) -> Any:
    """The scores in the order of lexsort."""
    import numpy as np

    return scores[np.lexsort((-scores, case.shape.queries))]


def uneven_topk(case: Case, scores: Any) -> Any:
    """Whose rank is not above k."""
    import numpy as np

    return uneven_ranks(case, scores) <= np.repeat(np.ceil(case.ks), case.shape.sizes)


MODULES = {"numpy": {"rank": ranks, "sort": sort, "topk": topk, "log-topk": topk}}
UNEVEN = {"rank": uneven_ranks, "sort": uneven_sort, "topk": uneven_topk, "log-topk": uneven_topk}
CALLS = {"rank": ranks, "topk": topk}
