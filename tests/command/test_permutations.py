"""Soft permutations as files: the sparse form, a row an item and likely position; the dense one, matrices in NPY."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import refusal, run

from lapsum_cli import OptionError, OutputError, run_file, soft_permutation
from lapsum_cli.stream import Silent
from lapsum_cli.tables import pairs

LENGTHS = [5, 1, 40, 12]
ROWS = [np.random.default_rng([n, 4]).standard_normal(n) for n in LENGTHS]
QID = [f"{9007199254740993007 + r}" for r in range(len(LENGTHS))]
OPTIONS = {"alpha": 0.3, "tolerance": 0.01}


def long_table(rows=ROWS) -> pa.Table:
    return pa.table(
        {
            "qid": [QID[r] for r, row in enumerate(rows) for _ in row],
            "docid": [f"{r}-{i:02}" for r, row in enumerate(rows) for i in range(len(row))],
            "text": ["left out"] * sum(map(len, rows)),
            "score": np.concatenate(rows),
        }
    )


def permute(table, folder, **options) -> pa.Table:
    pq.write_table(table, folder / "in.parquet", row_group_size=7)
    run_file("permute", folder / "in.parquet", folder / "out.parquet", force=True, **OPTIONS | options)
    return pq.read_table(folder / "out.parquet")


def matrix(rows: pa.Table, n) -> np.ndarray:
    """The rows of one ranking, items numbered from 1, as a matrix with 0 for what was left out."""
    assert rows.num_rows == len({(row["item"], row["position"]) for row in rows.to_pylist()})
    out = np.zeros((n, n))
    out[rows["item"].to_numpy() - 1, rows["position"].to_numpy() - 1] = rows["probability"].to_numpy()
    return out


class Words(Silent):
    """What was said, and None where rows were written."""

    def __init__(self):
        self.heard = []

    def say(self, line):
        self.heard.append(line)

    def progress(self, rows, total):
        self.heard.append(None)


# What is kept.


@pytest.mark.parametrize("tolerance", [0, 1e-3, 0.05, 0.4, 0.9])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.slow
def test_each_item_keeps_its_most_probable_positions_and_no_more_than_it_must(tmp_path, descending, tolerance):
    x = np.append(ROWS[2], [ROWS[2][3], -np.inf, -np.inf, np.inf])
    options = {"alpha": 0.3, "descending": descending}
    table = permute(pa.table({"score": x}), tmp_path, tolerance=tolerance, **options)
    kept, whole = matrix(table, len(x)), soft_permutation(x, **options)
    assert np.array_equal(kept[kept > 0], whole[kept > 0])
    for got, want in zip(kept, whole, strict=True):
        rising = np.sort(want)
        dropped = (np.cumsum(rising) <= tolerance * (1 + 1e-12)).sum()
        left = rising[min(dropped, len(x) - 1) :]
        assert np.array_equal(np.sort(got[got > 0]), left[left > 0])
    if tolerance == 0:
        assert np.array_equal(kept, whole)
    else:
        assert (kept > 0).sum() < 0.9 * (whole > 0).sum()  # something was there to be dropped


def test_items_are_in_the_order_of_the_input_and_their_positions_rise(tmp_path):
    rows = permute(pa.table({"score": ROWS[2]}), tmp_path).to_pylist()
    keys = [(row["item"], row["position"]) for row in rows]
    assert keys == sorted(keys)
    assert {row["item"] for row in rows} == set(range(1, 41))


def test_masked_items_are_anywhere_in_the_last_positions(tmp_path):
    x = np.array([-np.inf, 2.0, -np.inf, 1.0, np.inf, -np.inf])
    p = matrix(permute(pa.table({"score": x}), tmp_path), 6)
    np.testing.assert_allclose(p[[0, 2, 5]], [[0, 0, 0, 1 / 3, 1 / 3, 1 / 3]] * 3)
    assert p[4].tolist() == [1, 0, 0, 0, 0, 0]
    assert not p[[1, 3]][:, [0, 3, 4, 5]].any()


# Layouts.


def test_a_long_table_keeps_its_groups_and_names_its_items(tmp_path):
    table = permute(long_table(), tmp_path)
    assert table.column_names == ["qid", "docid", "position", "probability"]
    assert table.schema.field("qid").type == table.schema.field("docid").type == pa.string()
    assert table["qid"].unique().to_pylist() == QID
    for r, x in enumerate(ROWS):
        part = table.filter(pa.compute.equal(table["qid"], QID[r]))
        whole = soft_permutation(x, alpha=0.3)
        for row in part.to_pylist():
            ranking, item = map(int, row["docid"].split("-"))
            assert (ranking, row["probability"]) == (r, whole[item, row["position"] - 1])
        assert part["probability"].to_numpy().sum() == pytest.approx(len(x), rel=0.01)


@pytest.mark.parametrize("layout", ["lists", "wide", "matrix", "vector"])
def test_other_layouts_number_their_rankings(tmp_path, layout):
    """Items are called by the lists beside the scores, by their column, or by their number."""
    rows = ROWS if layout == "lists" else [np.roll(ROWS[3], i) for i in range(1 if layout == "vector" else 3)]
    sink, options, names = tmp_path / "out.parquet", dict(OPTIONS), [list(range(1, len(x) + 1)) for x in rows]
    if layout == "lists":
        rows = [*rows[:2], np.empty(0), *rows[2:]]
        names = [[f"item {i} of {len(x)}" for i in range(len(x))] for x in rows]
        table = pa.table({"id": range(5), "items": names, "scores": [list(x) for x in rows]})
    elif layout == "wide":
        names, options["columns"] = [[f"s{j:02}" for j in range(12)]] * 3, "s*"
        table = pa.table(dict(zip(names[0], np.transpose(rows), strict=True)))
    if layout in ("lists", "wide"):
        pq.write_table(table, tmp_path / "in.parquet", row_group_size=2)
    else:
        np.save(tmp_path / "in.npy", rows[0] if layout == "vector" else np.array(rows))
    run_file("permute", next(tmp_path.glob("in.*")), sink, **options)
    got = pq.read_table(sink).to_pylist()
    item = "items" if layout == "lists" else "item"
    assert list(got[0]) == [*(["ranking"] if layout != "vector" else []), item, "position", "probability"]
    for row in got:
        r = row.get("ranking", 1) - 1
        i = names[r].index(row[item])
        assert row["probability"] == soft_permutation(rows[r], alpha=0.3)[i, row["position"] - 1]
    assert sum(row["probability"] for row in got) == pytest.approx(sum(map(len, rows)), rel=0.01)


def test_the_item_column_is_found_named_or_declined(tmp_path):
    table = long_table().append_column("other", pa.array(range(sum(LENGTHS))))
    assert permute(table, tmp_path).column_names[1] == "docid"
    assert permute(table, tmp_path, item="other")["other"].unique().to_pylist() == list(range(sum(LENGTHS)))
    numbered = permute(table, tmp_path, item="")
    assert numbered["item"].unique().to_pylist() == list(range(1, 41))
    with pytest.raises(OptionError, match='"docid", "doc_id"'):
        permute(table.rename_columns(["qid", "docid", "text", "score", "doc_id"]), tmp_path)


def test_what_is_left_out_has_no_rows(tmp_path):
    x = np.insert(ROWS[0], 2, np.nan)
    table = pa.table({"docid": list("abcdef"), "score": x})
    want = permute(pa.table({"docid": list("abdef"), "score": ROWS[0]}), tmp_path)
    assert permute(table, tmp_path, nan="drop").equals(want)


# Dense.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(9,), (1, 9), (4, 9)])
def test_a_dense_permutation_of_an_array_has_one_dimension_more(tmp_path, shape, dtype):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    run_file("permute", tmp_path / "x.npy", tmp_path / "p.npy", alpha=0.3, dense=True)
    p = np.load(tmp_path / "p.npy")
    assert (p.shape, p.dtype) == ((*shape, 9), dtype)
    assert np.array_equal(p, soft_permutation(x, alpha=0.3))
    for axis in (-1, -2):
        np.testing.assert_allclose(p.sum(axis=axis), 1, atol=1e-6 if dtype == "float32" else 1e-12)


def test_a_dense_permutation_of_a_table_needs_rankings_of_one_length(tmp_path):
    same = [ROWS[3], ROWS[3][::-1], np.sort(ROWS[3])]
    pq.write_table(long_table(same), tmp_path / "same.parquet")
    run_file("permute", tmp_path / "same.parquet", tmp_path / "p.npy", alpha=0.3, dense=True)
    assert np.array_equal(np.load(tmp_path / "p.npy"), soft_permutation(np.array(same), alpha=0.3))
    pq.write_table(long_table(), tmp_path / "unlike.parquet")
    done = run("permute", "unlike.parquet", "--dense", "-q", "-o", "q.npy", cwd=tmp_path)
    assert done.returncode == 65
    assert "5 and 1" in refusal(done.stderr)
    assert not (tmp_path / "q.npy").exists()


# How much it will be.


def test_the_number_of_rows_is_said_before_they_are_written(tmp_path):
    words = Words()
    rows = permute(long_table(), tmp_path, words=words).num_rows
    before = words.heard[: words.heard.index(None)]
    assert f"about {rows} rows" in before  # so few items are all counted
    done = run("permute", "in.parquet", "--alpha", 0.3, "--tol", 0.01, cwd=tmp_path)
    assert done.returncode == 0
    assert f"lapsum: about {rows} rows" in done.stderr.decode().splitlines()[:-1]
    assert len(done.stdout.splitlines()) == rows + 1


def test_too_many_rows_are_refused_with_their_number_unless_forced(tmp_path, monkeypatch):
    rows = permute(long_table(), tmp_path).num_rows
    (tmp_path / "out.parquet").unlink()
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(pairs, "MOST_ROWS", rows - 1)
    for sample, words in ((256, f"some {rows} rows, over {rows - 1}"), (1, f"more than {rows} rows, over {rows - 1}")):
        monkeypatch.setattr(pairs, "SAMPLE", sample)  # from one item far from all others, an estimate is too low
        with pytest.raises(OutputError, match=words) as refused:
            run_file("permute", tmp_path / "in.parquet", tmp_path / "out.parquet", **OPTIONS)
        assert refused.value.exit_code == 73
        assert "force=True" in str(refused.value)
        assert sorted(tmp_path.iterdir()) == before
    run_file("permute", tmp_path / "in.parquet", tmp_path / "out.parquet", force=True, **OPTIONS)
    assert pq.read_table(tmp_path / "out.parquet").num_rows == rows


@pytest.mark.parametrize("dense", [False, True])
def test_more_than_the_disk_holds_is_refused(tmp_path, monkeypatch, dense):
    np.save(tmp_path / "x.npy", ROWS[2])
    monkeypatch.setattr("lapsum_cli.formats.files.Output.free", lambda output: 1000)
    sink = tmp_path / ("p.npy" if dense else "p.csv")
    with pytest.raises(OutputError, match="MiB are free"):
        run_file("permute", tmp_path / "x.npy", sink, alpha=0.3, dense=dense)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--tol", 1), "--tol must be"),
        (("--dense", "-o", "p.csv"), "--dense is for NPY"),
        (("-o", "p.npy"), "pass --dense"),
        (("--item", "a"), 'no column "a"'),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, options, words):
    np.save(tmp_path / "x.npy", ROWS[0])
    done = run("permute", "x.npy", "-q", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert words in refusal(done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


@pytest.mark.parametrize("layout", ["long", "lists"])
def test_scores_left_out_still_count_in_the_numbers_of_the_others(tmp_path, layout):
    rows = [[1.0, None, 3.0], [None, 2.0]]
    lists = pa.table({"score": pa.array(rows, pa.list_(pa.float64()))})
    long = pa.table({"qid": [0, 0, 0, 1, 1], "score": [score for row in rows for score in row]})
    pq.write_table(long if layout == "long" else lists, tmp_path / "in.parquet")
    run_file("permute", tmp_path / "in.parquet", tmp_path / "out.parquet", alpha=1e-6, nan="drop", item="")
    assert pq.read_table(tmp_path / "out.parquet")["item"].to_pylist() == [1, 3, 2]
