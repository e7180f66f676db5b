"""CuPy, on a card."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cases import Case

LABEL = "cupy"


def ranks(case: Case, scores: Any) -> Any:
    """argsort: indices, lowest score first."""
    import cupy

    return cupy.argsort(scores, axis=-1)


def sort(case: Case, scores: Any) -> Any:
    """The scores, lowest first."""
    import cupy

    return cupy.sort(scores, axis=-1)


def topk(case: Case, scores: Any) -> Any:
    """argpartition: indices, of which the last k are those of the k largest."""
    import cupy

    return cupy.argpartition(scores, case.length - case.top, axis=-1)


def sees_card() -> bool:
    """Whether there is a card that it can work on."""
    import cupy

    return cupy.cuda.is_available()


def on_stream(stream: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """How it takes an array of the card without a copy, and a function whose context has its work go to the stream."""
    import cupy

    return cupy.asarray, lambda: cupy.cuda.ExternalStream(int(stream))


MODULES: dict[str, dict] = {"cupy": {}}
ON_CARD = {"rank": ranks, "sort": sort, "topk": topk, "log-topk": topk}
