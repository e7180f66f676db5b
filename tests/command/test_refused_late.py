"""What is wrong far into a file, and rankings larger than the memory: one line, an exit code, and no file."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import refusal, run


@pytest.mark.parametrize("kind", ["int", "text"])
@pytest.mark.parametrize("order", ["sorted", "unsorted"])
def test_a_group_that_returns_after_many_batches_is_named(lapsum, tmp_path, kind, order):
    rows, back = 400_000, 399_990
    ids = np.arange(rows) // 10
    if order == "unsorted":
        ids = ids * 7919 % 1_000_003  # all different still
    ids[back:] = ids[12_345]
    qid = pa.array(ids) if kind == "int" else pa.array(ids).cast(pa.string())
    pq.write_table(pa.table({"qid": qid, "score": np.zeros(rows)}), tmp_path / "in.parquet", row_group_size=50_000)
    code, line = lapsum("rank", "in.parquet", "-o", "out.parquet", "--memory", "256MiB")
    assert code == 65, line
    assert f'in.parquet, row {back + 1}: qid "{ids[back]}" appears again' in line


def test_a_late_error_leaves_no_file(lapsum, tmp_path):
    """A part of the output is written by then."""
    rows = 1_500_000
    score = np.zeros(rows, np.float32)
    score[-1] = float("nan")
    parquet_rows = pa.table({"qid": np.arange(rows) // 100, "score": score})
    pq.write_table(parquet_rows, tmp_path / "in.parquet")
    code, line = lapsum("rank", "in.parquet", "-o", "out.csv", "--memory", "256MiB")
    assert (code, f"row {rows}" in line, f'qid "{rows // 100 - 1}"' in line) == (65, True, True), line


@pytest.mark.slow
def test_a_ranking_that_must_be_in_memory_says_how_much_would_do(tmp_path):
    """And so much does do."""
    scores = 10_000_000
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (scores,)).flush()
    pq.write_table(
        pa.table({"qid": np.zeros(scores, np.int8), "score": np.zeros(scores, np.float32)}), tmp_path / "x.pq"
    )
    for name, where in (("x.npy", "x.npy, row 1"), ("x.pq", 'x.pq, row 1 (qid "0")')):
        command = ("topk", name, "--k", 10, "--alpha", 1, "--method", "dftopk", "-q", "-o", "out.npy")
        done = run(*command, "--memory", "256MiB", cwd=tmp_path)
        line = refusal(done.stderr)
        assert done.returncode == 2
        assert line.startswith(f"lapsum: {where}: a ranking of {scores} scores needs ")
        assert not (tmp_path / "out.npy").exists()
        enough = line.split("raise --memory to ")[1].split(" ")[0]
        done = run(*command, "--memory", enough, cwd=tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stderr.decode()}"
        (tmp_path / "out.npy").unlink()


@pytest.mark.parametrize("layout", ["lists", "matrix"])
def test_a_row_larger_than_the_memory_is_named(lapsum, tmp_path, layout):
    if layout == "matrix":
        np.lib.format.open_memmap(tmp_path / "in.npy", "w+", np.float64, (2, 20_000_000)).flush()
    else:
        lists = pa.ListArray.from_arrays([0, 2, 20_000_002], np.zeros(20_000_002))
        pq.write_table(pa.table({"scores": lists}), tmp_path / "in.npy")
    name = "in.npy" if layout == "matrix" else "in.parquet"
    os.rename(tmp_path / "in.npy", tmp_path / name)
    code, line = lapsum("rank", name, "-o", "out.parquet", "--memory", "256MiB")
    row = 1 if layout == "matrix" else 2
    assert code == 2
    assert f"{name}, row {row}: a ranking of 20000000 scores needs " in line
