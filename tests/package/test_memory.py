"""`--memory` is kept: the peak resident size, as the kernel accounts for it, on inputs larger than it."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lapsum_cli.devices.cpu import Cpu
from lapsum_cli.operations import warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read as Linux accounts for it")

LIMIT = 256 << 20
MILLION = 10**6

# A small parent: a child's ru_maxrss starts at the size of the process that started it.
MEASURE = """
import os, sys
pid = os.posix_spawn(sys.executable, [sys.executable, "-m", "lapsum_cli", *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024)
"""


def peak_memory(*arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONMALLOC", "ARROW_"))}
    command = [sys.executable, "-c", MEASURE, *map(str, arguments), "--memory", "256MiB", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    code, peak = map(int, done.stdout.split())
    assert code == 0, done.stderr
    return peak


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """The compiler itself takes more than a run: a first run is not what is measured."""
    for operation in warm.every_operation():
        warm.warm(operation, "float32", Cpu())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(make, suffix) -> the file that `make` writes, made once, and its rows."""
    folder, rows = tmp_path_factory.mktemp("made"), {}

    def of(make, suffix):
        path = folder / f"{make.__name__}.{suffix}"
        if path not in rows:
            rows[path] = make(path)
        return path, rows[path]

    return of


def long_table(path):
    """12 million rows, 240 MiB as arrays, in a single row group."""
    rows = 12 * MILLION
    rng = np.random.default_rng(0)
    columns = {
        "qid": np.arange(rows) // 100,
        "docid": rng.integers(0, 1 << 40, rows),
        "score": rng.standard_normal(rows, dtype=np.float32),
    }
    pq.write_table(pa.table(columns), path, row_group_size=rows, use_dictionary=False, compression="zstd")
    return rows


def skewed_lists(path):
    """Lists of 1 to 300 000 scores, 390 MB in one row group."""
    rng = np.random.default_rng(1)
    lengths = np.minimum(rng.zipf(1.4, 12_000), 300_000)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    scores = rng.standard_normal(offsets[-1], dtype=np.float32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(scores))
    table = pa.table({"user": np.arange(len(lengths)), "scores": lists})
    pq.write_table(table, path, row_group_size=len(lengths), use_dictionary=False, compression="zstd")
    return len(lengths)


def matrix(path):
    """400 MB of scores."""
    scores = np.random.default_rng(2).standard_normal((10**5, 1000), dtype=np.float32)
    np.save(path, scores)
    return len(scores)


@pytest.mark.parametrize("operation", [("rank",), ("topk", "--k", "10")], ids=["rank", "topk"])
@pytest.mark.parametrize(
    ("make", "suffix"),
    [(long_table, "parquet"), (skewed_lists, "parquet"), (matrix, "npy")],
    ids=["long", "lists", "npy"],
)
def test_peak_resident_memory_stays_below_256_mib(make, suffix, operation, made, tmp_path):
    (source, rows), sink = made(make, suffix), tmp_path / f"out.{suffix}"
    peak = peak_memory(operation[0], source, "-o", sink, *operation[1:])
    written = len(np.load(sink, mmap_mode="r")) if suffix == "npy" else pq.read_metadata(sink).num_rows
    assert written == rows
    assert peak < LIMIT, f"{peak >> 20} MiB"
    assert peak > 80 << 20  # the measurement saw the whole process


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (long_table, ("rank", "--upstream", "score", "--score", "score")),
        (long_table, ("loss", "permutation", "--target", "docid", "--gradient")),
        (skewed_lists, ("sort", "--upstream", "scores", "--score", "scores", "--grad-alpha")),
        (skewed_lists, ("topk", "--k", "5", "--log", "--upstream", "scores", "--score", "scores")),
    ],
    ids=["rank-long", "loss-long", "sort-lists", "topk-lists"],
)
def test_gradients_keep_the_memory_too(make, arguments, made, tmp_path):
    (source, rows), sink = made(make, "parquet"), tmp_path / "out.parquet"
    before = 2 if arguments[0] == "loss" else 1
    peak = peak_memory(*arguments[:before], source, "-o", sink, *arguments[before:])
    assert pq.read_metadata(sink).num_rows == rows
    assert 80 << 20 < peak < LIMIT, f"{peak >> 20} MiB"


def test_a_permutation_of_many_rows_keeps_the_memory(tmp_path):
    """Some 4 10^6 rows of the 10^10 that the matrix has; whatever is left out of a row or a column is small."""
    n = 100_000
    np.save(tmp_path / "scores.npy", np.random.default_rng(3).standard_normal(n, dtype=np.float32))
    sink = tmp_path / "out.parquet"
    peak = peak_memory("permute", tmp_path / "scores.npy", "-o", sink, "--alpha", "1e-4std")
    assert 80 << 20 < peak < LIMIT, f"{peak >> 20} MiB"
    table = pq.read_table(sink)
    assert len(table) > 20 * n
    rows, columns = (np.bincount(table[name], table["probability"], n + 1)[1:] for name in ("item", "position"))
    assert 0.999 - 1e-6 < rows.min() <= rows.max() < 1 + 1e-6
    assert 0.98 < columns.min() <= columns.max() < 1 + 1e-6


def test_the_measurement_could_have_failed(made):
    """The same file read at once, as a notebook would, takes more than the limit."""
    source, _ = made(long_table, "parquet")
    program = (
        "import resource, sys, pyarrow.parquet as pq\n"
        "table = pq.read_table(sys.argv[1])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    launcher = "import os, subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    done = subprocess.run([sys.executable, "-c", launcher, program, source], capture_output=True, text=True)
    assert int(done.stdout) > LIMIT
