"""What a launch, an allocation, a wait and a copy cost on this card."""

import time

import numpy as np
from common import either, lane

lane = lane()
from lapsum_cli.kernels.cuda import adapter  # noqa: E402  once there is a card

TIMES = either(2000, 3)


@adapter.here.jit
def two(a, b):
    pass


@adapter.here.jit
def sixteen(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p):  # noqa: E741
    pass


def microseconds(function, times=TIMES):
    """Of one call, with the card's part of all of them."""
    function()
    lane.wait()
    start = time.perf_counter()
    for _ in range(times):
        function()
    issued = time.perf_counter() - start
    lane.wait()
    return f"{issued / times * 1e6:9.2f} us, and {(time.perf_counter() - start) / times * 1e6:9.2f} us until it is done"


def terabytes(size):
    """A second, of a copy on the card, counted as read and written; the median of some."""
    source, target = (lane.empty(size, np.uint8) for _ in range(2))
    found = []
    for _ in range(either(20, 1)):
        before, after = adapter.here.event(), adapter.here.event()
        before.record(lane.stream)
        lane.supply.copy(source, target)
        after.record(lane.stream)
        after.synchronize()
        found.append(before.elapsed_time(after) / 1e3)
    return 2 * size / max(np.median(found), 1e-9) / 1e12


def main():
    array, number = lane.empty(1000, np.float32), np.float64(1)
    for name, kernel, arguments in (
        ("launch of 2 arrays", two, [array] * 2),
        ("launch of 16 arrays", sixteen, [array] * 16),
        ("launch of 8 arrays and 8 numbers", sixteen, [array] * 8 + [number] * 8),
    ):
        print(f"{name:<34} {microseconds(lambda k=kernel, a=arguments: lane.launch(k, 1, 32, 0, *a))}")
    for name, size, times in (("16 KB", 16 << 10, TIMES), ("400 MB", either(400 << 20, 4 << 20), either(50, 3))):
        print(f"{'allocation and free of ' + name:<34} {microseconds(lambda s=size: lane.empty(s, np.uint8), times)}")
        room = microseconds(lambda s=size: lane.room("costs", s, np.uint8), times)
        print(f"{'room of ' + name:<34} {room}")
    small = np.zeros(1)
    print(f"{'wait for an idle card':<34} {microseconds(lane.wait)}")
    print(f"{'numbers to the card, 8 bytes':<34} {microseconds(lambda: lane.put(small))}")
    there = lane.put(small)
    print(f"{'numbers from the card, 8 bytes':<34} {microseconds(lambda: lane.get(there))}")
    for size in either((4 << 20, 40 << 20, 400 << 20, 2 << 30), (1 << 10,)):
        print(f"copy of {size / (1 << 20):6.0f} MiB on the card          {terabytes(size):9.3f} TB/s, read and written")


if __name__ == "__main__":
    main()
