"""What this machine has: cores, memory and its limits, and a driver for a GPU, or why not."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

LARGEST_DEFAULT = 4 << 30
CUDA = 13  # what the packages of the extra `cuda` are made for


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


def _cgroup_limits() -> Iterator[Path]:
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


def cuda_problem() -> str | None:
    """What keeps device="cuda" from working, and what to do, as far as it can be known without running anything."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0":
        return None
    if find_spec("numba_cuda") is None:
        return "⟨device=cuda⟩ needs the packages of the extra cuda; pip install 'lapsum-cli[cuda]', or use ⟨device=cpu⟩"
    version, count = driver()
    if version is None:
        return "no NVIDIA driver answers here; install one, or use ⟨device=cpu⟩"
    if version < 1000 * CUDA:
        return (
            f"the NVIDIA driver supports CUDA {in_words(version)}, and {CUDA} is needed; update the driver, or use "
            "⟨device=cpu⟩"
        )
    if not count:
        return "the NVIDIA driver finds no GPU that may be used (CUDA_VISIBLE_DEVICES); use ⟨device=cpu⟩"
    return None


def driver() -> tuple[int | None, int]:
    """The CUDA version of the NVIDIA driver, such as 13020, or None; and how many GPUs it offers."""
    version, count = ctypes.c_int(), ctypes.c_int()
    for name in ("libcuda.so.1", "libcuda.dylib", "nvcuda.dll"):
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(name)
            if library.cuDriverGetVersion(ctypes.byref(version)) != 0:
                return None, 0
            if library.cuInit(0) == 0 and library.cuDeviceGetCount(ctypes.byref(count)) == 0:
                return version.value, count.value
            return version.value, 0
    return None, 0


def driver_in_words() -> str:
    """What the NVIDIA driver supports and offers, and the file of its library."""
    version, count = driver()
    if version is None:
        return "none answers"
    file = next(iter(_loaded("libcuda.so")), "its file is not told")
    return f"CUDA {in_words(version)}, {count} GPU{'' if count == 1 else 's'}, {file}"


def _loaded(name: str) -> Iterator[str]:
    """Files that this process has loaded whose names start so; none where the system does not tell."""
    with contextlib.suppress(OSError), open("/proc/self/maps") as file:
        for line in file:
            path = line.split(maxsplit=5)[-1].strip()
            if Path(path).name.startswith(name):
                yield path


def libnvvm() -> str | None:
    """The files of libnvvm, which compiles kernels for a card, and of its library of functions, where numba-cuda finds
    both; else None. It looks into wheels, $CONDA_PREFIX, where the system looks, $CUDA_HOME or $CUDA_PATH, and for the
    second file into /usr/local/cuda too.
    """
    try:
        from numba.cuda.cuda_paths import get_cuda_paths

        found = get_cuda_paths()
        files = [str(found[name].info) for name in ("nvvm", "libdevice")]
    except Exception:  # not installed, or what the finder and the linker may raise
        return None
    return ", ".join(files) if all(Path(file).exists() for file in files) else None


NO_LIBNVVM = (
    "not found, and it compiles kernels for a card; pip install 'lapsum-cli[cuda]', or set CUDA_HOME to a toolkit of "
    f"CUDA {CUDA}, such as /usr/local/cuda, which has nvvm/lib64/libnvvm.so and nvvm/libdevice"
)


def in_words(version: int) -> str:
    """13.2 for 13020."""
    return f"{version // 1000}.{version % 1000 // 10}"
