"""What launches pass to the driver, by our road and by Numba's: python3 tests/launch_words.py

Runs on a machine without a card, and needs the extra `cuda` and a C compiler. Every kernel is launched both ways, for
both dtypes, and so is one that takes arguments of every kind; the driver is stub_driver.c, which keeps what it gets.
Fails where a word, the grid, the block, the shared memory, the stream or the kernel differ, or where a launch does not
go our way at all, and where threads that launch a kernel for the first time at once trip over each other.
"""

import ctypes
import sys
import threading
from typing import NamedTuple

import host_cost
import numpy as np
from onecard import run_every_operation

OFFSETS = ([0, 60, 120, 180], [0, 100, 200, 300], [0, 200, 101_200], [0, 10, 42])
OURS, BY_NUMBA = 1, 2  # which of the driver's functions launches


class Named(NamedTuple):
    """A kind of its own to Numba."""

    array: object
    number: float


def compared_lane(library: ctypes.CDLL, found: list[str]):
    """A lane that launches both ways, and puts what differs into a list."""
    from lapsum_cli.kernels.cuda import adapter

    words, launched = ((ctypes.c_uint64 * n).in_dll(library, name) for n, name in ((512, "WORDS"), (9, "LAUNCHED")))
    asked, entry = (ctypes.c_int.in_dll(library, name) for name in ("WORDS_ASKED", "BY_ENTRY"))

    def passed(count, launch, *given):
        asked.value = count
        launch(*given)
        asked.value = 0  # of other launches
        return entry.value, list(launched), list(words[:count])

    class Lane(adapter.Lane):
        def launch(self, function, blocks, threads, rows, *arguments):
            if not blocks:
                return
            given = (function, blocks, threads, rows * threads * 8, arguments)
            sizes = _sizes(function, arguments, lambda: self._launcher._by_numba(*given))
            numba = passed(len(sizes), self._launcher._by_numba, *given)
            self._launcher.run(*given)  # the first of a kind is Numba's
            ours = passed(len(sizes), self._launcher.run, *given)
            name = f"{function.py_func.__module__}.{function.__name__}"
            if (ours[0], numba[0]) != (OURS, BY_NUMBA):
                found.append(f"{name}: launched by {ours[0]} and {numba[0]}")
            if ours[1] != numba[1]:
                found.append(f"{name}: {ours[1]} is not {numba[1]}")
            for at, (size, own, theirs) in enumerate(zip(sizes, ours[2], numba[2], strict=True)):
                if (own ^ theirs) & ((1 << 8 * size) - 1):
                    found.append(f"{name}: word {at} of {size} bytes is {own:#x}, not {theirs:#x}")

    return Lane()


def _sizes(function, arguments, launch) -> list[int]:
    """How many bytes each word has that Numba passes."""
    launch()  # compiled by now
    kernel, passed = function.overloads[tuple(map(function.typeof_pyval, arguments))], []
    for of, argument in zip(kernel.argument_types, arguments, strict=True):
        kernel._prepare_args(of, argument, 0, [], passed)
    return [
        1 if isinstance(word, bool | np.bool_) else 8 if isinstance(word, int) else ctypes.sizeof(word)
        for word in passed
    ]


def run_every_kind(lane) -> None:
    """Launch a kernel with arguments of every kind, and of odd values."""
    from lapsum_cli.kernels.cuda import adapter

    @adapter.kernel
    def of_one(a):
        pass

    @adapter.kernel
    def of_three(a, b, c):
        pass

    array = adapter.here.device_array
    arrays = [array(shape, dtype) for shape in (1, 5, 0, (2, 3), (0, 4), (4, 0), (2, 3, 4), ()) for dtype in "?bhilfdQ"]
    rows = array((6, 4), np.float32)
    parts = [rows[2], rows[1:3], rows.reshape(24)[3:9], rows.reshape(24).view(np.int32), rows[:1]]
    numbers = [True, False, 0, -1, 2**62, -(2**63), 0.1, -0.0, np.nan, np.inf, np.bool_(True), np.float64(1e300)]
    numbers += [np.float32(value) for value in (0.1, np.nan, -np.inf, 1e-45)]
    numbers += [of(value) for of in (np.int8, np.int16, np.int32, np.int64) for value in (-1, 100)]
    numbers += [of(200) for of in (np.uint8, np.uint16, np.uint32, np.uint64)] + [np.uint64(2**64 - 1)]
    for argument in [*arrays, *parts, *numbers]:
        lane.launch(of_one, 1, 32, 0, argument)
    nested = (arrays[0], (np.float32(0.5), arrays[3], (2, True)))
    lane.launch(of_three, 7, 64, 3, np.float32(0.25), nested, False)
    lane.launch(of_three, 7, 64, 3, (1, 2), (1.0, 2.0, 3.0), Named(arrays[0], 1.5))


def _nothing(a):
    pass


def run_first_at_once(library: ctypes.CDLL, count: int = 8) -> list[str]:
    """What goes wrong where several threads, each with its lane, launch a kernel for the first time at once."""
    from lapsum_cli.kernels.cuda import adapter

    failed: list[str] = []

    def launch(lane, kernel, barrier):
        barrier.wait()
        try:
            lane.launch(kernel, 1, 32, 0, lane.empty(4, np.float32))
        except BaseException as error:
            failed.append(f"{count} threads at once: {error!r}")

    lanes, barrier = [adapter.Lane() for _ in range(count)], threading.Barrier(count)
    loads = ctypes.c_int.in_dll(library, "LOADS")
    lanes[0].launch(adapter.kernel(_nothing), 1, 32, 0, lanes[0].empty(4, np.float32))
    for _ in range(3):
        kernel, before = adapter.kernel(_nothing), loads.value  # which loads from the cache
        threads = [threading.Thread(target=launch, args=(lane, kernel, barrier)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if loads.value > before + 1:
            failed.append(f"{count} threads at once load a kernel {loads.value - before} times")
    return failed


def main() -> int:
    """Print what differs."""
    host_cost.stub()
    library, found = ctypes.CDLL("libcuda.so.1"), []
    lane = compared_lane(library, found)
    run_every_kind(lane)
    found += run_first_at_once(library)
    for dtype in (np.float32, np.float64):
        for offsets in OFFSETS:
            run_every_operation(lane, np.array(offsets), dtype)
    count = len(lane._launcher._known)
    print(*sorted(set(found)), f"{count} kinds of launches, {len(set(found))} differ", sep="\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
