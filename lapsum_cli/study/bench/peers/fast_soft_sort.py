"""What torchsort does, by Google's code in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cases import Case

LABEL = "fast-soft-sort"


def gradient(case: Case, scores: Any, upstream: Any) -> Any:
    """SoftRank, forward and backward, a ranking at a time."""
    from fast_soft_sort.numpy_ops import SoftRank

    soft = [SoftRank(row, direction="DESCENDING", regularization_strength=case.alpha) for row in scores]
    return [(rank.compute(), rank.vjp(v)) for rank, v in zip(soft, upstream, strict=True)]


MODULES = {"fast_soft_sort": {"rank-gradient": gradient}}
