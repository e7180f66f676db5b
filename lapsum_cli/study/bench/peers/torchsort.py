"""torchsort: soft ranks by projection on the permutahedron, in PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cases import Case

LABEL = "torchsort"


def gradient(case: Case, scores: Any, upstream: Any) -> Any:
    """soft_rank (l2), forward and backward; its softness has another unit."""
    import torch
    import torchsort

    x = torch.from_numpy(scores).requires_grad_()
    ranks = torchsort.soft_rank(x, regularization="l2", regularization_strength=case.alpha)
    ranks.backward(torch.from_numpy(upstream))
    return ranks, x.grad


MODULES = {"torchsort": {"rank-gradient": gradient}}
