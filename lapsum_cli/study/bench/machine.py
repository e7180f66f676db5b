"""The conditions without which a time says nothing: card, processor, cores, versions, date."""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ... import __version__
from ...devices.machine import cores
from .peers import Peer


def machine(peers: list[Peer], device: str = "cpu") -> str:
    """All of it in one line."""
    on_card = () if device == "cpu" else ("numba-cuda", "cuda-cccl")
    packages = ("numpy", "numba", *on_card, "pyarrow", *(peer.module.partition(".")[0] for peer in peers))
    versions = ", ".join(filter(None, map(_version, dict.fromkeys(packages))))
    card = "" if device == "cpu" else f"{_card()}; "
    return f"{card}{_processor()}, {cores()} cores; lapsum {__version__}, {versions}; {datetime.date.today()}"


def _version(package: str) -> str | None:
    """As it was installed; CuPy's package has the CUDA version in its name."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:  # importable, but from a folder
        found = getattr(sys.modules.get(package), "__version__", None)
        return found and f"{package} {found}"


def _card() -> str:
    """Its name and memory, and what its driver is and supports."""
    from ...kernels.cuda import adapter

    if adapter.IS_SIMULATED:
        return "a simulated card"
    context = adapter.here.current_context()
    name, memory = context.device.name, context.get_memory_info()[1]
    cuda = ".".join(map(str, adapter.here.cudadrv.driver.get_version()))
    name = name.decode() if isinstance(name, bytes) else name
    return f"{name}, {memory / (1 << 30):.0f} GiB, {_driver()}CUDA {cuda}"


def _driver() -> str:
    """Words about the version of the driver, from its library for management, else from the kernel; none if untold."""
    text = ctypes.create_string_buffer(96)
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libnvidia-ml.so.1")
        if library.nvmlInit_v2() == 0 and library.nvmlSystemGetDriverVersion(text, len(text)) == 0:
            return f"driver {text.value.decode()}, "
    with contextlib.suppress(OSError):
        found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", Path("/proc/driver/nvidia/version").read_text())
        return f"driver {found[0]}, " if found else ""
    return ""


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
