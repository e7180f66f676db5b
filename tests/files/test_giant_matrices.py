"""Rows of a matrix, each larger than the memory: computed as in memory, from their places in the file."""

import json
import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import refusal, run

pytestmark = pytest.mark.faults

LITTLE, ENOUGH = "240MiB", "2GiB"
SHAPE = (3, 1_500_000)
TOLERANCE = {"float16": 2e-3, "float32": 3e-6, "float64": 1e-9}
PULL, GRADE = ("--upstream", "pull.npy"), ("--target", "grade.npy")
OPERATIONS = {
    "topk with a gradient": ("float32", "topk", "--k", "30,5%", "--log", "--threshold", *PULL, "--grad-k"),
    "quantiles with gradients": ("float64", "quantile", "--q", "0.1,1", "--gradient", "--grad-q", "--ascending"),
    "rank of halves": ("float16", "rank", "--alpha", "0.01"),
    "sort with a gradient": ("float32", "sort", *PULL, "--grad-alpha", "--alpha", "0.5"),
    "losses with gradients": ("float64", "loss", "ndcg,recall", "--k", "1000", *GRADE, "--gradient", "--ascending"),
    "the gradient of a mean": ("float32", "loss", "spearman", *GRADE, "--gradient", "--reduction", "mean"),
}
SPILLED = {"rank", "sort", "ndcg,recall", "spearman"}


def scores_like(dtype):
    """Rows of unlike scale, the second in steps, so that ties lie across every cut and rows end as the next begins."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(SHAPE)
    x[1], x[2] = np.round(8 * x[1], 1 if dtype != "float16" else 0), x[2] / 8
    x[1, :9], x[1, -5:], x[2, :5] = x[0, -1], 0.25, 0.25
    x[0, rng.random(SHAPE[1]) < 0.001] = -np.inf
    return x.astype(dtype)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with a matrix of each dtype, and what goes beside its scores."""
    folder, rng = tmp_path_factory.mktemp("matrices"), np.random.default_rng(1)
    for dtype in TOLERANCE:
        np.save(folder / f"{dtype}.npy", scores_like(dtype))
    np.save(folder / "pull.npy", rng.standard_normal(SHAPE).astype(np.float32))
    np.save(folder / "grade.npy", rng.integers(0, 4, SHAPE).astype(np.float32))
    return folder


def results(folder, out, *asked, memory, stdin=None):
    """What a run says, and the arrays that it writes, by what their names end with."""
    out.mkdir()
    done = run(*asked, "-o", out / "out.npy", "--memory", memory, "--temp-dir", out, cwd=folder, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stderr.decode(), {path.name: np.load(path) for path in sorted(out.iterdir())}


def alike(found, wanted, dtype):
    """The same arrays, but for the last digits of the largest number of each row."""
    assert list(found) == list(wanted)
    for name, b in wanted.items():
        a = found[name]
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        for one, other in zip(np.atleast_2d(a).astype(float), np.atleast_2d(b).astype(float), strict=True):
            finite = np.isfinite(other)
            np.testing.assert_array_equal(one[~finite], other[~finite])
            scale = np.abs(other[finite]).max(initial=0)
            np.testing.assert_allclose(one[finite], other[finite], 0, TOLERANCE[dtype] * scale, err_msg=name)


@pytest.mark.parametrize("asked", OPERATIONS.values(), ids=OPERATIONS)
def test_rows_are_read_in_pieces(given, tmp_path, asked):
    dtype, operation, *options = asked
    command = (operation, *options[: operation == "loss"], f"{dtype}.npy", *options[operation == "loss" :])
    words, little = results(given, tmp_path / "little", *command, memory=LITTLE)
    more, enough = results(given, tmp_path / "enough", *command, memory=ENOUGH)
    assert "wait in a temporary file" not in words
    assert words.count("is larger than --memory") == SHAPE[0] * bool(SPILLED & {operation, *options[:1]})
    alike(little, enough, dtype)
    counted = re.findall(r"\d+ scores in \d+ rankings", words)
    assert counted == re.findall(r"\d+ scores in \d+ rankings", more)
    assert re.findall("mean .*", words) == re.findall("mean .*", more)


def test_from_a_pipe(given, tmp_path):
    """Each row waits for its passes in a temporary file."""
    stdin = (given / "float32.npy").read_bytes()
    words, little = results(given, tmp_path / "little", "topk", "-", "--k", "9", memory=LITTLE, stdin=stdin)
    assert re.findall(r"-, row (\d): .* wait in a temporary file", words) == ["1", "2", "3"]
    alike(little, results(given, tmp_path / "enough", "topk", "float32.npy", "--k", "9", memory=ENOUGH)[1], "float32")


def test_several_files_and_into_a_pipe(given, tmp_path):
    """The output has its header before its rows, or behind them."""
    asked = ("topk", "--k", "5%", "float32.npy", "pull.npy", "-q")
    into_a_pipe = run(*asked, "--to", "npy", "--memory", LITTLE, cwd=given)
    assert into_a_pipe.returncode == 0, into_a_pipe.stderr
    (tmp_path / "a.npy").write_bytes(into_a_pipe.stdout)
    enough = results(given, tmp_path / "enough", *asked, memory=ENOUGH)[1]
    alike({"out.npy": np.load(tmp_path / "a.npy")}, enough, "float32")
    np.save(tmp_path / "other.npy", np.zeros((2, SHAPE[1] + 1), np.float32))
    done = run("topk", "--k", "5", "float32.npy", tmp_path / "other.npy", "-o", "o.npy", "--memory", LITTLE, cwd=given)
    assert (done.returncode, "its columns differ" in refusal(done.stderr)) == (65, True), done.stderr
    assert not (given / "o.npy").exists()


@pytest.mark.parametrize(("engine", "memory"), [("threads", LITTLE), ("processes", "600MiB")])
def test_a_file_for_each(given, tmp_path, engine, memory):
    (tmp_path / "in").mkdir()
    for name in ("float32", "float64"):
        (tmp_path / "in" / f"{name}.npy").symlink_to(given / f"{name}.npy")
    of_engine, found = ("--engine", engine, *(("--workers", "2") if engine == "processes" else ())), []
    for size in (memory, "4GiB"):
        out = tmp_path / size
        done = run("rank", f"{tmp_path}/in/*.npy", "-o", f"{out}/", "--memory", size, *of_engine)
        assert done.returncode == 0, done.stderr
        found.append({path.name: np.load(path) for path in sorted(out.glob("*.npy"))})
    assert list(found[1]) == ["float32.npy", "float64.npy"]
    alike(*found, "float32")


def test_a_mean_is_a_number_of_any_format(given, tmp_path):
    """Rows that are as many in the record as the matrix has."""
    found = []
    for memory in (LITTLE, ENOUGH):
        path = tmp_path / f"{memory}.parquet"
        asked = (*GRADE, "--reduction", "mean", "-o", path, "--memory", memory)
        done = run("loss", "ndcg", "float32.npy", *asked, cwd=given)
        assert done.returncode == 0, done.stderr
        found.append(pq.read_table(path).column(0)[0].as_py())
        how = json.loads(pq.read_metadata(path).metadata[b"lapsum"])
        assert how["inputs"] == [{"name": "float32.npy", "rows": SHAPE[0]}]
    np.testing.assert_allclose(*found, rtol=3e-6)


REFUSED = {
    "another method": (("topk", "--k", "3", "--method", "sparse"), "(topk by sparse needs all of it in memory)"),
    "another loss": (("loss", "listnet", *GRADE), "(loss listnet needs all of it in memory)"),
    "a robust unit": (("rank", "--alpha", "1mad"), "(an alpha in mad needs all of it in memory"),
    "a row that is written whole": (
        ("topk", "--k", "3", "--to", "parquet"),
        "(parquet needs all of a row in memory; write NPY)",
    ),
    "a row beside its loss": (("loss", "topk", "--k", "3", *GRADE, "--to", "csv"), "(csv needs all of a row in memory"),
}


@pytest.mark.parametrize(("asked", "words"), REFUSED.values(), ids=REFUSED)
def test_what_such_a_row_cannot_be_asked(given, tmp_path, asked, words):
    done = run(*asked, "float32.npy", "-o", tmp_path / "out.npy", "--memory", LITTLE, "-q", cwd=given)
    line = refusal(done.stderr)
    assert done.returncode == 2, line
    assert line.startswith(f"lapsum: float32.npy, row 1: a ranking of {SHAPE[1]} scores needs ")
    assert words in line
    assert re.search(r"raise --memory to \d+MiB or more", line)
    assert os.listdir(tmp_path) == []


def test_rows_that_are_no_places_in_a_file(given, tmp_path):
    """A matrix by columns, and lists, which a reader holds as wholes."""
    np.save(tmp_path / "f.npy", np.asfortranarray(scores_like("float32")))
    done = run("topk", "--k", "3", tmp_path / "f.npy", "-o", tmp_path / "out.npy", "--memory", LITTLE)
    assert (done.returncode, "is stored by columns (Fortran order)" in refusal(done.stderr)) == (65, True)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(scores_like("float32").reshape(-1)), SHAPE[1])
    pq.write_table(pa.table({"score": lists}), tmp_path / "l.parquet")
    done = run("topk", "--k", "3", tmp_path / "l.parquet", "-o", tmp_path / "out.parquet", "--memory", LITTLE, "-q")
    assert (done.returncode, "raise --memory to" in refusal(done.stderr)) == (2, True), done.stderr
    assert sorted(os.listdir(tmp_path)) == ["f.npy", "l.parquet"]


def test_a_number_that_is_none_is_named_where_it_stands(tmp_path):
    scores = scores_like("float32")
    scores[1, 1_000_000] = np.nan
    np.save(tmp_path / "in.npy", scores)
    done = run("topk", "--k", "3", tmp_path / "in.npy", "-o", tmp_path / "out.npy", "--memory", LITTLE, "-q")
    assert done.returncode == 65
    assert "in.npy, row 2, score 1000001: the score is NaN or null" in refusal(done.stderr)
    assert os.listdir(tmp_path) == ["in.npy"]


def test_rows_of_which_two_fit(tmp_path):
    """Wider than a chunk, and not larger than the memory: the bits do not depend on how they are read."""
    scores = scores_like("float32")[:, :100_000]
    np.save(tmp_path / "in.npy", scores)
    little = results(tmp_path, tmp_path / "little", "rank", "in.npy", memory=LITTLE)[1]
    enough = results(tmp_path, tmp_path / "enough", "rank", "in.npy", memory=ENOUGH)[1]
    np.testing.assert_array_equal(little["out.npy"], enough["out.npy"])
