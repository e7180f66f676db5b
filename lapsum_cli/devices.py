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


def hold_little() -> None:
    """Memory that is not needed goes back to the system at once: for a process that was given little (Linux, glibc).

    Arrays from 256 KiB up get pages of their own, freed with them: glibc raises that bound to the largest array it saw,
    up to 32 MiB, and keeps what lies below. Two arenas serve all threads. And the code of LLVM leaves memory once the
    kernels are loaded: 60 of the 190 MiB that a process then holds. These are unmodified pages of a library's file,
    mapped again should anything else be compiled.
    """
    import ctypes

    mmap_threshold, arena_max, dont_need = -3, -8, 4
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 256 << 10)
        libc.mallopt(arena_max, 2)
        for line in Path("/proc/self/maps").read_text().splitlines():
            addresses, access, *_, path = line.split(maxsplit=5)
            if access == "r-xp" and "libllvmlite" in path:  # code only: no page of it was ever written
                start, stop = (int(part, 16) for part in addresses.split("-"))
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), dont_need)


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
