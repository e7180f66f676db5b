"""Work on many rankings, handed to threads in slices: kernels release the GIL, so plain threads suffice.

No result depends on how the rankings were sliced; each is computed by itself, by one kernel call, in one order.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

# Scores in a slice: large enough to hide 10 us of Python, small enough to stay in the L2 cache and to balance skewed
# lengths.
SLICE = 1 << 16


def slices(offsets: np.ndarray, size: int = SLICE) -> list[tuple[int, int]]:
    """Consecutive ranges of rankings with about `size` scores each; a longer ranking has a range of its own."""
    targets = np.arange(0, offsets[-1] + size, size)
    cuts = np.unique(np.append(np.searchsorted(offsets, targets, side="left"), len(offsets) - 1))
    cuts = np.unique(np.append(np.minimum(cuts, len(offsets) - 1), 0))
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))


def for_each(work, tasks, threads: int) -> None:
    """Call work(*task) for every task on at most `threads` threads; the first exception comes out of this call."""
    if threads <= 1 or len(tasks) <= 1:
        for task in tasks:
            work(*task)
        return
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, *task) for task in tasks]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
