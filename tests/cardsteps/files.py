"""Files end to end, by the card and by the CPU: files.py FOLDER DEVICE...

A 4 GB NPY of rankings of 1000, and a Parquet of 2 * 10^7 rows in rankings of lognormal length. Of every run the time,
start and all, the most memory of the process and what the card gave away meanwhile; beside them what the file takes to
be read, and its numbers to cross the bus, alone. Results of two devices are compared.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import either, lane

ROWS, LENGTH, BLOCK = either((1_000_000, 1000, 2_500), (8, 20, 4))
ITEMS = either(20_000_000, 200)
CHOSEN = either(1000, 1)  # rows of a result, of which one in so many is compared


def make_npy(path):
    """One random block again and again: numbers take time."""
    out = np.lib.format.open_memmap(path, "w+", np.float32, (ROWS, LENGTH))
    block = np.random.default_rng(0).standard_normal((BLOCK, LENGTH), np.float32)
    for first in range(0, ROWS, BLOCK):
        out[first : first + BLOCK] = block
    return out.nbytes


def make_parquet(path):
    random = np.random.default_rng(0)
    lengths = np.maximum(1, random.lognormal(np.log(90) - 0.5, 1.0, ITEMS // 40).astype(np.int64))
    queries = np.repeat(np.arange(len(lengths)), lengths)[:ITEMS]
    scores = np.resize(random.standard_normal(ITEMS // 10, np.float32), len(queries))
    pq.write_table(pa.table({"qid": queries, "score": scores}), path)
    return scores.nbytes


def rows_of(path):
    """Some memberships of a result, and what they sum to where that is known."""
    if path.suffix == ".npy":
        rows = np.load(path, mmap_mode="r")[:: max(1, ROWS // CHOSEN)].astype(np.float64)
        return rows, rows.sum(axis=1)
    return pq.read_table(path, columns=["soft_topk"])["soft_topk"].to_numpy().astype(np.float64), None


def on_card():
    """MiB of the card that are in use; 0 where nobody tells."""
    asked = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0])
    except (OSError, subprocess.CalledProcessError):
        return 0


def in_memory(process):
    """Most MiB that a process has had; 0 once it is over. A child's own account of it begins with its parent's."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM")), 0)


def carried_out(command):
    """Exit code, seconds, most MiB of the process, most MiB on the card beyond what others have there."""
    before, start = on_card(), time.perf_counter()
    running = subprocess.Popen(command)
    here, there = 0, before
    while running.poll() is None:
        here, there = max(here, in_memory(running.pid)), max(there, on_card())
        time.sleep(0.02)
    return running.returncode, time.perf_counter() - start, here, there - before


def alone(path, moved):
    """Seconds that reading the file takes, and its scores' way to the card and as much back."""
    start = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        part = bytearray(16 << 20)
        while file.readinto(part):
            pass
    read, card = time.perf_counter() - start, lane()
    some = np.zeros(min(moved, 64 << 20) // 4, np.float32)
    card.get(card.put(some, "some"))
    start = time.perf_counter()
    card.get(card.put(some, "again"))
    return read, (time.perf_counter() - start) * moved / some.nbytes


def main(folder, devices):
    wrong = 0
    lane()  # without a card there is nothing to compare
    for name, make, given in (("big.npy", make_npy, ["-k", "10%"]), ("long.parquet", make_parquet, ["-k", "10"])):
        path, outs = folder / name, []
        moved = make(path)
        read, crossed = alone(path, moved)
        size = path.stat().st_size / 1e6
        print(f"{name}: {size:.0f} MB; read alone {read:.2f} s, over the bus and back {crossed:.2f} s", flush=True)
        for device in devices:
            outs.append(folder / f"{device}-{name}")
            options = ["-o", str(outs[-1]), "--force", "--device", device, "--quiet"]
            code, seconds, here, there = carried_out(
                [sys.executable, "-m", "lapsum_cli", "topk", str(path), *given, *options]
            )
            wrong += code
            print(f"  by {device}: exit {code}, {seconds:.1f} s, {here} MiB here, {there} MiB on the card", flush=True)
            if code:
                return 1
        results = [rows_of(out) for out in outs]
        if results[0][1] is not None:
            print(f"  sums of rows from {results[0][1].min():.6f} to {results[0][1].max():.6f}")
        for rows, _ in results[1:]:
            worst = np.abs(rows - results[0][0]).max()
            print(f"  largest difference {worst:.1e}", flush=True)
            wrong += not worst < 4e-6
        for made in (path, *outs):
            made.unlink()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:] or either(["cuda", "cpu"], ["cpu"])))
