"""The benchmark in memory: a case's output is checked, then its sides are timed in turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from .cases import Case, Measured
from .check import check_output
from .clock import call, take_turns
from .peers import Peer


def measure(case: Case, peers: list[Peer], runs: int) -> Measured:
    """The times of lapsum, of a copy of what it reads, and of every peer that has something in place of the operation.

    A wrong output is an error, and has no time.
    """
    inputs = case.inputs()
    outputs = case.outputs(*inputs)
    check_output(case, inputs, outputs)
    moved = sum(array.nbytes for array in (*inputs, *outputs))
    del outputs
    copies = [np.empty_like(array) for array in inputs]

    def copy() -> None:
        for target, array in zip(copies, inputs, strict=True):
            np.copyto(target, array)

    functions: dict[str, Callable[[], object]] = {"lapsum": partial(case.outputs, *inputs), "memcpy": copy}
    for peer in peers:
        if case.operation in peer.in_memory:
            functions[peer.name] = partial(peer.in_memory[case.operation], case, *inputs)
    for function in functions.values():
        function()  # loaded and compiled, which its memory is not to count
    return Measured(case, take_turns({name: call(function) for name, function in functions.items()}, runs), moved)
