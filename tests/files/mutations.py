"""What becomes of files, one after another in a process that may die of any: its outcome, for each.

As a program it takes an operation's name and paths, and says a line for each: the path, and `done`, the class and
message of the refusal, or the traceback. A crash ends it, and the line that is missing says where.
"""

import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np

HANG = 60  # seconds that a file of some kB may take


def outcomes(paths, operation="rank", memory="256MiB") -> dict:
    """The outcome of every path: (kind, words), kind one of done, refused, traceback, crash, hang."""
    found, waiting = {}, [str(path) for path in paths]
    while waiting:
        command = [sys.executable, __file__, operation, memory, *waiting]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=HANG + len(waiting))
            lines, died = done.stdout.splitlines(), ("crash", f"{done.returncode}: {done.stderr[-300:]}")
        except subprocess.TimeoutExpired as error:
            lines, died = (error.stdout or b"").decode().splitlines(), ("hang", "")
        for line in lines:
            path, kind, words = line.split("\t", 2)
            found[path] = (kind, words)
        left = [path for path in waiting if path not in found]
        if left:
            found[left[0]] = died
        waiting = left[1:]
    return {Path(path): outcome for path, outcome in found.items()}


def mutated(data: bytes, seed: int) -> bytes:
    """The bytes with a fault: some flipped, cut off, left out or doubled, or a length of 1 to 8 bytes made another."""
    rng = np.random.default_rng(seed)
    damaged, at = bytearray(data), int(rng.integers(len(data)))
    if rng.random() < 0.5:  # headers and footers, where the structure is
        at = int(rng.integers(min(len(data), 512)))
        at = len(data) - 1 - at if rng.random() < 0.5 else at
    kind, size = rng.integers(5), int(rng.integers(1, 9))
    if kind == 0:
        for where in (at, *rng.integers(len(data), size=size - 1)):
            damaged[where] ^= 1 << rng.integers(8)
    elif kind == 1:
        del damaged[at:]
    elif kind == 2:
        del damaged[at : at + size]
    elif kind == 3:
        damaged[at:at] = damaged[at : at + size]
    else:
        number = [0, 1, -1, 2 ** (8 * size - 1) - 1, -(2 ** (8 * size - 1)), int(rng.integers(1 << 7))][rng.integers(6)]
        damaged[at : at + size] = number.to_bytes(size, "little", signed=True)
    return bytes(damaged)


def main(operation, memory, *paths):
    from lapsum_cli import LapsumError, run_file

    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            sink = os.path.join(folder, "out.arrows")
            try:
                run_file(operation, path, sink, score="score", memory=memory, force=True)
                words = f"done\t{np.frombuffer(Path(sink).read_bytes(), np.uint8).sum()}"
            except LapsumError as error:
                words = f"refused\t{type(error).__name__}: {str(error)!r}"
            except BaseException:
                words = f"traceback\t{traceback.format_exc()[-600:]!r}"
            print(f"{path}\t{words}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
