"""Where the time goes on the card, kernel by kernel: by PyTorch's profiler, else by an event around every launch."""

import collections
import time

import numpy as np
from common import IS_REHEARSED, either, lane, line_of

lane = lane()
from lapsum_cli.kernels.cuda import adapter  # noqa: E402  once there is a card
from lapsum_cli.study.bench import cards  # noqa: E402
from lapsum_cli.study.bench.cases import Choice  # noqa: E402

CASES = [
    ("topk", either("1x100000000", "1x90")),
    ("topk-gradient", either("1x100000000", "1x90")),
    ("topk", either("1x10000000", "1x70")),
    ("topk", either("1x1000000", "1x70")),
    ("topk", either("100000x1000", "2x20")),
    ("topk", either("1000000x100", "4x5")),
    ("rank", either("1x10000000", "1x70")),
    ("rank", either("100000x1000", "2x20")),
]
CASES = either(CASES, CASES[::4])
RUNS, SHOWN = either(5, 1), 14


class Timed(adapter.Lane):
    """A lane that puts an event before and after every launch; a library that sorts launches by itself."""

    def __init__(self):
        super().__init__()
        self.launched = []

    def launch(self, function, blocks, threads, rows, *arguments):
        before, after = adapter.here.event(), adapter.here.event()
        before.record(self.stream)
        super().launch(function, blocks, threads, rows, *arguments)
        after.record(self.stream)
        self.launched.append((function.py_func.__name__, before, after))

    def table(self):
        """Kernel -> (launches, us of all)"""
        found = collections.defaultdict(lambda: [0, 0.0])
        for name, before, after in self.launched:
            found[name][0] += 1
            found[name][1] += before.elapsed_time(after) * 1e3
        return found


def by_events(work):
    timed = Timed()
    work.run(0, timed)
    timed.wait()
    timed.launched.clear()
    for i in range(RUNS):
        work.run(i % len(work.copies), timed)
    timed.wait()
    return timed.table()


def by_torch(work):
    """Raises where there is no PyTorch, or its profiler sees no kernel."""
    if IS_REHEARSED:
        raise RuntimeError("a rehearsal")
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for i in range(RUNS):
            work.run(i % len(work.copies))
        work.lane.wait()
    found = {
        entry.key: (entry.count, entry.self_device_time_total)
        for entry in profiler.key_averages()
        if entry.device_type == DeviceType.CUDA  # and not the calls that launch
    }
    if not found:
        raise RuntimeError("the profiler saw no kernel")
    return found


def short(name):
    """The module and the function out of what Numba makes of them; of others the start."""
    parts = name.split("lapsum_cli")
    return (parts[-1] if len(parts) > 1 else name)[:60]


def show(case):
    draw = case.inputs()
    if case.rankings * case.length > 10**7:  # one block of random numbers, over and over
        draw = [np.resize(array.reshape(-1)[: 10**6], array.shape) for array in draw]
    work = cards.Work.of(case, draw)
    for i in range(2):
        work.run(i % len(work.copies))
    work.lane.wait()
    start = time.perf_counter()
    work.run(0)
    issued = time.perf_counter() - start
    work.lane.wait()
    how = "PyTorch's profiler"
    try:
        found = by_torch(work)
    except Exception as error:
        how = f"events, as the profiler has nothing: {line_of(error)[:80]}"
        found = by_events(work)
    whole = sum(spent for _, spent in found.values())
    print(f"{case}: {whole / RUNS:.0f} us on the card a run, issued in {issued * 1e6:.0f} us; by {how}")
    for name, (count, spent) in sorted(found.items(), key=lambda entry: -entry[1][1])[:SHOWN]:
        print(f"  {spent / RUNS:10.1f} us {count / RUNS:6.1f} times  {short(name)}")


def main():
    for operation, shape in CASES:
        [case] = Choice(
            [operation], [shape], ["float32"], ["normal"], 0.1, "10%", threads=None, device="cuda"
        ).shape_cases()
        try:
            show(case)
        except Exception as error:
            print(f"{case}: {line_of(error)}")


if __name__ == "__main__":
    main()
