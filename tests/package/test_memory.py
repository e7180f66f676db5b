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
    warm.compile_all("float32", Cpu(2), Cpu(2, part=2))


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


def unsorted(path):
    """3 million rows over 300 000 sessions in the order of time, 190 MiB as arrays."""
    rows = 3 * MILLION
    rng = np.random.default_rng(0)
    session = rng.integers(0, rows // 10, rows)
    columns = {"session_id": [f"{s:036d}" for s in session], "at": np.arange(rows)}
    columns["score"] = rng.standard_normal(rows, dtype=np.float32)
    pq.write_table(pa.table(columns), path, compression="zstd")
    return rows


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
@pytest.mark.slow
def test_peak_resident_memory_stays_below_256_mib(make, suffix, operation, made, tmp_path):
    (source, rows), sink = made(make, suffix), tmp_path / f"out.{suffix}"
    peak = peak_memory(operation[0], source, "-o", sink, *operation[1:])
    written = len(np.load(sink, mmap_mode="r")) if suffix == "npy" else pq.read_metadata(sink).num_rows
    assert written == rows
    assert peak < LIMIT, f"{peak >> 20} MiB"
    assert peak > 80 << 20  # the measurement saw the whole process


def vector(path):
    """160 MB of scores that are one ranking."""
    scores = np.random.default_rng(5).standard_normal(40 * MILLION, dtype=np.float32)
    np.save(path, scores)
    return len(scores)


def wide(path):
    """The same in two rows of a matrix."""
    np.save(path, np.random.default_rng(5).standard_normal((2, 20 * MILLION), dtype=np.float32))
    return 2


def two_giants(path):
    """2 rankings of 3 million rows, with what is called what in text."""
    rows = 6 * MILLION
    rng = np.random.default_rng(6)
    columns = {"qid": np.arange(rows) // (3 * MILLION), "docid": rng.integers(0, 1 << 40, rows).astype(str)}
    columns["score"] = rng.standard_normal(rows, dtype=np.float32)
    pq.write_table(pa.table(columns), path, compression="zstd")
    return rows


@pytest.mark.parametrize("operation", ["rank", "sort"])
@pytest.mark.slow
def test_how_soft_the_first_ranking_is_does_not_take_the_memory(operation, tmp_path):
    """It is compared with the hard one by pairs, as many as are looked at of no other; the ranking fits."""
    np.save(tmp_path / "in.npy", np.random.default_rng(7).standard_normal(560_000, dtype=np.float32))
    peak = peak_memory(operation, tmp_path / "in.npy", "-o", tmp_path / "out.npy")
    assert peak < LIMIT, f"{peak >> 20} MiB"


@pytest.mark.parametrize(
    ("make", "suffix", "operation"),
    [
        (vector, "npy", ("sort",)),
        (vector, "npy", ("topk", "--k", "10%")),
        (wide, "npy", ("rank",)),
        (two_giants, "parquet", ("rank",)),
        (two_giants, "parquet", ("topk", "--k", "10%")),
    ],
    ids=["sort a vector", "topk of a vector", "rank a matrix", "rank a table", "topk of a table"],
)
@pytest.mark.slow
def test_a_ranking_that_is_larger_than_the_memory_keeps_it(make, suffix, operation, made, tmp_path):
    (source, rows), sink = made(make, suffix), tmp_path / f"out.{suffix}"
    peak = peak_memory(operation[0], source, "-o", sink, *operation[1:], "--temp-dir", tmp_path)
    written = len(np.load(sink, mmap_mode="r")) if suffix == "npy" else pq.read_metadata(sink).num_rows
    assert written == rows
    assert peak < LIMIT, f"{peak >> 20} MiB"
    assert [path.name for path in tmp_path.iterdir()] == [sink.name]


def texts(rows, words, repeated):
    """Rows of few or many words, each as long as `repeated` says."""
    rng = np.random.default_rng(4)
    words = pa.array([f"{i:036d}" * repeated for i in range(words)], pa.large_string())
    columns = {"qid": np.arange(rows) // 100, "score": rng.standard_normal(rows, dtype=np.float32)}
    return columns, words, pa.array(rng.integers(0, len(words), rows).astype(np.int32))


def categories(path):
    """A column of 60 000 categories, whose dictionary is larger than the rows of a batch."""
    columns, words, chosen = texts(300_000, 60_000, 1)
    docid = pa.DictionaryArray.from_arrays(chosen, words.cast(pa.string()))
    pq.write_table(pa.table({**columns, "docid": docid}), path)


def prompts(path):
    """630 MB of text in a file of a MB: 40 prompts, as text and in lists, that come after short ones."""
    columns, words, chosen = texts(120_000, 40, 220)
    long = words.take(chosen[80_000:])
    text = pa.chunked_array([pa.array(["short"] * 80_000, pa.large_string()), long]).combine_chunks()
    lists = pa.LargeListArray.from_arrays(np.arange(len(text) + 1), text)
    pq.write_table(pa.table({**columns, "prompt": text, "prompts": lists}), path)


def equal_scores(path):
    """Lists of 300 000 equal scores after many of one: 240 MB in a file of some kB."""
    offsets = np.concatenate([np.arange(2000), 2000 + np.arange(200) * 300_000])
    lists = pa.LargeListArray.from_arrays(offsets, np.zeros(offsets[-1], np.float32))
    pq.write_table(pa.table({"id": np.arange(len(lists)), "scores": lists}), path)


def one_batch(path):
    """A file of 100 MB that is a single record batch."""
    columns, words, chosen = texts(1_500_000, 1000, 1)
    table = pa.table({**columns, "docid": words.take(chosen)}).combine_chunks()
    with pa.ipc.new_file(path, table.schema) as out:
        out.write_batch(table.to_batches()[0])


def long_rows(path):
    """Rows of nearly as much as there is room for: plain, of quotes, and of quotes with backslashes before them."""
    rows = ["x" * (11 << 20), '"' + 'a""b' * (5 << 18) + '"']
    rows = ['"' + 'a\\"b' * (5 << 17) + '"'] if "escaped" in path.name else rows
    path.write_text("score,x\n1,a\n" + "".join(f"{i},{row}\n" for i, row in enumerate(rows)))


@pytest.mark.faults
@pytest.mark.parametrize("source", ["in.csv", "escaped.csv"])
def test_long_rows_of_text_keep_the_memory(source, tmp_path):
    long_rows(tmp_path / source)
    peak = peak_memory("rank", tmp_path / source, "-o", tmp_path / "out.parquet")
    assert 80 << 20 < peak < LIMIT, f"{peak >> 20} MiB"


@pytest.mark.faults
@pytest.mark.parametrize(
    ("make", "source", "sink"),
    [
        (categories, "in.parquet", "out.parquet"),
        (categories, "in.parquet", "out.arrows"),
        (prompts, "in.parquet", "out.arrow"),
        (equal_scores, "in.parquet", "out.parquet"),
        (one_batch, "in.arrow", "out.arrow"),
    ],
)
def test_what_a_small_file_or_a_large_batch_unfolds_to_keeps_the_memory(make, source, sink, tmp_path):
    make(tmp_path / source)
    peak = peak_memory("rank", tmp_path / source, "-o", tmp_path / sink)
    assert 80 << 20 < peak < LIMIT, f"{peak >> 20} MiB"
    given, got = (get_schema(tmp_path / name) for name in (source, sink))
    assert given.equals(got.remove(len(got) - 1))


def get_schema(path):
    if path.suffix == ".parquet":
        return pq.read_schema(path)
    with (pa.ipc.open_file if path.suffix == ".arrow" else pa.ipc.open_stream)(path) as reader:
        return reader.schema


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (long_table, ("loss", "permutation", "--target", "docid", "--gradient")),
        (skewed_lists, ("sort", "--upstream", "scores", "--score", "scores", "--grad-alpha")),
    ],
    ids=["loss-long", "sort-lists"],
)
@pytest.mark.slow
def test_gradients_keep_the_memory_too(make, arguments, made, tmp_path):
    (source, rows), sink = made(make, "parquet"), tmp_path / "out.parquet"
    before = 2 if arguments[0] == "loss" else 1
    peak = peak_memory(*arguments[:before], source, "-o", sink, *arguments[before:])
    assert pq.read_metadata(sink).num_rows == rows
    assert 80 << 20 < peak < LIMIT, f"{peak >> 20} MiB"


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("options", [("rank",), ("topk", "--k", "3", "--only-top", "--order")])
def test_rows_in_any_order_keep_the_memory_too(made, tmp_path, options):
    path, rows = made(unsorted, "parquet")
    assert peak_memory(*options, path, "--sort-groups", "-o", tmp_path / "out.parquet") < LIMIT
    found = pq.ParquetFile(tmp_path / "out.parquet").metadata.num_rows
    assert found == rows if options == ("rank",) else rows // 10 < found < rows
