"""What this machine has: cores, memory and its limits, and whether there is a GPU."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

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


def cuda() -> str:
    """Whether the NVIDIA driver answers, in words."""
    import ctypes

    for name in ("libcuda.so.1", "libcuda.dylib", "nvcuda.dll"):
        with contextlib.suppress(OSError):
            driver = ctypes.CDLL(name)
            count = ctypes.c_int()
            if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value:
                return f"{count.value} device(s); this version computes on the CPU"
            return "a driver, but no device"
    return "no driver"
