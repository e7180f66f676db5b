"""The timings as a Markdown table on standard output, under a line that names the machine."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import version
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from .. import __version__
from . import Timing

COLUMNS = ("operation", "shape", "dtype", "lapsum ms", "min–max", "M scores/s", "× memcpy")


def print_table(timings: list[Timing]) -> None:
    """A row for each case; for each library lapsum's time over its time, and that in ms."""
    peers = list(dict.fromkeys(name for timing in timings for name in timing.peers))
    table = Table(*COLUMNS[:3], box=box.MARKDOWN)
    for name in (*COLUMNS[3:], *(f"× {name} (ms)" for name in peers)):
        table.add_column(name, justify="right")
    for timing in timings:
        table.add_row(*_row(timing, peers))
    print(machine(timings[0].case.threads, peers))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def as_json(timings: list[Timing]) -> str:
    """All runs of all sides, in seconds."""
    cases = [
        {"operation": t.case.name, **asdict(t.case), "lapsum": t.soft, "memcpy": t.copy, "peers": t.peers}
        for t in timings
    ]
    return json.dumps({"machine": machine(timings[0].case.threads, timings[0].peers), "cases": cases}, indent=1)


def machine(threads: int, peers=()) -> str:
    """The conditions without which a time says nothing: processor, cores, threads, versions, date."""
    versions = ", ".join(f"{name} {version(name)}" for name in dict.fromkeys(("numpy", "numba", *peers)))
    used = f"{os.cpu_count()} cores, threads used: {threads}"
    return f"{_processor()}, {used}; lapsum {__version__}, {versions}; {datetime.date.today()}"


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _row(timing: Timing, peers: list[str]) -> list[str]:
    case, soft, copy = timing.case, median(timing.soft), median(timing.copy)
    hard = {name: median(times) for name, times in timing.peers.items()}
    return [
        case.name,
        f"{case.rankings}x{case.length}",
        case.dtype,
        _ms(soft),
        f"{_ms(min(timing.soft))}–{_ms(max(timing.soft))}",
        f"{case.rankings * case.length / soft / 1e6:.0f}",
        f"{soft / copy:.1f}",
        *(f"{soft / hard[name]:.2f} ({_ms(hard[name])})" if name in hard else "" for name in peers),
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:#.3g}" if seconds < 0.0995 else f"{seconds * 1e3:.0f}"
