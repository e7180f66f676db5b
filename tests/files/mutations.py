"""What becomes of files, one after another in a process that may die of any: its outcome, for each.

As a program it takes an operation's name, a memory and paths, and says a line for each. A crash ends it, and the line
that is missing says where.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HANG = 60  # seconds that a file of some kB may take


def outcomes(paths, operation="rank", memory="256MiB") -> dict:
    """The outcome of every path: (kind, words), kind one of done, refused (in a line), lines (in several),
    traceback, wrong (another result than other readers have), crash, hang.
    """
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


def scores(path) -> np.ndarray:
    """The scores of a file, read whole by other hands than the product's."""
    format = path.suffix[1:]
    if format == "npy":
        return np.load(path)
    if format == "parquet":
        return np.asarray(pq.ParquetFile(path).read(columns=["score"])["score"], np.float64)
    if format in ("arrow", "arrows"):
        data = path.read_bytes()
        table = (pa.ipc.open_file if format == "arrow" else pa.ipc.open_stream)(data).read_all()
        return np.asarray(table["score"], np.float64)
    if format == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        return np.array([row["score"] for row in rows], np.float64)
    with path.open(newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t" if format == "tsv" else ",")
        return np.array([float(row["score"]) for row in rows if any(row.values())])


def outcome(operation, memory, path, sink) -> tuple:
    """(kind, words) of one file: as `outcomes` has them."""
    from lapsum_cli import LapsumError, run_file

    try:
        run_file(operation, path, sink, score="score", memory=memory, force=True)
    except LapsumError as error:
        return "lines" if "\n" in str(error) else "refused", f"{type(error).__name__}: {error}"
    except BaseException:
        return "traceback", traceback.format_exc()[-600:]
    got = scores(Path(sink)) if path.suffix != ".npy" else np.load(sink)
    try:
        want = scores(path)
    except Exception as error:
        return "done", f"and other readers refuse it: {error}"
    if path.suffix == ".npy":  # the result alone: ranks of as many
        same = got.shape == want.shape and np.allclose(got.sum(-1), want.shape[-1] * (want.shape[-1] + 1) / 2)
    else:
        same = np.array_equal(got, want, equal_nan=True)
    return "done" if same else "wrong", f"{got.tolist()[:5]} of {got.shape}, where {want.tolist()[:5]} of {want.shape}"


def main(operation, memory, *paths):
    with tempfile.TemporaryDirectory() as folder:
        for path in map(Path, paths):
            sink = os.path.join(folder, "out.npy" if path.suffix == ".npy" else "out.arrows")
            kind, words = outcome(operation, memory, path, sink)
            print(f"{path}\t{kind}\t{words!r}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
