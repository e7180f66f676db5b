"""`lapsum doctor`: what is installed, what may be used, and whether the first run will wait."""

from __future__ import annotations

import platform
from importlib.metadata import version

from .. import __version__, devices
from ..operations.menu import every_kernel
from ..operations.operation import prepare


def report(warm: bool) -> list[tuple[str, str]]:
    from ..kernels import jit

    kernels = [(operation, dtype) for operation in every_kernel() for dtype in ("float32", "float64")]
    if warm:
        for operation, dtype in kernels:
            prepare(operation, dtype)
    compiled = [
        f"{operation.kernels} {dtype}" for operation, dtype in kernels if jit.is_compiled(operation.kernels, dtype)
    ]
    limit, reason = devices.memory_limit()
    packages = ("numpy", "numba", "pyarrow", "typer")
    return [
        ("lapsum", f"{__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}"),
        ("packages", ", ".join(f"{package} {version(package)}" for package in packages)),
        ("cores", str(devices.cores())),
        (
            "memory",
            f"{limit >> 20} MiB (limit of the {reason}); --memory is {devices.default_memory() >> 20} MiB by default",
        ),
        (
            "cache",
            str(jit.CACHE) if jit.CACHE else "none is writable: every run compiles; set LAPSUM_CACHE_DIR to a folder",
        ),
        (
            "kernels",
            f"{len(compiled)} of {len(kernels)} compiled"
            + (f": {', '.join(compiled)}" if compiled else "; --warm compiles them"),
        ),
        ("cuda", devices.cuda()),
    ]
