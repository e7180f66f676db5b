"""Several files that are one ranking: each has its own results, as one output has them but for the last digits."""

import os
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cut_tables import files, together, written
from hypothesis import given, settings
from hypothesis import strategies as some
from tables import TABLES, get

from lapsum_cli import DataError, OptionError, run_file
from lapsum_cli.api import passes
from lapsum_cli.operations import giant_scores
from lapsum_cli.stream import Silent

OPERATIONS = {
    "topk": ("topk", {"k": "20%", "threshold": True}),
    "several k, logarithms and gradients": (
        "topk",
        {"k": "3,30", "log": True, "upstream": "pull", "grad_k": True, "grad_alpha": True},
    ),
    "the smallest": ("topk", {"k": 7, "largest": False, "alpha": 0.3}),
    "quantiles": ("quantile", {"q": "0.25,0.5"}),
    "their gradients": ("quantile", {"q": 0.9, "gradient": True, "grad_alpha": True, "grad_q": True, "alpha": 0.3}),
    "a loss": ("loss", {"loss": "topk", "k": 9, "target": "label", "gradient": True, "grad_alpha": True}),
    "its row": ("loss", {"loss": "recall", "k": 9, "target": "label"}),
    "ranks": ("rank", {}),
    "ranks and gradients": ("rank", {"upstream": "pull", "grad_alpha": True, "descending": False, "alpha": 0.2}),
    "a loss of ranks": ("loss", {"loss": "spearman", "target": "label"}),
    "its gradient": ("loss", {"loss": "spearman", "target": "pull", "gradient": True, "grad_alpha": True}),
    "a loss of places": ("loss", {"loss": "ndcg", "k": 9, "target": "label", "gradient": True, "grad_alpha": True}),
    "a loss of grades": ("loss", {"loss": "graded-topk", "target": "label", "gradient": True, "grad_alpha": True}),
    "several": ("loss", {"loss": "ndcg,spearman,topk", "k": 9, "target": "label"}),
    "weighted": ("loss", {"loss": "topk,ndcg", "k": 9, "target": "label", "gradient": True, "weight": "weight"}),
    "its rows": ("loss", {"loss": "topk,ndcg", "k": 9, "target": "label", "weight": "weight"}),
}


ROWS = passes.ROWS


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(passes, "ROWS", 11)


def table(n=87, seed=0):
    drawn = np.random.default_rng(seed)
    scores = np.round(drawn.normal(size=n), 1)
    scores[drawn.random(n) < 0.05] = -np.inf
    columns = {"docid": np.arange(n), "score": scores, "label": drawn.integers(0, 3, n).astype(float)}
    return pa.table({**columns, "pull": drawn.normal(size=n), "weight": np.full(n, 2.5)})


def alike(found, wanted):
    assert found.schema.equals(wanted.schema)
    for name in wanted.column_names:
        a, b = (np.asarray(one[name], float) for one in (found, wanted))
        np.testing.assert_array_equal(a[~np.isfinite(b)], b[~np.isfinite(b)])
        np.testing.assert_allclose(a[np.isfinite(b)], b[np.isfinite(b)], rtol=1e-10, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("cuts", [[1, 20, 41, 50], [0, 12, 12, 87]])
@pytest.mark.parametrize("name", OPERATIONS)
def test_results_are_those_of_one_output(tmp_path, name, cuts):
    operation, options = OPERATIONS[name]
    inputs = written(table(), tmp_path / "in", cuts)
    one = run_file(operation, inputs, tmp_path / "one.parquet", group=[], score="score", **options)
    done = run_file(operation, inputs, f"{tmp_path}/out/", group=[], score="score", **options)
    alike(together(tmp_path / "out"), pq.read_table(tmp_path / "one.parquet"))
    assert len(files(tmp_path / "out")) == len(inputs) == done.shards
    for told in ("rows", "rankings", "scores", "written", "short", "losses"):
        assert getattr(done, told) == getattr(one, told), told
    if "gradient" in options or operation == "topk":  # beside the rows of each file
        for path, (start, stop) in zip(files(tmp_path / "out"), pairwise([0, *cuts, 87]), strict=True):
            assert pq.read_table(path)["docid"].to_pylist() == list(range(start, stop))


@pytest.mark.parametrize("format", TABLES)
def test_in_every_format_of_tables(tmp_path, format):
    inputs = written(table().filter(np.isfinite(np.asarray(table()["score"]))), tmp_path / "in", [30, 31], format)
    given = {"group": [], "score": "score", "k": 10}
    run_file("topk", inputs, tmp_path / f"one.{format}", **given)
    run_file("topk", inputs, f"{tmp_path}/out/", **given)
    alike(together(tmp_path / "out", format), get(tmp_path / f"one.{format}"))


@settings(max_examples=15)
@given(some.integers(1, 200), some.integers(0, 99), some.data())
def test_however_it_is_cut(tmp_path_factory, n, seed, drawn):
    tmp_path = tmp_path_factory.mktemp("cut")
    cuts = sorted(drawn.draw(some.lists(some.integers(0, n), min_size=1, max_size=5)))
    operation, options = OPERATIONS[drawn.draw(some.sampled_from(list(OPERATIONS)))]
    inputs = written(table(n, seed), tmp_path / "in", cuts)
    given = {"group": [], "score": "score", **options}
    run_file(operation, inputs, tmp_path / "one.parquet", **given)
    run_file(operation, inputs, f"{tmp_path}/out/", **given)
    alike(together(tmp_path / "out"), pq.read_table(tmp_path / "one.parquet"))


SHAPES = {
    "ties across cuts": lambda drawn, n: np.round(drawn.normal(size=n)),
    "all equal": lambda drawn, n: np.full(n, 0.3),
    "sorted": lambda drawn, n: np.sort(drawn.normal(size=n)),
    "falling": lambda drawn, n: -np.sort(drawn.normal(size=n)),
    "infinities": lambda drawn, n: np.where(
        drawn.random(n) < 0.5, drawn.normal(size=n), drawn.choice([-1, 1], n) * np.inf
    ),
    "nothing finite": lambda drawn, n: drawn.choice([-np.inf, np.inf], n),
}
OF_SHAPES = {
    "ranks": ("rank", {"upstream": "pull", "grad_alpha": True, "alpha": 0.2}),
    "ascending": ("rank", {"upstream": "pull", "descending": False}),
    "spearman": ("loss", {"loss": "spearman", "target": "label", "gradient": True}),
    "ndcg": ("loss", {"loss": "ndcg", "target": "label", "gradient": True}),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OF_SHAPES)
def test_whatever_is_parted(tmp_path, name, shape):
    operation, options = OF_SHAPES[name]
    drawn = np.random.default_rng(1)
    scores = SHAPES[shape](drawn, 200)
    columns = table(200).drop_columns(["score"]).append_column("score", pa.array(scores))
    inputs = written(columns, tmp_path / "in", [3, 70, 70, 140])
    given = {"group": [], "score": "score", **options}
    run_file(operation, inputs, tmp_path / "one.parquet", **given)
    run_file(operation, inputs, f"{tmp_path}/out/", **given)
    alike(together(tmp_path / "out"), pq.read_table(tmp_path / "one.parquet"))
    assert sorted(os.listdir(tmp_path / "out")) == ["_manifest.jsonl", *(path.name for path in inputs)]


def test_bands_of_which_a_sample_knows_nothing_are_cut_again(tmp_path, monkeypatch):
    monkeypatch.setattr(giant_scores, "SAMPLE", 1)
    inputs = written(table(400), tmp_path / "in", [150])
    given = {"group": [], "score": "score", "upstream": "pull"}
    run_file("rank", inputs, tmp_path / "one.parquet", **given)
    run_file("rank", inputs, f"{tmp_path}/out/", **given)
    alike(together(tmp_path / "out"), pq.read_table(tmp_path / "one.parquet"))


@pytest.mark.parametrize("name", ["several k, logarithms and gradients", "ranks and gradients", "a loss of places"])
def test_whoever_computes_them(tmp_path, monkeypatch, name):
    monkeypatch.setattr(passes, "ROWS", ROWS)  # as workers have it
    operation, options = OPERATIONS[name]
    inputs = written(table(), tmp_path / "in", [5, 20, 41])
    given = {"group": [], "score": "score", **options, "memory": "6GiB"}
    for engine in ({"engine": "threads"}, {"engine": "processes", "workers": 2}):
        run_file(operation, inputs, f"{tmp_path}/{engine['engine']}/", **given, **engine)
    for one, other in zip(files(tmp_path / "threads"), files(tmp_path / "processes"), strict=True):
        assert pq.read_table(one).equals(pq.read_table(other))


class Heard(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.lines, self.told = [], []

    def say(self, line):
        self.lines.append(line)

    def passes(self, number, rows, total):
        self.told.append((number, rows, total))


@pytest.mark.parametrize("engine", [{}, {"engine": "processes", "workers": 2, "memory": "6GiB"}])
def test_passes_tell_how_far_they_are(tmp_path, engine):
    inputs, words = written(table(), tmp_path / "in", [5, 20, 41]), Heard()
    run_file("rank", inputs, f"{tmp_path}/out/", group=[], score="score", words=words, **engine)
    numbers = [number for number, _, _ in words.told]
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
    assert max(numbers) > 2
    for number in set(numbers):
        rows = [rows for one, rows, _ in words.told if one == number]
        assert rows == sorted(rows)
        assert rows[-1] == 87
    assert {total for number, _, total in words.told if number > 1} == {87}
    assert sum("scores from" in line for line in words.lines) == 1
    assert sum("MiB go to" in line for line in words.lines) == 1


def test_what_is_finished_is_not_computed_again(tmp_path):
    inputs = written(table(), tmp_path / "in", [5, 20, 41])
    given = {"group": [], "score": "score", "k": 5}
    run_file("topk", inputs, f"{tmp_path}/out/", **given)
    want = [path.read_bytes() for path in files(tmp_path / "out")]
    files(tmp_path / "out")[1].unlink()
    done = run_file("topk", inputs, f"{tmp_path}/out/", resume=True, **given)
    assert (done.resumed, done.rankings) == (3, 1)
    assert [path.read_bytes() for path in files(tmp_path / "out")] == want


def test_what_cannot_be_is_one_line(tmp_path):
    inputs = written(table(), tmp_path / "in", [5, 20])
    for operation, why in (
        ("sort", "the rows of a sort are positions, and no file's"),
        ("permute", "permute by lapsum needs all of it in memory"),
    ):
        with pytest.raises(OptionError, match=rf"all files are one ranking \({why}\)"):
            run_file(operation, inputs, f"{tmp_path}/out/", group=[], score="score")
    why = "loss permutation has numbers for every place, which are no file's"
    for losses in ("permutation", "spearman,permutation"):
        with pytest.raises(OptionError, match=rf"all files are one ranking \({why}\)"):
            run_file("loss", inputs, f"{tmp_path}/out/", group=[], score="score", loss=losses, target="label")
    changing = table().append_column("alpha", pa.array(np.where(np.arange(87) < 20, 0.1, 0.2)))
    with pytest.raises(DataError, match=r"p000\.parquet, row 1: alpha changes within it, from 0\.1 to 0\.2"):
        run_file(
            "topk",
            written(changing, tmp_path / "changing", [5, 20]),
            f"{tmp_path}/new/",
            group=[],
            score="score",
            k=3,
            alpha_column="alpha",
        )
    plan = run_file("topk", inputs, f"{tmp_path}/out/", group=[], score="score", k=3, dry_run=True)
    assert len(plan.passes) == 2
