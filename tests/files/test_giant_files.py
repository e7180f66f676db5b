"""One ranking larger than the memory, in files: computed as in memory, and what keeps it from that is said."""

import contextlib
import os
import re
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import LAPSUM, contents, refusal, run
from tables import put

from lapsum_cli.core.errors import DataError
from lapsum_cli.flow.budget import Budget
from lapsum_cli.formats.files import Part
from lapsum_cli.formats.sources import Sources
from lapsum_cli.tables.roles import Names

pytestmark = pytest.mark.faults

LITTLE, ENOUGH = "240MiB", "2GiB"
ROWS = 1_100_000
OPERATIONS = {
    "topk with a gradient": ("topk", "--k", "30,5%", "--log", "--threshold", "--upstream", "pull", "--grad-k"),
    "quantiles with gradients": ("quantile", "--q", "0.1,1", "--gradient", "--grad-alpha", "--grad-q", "--ascending"),
    "rank with a gradient": ("rank", "--upstream", "pull", "--grad-alpha", "--alpha", "0.01", "--ascending"),
    "sort with a gradient": ("sort", "--upstream", "pull", "--grad-alpha", "--alpha", "0.5"),
    "losses with gradients": ("loss", "ndcg,recall", "--k", "1000", "--target", "grade", "--gradient", "--ascending"),
    "a loss of places": ("loss", "permutation", "--target", "pull", "--gradient", "--grad-alpha", "--alpha", "0.1"),
    "a mean by weight": ("loss", "ndcg,spearman", "--target", "grade", "--reduction", "mean", "--weight", "qid"),
}


@pytest.fixture(scope="module")
def queries():
    """A giant between small rankings, and another one last; some scores without an item."""
    rng = np.random.default_rng(0)
    sizes = [5, 100, ROWS, 1, 50, ROWS * 2 // 3]
    scores = rng.standard_normal(sum(sizes)).astype(np.float32)
    scores[rng.random(len(scores)) < 0.001] = -np.inf
    columns = {"qid": np.repeat(np.arange(len(sizes)), sizes), "doc": np.arange(len(scores)).astype(str)}
    pull = rng.standard_normal(len(scores)).astype(np.float32)
    return pa.table({**columns, "score": scores, "pull": pull, "grade": rng.integers(0, 5, len(scores))})


def results(folder, source, *asked, memory, stdin=None, **options):
    """What a run says and writes."""
    out = folder / f"{memory}{options.get('suffix', '.parquet')}"
    done = run(*asked, source, "-o", out, "--force", "--memory", memory, "--temp-dir", folder, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stderr.decode(), out


def alike(found, wanted):
    """The same rows, and numbers but for their last digits."""
    assert found.schema.equals(wanted.schema)
    for name in wanted.column_names:
        a, b = found[name], wanted[name]
        if not pa.types.is_floating(b.type):
            assert a.equals(b), name
            continue
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        finite = np.isfinite(b)
        np.testing.assert_array_equal(a[~finite], b[~finite])
        scale = np.abs(b[finite]).max()
        np.testing.assert_allclose(a[finite], b[finite], rtol=0, atol=2e-6 * scale, err_msg=name)


@pytest.mark.parametrize("asked", OPERATIONS.values(), ids=OPERATIONS)
def test_giants_between_small_rankings(queries, tmp_path, asked):
    pq.write_table(queries, tmp_path / "in.parquet", row_group_size=200_000)
    words, little = results(tmp_path, tmp_path / "in.parquet", *asked, memory=LITTLE)
    assert words.count("wait in a temporary file") == 2
    assert '(qid "2")' in words
    assert sorted(os.listdir(tmp_path)) == sorted(["in.parquet", little.name])
    more, enough = results(tmp_path, tmp_path / "in.parquet", *asked, memory=ENOUGH)
    assert "temporary" not in more
    alike(pq.read_table(little), pq.read_table(enough))
    counted = [line for line in words.splitlines() if "scores in 6 rankings" in line]
    assert counted
    assert counted[0].replace(LITTLE, ENOUGH) in more
    assert re.findall("mean .*", words) == re.findall("mean .*", more)


@pytest.mark.parametrize("format", ["csv", "arrows"])
def test_a_giant_from_a_pipe(queries, tmp_path, format):
    table = queries.slice(105, ROWS).select(["qid", "score"])
    put(table, tmp_path / f"in.{format}", rows=100_000)
    given = (tmp_path / f"in.{format}").read_bytes()
    asked = ("rank", "--from", format)
    words, little = results(tmp_path, "-", *asked, memory=LITTLE, stdin=given)
    assert "wait in a temporary file" in words
    alike(pq.read_table(little), pq.read_table(results(tmp_path, "-", *asked, memory=ENOUGH, stdin=given)[1]))


AGAIN = {
    "parquet": ("loss", "spearman", "--target", "pull", "--gradient", "--nan", "drop"),
    "arrow": ("rank", "--upstream", "pull"),
}


@pytest.mark.parametrize(("format", "asked"), AGAIN.items(), ids=AGAIN)
def test_a_table_without_a_group_is_read_again(queries, tmp_path, format, asked):
    """Of two files, with what stands beside the scores: of which there are more rows at a time than of all columns."""
    table = queries.slice(105, ROWS).drop_columns(["qid"])
    if "--nan" in asked:
        scores = np.asarray(table["score"]).copy()
        scores[::7] = np.nan
        titles = pa.array([f"title {i % 97}" * (i % 5) for i in range(ROWS)])
        table = table.set_column(1, "score", pa.array(scores)).append_column("title", titles)
    put(table.slice(0, ROWS // 3), tmp_path / f"a.{format}", rows=100_000)
    put(table.slice(ROWS // 3), tmp_path / f"b.{format}", rows=100_000)
    found = []
    for memory in (LITTLE, ENOUGH):
        out = tmp_path / f"{memory}.parquet"
        given = ("--group", "", "--memory", memory, "-o", out)
        done = run(*asked, *given, tmp_path / f"a.{format}", tmp_path / f"b.{format}")
        assert done.returncode == 0, done.stderr.decode()
        assert b"wait in a temporary file" not in done.stderr
        found.append(pq.read_table(out))
    alike(*[one.drop_columns(["score"]) for one in found])


OF_A_VECTOR = {
    "float16": ("rank", "--upstream", "pull.npy"),
    "float32": ("topk", "--k", "10%"),
    "float64": ("sort", "--ascending"),
}


@pytest.mark.parametrize(("dtype", "asked"), OF_A_VECTOR.items(), ids=OF_A_VECTOR)
def test_a_vector_is_read_again(tmp_path, monkeypatch, dtype, asked):
    monkeypatch.chdir(tmp_path)  # where the upstream is
    rng = np.random.default_rng(1)
    np.save(tmp_path / "in.npy", np.round(rng.standard_normal(3_000_000), 3).astype(dtype))
    np.save(tmp_path / "pull.npy", rng.standard_normal(3_000_000).astype(dtype))
    words, little = results(tmp_path, tmp_path / "in.npy", *asked, memory=LITTLE, suffix=".npy")
    assert "wait in a temporary file" not in words
    enough = results(tmp_path, tmp_path / "in.npy", *asked, memory=ENOUGH, suffix=".npy")[1]
    for suffix in (".npy", ".grad.npy") if "--upstream" in asked else (".npy",):
        a, b = (np.load(path.with_suffix(suffix)) for path in (little, enough))
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        finite = np.isfinite(b)
        np.testing.assert_array_equal(a[~finite], b[~finite])
        a, b, rtol = a[finite].astype(float), b[finite].astype(float), 1e-3 if dtype == "float16" else 0
        np.testing.assert_allclose(a, b, rtol=rtol, atol=2e-6 * np.abs(b).max())


@pytest.mark.parametrize("asked", [("topk", "--k", "5%"), ("spearman", "--gradient")], ids=["loss", "gradient"])
def test_a_vector_and_its_target_are_read_again(tmp_path, asked):
    rng = np.random.default_rng(1)
    np.save(tmp_path / "in.npy", rng.standard_normal(2_000_000).astype(np.float32))
    np.save(tmp_path / "y.npy", rng.integers(0, 9, 2_000_000).astype(np.float32))
    found = []
    for memory in (LITTLE, ENOUGH):
        given = ("loss", *asked, "--target", tmp_path / "y.npy")
        words, path = results(tmp_path, tmp_path / "in.npy", *given, memory=memory, suffix=".npy")
        assert "wait in a temporary file" not in words
        assert ("is larger than" in words) == (memory == LITTLE and "spearman" in asked)
        found.append(np.load(path))
    assert found[0].shape == found[1].shape
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=2e-6 * np.abs(found[1]).max())


def test_scores_that_are_left_out(queries, tmp_path):
    scores = np.asarray(queries["score"]).copy()
    scores[::7] = np.nan
    table = queries.set_column(2, "score", pa.array(scores))
    pq.write_table(table, tmp_path / "in.parquet")
    of_loss = ("loss", "spearman", "--target", "pull", "--gradient")
    for nan, asked in (("last", ("rank",)), ("drop", ("topk", "--k", "9")), ("drop", of_loss)):
        found = [
            pq.read_table(results(tmp_path, tmp_path / "in.parquet", *asked, "--nan", nan, memory=memory)[1])
            for memory in (LITTLE, ENOUGH)
        ]
        assert found[0][-1].null_count == found[1][-1].null_count
        alike(*[one.drop_columns(["score"]).take(pa.array(np.flatnonzero(~np.isnan(scores)))) for one in found])


def test_a_giant_whose_rows_are_brought_together(queries, tmp_path):
    table = queries.slice(105, ROWS + 51).select(["qid", "score"])
    shuffled = table.take(pa.array(np.random.default_rng(2).permutation(len(table))))
    pq.write_table(shuffled, tmp_path / "in.parquet")
    found = [
        pq.read_table(results(tmp_path, tmp_path / "in.parquet", "rank", "--sort-groups", memory=memory)[1])
        for memory in (LITTLE, ENOUGH)
    ]
    alike(*found)


REFUSED = {
    "hard ranks": (("rank", "--hard"), 2, "(--hard, --order and --only-top need all of it in memory)"),
    "another method": (("topk", "--k", "3", "--method", "sparse"), 2, "(topk by sparse needs all of it in memory)"),
    "another loss": (("loss", "ranknet", "--target", "pull"), 2, "(loss ranknet needs all of it in memory)"),
    "several of which one is": (
        ("loss", "topk,listnet", "--k", "3", "--target", "pull"),
        2,
        "(loss listnet needs all of it in memory)",
    ),
    "a target that is no gain": (("loss", "ndcg", "--target", "pull"), 65, "ndcg needs targets of 0 or more, got -"),
    "a robust unit": (("rank", "--alpha", "1mad"), 2, "(an alpha in mad needs all of it in memory"),
    "an alpha that changes": (
        ("rank", "--alpha-column", "alpha"),
        65,
        '"alpha" changes within a ranking, from',
    ),
    "no such folder": (("rank", "--temp-dir", "nowhere"), 2, "--temp-dir nowhere is no directory"),
}


@pytest.mark.parametrize(("asked", "code", "words"), REFUSED.values(), ids=REFUSED)
def test_what_a_giant_cannot_be_asked(queries, tmp_path, asked, code, words):
    table = queries.slice(105, ROWS).select(["score", "pull"])
    alpha = np.where(np.arange(ROWS) < ROWS - 1, 1.0, 2.0)
    pq.write_table(table.append_column("alpha", pa.array(alpha)), tmp_path / "in.parquet")
    given = (*asked, tmp_path / "in.parquet", "--score", "score", "-o", tmp_path / "out.parquet")
    done = run(*given, "--memory", LITTLE, "-q", cwd=tmp_path)
    assert (done.returncode, words in refusal(done.stderr)) == (code, True), done.stderr
    assert os.listdir(tmp_path) == ["in.parquet"]


def test_more_bands_than_there_is_room_for(tmp_path):
    """Zeros of a hole in a file, of which the disk holds nothing."""
    with (tmp_path / "in.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (100 * ROWS,)})
        file.truncate(file.tell() + 400 * ROWS)
    done = run("rank", tmp_path / "in.npy", "-o", tmp_path / "out.npy", "--memory", LITTLE, "--threads", "2", "-q")
    line = refusal(done.stderr)
    assert done.returncode == 2
    assert re.search(
        rf"a ranking of {100 * ROWS} scores has too many bands for --memory; raise it to \d+MiB or more", line
    )
    assert os.listdir(tmp_path) == ["in.npy"]


def test_a_number_that_is_none_is_named_where_it_stands(queries, tmp_path):
    scores = np.asarray(queries["score"]).copy()
    scores[ROWS] = np.nan
    put(queries.set_column(2, "score", pa.array(scores)), tmp_path / "in.arrow", rows=100_000)
    done = run("rank", tmp_path / "in.arrow", "-o", tmp_path / "out.arrow", "--memory", LITTLE, "-q")
    assert done.returncode == 65
    assert f'in.arrow, row {ROWS + 1} (qid "2"): the score is NaN or null' in refusal(done.stderr)
    assert os.listdir(tmp_path) == ["in.arrow"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
@pytest.mark.parametrize("suffix", ["parquet", "npy"])
def test_a_full_disk_is_one_line_and_leaves_nothing(queries, tmp_path, suffix):
    """Under the rows that wait, and before the scores of a vector are put there."""
    small = tmp_path / "small"
    small.mkdir()
    if suffix == "npy":
        np.save(tmp_path / "in.npy", np.asarray(queries["score"]))
    else:
        pq.write_table(queries, tmp_path / "in.parquet")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "lapsum", small], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        given = (tmp_path / f"in.{suffix}", "-o", tmp_path / f"out.{suffix}", "--temp-dir", small)
        done = run("rank", *given, "--memory", LITTLE, "-q")
        words = {
            "parquet": "a temporary file in .*small: writing failed: No space left on device",
            "npy": r"needs \d+ MiB of temporary files, and .*small has \d MiB left; name another .* with --temp-dir",
        }
        assert done.returncode == 74, done.stderr
        assert re.search(words[suffix], refusal(done.stderr))
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"in.{suffix}", "small"]
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize("shape", [(3_000_000,), (2, 3_000_000)], ids=["vector", "matrix"])
def test_a_file_that_is_written_to_meanwhile(tmp_path, shape):
    """The output is a pipe that nobody empties at first: the last pass waits in its midst."""
    path = tmp_path / "in.npy"
    np.save(path, np.random.default_rng(3).standard_normal(shape).astype(np.float32))
    command = [*LAPSUM, "topk", str(path), "--k", "9", "--to", "npy", "-q", "--memory", LITTLE]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    process.stdout.read(1)
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(9).tobytes())
    _, words = process.communicate(timeout=100)
    assert process.returncode == 65, words
    assert "in.npy: was written to while it was read; run again when it is whole" in refusal(words)
    assert list(contents(tmp_path)) == [path]


@pytest.mark.parametrize("after", [0, 1], ids=["before the first pass", "between two"])
@pytest.mark.parametrize("shape", [(30,), (3, 10), (6, 5), (4, 10)])
def test_a_matrix_that_another_array_replaces(tmp_path, shape, after):
    """Its rows are not where those of the former were, and are not read as if they were."""
    path, other = tmp_path / "in.npy", tmp_path / "other.npy"
    np.save(path, np.zeros((3, 10), np.float32))
    np.save(other, np.ones(shape))
    source = Sources([str(path)], None, Names().numbers, Budget(1 << 30))
    part = Part(str(path), 10, 20)
    source.unroll(10)
    for _ in range(after):
        assert sum(chunk.batch.num_rows for chunk in source.again(None, part)) == 10
    other.replace(path)
    with contextlib.closing(source), pytest.raises(DataError, match=r"in\.npy: was written to while it was read"):
        next(source.again(None, part))
