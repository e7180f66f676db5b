"""A file of results for each file of scores: put together they are those of one output, wherever the input is cut."""

import json
import os
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cut_tables import LENGTHS, SHAPES, files, scored, together, written
from hypothesis import given, settings
from hypothesis import strategies as some
from tables import TABLES, get, put

from lapsum_cli import DataError, OptionError, OutputError, run_file
from lapsum_cli.formats.places import MANIFEST
from lapsum_cli.stream import Silent

OPERATIONS = {
    "rank": ("rank", {}),
    "noised": ("topk", {"k": "3", "method": "noised", "seed": 3}),
    "sort": ("sort", {"keep": "docid"}),
    "topk": ("topk", {"k": "3"}),
    "only-top": ("topk", {"k": "3", "only_top": True, "order": True}),
    "quantile": ("quantile", {"q": "0.5,1"}),
    "permute": ("permute", {}),
    "loss": ("loss", {"loss": "ndcg,mrr", "target": "label"}),
    "mean gradient": ("loss", {"loss": "ndcg", "target": "label", "gradient": True, "reduction": "mean"}),
}


def same(tmp_path, name, inputs, format="parquet", **more):
    """Whether the results of a data set are those of one output; what was done."""
    operation, options = OPERATIONS[name]
    run_file(operation, inputs, tmp_path / f"one.{format}", **options)
    done = run_file(operation, inputs, f"{tmp_path}/out/", **options, **more)
    assert together(tmp_path / "out", format).equals(get(tmp_path / f"one.{format}"))
    assert done.shards == len(inputs) == len(files(tmp_path / "out", format))
    return done


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_results_are_those_of_one_output(tmp_path, name, shape):
    inputs = written(scored(), tmp_path / "in", SHAPES[shape])
    done = same(tmp_path, name, inputs)
    assert (done.rows, done.rankings) == (sum(LENGTHS), len(LENGTHS))
    assert not (tmp_path / "out" / ".lapsum-groups").exists()


@pytest.mark.parametrize("shape", ["straddling", "within a query"])
@pytest.mark.parametrize("format", TABLES)
def test_in_every_format_of_tables(tmp_path, format, shape):
    same(tmp_path, "noised", written(scored(), tmp_path / "in", SHAPES[shape], format), format)


@settings(max_examples=15)
@given(some.lists(some.integers(1, 12), min_size=1, max_size=12), some.data())
def test_however_a_table_is_cut(tmp_path_factory, lengths, drawn):
    tmp_path = tmp_path_factory.mktemp("cut")
    total = sum(lengths)
    cuts = sorted(drawn.draw(some.lists(some.integers(0, total), max_size=6)))
    format, name = drawn.draw(some.sampled_from(["parquet", "csv"])), drawn.draw(some.sampled_from(["rank", "noised"]))
    same(tmp_path, name, written(scored(lengths), tmp_path / "in", cuts, format, rows=3), format)


def test_a_query_is_in_the_file_in_which_it_begins(tmp_path):
    run_file("rank", written(scored([3, 9, 2]), tmp_path / "in", [5, 7, 13]), f"{tmp_path}/out/")
    rows = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "out").glob("*.parquet"))]
    assert rows == [12, 0, 2, 0]


def test_wide_rows_and_lists_do_not_straddle(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 4))
    wide = pa.table({f"s{j}": x[:, j] for j in range(4)})
    lists = pa.table({"score": [list(row[: 1 + i % 4]) for i, row in enumerate(x)]})
    for kind, table, options in (("wide", wide, {"columns": "s*"}), ("lists", lists, {})):
        inputs = written(table, tmp_path / kind, [3, 3, 11])
        run_file("topk", inputs, tmp_path / f"{kind}.parquet", k=1, method="noised", **options)
        done = run_file("topk", inputs, f"{tmp_path}/{kind}-out/", k=1, method="noised", **options)
        assert together(tmp_path / f"{kind}-out").equals(pq.read_table(tmp_path / f"{kind}.parquet"))
        assert done.rankings == 20


def test_every_array_has_its_own_shape(tmp_path):
    drawn = np.random.default_rng(0)
    arrays = [drawn.normal(size=shape).astype(np.float32) for shape in [(3, 5), (2, 7), (0, 4)]]
    (tmp_path / "in").mkdir()
    for i, array in enumerate(arrays):
        np.save(tmp_path / f"in/{i}.npy", array)
    done = run_file("rank", f"{tmp_path}/in/*.npy", f"{tmp_path}/out/")
    assert (done.shards, done.rankings) == (3, 5)
    for i in range(3):
        run_file("rank", tmp_path / f"in/{i}.npy", tmp_path / "one.npy", force=True)
        assert (tmp_path / f"out/{i}.npy").read_bytes() == (tmp_path / "one.npy").read_bytes()
    run_file("rank", tmp_path / "in/0.npy", f"{tmp_path}/both/", upstream=tmp_path / "in/0.npy")
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == ["0.grad.npy", "0.npy", MANIFEST]


def test_every_vector_is_a_ranking_and_that_is_said(tmp_path):
    drawn = np.random.default_rng(0)
    for i in range(2):
        np.save(tmp_path / f"{i}.npy", drawn.normal(size=5))
    words = Silent()
    heard = words.say = Mock()
    run_file("rank", f"{tmp_path}/*.npy", f"{tmp_path}/out/", words=words)
    heard.assert_called_with("each of 2 vectors is a ranking of its own, as none would be in one output")
    for i in range(2):
        run_file("rank", tmp_path / f"{i}.npy", tmp_path / "one.npy", force=True)
        assert (tmp_path / f"out/{i}.npy").read_bytes() == (tmp_path / "one.npy").read_bytes()


def test_arrays_become_tables_where_results_are(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(3, 5)))
    run_file("permute", tmp_path / "x.npy", f"{tmp_path}/out/")
    run_file("rank", tmp_path / "x.npy", f"{tmp_path}/tables/", to_format="parquet")
    assert (tmp_path / "out/x.csv").is_file()
    assert pq.read_metadata(tmp_path / "tables/x.parquet").num_rows == 3


def test_folders_that_name_columns_are_kept(tmp_path):
    """A query in several files of its folder is one, in the first."""
    table = scored()
    for i, name in enumerate(["b", "a", "c"]):
        for part in range(2):
            folder = tmp_path / f"in/qid={name}"
            folder.mkdir(parents=True, exist_ok=True)
            rows = table.slice(20 * i + 10 * part, 10).drop_columns(["qid"])
            pq.write_table(rows, folder / f"part-{part}.parquet", row_group_size=4)
    run_file("rank", tmp_path / "in", tmp_path / "one.parquet", group="qid")
    done = run_file("rank", tmp_path / "in", f"{tmp_path}/out/", group="qid")
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.parquet"))
    assert names == [f"qid={name}/part-{part}.parquet" for name in "abc" for part in range(2)]
    parts = [pq.read_table(tmp_path / "out" / name, partitioning=None) for name in names]
    assert [len(part) for part in parts] == [20, 0] * 3
    assert pa.concat_tables(parts).equals(pq.read_table(tmp_path / "one.parquet"))
    assert done.rankings == 3
    one = run_file("rank", f"{tmp_path}/in/qid=a/*.parquet", f"{tmp_path}/some/", group="qid")
    assert one.shards == 2
    assert (tmp_path / "some/qid=a/part-1.parquet").is_file()


def test_types_are_those_of_all_files(tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(
        pa.table({"qid": pa.array([1, 1], pa.int32()), "score": pa.array([1, 2], pa.float32())}),
        tmp_path / "in/a.parquet",
    )
    pq.write_table(pa.table({"qid": pa.array([1, 2**40]), "score": pa.array([1.5, 2.0])}), tmp_path / "in/b.parquet")
    same(tmp_path, "rank", sorted((tmp_path / "in").iterdir()))


def test_names_are_those_of_the_input(tmp_path):
    table = scored()
    for name in ("a/x.csv", "b/x.csv", "b/y.tsv"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        put(table.slice(9 * int(name[2] == "y") + 10 * int(name[0] == "b"), 1), tmp_path / "in" / name)
    run_file("rank", [f"{tmp_path}/in/a/x.csv", f"{tmp_path}/in/b/*.?sv"], f"{tmp_path}/out/", nan="last")
    assert {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.?sv")} == {
        "a/x.csv",
        "b/x.csv",
        "b/y.tsv",
    }
    with pytest.raises(OutputError, match=r"x\.csv and .*x\.csv would both be"):
        run_file("rank", [f"{tmp_path}/in/a/x.csv"] * 2, f"{tmp_path}/twice/")


REFUSED = {
    "noise by number": (
        {"operation": "topk", "k": 3, "method": "noised", "sort_groups": True},
        OptionError,
        "sort_groups=True knows in one output alone",
    ),
    "reduced": ({"operation": "loss", "loss": "ndcg", "target": "label", "reduction": "mean"}, OptionError, "one row"),
    "in memory": ({"source": scored()}, OptionError, "needs files to read"),
    "a pipe": ({"source": "pipe"}, OptionError, "needs files to read"),
    "workers": ({"workers": 2}, OptionError, 'workers= are those of engine="processes"'),
    "no group": (
        {"operation": "sort", "group": []},
        OptionError,
        r"without a group all files are one ranking \(the rows of a sort are positions, and no file's\)",
    ),
    "bad data of one ranking": ({"group": [], "score": "hole"}, DataError, "is NaN or null"),
    "no directory": ({"sink": "out.parquet", "resume": True}, OptionError, "resume=True and dry_run=True"),
    "no place": ({"sink": "none/out/"}, OutputError, "does not exist; make it first"),
    "a file": ({"sink": "notes/"}, OutputError, "is no directory"),
    "the input": ({"sink": "in/", "force": True}, OutputError, "lies in in, whose files are read"),
    "its files": ({"source": "in/*.parquet", "sink": "in/", "force": True}, OutputError, "is an input too"),
    "bad data": ({"score": "hole"}, DataError, "is NaN or null"),
    "too little memory": ({"engine": "processes", "workers": 2, "memory": "500MiB"}, OptionError, "fewer workers="),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_directory_cannot_have_is_refused_and_leaves_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    hole = pa.array([None if i == 50 else 1.0 for i in range(sum(LENGTHS))])
    written(scored(hole=hole), tmp_path / "in", [5])
    given, error, words = REFUSED[name]
    (tmp_path / "notes").touch()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=words):
        run_file(**{"operation": "rank", "source": "in", "sink": "out/", **given})
    left = sorted(tmp_path.rglob("*"))
    assert left == before if name != "bad data" else (tmp_path / "out/p000.parquet") in left


def test_a_table_without_a_group_may_be_one_file(tmp_path):
    run_file("rank", written(scored(), tmp_path / "in", []), f"{tmp_path}/out/", group=[])
    run_file("rank", tmp_path / "in/p000.parquet", tmp_path / "one.parquet", group=[])
    assert together(tmp_path / "out").equals(pq.read_table(tmp_path / "one.parquet"))


@pytest.mark.parametrize("format", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("dtype", ["text", "numbers", "null", "two"])
def test_a_group_that_returns_in_another_file_is_refused(tmp_path, format, dtype):
    table = scored([4, 3, 5, 2, 4])
    groups = {"text": list("abcad"), "numbers": [5, 1, 2, 5, 7], "null": [None, "b", "c", None, "d"]}
    keys = [(groups.get(dtype) or list("abcad"))[r] for r, n in enumerate([4, 3, 5, 2, 4]) for _ in range(n)]
    table = table.set_column(0, "qid", pa.array(keys)).append_column("run", pa.array([1] * 18))
    inputs = written(table, tmp_path / "in", [9, 15], format)
    options = {"group": ["qid", "run"] if dtype == "two" else "qid"}
    with pytest.raises(DataError, match="appears again after its ranking was closed"):
        run_file("rank", inputs, tmp_path / f"one.{format}", **options)
    with pytest.raises(DataError, match="appears again after its ranking was closed") as error:
        run_file("rank", inputs, f"{tmp_path}/out/", **options)
    said = str(error.value)
    assert f"p001.{format}, row 4: " in said
    assert "2 files of such rankings were removed" in said
    assert f"which began at {inputs[0]}, row 1; sort by" in said
    assert [path.name for path in files(tmp_path / "out", format)] == [f"p002.{format}"]
    with pytest.raises(DataError, match="appears again"):  # as often as it is tried
        run_file("rank", inputs, f"{tmp_path}/out/", resume=True, **options)


def test_what_is_planned_is_told_and_nothing_is_made(tmp_path):
    inputs = written(scored(), tmp_path / "in", SHAPES["straddling"])
    plan = run_file("rank", inputs, f"{tmp_path}/out/", dry_run=True)
    assert not (tmp_path / "out").exists()
    assert [shard.name for shard in plan.todo] == [path.name for path in inputs]
    assert sum(shard.piece.rows for shard in plan.shards) == sum(LENGTHS)
    assert [shard.bytes for shard in plan.shards] == [path.stat().st_size for path in inputs]
    assert plan.seconds is None
    assert len(plan.passes) == 2
    given = {"loss": "ndcg", "target": "label", "gradient": True, "reduction": "mean"}
    assert len(run_file("loss", inputs, f"{tmp_path}/out/", dry_run=True, **given).passes) == 3


def test_the_manifest_says_what_was_done(tmp_path):
    inputs = written(scored(), tmp_path / "in", [40])
    run_file("topk", inputs, f"{tmp_path}/out/", k=3)
    about, *lines = map(json.loads, (tmp_path / "out" / MANIFEST).read_text().splitlines())
    assert (about["how"]["operation"], about["how"]["k"]) == ("topk", ["3"])
    assert [one["name"] for one in about["inputs"]] == [str(path) for path in inputs]
    assert [line["shard"] for line in lines[:2]] == ["p000.parquet", "p001.parquet"]
    assert lines[0]["files"] == [{"name": "p000.parquet", "bytes": (tmp_path / "out/p000.parquet").stat().st_size}]
    assert lines[2] == {
        **{"complete": True, "shards": 2, "rows": 87, "rankings": 8, "scores": 87, "written": 87},
        **{"short": 3, "nan": 0, "alone": 2},
    }
    run_file("rank", [f"{tmp_path}/out/*"], tmp_path / "again.parquet", score="score")  # no glob takes it for data


def test_names_may_be_any_bytes(tmp_path):
    """Of the files, their folder and that of the results."""
    inputs = written(scored(), tmp_path / "in", [40])
    folder = os.path.join(tmp_path, os.fsdecode(b"\xff \xe2\x98\x83"))
    os.mkdir(folder)
    for path, name in zip(inputs, (b"\xff.parquet", b"b.parquet"), strict=True):
        os.rename(path, os.path.join(folder, os.fsdecode(name)))
    out = os.path.join(tmp_path, os.fsdecode(b"out\xfe/"))
    assert run_file("rank", os.path.join(folder, "*"), out).shards == 2
    assert run_file("rank", os.path.join(folder, "*"), out, resume=True).resumed == 2
    with open(os.path.join(out, MANIFEST)) as manifest:
        assert json.loads(manifest.readlines()[2])["files"][0]["name"] == os.fsdecode(b"\xff.parquet")


def test_a_manifest_does_not_have_others_files_removed(tmp_path):
    inputs = written(scored(), tmp_path / "in", [40])
    run_file("rank", inputs, f"{tmp_path}/out/")
    manifest = tmp_path / "out" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"name": "p000.parquet"', '"name": "../in/p000.parquet"'))
    run_file("rank", inputs, f"{tmp_path}/out/", force=True)
    assert inputs[0].is_file()
