"""What a process may do around these functions: compile its Python, and fork."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import torch

Given = ParamSpec("Given")
Made = TypeVar("Made")


def eagerly(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """The function, which torch.compile leaves alone: what is compiled ends before it and goes on behind it, as with
    `.numpy()`.

    Whoever compiles has imported torch._dynamo; nobody else waits the seconds that this takes.
    """

    @functools.wraps(function)
    def called(*given: Given.args, **options: Given.kwargs) -> Made:
        how = function if "torch._dynamo" not in sys.modules else uncompiled or _leave_alone()
        return how(*given, **options)

    uncompiled: Callable[Given, Made] | None = None

    def _leave_alone() -> Callable[Given, Made]:
        nonlocal uncompiled
        uncompiled = torch.compiler.disable(function)
        return uncompiled

    called._torchdynamo_disable = True  # type: ignore[attr-defined]
    return called


def seen_through(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """The function, of which torch.compile and torch.export see the operators that it calls; eagerly it is left alone,
    also where code is compiled around it.
    """
    alone = eagerly(function)

    @functools.wraps(function)
    def called(*given: Given.args, **options: Given.kwargs) -> Made:
        is_as_written = torch.compiler.is_compiling() or "torch._dynamo" not in sys.modules
        return (function if is_as_written else alone)(*given, **options)

    return called


_is_forked = False


def _note_fork() -> None:
    global _is_forked
    _is_forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


_AS_IT_IS = contextlib.nullcontext()


def by_one_thread_after_fork() -> contextlib.AbstractContextManager[None]:
    """In a process that was forked PyTorch's own operations run in one thread: its pool did not come along, and who
    asks it for work waits for ever. What is computed here has threads of its own.
    """
    return _by_one_thread() if _is_forked else _AS_IT_IS


@contextlib.contextmanager
def _by_one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
