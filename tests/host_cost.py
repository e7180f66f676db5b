"""What every call on a card costs the host, on a machine without one: python3 tests/host_cost.py [part of a name]

Needs the extra `cuda` and a C compiler. Numba, its caches and the bindings are real, and kernels compile for compute
capability 9.0; the driver is stub_driver.c, which counts what it is asked for. Of a call that was made before, with the
same offsets: the time, then launches of kernels (those of a library that sorts are left out), copies to the card
and back, allocations and frees, and how often the host waits. Fails where a count is more than RECORDED says, never for
a time.
"""

import atexit
import contextlib
import cProfile
import ctypes
import gc
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np

COUNTED = ("launches", "up", "bytes up", "down", "bytes down", "allocated", "freed", "pinned", "waits", "recorded")
SHOWN = ("launches", "up", "bytes up", "down", "allocated", "pinned", "waits", "calls")
# The most of these, but of the last: a call whose offsets are known sends what is new of it alone. It waits where it
# is for results or numbers that come here, and where a float32 top-k in deviations may ask for float64.
RECORDED: dict[str, tuple[int, ...]] = {
    "topk 8 x 128": (1, 0, 0, 0, 4, 0, 0),
    "topk with gradient 8 x 128": (1, 0, 0, 0, 7, 0, 0),
    "topk, gradients for alpha and k 8 x 128": (1, 0, 0, 2, 7, 0, 1),
    "topk 0.1std with gradient 8 x 128": (15, 0, 0, 1, 10, 0, 1),
    "rank 8 x 128": (2, 0, 0, 0, 1, 0, 0),
    "rank with gradient 8 x 128": (5, 0, 0, 0, 3, 0, 0),
    "sort 8 x 128": (3, 0, 0, 0, 1, 0, 0),
    "sort with gradient 8 x 128": (20, 0, 0, 0, 3, 0, 0),
    "topk, an alpha and a k for each, 8 x 128": (1, 3, 160, 0, 4, 0, 0),
    "topk from here 8 x 128": (1, 1, 4096, 1, 0, 0, 1),
    "topk from here 1024 x 1024": (1, 1, 4194304, 1, 0, 0, 1),
    "topk from here 1 x 1048576": (8, 1, 4194304, 1, 0, 0, 1),
    "spearman loss with gradient, from here, 8 x 128": (8, 6, 12544, 3, 3, 0, 3),
    "topk loss with gradient, from here, 8 x 128": (5, 9, 12736, 3, 9, 0, 3),
    "topk 1 x 100000000": (11, 0, 0, 0, 4, 0, 0),
    "topk with gradient 1 x 100000000": (16, 0, 0, 0, 7, 0, 0),
    "topk 100000 x 1000": (1, 0, 0, 0, 4, 0, 0),
    "topk with gradient 100000 x 1000": (5, 0, 0, 0, 7, 0, 0),
    "topk 1000000 x 100": (1, 0, 0, 0, 4, 0, 0),
    "topk with gradient 1000000 x 100": (1, 0, 0, 0, 7, 0, 0),
    "rank 1000000 x 100": (2, 0, 0, 0, 1, 0, 0),
    "topk 0.1std 1000000 x 100": (12, 0, 0, 1, 7, 0, 1),
    "topk 400000 uneven, new offsets": (5, 8, 11983008, 0, 12, 0, 0),
}


def stub() -> ctypes.Array:
    """The counts of a driver that takes the place of NVIDIA's in this process: before anything looks for one."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    library, source = Path(folder) / "libcuda.so.1", Path(__file__).with_name("stub_driver.c")
    build = ["-O1", "-w", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(library), str(source), "-ldl"]
    subprocess.run([os.environ.get("CC", "cc"), *build], check=True)
    loaded = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)  # by its name it is found from here on
    return (ctypes.c_uint64 * len(COUNTED)).in_dll(loaded, "COUNTS")


def calls() -> Iterator[tuple[str, Callable[[], object]]]:
    """(name, call), each on arrays of the card unless its name says otherwise."""
    from lapsum_cli import Loss, Rank, Sort, TopK
    from lapsum_cli.core.quantities import Alpha, K
    from lapsum_cli.core.rankings import Rankings, equal_offsets
    from lapsum_cli.devices.card import Card
    from lapsum_cli.kernels.cuda import adapter

    card, fixed = Card(adapter.Lane()), Alpha(0.1)

    def call(operation, count: int, length: int, here: bool = False, **each: np.ndarray) -> Callable[[], object]:
        size, beside = count * length, {}
        make = (lambda: np.zeros(size, np.float32)) if here else lambda: adapter.here.device_array(size, np.float32)
        values = make()
        if operation.gradient and "upstream" in operation.takes:
            beside["upstream"] = make()
        if "target" in operation.takes:
            beside["target"] = np.arange(size, dtype=np.float64)
        return lambda: card.compute(operation, Rankings(values, equal_offsets(count, length), beside, each))

    k = (K(10.0),)
    for name, operation in (
        ("topk", TopK(fixed, ks=k)),
        ("topk with gradient", TopK(fixed, ks=k, gradient=True)),
        ("topk, gradients for alpha and k", TopK(fixed, ks=k, gradient=True, grad_alpha=True, grad_k=True)),
        ("topk 0.1std with gradient", TopK(ks=k, gradient=True)),
        ("rank", Rank(fixed)),
        ("rank with gradient", Rank(fixed, gradient=True)),
        ("sort", Sort(fixed)),
        ("sort with gradient", Sort(fixed, gradient=True)),
    ):
        yield f"{name} 8 x 128", call(operation, 8, 128)
    yield "topk, an alpha and a k for each, 8 x 128", call(TopK(), 8, 128, alpha=np.ones(8), k=np.ones(8))
    yield "topk from here 8 x 128", call(TopK(fixed, ks=k), 8, 128, here=True)
    yield "topk from here 1024 x 1024", call(TopK(fixed, ks=k), 1024, 1024, here=True)
    yield "topk from here 1 x 1048576", call(TopK(fixed, ks=k), 1, 1 << 20, here=True)
    for loss in ("spearman", "topk"):
        operation = Loss(fixed, loss=loss, ks=k * (loss == "topk"), gradient=True)
        yield f"{loss} loss with gradient, from here, 8 x 128", call(operation, 8, 128, here=True)
    for count, length in ((1, 10**8), (10**5, 1000), (10**6, 100)):
        yield f"topk {count} x {length}", call(TopK(fixed, ks=k), count, length)
        yield f"topk with gradient {count} x {length}", call(TopK(fixed, ks=k, gradient=True), count, length)
    yield "rank 1000000 x 100", call(Rank(fixed), 10**6, 100)
    yield "topk 0.1std 1000000 x 100", call(TopK(ks=k), 10**6, 100)
    uneven = np.random.default_rng(0).integers(1, 500, 400_000)
    offsets = np.concatenate([[0], np.cumsum(uneven)])
    values = adapter.here.device_array(int(offsets[-1]), np.float32)
    turns = itertools.cycle([offsets, np.concatenate([[0], np.cumsum(uneven[::-1])])])
    yield "topk 400000 uneven, new offsets", lambda: card.compute(TopK(fixed, ks=k), Rankings(values, next(turns)))


def measured(call: Callable[[], object], counts: ctypes.Array) -> tuple[float, dict[str, int]]:
    """Milliseconds of this thread, which nine calls of ten take at least; and the counts of one call, once it was made
    three times: also of Python's own calls, which no other process makes slower.
    """
    for _ in range(3):
        call()
    gc.collect()
    before = list(counts)
    call()
    of_one = dict(zip(COUNTED, (now - then for now, then in zip(counts, before, strict=True)), strict=True))
    profile = cProfile.Profile()
    profile.runcall(call)
    of_one["calls"] = sum(entry.callcount for entry in profile.getstats())
    times = []
    while sum(times) < 0.2 and len(times) < 300:
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return 1e3 * sorted(times)[len(times) // 10], of_one


@contextlib.contextmanager
def _no_sorter() -> Iterator[None]:
    """A library sorts, whose kernels are not ours."""
    from lapsum_cli.kernels.cuda import sorters

    with mock.patch.object(sorters, "sorter", return_value=lambda *given: None):
        yield


def main(part: str = "") -> int:
    """Print the table."""
    counts, wrong = stub(), 0
    print(f"{'call':<52} {'host ms':>8} " + " ".join(f"{name:>9}" for name in SHOWN))
    with _no_sorter():
        for name, call in calls():
            if part not in name:
                continue
            ms, found = measured(call, counts)
            most = dict(zip(SHOWN, RECORDED.get(name, ()), strict=False))
            more = [f"{what} {found[what]} > {most[what]}" for what in most if found[what] > most[what]]
            wrong += bool(more)
            line = f"{name:<52} {ms:8.3f} " + " ".join(f"{found[what]:>9}" for what in SHOWN)
            print(line + (f"  MORE: {', '.join(more)}" if more else ""), flush=True)
    print(f"{wrong} calls cost more than recorded" if wrong else "no call costs more than recorded")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
