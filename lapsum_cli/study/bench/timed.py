"""What can be timed, as tables: help reads them, and so nothing heavy is imported before it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from .cases import Case

SHAPES = {  # by device
    "cpu": ("1x10000000", "100000x100", "10000x1000"),
    "cuda": ("1x1000000", "1x10000000", "1x100000000", "100000x1000"),
}
DTYPES = ("float32", "float64")
METHODS = ("lapsum",)
FROM_FILE_TO_FILE = ("rank", "topk")


def _rank(case: Case, scores: np.ndarray) -> list[np.ndarray]:
    """soft_rank."""
    from ...api.functions import soft_rank

    return [soft_rank(scores, alpha=case.alpha, threads=case.threads)]


def _rank_gradient(case: Case, scores: np.ndarray, upstream: np.ndarray) -> list[np.ndarray]:
    """soft_rank and its gradient from one sort, as a run of the command with --upstream makes them."""
    from ...core.quantities import Alpha
    from ...operations.menu import Rank

    return _with_gradient(Rank(alpha=Alpha(case.alpha), gradient=True), case, scores, upstream)


def _sort(case: Case, scores: np.ndarray) -> list[np.ndarray]:
    """soft_sort."""
    from ...api.functions import soft_sort

    return [soft_sort(scores, alpha=case.alpha, threads=case.threads)]


def _topk(case: Case, scores: np.ndarray) -> list[np.ndarray]:
    """soft_topk."""
    from ...api.functions import soft_topk

    return [soft_topk(scores, case.k, alpha=case.alpha, threads=case.threads)]


def _topk_gradient(case: Case, scores: np.ndarray, upstream: np.ndarray) -> list[np.ndarray]:
    """soft_topk and its gradient from one threshold."""
    from ...core.quantities import Alpha, K
    from ...operations.menu import TopK

    return _with_gradient(TopK(alpha=Alpha(case.alpha), ks=(K(case.k),), gradient=True), case, scores, upstream)


def _log_topk(case: Case, scores: np.ndarray) -> list[np.ndarray]:
    """log_soft_topk."""
    from ...api.functions import log_soft_topk

    return [log_soft_topk(scores, case.k, alpha=case.alpha, threads=case.threads)]


def _with_gradient(operation, case: Case, scores: np.ndarray, upstream: np.ndarray) -> list[np.ndarray]:
    from ...api.functions import compute

    form, result = compute(operation, scores, case.alpha, case.threads, upstream=upstream)
    return [form.scores(result.scores[name]) for name in operation.score_columns]


TIMED: dict[str, Callable[..., list[np.ndarray]]] = {  # operation: what it makes of a case's inputs, each (m, n)
    "rank": _rank,
    "rank-gradient": _rank_gradient,
    "sort": _sort,
    "topk": _topk,
    "topk-gradient": _topk_gradient,
    "log-topk": _log_topk,
}
