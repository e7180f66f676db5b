"""A file of 1 GB: bigfile.py make FILE, compare RESULT RESULT. One random block again and again: numbers take time."""

import sys

import numpy as np
from common import either, lane, line_of

ROWS, LENGTH, BLOCK = either((250_000, 1000, 2_500), (8, 20, 4))


def make(path):
    lane()  # without a card there is nothing to compare
    out = np.lib.format.open_memmap(path, "w+", np.float32, (ROWS, LENGTH))
    block = np.random.default_rng(0).standard_normal((BLOCK, LENGTH), np.float32)
    for first in range(0, ROWS, BLOCK):
        out[first : first + BLOCK] = block
    print(f"{out.nbytes >> 20} MiB")


def compare(*paths):
    try:
        results = [np.load(path, mmap_mode="r") for path in paths]
    except OSError as error:
        return print(line_of(error)) or 1
    rows = [result[:: max(1, ROWS // 1000)].astype(np.float64) for result in results]
    print(f"sums of rows from {rows[0].sum(axis=1).min():.6f} to {rows[0].sum(axis=1).max():.6f}")
    if len(rows) < 2:
        return print("one result: nothing to compare")
    worst = np.abs(rows[0] - rows[1]).max()
    print(f"largest difference {worst:.1e}")
    return int(not worst < 4e-6)


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    sys.exit({"make": make, "compare": compare}[what](*paths))
