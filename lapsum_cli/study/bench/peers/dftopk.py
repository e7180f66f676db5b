"""DFTopK, in PyTorch: another soft top-k."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .torch import set_threads as set_threads

if TYPE_CHECKING:
    from ..cases import Case

LABEL = "DFTopK"


def topk(case: Case, scores: Any) -> Any:
    """A sigmoid around the middle between the k-th and the next largest score. It does not sum to k."""
    import torch

    x, at = torch.from_numpy(scores), case.length - min(case.top, case.length - 1)
    return torch.sigmoid((x - (x.kthvalue(at + 1, -1, True)[0] + x.kthvalue(at, -1, True)[0]) / 2) / case.alpha)


MODULES = {"torch": {"topk": topk}}
