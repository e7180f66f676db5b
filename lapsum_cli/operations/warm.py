"""Kernels ready before anything is measured or timed: compiled, which is said, or loaded from the cache."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from ..core.device import Device
from ..core.quantities import Alpha, K
from . import LOSSES, METHODS, OPERATIONS, operation_called
from .loss import Loss
from .operation import ByMethod, Operation
from .placed import places

PLACES, SPREADS = "places", "spreads"  # the names of the kernels that find them

_READY: set[tuple[str, str]] = set()  # kernels, and those of which device, and dtype: asked for at every call


def on_terminal(line: str) -> None:
    """A line on standard error where that is a terminal: whoever waits there should know for what."""
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"lapsum: {line}\n")


def warm(operation: Operation, dtype: str, on: Device, notice: Callable[[str], None] = on_terminal) -> None:
    """Have every kernel that an operation may need on a device ready, once in a process; `notice` is told of a wait.

    Kernels compile as they run on tiny rankings, one process at a time (kernels/jit.py).
    """

    def run() -> None:
        on.compute(operation.on_a_tiny_ranking(), _tiny(dtype))

    def run_all() -> None:
        on.run_every_kernel(operation.on_a_tiny_ranking(), _tiny(dtype))

    _have(_of_device(operation.kernels, on), dtype, run, run_all, notice)
    if operation.alpha.is_robust:
        warm_spreads(operation, dtype, on, notice)


def warm_spreads(operation: Operation, dtype: str, on: Device, notice: Callable[[str], None] = on_terminal) -> None:
    """Likewise for spreads that outliers do not move, by way of an operation whose own kernels are ready."""
    robust = replace(operation.on_a_tiny_ranking(), alpha=Alpha(1.0, "mad"))

    def run() -> None:
        on.compute(robust, _tiny(dtype))

    def run_all() -> None:
        on.run_every_kernel(robust, _tiny(dtype))
        on.compute(robust, _tiny(dtype, 5000))  # which is sorted by bytes

    _have(_of_device(SPREADS, on), dtype, run, run_all, notice)


def warm_places(dtype: str, notice: Callable[[str], None] = on_terminal) -> None:
    """Likewise for hard places, which the CPU finds: of short rankings, and of one that is sorted by bytes."""

    def run() -> None:
        places(_tiny(dtype), 1)

    def run_all() -> None:
        import numpy as np

        from ..core.rankings import Rankings

        run()
        places(Rankings(np.arange(1000, dtype=dtype), np.array([0, 1000])), 2)

    _have(PLACES, dtype, run, run_all, notice)


def _of_device(name: str, on: Device) -> str:
    """The name of kernels, which are compiled for each device apart."""
    return name if on.name == "cpu" else f"{on.name}-{name}"


def _have(
    name: str, dtype: str, run: Callable[[], object], run_all: Callable[[], object], notice: Callable[[str], None]
) -> None:
    """As jit.prepare has it, once in a process and with words."""
    if (name, dtype) in _READY:
        return
    from ..kernels import jit

    if not jit.is_compiled(name, dtype):
        kept = "later runs of it start at once" if jit.CACHE else "no cache can be written, see lapsum doctor"
        notice(f"compiling the {dtype} kernels of {name.replace('-', ' ')} for this processor, some 10 s; {kept}")
    jit.prepare(name, dtype, run, run_all)
    if wrong := jit.what_was_wrong():
        notice(wrong)
    _READY.add((name, dtype))


def _tiny(dtype: str, longest: int = 2) -> Any:
    """Rankings of one score and of two, or so many, with all that an operation may need beside them."""
    import numpy as np

    from ..core.rankings import Rankings

    scores = np.arange(1 + longest, dtype=dtype)
    return Rankings(scores, np.array([0, 1, 1 + longest]), {"upstream": scores, "target": np.arange(1.0 + longest)})


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
