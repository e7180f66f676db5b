"""PyTorch, on as many cores as lapsum, and on a card."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cases import Case

LABEL = "torch"


def ranks(case: Case, scores: Any) -> Any:
    """argsort, and a scatter of the places."""
    import torch

    order = torch.from_numpy(scores).argsort(-1)
    places = torch.arange(case.length, 0, -1, dtype=torch.int32).expand(order.shape)
    return torch.empty(order.shape, dtype=torch.int32).scatter_(-1, order, places)


def sort(case: Case, scores: Any) -> Any:
    """The scores highest first, with their indices."""
    return _tensor(scores).sort(-1, descending=True)


def topk(case: Case, scores: Any) -> Any:
    """The k largest, with their indices."""
    return _tensor(scores).topk(case.top, -1)


def sort_gradient(case: Case, scores: Any, upstream: Any) -> Any:
    """sort, forward and backward."""
    return _backward(sort, case, scores, upstream)


def topk_gradient(case: Case, scores: Any, upstream: Any) -> Any:
    """topk, forward and backward."""
    return _backward(topk, case, scores, upstream)


def _backward(function: Callable[..., Any], case: Case, scores: Any, upstream: Any) -> Any:
    import torch

    x = torch.from_numpy(scores).requires_grad_()
    values = function(case, x).values
    return torch.autograd.grad(values, x, torch.from_numpy(upstream)[:, : values.shape[1]])


def _tensor(scores: Any) -> Any:
    """On a card it is one already."""
    import numpy as np
    import torch

    return torch.from_numpy(scores) if isinstance(scores, np.ndarray) else scores


def set_threads(threads: int) -> None:
    """From now on PyTorch works on so many cores."""
    import torch

    torch.set_num_threads(threads)


def sees_card() -> bool:
    """Whether there is a card that it can work on."""
    import torch

    return torch.cuda.is_available()


def on_stream(stream: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """How it takes an array of the card without a copy, and a function whose context has its work go to the stream."""
    import torch

    return partial(torch.as_tensor, device="cuda"), lambda: torch.cuda.stream(torch.cuda.ExternalStream(int(stream)))


MODULES = {"torch": {"rank": ranks, "sort": sort, "topk": topk, "log-topk": topk}}
CALLS = {"rank-gradient": sort_gradient, "topk-gradient": topk_gradient}
ON_CARD = {"rank": sort, "sort": sort, "topk": topk, "log-topk": topk}
