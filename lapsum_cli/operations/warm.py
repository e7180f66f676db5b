"""Kernels ready before anything is measured or timed: compiled, which is said, or loaded from the cache."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any, cast

from ..core.device import Device
from ..core.errors import NotDifferentiable
from ..core.quantities import Alpha, K, Q
from . import LOSSES, METHODS, OPERATIONS, giant, loss_called, method_called, operation_called
from .loss import Loss
from .operation import ByMethod, Operation
from .placed import places
from .rank import Rank
from .slots import RANKING, Derivatives
from .stages import STAGE

# Scores whose bands are longer than a block, and sorted as long rankings are; and of a part of them.
_IN_PARTS, _PART = 5000, 3000

_READY: set[tuple[str, str, str]] = set()  # kernels, unit of alpha, dtype: asked for at every call


def on_terminal(line: str) -> None:
    """A line on standard error where that is a terminal: whoever waits there should know for what."""
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"lapsum: {line}\n")


def warm(operation: Operation, dtype: str, on: Device, notice: Callable[[str], None] = on_terminal) -> None:
    """Have the kernels that an operation needs of short rankings ready on a device, once in a process.

    Others compile when they are first called (kernels/jit.py). `notice` is told of any wait.
    """
    name = operation.kernels if on.name == "cpu" else f"{on.name}-{operation.kernels}"
    which = (name, operation.alpha.unit, dtype)
    _have(which, lambda: on.compute(operation.on_a_tiny_ranking(), _rankings(dtype, operation)), notice)


def warm_places(dtype: str, notice: Callable[[str], None] = on_terminal) -> None:
    """Likewise for hard places, which the CPU finds."""
    _have(("places", "", dtype), lambda: places(_rankings(dtype, Rank()), 1), notice)


def warm_in_parts(operation: Operation, dtype: str, on: Device, notice: Callable[[str], None] = on_terminal) -> None:
    """Likewise for a ranking that no memory holds."""
    from .pieces import OfArray, compute

    which = (f"{operation.kernels} of rankings larger than memory", operation.alpha.unit, dtype)
    plain = operation.on_a_tiny_ranking()

    def run() -> None:
        rankings = _rankings(dtype, plain, _IN_PARTS)
        rankings.beside["target"][:] = rankings.beside["target"] > 1.0  # few grades, which a loss may take one by one
        compute(plain, OfArray(rankings, _PART, _PART), on)

    _have(which, run, notice)


def _have(which: tuple[str, str, str], run: Callable[[], object], notice: Callable[[str], None]) -> None:
    """Run this, which has kernels ready, once in a process and with words, which are also those of later waits."""
    if which in _READY:
        return
    from ..kernels import jit

    name, _, dtype = which
    later = "later runs start at once" if jit.CACHE else "no cache can be written, see lapsum doctor"
    of_it = f"the {dtype} kernels of {name.replace('-', ' ')}"
    jit.before_a_wait(lambda: notice(f"compiling {of_it} for this processor, some seconds; {later}"))
    run()
    jit.before_a_wait(lambda: notice(f"compiling more kernels for this processor, some seconds; {later}"))
    if wrong := jit.what_was_wrong():
        notice(wrong)
    _READY.add(which)


def _rankings(dtype: str, operation: Operation, *lengths: int) -> Any:
    """Rankings of one score and of two, or of these lengths, with what an operation needs beside them.

    Scores differ in their last digits, which the quickest sort of float64 does not see.
    """
    import numpy as np

    from ..core.rankings import Rankings

    offsets = np.cumsum([0, *(lengths or (1, 2))])
    scores = 1 + np.arange(offsets[-1], dtype=dtype) * np.finfo(dtype).eps
    beside = {"upstream": scores} if operation.gradient else {}
    beside |= {STAGE: scores} if isinstance(operation, Loss) and operation.entry.stages > 1 else {}
    return Rankings(scores, offsets, {**beside, "target": scores.astype(np.float64)})


def compile_all(dtype: str, cpu: Any, in_parts: Any) -> None:
    """Have every kernel of the CPU ready: of short rankings, of long ones, and of what has several parts.

    cpu, in_parts: with several threads; and with parts of a few scores
    """
    for operation in every_operation():
        warm(operation, dtype, cpu)
        operation.run_once(_rankings(dtype, operation, 1, 2, 40, *((600, 5000) if _is_linear(operation) else ())), cpu)
        operation.run_once(_rankings(dtype, operation, 5), in_parts)
        if giant.refusal(operation, cpu.name) is None:
            warm_in_parts(operation, dtype, cpu)
        _run_second(operation, cpu)
    warm_places(dtype)
    places(_rankings(dtype, Rank(), 40, 600, 5000), 1)
    robust = Rank(Alpha(1.0, "mad"))
    robust.run_once(_rankings(dtype, robust, 40, 600, 5000), cpu)
    Rank(Alpha(1.0)).run_once(_rankings(dtype, Rank(), 1 << 20), cpu)  # which several threads sort


def _run_second(operation: Operation, cpu: Any) -> None:
    """Its second derivatives, where it has some, which are computed in float64."""
    import numpy as np

    from .along import derivatives, diagonal

    if not (loss_called(operation.loss).second if isinstance(operation, Loss) else _way_along(operation)):
        return
    rankings = _rankings("float64", operation, 1, 2, 40)
    is_one_number = isinstance(operation, Loss) or operation.gives[0].per == RANKING
    upstream = np.ones(len(rankings) if is_one_number else len(rankings.values))
    derivatives(operation, rankings, upstream, Derivatives(rankings.values, None), cpu)
    if isinstance(operation, Loss):
        with contextlib.suppress(NotDifferentiable):  # of a diagonal alone
            diagonal(operation, rankings, upstream, cpu)


def _way_along(operation: Operation) -> Any:
    return operation.way.along if isinstance(operation, ByMethod) else None


def _is_linear(operation: Operation) -> bool:
    """Whether long rankings take no more steps than their scores: others compile nothing for these of their own, and
    NeuralNDCG of 5000 scores takes a minute.
    """
    if isinstance(operation, Loss):
        return not operation.entry.is_square
    return not isinstance(operation, ByMethod) or operation.way.steps is None


def every_operation() -> list[Operation]:
    """Operations that run every kernel between them."""
    found: list[Operation] = []
    for name in OPERATIONS:
        if name == Loss.name:
            found += [Loss(loss=loss, gradient=on).on_a_tiny_ranking() for loss in LOSSES for on in (False, True)]
            continue
        kind = cast(type[ByMethod], operation_called(name))
        has_gradient = bool({"upstream", "q"} & {*kind.takes})  # of a command
        for method, entry in METHODS.items():
            if name in entry.operations:
                given: dict[str, Any] = {"ks": (K(1.0),)} if "k" in kind.takes and entry.takes_k else {}
                has_logs = name == "topk" and "members" not in method_called(method, name).lacks
                given |= {"qs": (Q(0.5),)} if "q" in kind.takes else {}
                for of_logs in [{}, {"log": True}] if has_logs else [{}]:
                    given |= of_logs
                    found += [kind(method=method, gradient=on, **given) for on in (False, has_gradient)]
    return found
