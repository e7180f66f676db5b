"""The timings as a Markdown table on standard output, under a line that names the machine."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import sys
from importlib.metadata import version
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from .. import __version__
from . import Timing

WORDS = ("operation", "shape", "dtype")
NUMBERS = ("lapsum ms", "min–max", "hard counterpart", "ms", "lapsum/hard", "memcpy ms", "lapsum/memcpy", "M scores/s")


def print_table(timings: list[Timing]) -> None:
    table = Table(*WORDS, box=box.MARKDOWN)
    for name in NUMBERS:
        table.add_column(name, justify="right")
    for timing in timings:
        table.add_row(*_row(timing))
    print(machine(timings[0].case.threads))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def machine(threads: int) -> str:
    """The conditions without which a time says nothing: processor, cores, threads, versions, date."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba"))
    used = f"{os.cpu_count()} cores, threads used: {threads}"
    return f"{_processor()}, {used}; lapsum {__version__}, {versions}; {datetime.date.today()}"


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _row(timing: Timing) -> list[str]:
    case = timing.case
    soft, hard, copy = median(timing.soft), median(timing.hard), median(timing.copy)
    spread = f"{_ms(min(timing.soft))}–{_ms(max(timing.soft))}"
    ratios = f"{soft / hard:.2f}", f"{soft / copy:.1f}"
    speed = f"{case.rankings * case.length / soft / 1e6:.1f}"
    shape = f"{case.rankings}x{case.length}"
    return [
        case.name,
        shape,
        case.dtype,
        _ms(soft),
        spread,
        case.hard_name,
        _ms(hard),
        ratios[0],
        _ms(copy),
        ratios[1],
        speed,
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:#.3g}" if seconds < 0.0995 else f"{seconds * 1e3:.0f}"
