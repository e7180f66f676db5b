"""The benchmark in memory: a case's output is checked, then its sides are timed in turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from .cases import EVEN, Case, Measured
from .check import check_output, check_peer
from .clock import call, take_turns
from .peers import Peer


def measure(case: Case, peers: list[Peer], runs: int, evened: Case | None = None) -> Measured:
    """The times of lapsum, of a copy of what it reads, and of every peer that has something in place of the operation.

    evened: a case like it whose rankings are of one length, which is timed beside it. A wrong output is an error, and
    has no time.
    """
    inputs, lapsum, moved = _checked(case)
    copies = [np.empty_like(array) for array in inputs]

    def copy() -> None:
        for target, array in zip(copies, inputs, strict=True):
            np.copyto(target, array)

    functions: dict[str, Callable[[], object]] = {"lapsum": lapsum, "memcpy": copy}
    if evened:
        functions[EVEN] = _checked(evened)[1]
    for function in functions.values():
        function()  # loaded and compiled, which its memory is not to count
    for peer in peers:
        if found := peer.work(case.shape.kind).get(case.operation):
            functions[peer.name] = partial(found, case, *inputs)
            check_peer(case, peer.name, inputs[0], functions[peer.name]())
    return Measured(case, take_turns({name: call(function) for name, function in functions.items()}, runs), moved)


def _checked(case: Case) -> tuple[list[np.ndarray], Callable[[], object], int]:
    """The inputs of a case, what computes its outputs, once they are right, and the bytes of both."""
    inputs = case.inputs()
    outputs = case.outputs(*inputs)
    check_output(case, inputs, outputs)
    return inputs, partial(case.outputs, *inputs), sum(array.nbytes for array in (*inputs, *outputs))
