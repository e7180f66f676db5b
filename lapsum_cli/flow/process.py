"""What `--memory` means: the whole process, of which the program and its allocators leave a budget for batches."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ..core.errors import OptionError
from ..devices import machine
from .budget import MIB, Budget

# What a process needs beyond its resident size at the start and the batches in flight: a row group being gathered,
# encoded and compressed, the page buffers of the reader, and what allocators keep. Measured with rows of 24 bytes;
# see tests/package/test_memory.py.
RESERVE = 80 * MIB
LOADED = 140 * MIB  # the resident size once NumPy, Arrow and the kernels are loaded
LEAST = 240 * MIB  # what lists of very unequal lengths took at the smallest budget, 229, and a little
LEAN = 1024 * MIB  # below this, speed gives way to what is held


def memory_size(memory: str | int | None) -> int:
    """Bytes of `--memory`, by default a share of what the machine or its cgroup allows."""
    size = machine.default_memory() if memory is None else _parse(memory)
    if size < LEAST:
        given = f"⟨memory={memory}⟩" if memory is not None else f"a quarter of the memory here, {size // MIB} MiB,"
        raise OptionError(f"{given} is too little: the program itself needs {LEAST // MIB} MiB; pass ⟨memory⟩")
    return size


def held_besides() -> int:
    """Bytes that the process holds and a run did not take, such as a table that it is given."""
    return max(0, machine.resident() - LOADED)


def memory_budget(size: int) -> Budget:
    """The bytes for batches, as far as is known before an input is open: what is read then has its bound, too."""
    if size < LEAN:
        _hold_little()
    return Budget(size, RESERVE + max(LOADED, machine.resident()))


def settle(budget: Budget, batch: int) -> None:
    """Set what is known once everything that stays is loaded; batch: the most bytes that one may take."""
    if budget.memory < LEAN:
        _hold_little()
    budget.settle(RESERVE + machine.resident(), batch)


@contextlib.contextmanager
def returning_memory(size: int) -> Iterator[None]:
    """Arrow's memory from jemalloc, which gives it back, where Arrow has it; the default is restored after.

    With 256 MiB a long Parquet file peaked at 225 MiB so, at 234 with malloc, 251 with its default decay, and 281 with
    mimalloc. The command sets ARROW_DEFAULT_MEMORY_POOL too, which Arrow's C++ obeys in places that this does not
    reach: 199.
    """
    before = pa.default_memory_pool()
    with contextlib.suppress(NotImplementedError):
        pa.set_memory_pool(pa.jemalloc_memory_pool())
        pa.jemalloc_set_decay_ms(0 if size < LEAN else 1000)
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _hold_little() -> None:
    """Memory that is not needed goes back to the system at once: for a process that was given little (Linux, glibc).

    Arrays from 256 KiB up get pages of their own, freed with them: glibc raises that bound to the largest array it saw,
    up to 32 MiB, and keeps what lies below. Two arenas serve all threads. What imports and kernels left free between
    what they hold, 0.8 MiB, goes back. And the code of LLVM leaves memory once the kernels are loaded: 60 of the 190
    MiB that a process then holds. These are unmodified pages of a library's file, mapped again should anything else be
    compiled.
    """
    mmap_threshold, arena_max, dont_need = -3, -8, 4
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 256 << 10)
        libc.mallopt(arena_max, 2)
        libc.malloc_trim(0)
        for line in Path("/proc/self/maps").read_text().splitlines():
            addresses, access, *_, path = line.split(maxsplit=5)
            if access == "r-xp" and "libllvmlite" in path:  # code only: no page of it was ever written
                start, stop = (int(part, 16) for part in addresses.split("-"))
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), dont_need)


def _parse(text: str | int) -> int:
    """Bytes from a text such as 256MiB, 2GB or 1.5G; a number is bytes."""
    if isinstance(text, int):
        return text
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    units |= {
        unit: 1 << shift
        for shift, names in ((10, "K KIB"), (20, "M MIB"), (30, "G GIB"), (40, "T TIB"))
        for unit in names.split()
    }
    number = text.strip().rstrip("BbIiKkMmGgTt")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        return int(float(number) * units[unit])
    except (ValueError, KeyError, OverflowError):
        raise OptionError(f"⟨memory⟩ must be a size such as 256MiB or 2GB, got {text!r}") from None
