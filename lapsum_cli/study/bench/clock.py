"""The clock: the sides of a case run in turn, so that whatever slows the machine for a while slows all of them.

A side is a function without arguments that runs once and says what that took. Three kinds exist: a call in this
process, work on a card, and a whole process.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ...core import unfinished
from ...core.errors import IOFailed


class Run(NamedTuple):
    """One run: its wall time, and the most memory it held, in bytes; None where the system does not tell."""

    seconds: float
    memory: int | None


Side = Callable[[], Run]
LEAST = 0.1  # seconds in which a call is repeated whose least time counts
RESOLUTION = 5e-7  # of the events of a card; those of the simulator are never apart


@dataclass(frozen=True)
class Times:
    """Every run of one side."""

    seconds: list[float]
    memory: int | None

    @property
    def median(self) -> float:
        """Of the seconds: what counts in every table."""
        return statistics.median(self.seconds)

    @property
    def extremes(self) -> tuple[float, float]:
        """The fewest seconds, and the most."""
        return min(self.seconds), max(self.seconds)


class SideFailed(IOFailed):
    """A process that was to be timed did not end well."""


def take_turns(sides: dict[str, Side], runs: int) -> dict[str, Times]:
    """Every side once to warm up, then all of them `runs` times, in turn; the memory is the most that any run held."""
    warm = {name: _warm_up(side) for name, side in sides.items()}
    turns = [{name: side() for name, side in sides.items()} for _ in range(runs)]
    return {name: _times([turn[name] for turn in turns], warm[name]) for name in sides}


def _warm_up(side: Side) -> Run:
    """Without what earlier calls left with the allocator, which would be free for the taking and not be counted."""
    with contextlib.suppress(OSError, AttributeError):  # the C library of other systems has no such call
        ctypes.CDLL(None).malloc_trim(0)
    return side()


def _times(runs: list[Run], warm: Run) -> Times:
    held = [run.memory for run in (warm, *runs) if run.memory is not None]
    return Times([run.seconds for run in runs], max(held, default=None))


def call(function: Callable[[], object]) -> Side:
    """A call in this process; its memory is what it adds to that of the process, its result included."""

    def side() -> Run:
        before = _start_of_peak()
        start = time.perf_counter()
        _result = function()  # held until the clock has stopped: giving its memory back is not counted
        seconds = time.perf_counter() - start
        return Run(seconds, None if before is None else _peak() - before)

    return side


def least(function: Callable[[], object]) -> Side:
    """A call in this process of some microseconds: each run is the least of all that fit into LEAST seconds."""

    def side() -> Run:
        best, end = math.inf, time.perf_counter() + LEAST
        while True:
            start = time.perf_counter()
            function()
            stop = time.perf_counter()
            best = min(best, stop - start)
            if stop > end:
                return Run(best, None)

    return side


def between_events(
    function: Callable[[], object],
    stream: Any,
    event: Callable[[], Any],
    within: Callable[[], Any] = contextlib.nullcontext,
) -> Side:
    """Work that a function enqueues on a stream of a card, between two events there; memory is not counted.

    event makes one. `within` is entered before, off the clock: the function's library then works on that stream.
    """

    def side() -> Run:
        before, after = event(), event()
        with within():
            before.record(stream)
            _result = function()  # held until the clock has stopped
            after.record(stream)
            after.synchronize()
        return Run(max(before.elapsed_time(after) / 1e3, RESOLUTION), None)

    return side


def process(command: list[str], prepare: Callable[[], None], environment: dict[str, str]) -> Side:
    """A whole process, from its start to its end; `prepare` runs before it, off the clock."""

    def side() -> Run:
        prepare()
        code, out, words = _launched(command, environment)
        if code:
            why = words.strip().splitlines() or [f"exit code {code}"]
            raise SideFailed(f"{' '.join(command)}: {why[-1].removeprefix('lapsum: ')}")
        return Run(**json.loads(out))

    return side


def script(name: str) -> str:
    """The file of a module of this folder that Python runs by itself: its source, or what was compiled of it."""
    found = find_spec(f"{__package__}.{name}")
    return str(found.origin if found else name)


def _launched(command: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
    launch = [sys.executable, "-I", "-S", script("launch"), *command]
    with subprocess.Popen(
        launch,
        env=environment,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as launcher:
        kill = partial(os.killpg, launcher.pid, signal.SIGKILL)
        try:
            with unfinished.undone_by(kill):
                out, words = launcher.communicate()
        except BaseException:  # what was launched ends too
            kill()
            raise
    return launcher.returncode, out, words


def _start_of_peak() -> int | None:
    """Let the peak of this process's memory start from what it holds now, and say what that is."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _peak()
    except OSError:
        return None


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("the system does not tell a peak of memory")
