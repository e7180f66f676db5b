"""The conditions without which a time says nothing: processor, cores, versions, date."""

from __future__ import annotations

import contextlib
import datetime
import platform
from importlib.metadata import PackageNotFoundError, version

from .. import __version__, devices
from .peers import Peer


def machine(peers: list[Peer]) -> str:
    packages = ("numpy", "numba", "pyarrow", *(peer.module.partition(".")[0] for peer in peers))
    versions = ", ".join(filter(None, map(_version, dict.fromkeys(packages))))
    return f"{_processor()}, {devices.cores()} cores; lapsum {__version__}, {versions}; {datetime.date.today()}"


def _version(package: str) -> str | None:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:  # importable, but from a folder
        return None


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
