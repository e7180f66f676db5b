"""Kernels ready before anything is measured or timed: compiled, which is said, or loaded from the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from ..core.device import Device
from ..core.quantities import K
from . import LOSSES, METHODS, OPERATIONS, operation_called
from .loss import Loss
from .operation import ByMethod, Operation

_READY: set[tuple[str, str, str]] = set()  # kernels, dtype, device: asked for at every call


def warm(operation: Operation, dtype: str, on: Device, notice: Callable[[str], None] = lambda line: None) -> None:
    """Have every kernel that an operation may need on a device ready, once in a process; `notice` is told of a wait.

    Kernels compile as they run on tiny rankings, one process at a time (kernels/jit.py).
    """
    key = (operation.kernels, dtype, on.name)
    if key in _READY:
        return
    from ..kernels import jit

    kernels = operation.kernels if on.name == "cpu" else f"{on.name}-{operation.kernels}"
    if not jit.is_compiled(kernels, dtype):
        kept = "later runs of it start at once" if jit.CACHE else "no cache can be written, see lapsum doctor"
        name = kernels.replace("-", " ")
        notice(f"compiling the {dtype} kernels of {name} for this processor, some 10 s; {kept}")
    on_tiny, tiny = operation.on_a_tiny_ranking(), _tiny(dtype)
    jit.prepare(kernels, dtype, lambda: on.compute(on_tiny, tiny), lambda: on.run_every_kernel(on_tiny, tiny))
    if wrong := jit.what_was_wrong():
        notice(wrong)
    _READY.add(key)


def _tiny(dtype: str) -> Any:
    """Rankings of one score and of two, with all that an operation may need beside them."""
    import numpy as np

    from ..core.rankings import Rankings

    scores = np.arange(3, dtype=dtype)
    return Rankings(scores, np.array([0, 1, 3]), {"upstream": scores, "target": np.arange(3.0)})


def every_operation() -> list[Operation]:
    """Operations that run every kernel between them, for `lapsum doctor --warm`."""
    found: list[Operation] = []
    for name in OPERATIONS:
        if name == Loss.name:
            found += [Loss(loss=loss, gradient=True).on_a_tiny_ranking() for loss in LOSSES]
            continue
        kind = cast(type[ByMethod], operation_called(name))
        given: dict[str, Any] = {"ks": (K(1.0),)} if "k" in kind.takes else {}
        for method, entry in METHODS.items():
            if name in entry.operations:
                made = kind(method=method, **given)
                found.append(made)
                if made.way.has_gradient_kernels:
                    found.append(kind(method=method, gradient=True, **given))
    return found
