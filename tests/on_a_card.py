"""Everything that needs a card, in one call: python3 tests/on_a_card.py [folder for logs]

Tests, compute-sanitizer, benchmarks, and a file of 4 GB end to end. Each step has a limit, so that all of them end in
some ten minutes; one that fails or is cut off does not keep the others from running. Run it where lapsum's dependencies
are installed; lapsum itself is taken from this checkout.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
LAPSUM = [PYTHON, "-m", "lapsum_cli"]
TESTS = [PYTHON, "-m", "pytest", "-o", "addopts=-q", "-p", "no:cacheprovider", "tests/cards", "-W", "default"]
# Those that launch every kernel on small rankings: the sanitizer makes each launch a hundred times slower.
SMALL = ["-k", "permutations or deviations or empty or (losses and float32)"]

BIG = """
import numpy as np
out = np.lib.format.open_memmap({path!r}, "w+", np.float32, (10**6, 1000))
rng = np.random.default_rng(0)
for first in range(0, 10**6, 10**4):
    rng.standard_normal(out=(block := np.empty((10**4, 1000), np.float32)), dtype=np.float32)
    out[first : first + 10**4] = block
"""

SUMS = """
import numpy as np
from lapsum_cli import Rankings, soft_topk, devices
from lapsum_cli.kernels.cuda import adapter, topk
lane = adapter.Lane()
for n in (10**6, 10**7, 10**8):
    x = np.random.default_rng(n).standard_normal(n, np.float32)
    for alpha in (1e-6, 0.1, 100.0):
        for k in (10.0, 0.1 * n, 0.5 * n):
            p, _ = topk.soft_topk(lane, Rankings(x, np.array([0, n])), np.array([k]), np.array([alpha]))
            state = lane.get(lane.room("state", (1, 9), np.float64))[0]
            error = abs(lane.get(p).sum(dtype=np.float64) - k) / k
            print(f"n {n:>9} alpha {alpha:g} k {k:>10g}: relative error of the sum {error:.1e}; left {state[7]:g} "
                  f"after {state[8]:g} levels", flush=True)
            assert error < 1e-6
"""


def steps(folder: Path):
    """(name, command, seconds)"""
    big, out = str(folder / "big.npy"), str(folder / "members.npy")
    sanitizer, bench = shutil.which("compute-sanitizer"), [*LAPSUM, "bench", "--device", "cuda", "--runs", "11"]
    yield "doctor", [*LAPSUM, "doctor"], 60
    yield "tests", TESTS, 120
    yield "sums", [PYTHON, "-c", SUMS], 60
    for tool in ("memcheck", "racecheck") if sanitizer else ():
        yield tool, [sanitizer, "--tool", tool, "--error-exitcode", "9", *TESTS, *SMALL], 60
    yield "bench", [*bench, "--shape", "1x1000000,1x10000000,100000x1000"], 90
    for operation in ("topk", "topk-gradient", "rank"):  # apart: the check of 10^8 scores takes the CPU a while
        yield f"bench {operation}", [*bench, operation, "--shape", "1x100000000"], 60
    yield "large file", [PYTHON, "-c", BIG.format(path=big)], 40
    for device in ("cuda", "cpu"):
        yield (
            f"large file by {device}",
            [*LAPSUM, "topk", big, "-k", "10%", "-o", out, "--force", "--device", device],
            60,
        )


def main(logs: Path) -> int:
    logs.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, command, limit in steps(Path(folder)):
            start, log = time.perf_counter(), logs / f"{name.replace(' ', '-')}.log"
            with open(log, "w") as file:
                given = {"cwd": ROOT, "env": environment, "stdout": file, "stderr": subprocess.STDOUT}
                try:
                    code = subprocess.run(command, timeout=limit, **given).returncode
                except subprocess.TimeoutExpired:
                    code = "cut off"
            results.append((name, code, time.perf_counter() - start))
            print(f"{name:<20} {code!s:>8} {results[-1][2]:8.1f} s", flush=True)
            print("".join(log.read_text().splitlines(keepends=True)[-8:]), flush=True)
    return int(any(code != 0 for _, code, _ in results))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "results")))
