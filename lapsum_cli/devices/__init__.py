"""Where it is computed: a device is a name, the memory of arrays, and a table of kernels, alike for the CPU and a card.

What stands in DEVICES is chosen by name; `lane` is the card for arrays that are on it already.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from types import ModuleType
from typing import Any

from ..core.errors import DeviceError, OptionError
from . import machine
from .card import Card
from .cpu import Cpu
from .machine import CUDA, cuda_problem, driver, in_words
from .pieces import InPieces

Say = Callable[[str], None]


def choose(device: str, threads: int, say: Say = lambda line: None) -> Cpu | InPieces:
    """The device of this name, for rankings in memory here; DeviceError where it is not there."""
    if device not in DEVICES:
        raise OptionError(f"⟨device⟩ must be {', '.join(list(DEVICES)[:-1])} or {list(DEVICES)[-1]}, got {device!r}")
    return DEVICES[device](_cpu(threads), say)


_cpu = functools.lru_cache(Cpu)

_CARDS: list[Card] = []  # its lanes, once they are made


def card(cpu: Cpu, say: Say = lambda line: None) -> InPieces:
    """The card, for rankings in memory here; `cpu` computes what it has no room for, and `say` is told."""
    adapter = _adapter()
    if not _CARDS:
        # The simulator runs one kernel at a time.
        _CARDS.extend(Card(adapter.Lane()) for _ in range(1 if adapter.IS_SIMULATED else 2))
    return InPieces(_CARDS, adapter.free_bytes, cpu, say)


def _card_or_cpu(cpu: Cpu, say: Say) -> Cpu | InPieces:
    try:
        return card(cpu, say)
    except DeviceError:
        return cpu


DEVICES: dict[str, Callable[[Cpu, Say], Cpu | InPieces]] = {
    "cpu": lambda cpu, say: cpu,
    "cuda": card,
    "auto": _card_or_cpu,
}

_LANES: dict[Hashable, Card] = {}


def lane(key: Hashable = None, make: Callable[[], Any] | None = None) -> Card:
    """The card, for rankings on it: on a lane of its own, or on that which make() makes, once for each key."""
    adapter = _adapter()
    if key not in _LANES:
        _LANES[key] = Card((make or adapter.Lane)())
    return _LANES[key]


@functools.cache
def _adapter() -> ModuleType:
    """The module that speaks to the card, once a kernel of one thread has run; DeviceError says what keeps it."""
    problem = cuda_problem()
    if problem:
        raise DeviceError(problem)
    from ..kernels.cuda import adapter

    try:
        adapter.check()
    except Exception as error:  # whatever the driver, the compiler and the linker may raise
        if machine.libnvvm() is None:
            raise DeviceError(f"the GPU does not run a kernel: libnvvm is {machine.NO_LIBNVVM}") from None
        line = " ".join(str(error).split())[:200] or type(error).__name__
        raise DeviceError(
            f"the GPU does not run a kernel: {line}; its driver must support CUDA {CUDA}, see lapsum doctor"
        ) from None
    return adapter


def cuda() -> str:
    """Whether a card works, in words; it runs a kernel of one thread."""
    try:
        adapter = _adapter()
    except DeviceError as error:
        return error.message
    major, minor = adapter.compute_capability()
    kind = "simulated" if adapter.IS_SIMULATED else f"driver for CUDA {in_words(driver()[0] or 0)}"
    return f"a kernel runs; compute capability {major}.{minor}, {kind}"
