"""SciPy, on one core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cases import Case

LABEL = "scipy"


def ranks(case: Case, scores: Any) -> Any:
    """rankdata: the lowest score has rank 1, and ties share the mean of their places."""
    from scipy.stats import rankdata

    return rankdata(scores, axis=-1)


MODULES = {"scipy": {"rank": ranks}}
