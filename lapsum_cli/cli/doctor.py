"""`lapsum doctor`: what is installed, what may be used, and whether the first run will wait."""

from __future__ import annotations

import platform
from importlib.metadata import version
from importlib.util import find_spec

from .. import __version__, devices
from ..devices import machine
from ..devices.cpu import Cpu
from ..operations import warm
from .options import spelt


def report(compile_all: bool) -> list[tuple[str, str]]:
    """What there is to say, as (name, words); compile_all: have every kernel compiled first."""
    from ..kernels import cpu, jit

    if compile_all:
        for dtype in ("float32", "float64"):
            warm.compile_all(dtype, Cpu(2), Cpu(2, part=2))
    for name in cpu.__all__:  # which are imported when they are asked for
        getattr(cpu, name)
    compiled, kernels = jit.compiled()
    limit, reason = machine.memory_limit()
    packages = ("numpy", "numba", "pyarrow", "typer")
    return [
        ("lapsum", f"{__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}"),
        ("packages", ", ".join(f"{package} {version(package)}" for package in packages)),
        ("cores", str(machine.cores())),
        (
            "memory",
            f"{limit >> 20} MiB (limit of the {reason}); --memory is {machine.default_memory() >> 20} MiB by default",
        ),
        (
            "cache",
            str(jit.CACHE) if jit.CACHE else "none is writable: every run compiles; set LAPSUM_CACHE_DIR to a folder",
        ),
        (
            "kernels",
            f"{compiled} of {kernels} compiled" + ("" if compiled == kernels else "; --warm compiles all"),
        ),
        *_for_a_card(),
        ("cuda", spelt(devices.cuda())),
    ]


def _for_a_card() -> list[tuple[str, str]]:
    """What kernels for a card need, and where it was found; nothing where the extra is not installed."""
    if find_spec("numba_cuda") is None:
        return []
    return [("driver", machine.driver_in_words()), ("libnvvm", machine.libnvvm() or machine.NO_LIBNVVM)]
