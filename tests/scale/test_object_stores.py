"""Objects of a store are read and written as files are: the same results, and errors that say what is wrong."""

import importlib.util
import shlex
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stores
from commands import LAPSUM, run
from cut_tables import SHAPES, scored, together, written
from tables import TABLES, long_table, on_one_line, put, rankings

from lapsum_cli import DataError, OutputError, run_file
from lapsum_cli.flow.process import LEAST
from lapsum_cli.formats.files import expand
from lapsum_cli.formats.places import MANIFEST

pytestmark = pytest.mark.cluster
if not (importlib.util.find_spec("moto") and importlib.util.find_spec("flask")):
    pytest.skip("needs moto[server], which the extra scale brings", allow_module_level=True)


@pytest.mark.parametrize("format", [*TABLES, "npy"])
def test_every_format_is_read_and_written_as_in_a_file(bucket, tmp_path, format):
    source, here = tmp_path / f"in.{format}", tmp_path / f"here.{format}"
    if format == "npy":
        np.save(source, np.random.default_rng(0).normal(size=(50, 7)).astype("f4"))
    else:
        put(on_one_line(long_table(rankings())), source)
    bucket.put(source, f"a/in.{format}")
    run_file("rank", source, here)
    run_file("rank", f"{bucket.path}/a/in.{format}", tmp_path / f"back.{format}")
    run_file("rank", f"{bucket.path}/a/in.{format}", f"{bucket.path}/b/out.{format}")
    assert (tmp_path / f"back.{format}").read_bytes() == here.read_bytes()
    assert bucket.bytes(f"b/out.{format}") == here.read_bytes()
    assert bucket.list() == [f"a/in.{format}", f"b/out.{format}"]


def test_arrays_beside_one_another_are_read_and_written(bucket, tmp_path):
    drawn = np.random.default_rng(0)
    for name in ("x", "g"):
        np.save(tmp_path / f"{name}.npy", drawn.normal(size=300))
        bucket.put(tmp_path / f"{name}.npy", f"{name}.npy")
    run_file("rank", tmp_path / "x.npy", tmp_path / "out.npy", upstream=tmp_path / "g.npy")
    run_file("rank", f"{bucket.path}/x.npy", f"{bucket.path}/out.npy", upstream=f"{bucket.path}/g.npy")
    names = sorted(path.name for path in tmp_path.glob("out*"))
    assert len(names) == 2
    assert bucket.list() == ["g.npy", *names, "x.npy"]
    for name in names:
        assert bucket.bytes(name) == (tmp_path / name).read_bytes()


TREE = (
    *("a/p1.parquet", "a/p2.parquet", "a/_note.parquet", "a/.hidden.parquet", "a/p10.csv", "a/b/p3.parquet"),
    *("a/b/c/p4.parquet", "a/_temporary/p5.parquet", "a/q=1/p6.parquet", "a/_q=2/p7.parquet", "a/x[1].parquet"),
    *(f"a/{MANIFEST}", "ab/p8.parquet", "a/b-c/p9.parquet", "top.parquet"),
)
PATTERNS = (
    *("a/*.parquet", "a/p?.parquet", "a/*", "a/.*", "a/**", "a/**/*.parquet", "**/p*.parquet", "a/*/*.parquet", "a"),
    *("a/", "a/b/p[34].parquet", "a*/p[0-9].parquet", "a/x[1].parquet", "*.parquet", "a/b/c/p4.parquet", "a/_*", "a/b"),
)


@pytest.fixture(scope="module")
def trees(server, tmp_path_factory):
    """The same files in a folder and in a bucket."""
    folder, bucket = tmp_path_factory.mktemp("tree"), stores.Bucket(server)
    for name in TREE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    bucket.put_all(folder, "t")
    return folder, f"{bucket.path}/t"


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.usefixtures("bucket")
def test_a_glob_or_a_directory_is_what_it_is_on_a_disk(trees, pattern):
    here, there = trees
    found = [path.removeprefix(f"{here}/") for path in expand([f"{here}/{pattern}"])]
    assert found
    assert [path.removeprefix(f"{there}/") for path in expand([f"{there}/{pattern}"])] == found


@pytest.mark.parametrize("source", ["in", "in/"])
def test_folders_give_columns(bucket, tmp_path, source):
    for i in range(3):
        folder = tmp_path / f"in/day=2024-01-0{i + 1}/qid={i}"
        folder.mkdir(parents=True)
        put(scored([4, 5], seed=i).drop_columns("qid"), folder / "p.parquet", rows=4)
    bucket.put_all(tmp_path / "in", "x/in")
    run_file("rank", tmp_path / "in", tmp_path / "out.parquet")
    run_file("rank", f"{bucket.path}/x/{source}", f"{bucket.path}/out.parquet")
    assert bucket.bytes("out.parquet") == (tmp_path / "out.parquet").read_bytes()
    run_file("rank", tmp_path / "in", f"{tmp_path}/out/")
    run_file("rank", f"{bucket.path}/x/{source}", f"{bucket.path}/out/")
    there = bucket.get_all("out", tmp_path / "there")
    assert sorted(str(path.relative_to(there)) for path in there.rglob("*.parquet")) == sorted(
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.parquet")
    )
    assert together(there).equals(together(tmp_path / "out"))


WORKERS = {"engine": "processes", "workers": 2, "memory": "6GiB"}


@pytest.mark.parametrize(
    ("shape", "engine"),
    [("straddling", {}), ("straddling", WORKERS), ("within a query", {}), ("empty files", {})],
    ids=["straddling", "by processes", "within a query", "empty files"],
)
def test_a_data_set_is_what_one_file_would_be(bucket, tmp_path, shape, engine):
    inputs = written(scored(), tmp_path / "in", SHAPES[shape])
    bucket.put_all(tmp_path / "in", "in")
    run_file("rank", inputs, tmp_path / "one.parquet")
    done = run_file("rank", f"{bucket.path}/in/*.parquet", f"{bucket.path}/out/", **engine)
    assert (done.shards, done.resumed, done.rows) == (len(inputs), 0, 87)
    there = bucket.get_all("out", tmp_path / "there")
    assert sorted(path.name for path in there.iterdir()) == [MANIFEST, *(path.name for path in inputs)]
    assert together(there).equals(pq.read_table(tmp_path / "one.parquet"))
    with pytest.raises(OutputError, match="holds a data set; pass resume=True to go on with it, or force=True"):
        run_file("rank", f"{bucket.path}/in/", f"{bucket.path}/out")
    assert run_file("rank", f"{bucket.path}/in/*.parquet", f"{bucket.path}/out", resume=True).resumed == len(inputs)
    again = run_file("topk", f"{bucket.path}/in/*.parquet", f"{bucket.path}/out/", k=2, force=True)
    assert again.resumed == 0


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray, which the extra ray brings")
def test_the_line_of_the_readme_by_ray(bucket, tmp_path):
    """As it is written, but for the bucket, and with a memory that leaves other tests some."""
    inputs = written(scored(), tmp_path / "in", SHAPES["straddling"])
    bucket.put_all(tmp_path / "in", "runs")
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [line] = [line for line in readme.splitlines() if "s3://" in line and line.endswith("--engine ray")]
    done = run(*shlex.split(line.replace("s3://bucket", bucket.path))[1:], "--memory", "1GiB")
    assert done.returncode == 0, done.stderr
    run_file("topk", inputs, tmp_path / "one.parquet", k=10)
    assert together(bucket.get_all("out", tmp_path / "there")).equals(pq.read_table(tmp_path / "one.parquet"))


def test_arrays_of_a_data_set_have_others_beside_them(bucket, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(9, 5)))
    bucket.put(tmp_path / "x.npy", "in/x.npy")
    given = {"source": f"{bucket.path}/in/*.npy", "k": "1,2", "alpha": 0.1}
    plan = run_file("topk", **given, sink=f"{bucket.path}/out/", dry_run=True)
    assert (len(plan.shards[0].files), bucket.list()) == (2, ["in/x.npy"])
    run_file("topk", **given, sink=f"{bucket.path}/out/")
    run_file("topk", **{**given, "source": tmp_path / "x.npy"}, sink=f"{tmp_path}/out/")
    for path in (tmp_path / "out").glob("*.npy"):
        assert bucket.bytes(f"out/{path.name}") == path.read_bytes()
    assert len(bucket.list()) == 4
    assert run_file("topk", **given, sink=f"{bucket.path}/out/", resume=True).resumed == 1


def test_a_run_that_finishes_nothing_leaves_nothing(bucket, tmp_path):
    written(scored(hole=pa.array([None, *[1.0] * 86])), tmp_path / "in", [40])
    bucket.put_all(tmp_path / "in", "in")
    before = bucket.list()
    with pytest.raises(DataError, match="is NaN or null"):
        run_file("rank", f"{bucket.path}/in", f"{bucket.path}/out/", score="hole")
    assert bucket.list() == before


def test_a_group_that_returns_in_another_object_is_found(bucket, tmp_path):
    table = scored([4, 3, 5])
    table = table.set_column(0, "qid", [list("aaaabbbaaaaa")])
    written(table, tmp_path / "in", [7])
    bucket.put_all(tmp_path / "in", "in")
    with pytest.raises(DataError, match=r'in/p001\.parquet, row 1: qid "a" appears again'):
        run_file("rank", f"{bucket.path}/in", f"{bucket.path}/out/")
    assert [key for key in bucket.list() if key.startswith("out/p")] == []


@pytest.mark.parametrize("engine", [(), ("--engine", "processes", "--workers", 2, "--memory", "1GiB")])
def test_a_run_that_was_killed_is_resumed(bucket, tmp_path, monkeypatch, engine):
    inputs = written(scored(), tmp_path / "in", range(5, 87, 6))
    bucket.put_all(tmp_path / "in", "in")
    command = ["rank", f"{bucket.path}/in/*.parquet", "-o", f"{bucket.path}/out/", *engine]
    with monkeypatch.context() as context:
        proxy = stores.through(context, delay=0.03)  # slow enough that the manifest is sent before all are finished
        running = subprocess.Popen([*LAPSUM, *map(str, command)], stderr=subprocess.DEVNULL)
    try:
        while not (f"out/{MANIFEST}" in bucket.list() and bucket.bytes(f"out/{MANIFEST}").count(b"\n") > 2):
            assert running.poll() is None
            time.sleep(0.05)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
        proxy.close()
    time.sleep(0.5)  # workers end with it
    finished = sum(key.endswith(".parquet") for key in bucket.list() if key.startswith("out/"))
    assert 0 < finished < len(inputs)
    for path in (tmp_path / "temp").iterdir():
        path.unlink()  # the next run in that folder would
    refused = run(*command, "-q")
    assert (refused.returncode, b"holds a data set; pass --resume" in refused.stderr) == (73, True)
    done = run(*command, "--resume")
    assert done.returncode == 0, done.stderr
    assert b"of them finished before" in done.stderr
    run_file("rank", inputs, tmp_path / "one.parquet")
    assert together(bucket.get_all("out", tmp_path / "there")).equals(pq.read_table(tmp_path / "one.parquet"))
    assert not any("lapsum-groups" in key for key in bucket.list())


def test_a_ranking_that_memory_does_not_hold_is_read_again(bucket, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=6_000_000).astype("f4"))
    bucket.put(tmp_path / "x.npy", "x.npy")
    given = {"k": "10%", "memory": LEAST}
    run_file("topk", tmp_path / "x.npy", tmp_path / "out.npy", **given)
    run_file("topk", f"{bucket.path}/x.npy", f"{bucket.path}/out.npy", **given)
    assert bucket.bytes("out.npy") == (tmp_path / "out.npy").read_bytes()


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_several_objects_may_be_one_ranking(bucket, tmp_path, engine):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i, rows in enumerate([100, 900, 1, 2000]):
        put(pa.table({"score": np.round(rng.normal(size=rows), 2)}), tmp_path / f"in/{i}.parquet", rows=500)
        bucket.put(tmp_path / f"in/{i}.parquet", f"in/{i}.parquet")
    given = {"group": [], "score": "score", "memory": "6GiB", "engine": engine}
    run_file("rank", f"{tmp_path}/in/", f"{tmp_path}/out/", **given)
    run_file("rank", f"{bucket.path}/in/", f"{bucket.path}/out/", **given)
    for i in range(4):
        assert bucket.bytes(f"out/{i}.parquet") == (tmp_path / f"out/{i}.parquet").read_bytes()
    assert not [name for name in bucket.list() if ".lapsum" in str(name)]


def test_rows_of_a_group_are_brought_together(bucket, tmp_path):
    table = scored().take(np.random.default_rng(0).permutation(87))
    put(table, tmp_path / "in.csv")
    bucket.put(tmp_path / "in.csv", "in.csv")
    run_file("rank", tmp_path / "in.csv", tmp_path / "out.csv", sort_groups=True)
    run_file("rank", f"{bucket.path}/in.csv", f"{bucket.path}/out.csv", sort_groups=True)
    assert bucket.bytes("out.csv") == (tmp_path / "out.csv").read_bytes()


def test_rows_in_any_order_of_several_objects(bucket, tmp_path):
    table = scored().take(np.random.default_rng(0).permutation(87))
    inputs = written(table, tmp_path / "in", SHAPES["straddling"])
    bucket.put_all(tmp_path / "in", "in")
    run_file("rank", inputs, tmp_path / "one.parquet", sort_groups=True)
    run_file("rank", f"{bucket.path}/in/", f"{bucket.path}/out/", sort_groups=True)
    assert together(bucket.get_all("out", tmp_path / "there")).equals(pq.read_table(tmp_path / "one.parquet"))
    assert not any("lapsum-shuffle" in key for key in bucket.list())
