"""What this machine has: cores, memory and its limits, a GPU that works or why not; and the processor of a name."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from importlib.util import find_spec
from pathlib import Path

from ..core.errors import DeviceError, OptionError
from .processors import Cpu, Gpu, GpuInPieces

MIB = 1 << 20
LARGEST_DEFAULT = 4 << 30


def cores() -> int:
    """Cores that this process may use, the CPU quota of its cgroup included."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        available = min(available, max(1, round(int(quota) / int(period))))
    return available


def memory_limit() -> tuple[int, str]:
    """The memory that this process may use, in bytes, and what sets it: the machine, or a cgroup around the process."""
    limit, reason = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "machine"
    for path in _cgroup_limits():
        with contextlib.suppress(OSError, ValueError):
            found = int(path.read_text())
            if 0 < found < limit:
                limit, reason = found, "cgroup"
    return limit, reason


def _cgroup_limits():
    """Files that hold a limit for this process or a parent of its cgroup; version 2, then version 1."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                root, name = Path("/sys/fs/cgroup"), "memory.max"
            elif "memory" in controllers.split(","):
                root, name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
            else:
                continue
            group = root / path.lstrip("/")
            while group != root.parent:
                yield group / name
                group = group.parent


def default_memory() -> int:
    """A quarter of the limit in force, at most 4 GiB."""
    return min(LARGEST_DEFAULT, memory_limit()[0] // 4)


def resident() -> int:
    """Bytes that this process holds in memory now."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux: the peak so far, which is at least as much
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


DEVICES = ("cpu", "cuda", "auto")


def choose(device: str, threads: int, say=lambda line: None):
    """The processor of this name: `auto` is a card where one works, else the CPU; `cuda` without one is an error."""
    if device not in DEVICES:
        raise OptionError(f"device must be cpu, cuda or auto, got {device!r}")
    cpu = Cpu(threads)
    if device == "cpu":
        return cpu
    try:
        return card(cpu, say)
    except DeviceError:
        if device == "cuda":
            raise
        return cpu


_CARDS: list = []  # its lanes, once they are made


def card(cpu: Cpu, say=lambda line: None) -> GpuInPieces:
    """The card, for rankings in memory here."""
    adapter = _adapter()
    if not _CARDS:
        # The simulator runs one kernel at a time.
        _CARDS.extend(Gpu(adapter.Lane()) for _ in range(1 if adapter.IS_SIMULATED else 2))
    return GpuInPieces(_CARDS, adapter.free_bytes, cpu, say)


_LANES: dict = {}


def lane(key=None, make=None) -> Gpu:
    """The card, for rankings on it: on a lane of its own, or on that which make() makes, once for each key."""
    adapter = _adapter()
    if key not in _LANES:
        _LANES[key] = Gpu((make or adapter.Lane)())
    return _LANES[key]


@functools.cache
def _adapter():
    """The module that speaks to the card, once a kernel of one thread has run; DeviceError says what keeps it."""
    problem = cuda_problem()
    if problem:
        raise DeviceError(problem)
    from ..kernels.cuda import adapter

    try:
        adapter.check()
    except Exception as error:  # whatever the driver, the compiler and the linker may raise
        line = " ".join(str(error).split())[:200] or type(error).__name__
        raise DeviceError(
            f"the GPU does not run a kernel: {line}; its driver must support CUDA {CUDA}, see lapsum doctor"
        ) from None
    return adapter


CUDA = 13  # what the packages of the extra `cuda` are made for


def cuda_problem() -> str | None:
    """What keeps --device cuda from working, and what to do, as far as it can be known without running anything."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0":
        return None
    if find_spec("numba_cuda") is None:
        return "--device cuda needs the packages of the extra cuda; pip install 'lapsum-cli[cuda]', or use --device cpu"
    version, count = _driver()
    if version is None:
        return "no NVIDIA driver answers here; install one, or use --device cpu"
    if version < 1000 * CUDA:
        return (
            f"the NVIDIA driver supports CUDA {_words(version)}, and {CUDA} is needed; update the driver, or use "
            "--device cpu"
        )
    if not count:
        return "the NVIDIA driver finds no GPU that may be used (CUDA_VISIBLE_DEVICES); use --device cpu"
    return None


def _driver() -> tuple[int | None, int]:
    """The CUDA version of the NVIDIA driver, such as 13020, or None; and how many GPUs it offers."""
    version, count = ctypes.c_int(), ctypes.c_int()
    for name in ("libcuda.so.1", "libcuda.dylib", "nvcuda.dll"):
        with contextlib.suppress(OSError):
            driver = ctypes.CDLL(name)
            if driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
                return None, 0
            if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
                return version.value, count.value
            return version.value, 0
    return None, 0


def _words(version: int) -> str:
    """13.2 for 13020."""
    return f"{version // 1000}.{version % 1000 // 10}"


def cuda() -> str:
    """Whether a card works, in words; it runs a kernel of one thread."""
    try:
        adapter = _adapter()
    except DeviceError as error:
        return str(error)
    major, minor = adapter.compute_capability()
    kind = "simulated" if adapter.IS_SIMULATED else f"driver for CUDA {_words(_driver()[0])}"
    return f"a kernel runs; compute capability {major}.{minor}, {kind}"
