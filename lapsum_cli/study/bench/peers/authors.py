"""The authors' LapSum, in PyTorch, of which most builds hold only a part. Its sign of alpha is the direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cases import Case

LABEL = "authors' LapSum"


def ranks(case: Case, scores: Any) -> Any:
    """Soft ranks, from 1 for the highest score."""
    import torch
    from lapsum.rank import soft_rank

    return soft_rank(torch.from_numpy(scores), -case.alpha)


def gradient(case: Case, scores: Any, upstream: Any) -> Any:
    """Soft ranks, forward and backward."""
    import torch
    from lapsum.rank import soft_rank

    x = torch.from_numpy(scores).requires_grad_()
    ranks = soft_rank(x, torch.tensor(-case.alpha, dtype=x.dtype, requires_grad=True))
    ranks.backward(torch.from_numpy(upstream))
    return ranks, x.grad


def sort(case: Case, scores: Any) -> Any:
    """A soft sort, highest first."""
    import torch
    from lapsum.sort import soft_sort

    return soft_sort(torch.from_numpy(scores), -case.alpha)


def topk(case: Case, scores: Any) -> Any:
    """Soft memberships."""
    from lapsum.topk import soft_topk

    return _members(soft_topk, case, scores)


def log_topk(case: Case, scores: Any) -> Any:
    """Their logarithms."""
    from lapsum.topk import log_soft_topk

    return _members(log_soft_topk, case, scores)


def _members(function: Callable[..., Any], case: Case, scores: Any) -> Any:
    import torch

    x = torch.from_numpy(scores)
    k = torch.full((case.rankings, 1), case.k.value, dtype=x.dtype)
    return function(x, k, torch.tensor(case.alpha, dtype=x.dtype), 1, True)


MODULES = {
    "lapsum.rank": {"rank": ranks, "rank-gradient": gradient},
    "lapsum.sort": {"sort": sort},
    "lapsum.topk": {"topk": topk, "log-topk": log_topk},
}
