"""Objects of a store are read and written as files are: the same results, and errors that say what is wrong."""

import gc
import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stores
from commands import LAPSUM, refusal, run
from cut_tables import SHAPES, scored, together, written
from pyarrow import fs
from tables import TABLES, long_table, on_one_line, put, rankings

from lapsum_cli import DataError, InputMissing, IOFailed, OptionError, OutputError, run_file
from lapsum_cli.flow.process import LEAST
from lapsum_cli.formats import clients
from lapsum_cli.formats.files import expand
from lapsum_cli.formats.places import MANIFEST
from lapsum_cli.formats.ranges import Ranges
from lapsum_cli.stream import Silent

pytestmark = pytest.mark.cluster
if not (importlib.util.find_spec("moto") and importlib.util.find_spec("flask")):
    pytest.skip("needs moto[server], which the extra scale brings", allow_module_level=True)

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with stores.moto(tmp_path_factory.mktemp("moto") / "log") as address:
        yield address


class Bucket:
    """An empty bucket, and what is in it."""

    def __init__(self, address):
        self.address, self.name, self.client = address, f"bucket{next(NUMBERS)}", stores.client(address)
        self.client.create_dir(self.name)
        self.path = f"s3://{self.name}"

    def put(self, path, key):
        fs.copy_files(str(path), f"{self.name}/{key}", fs.LocalFileSystem(), self.client)

    def put_all(self, folder, key):
        """Files, as they lie below a folder."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(path, f"{key}/{path.relative_to(folder)}")

    def bytes(self, key):
        with self.client.open_input_stream(f"{self.name}/{key}") as file:
            return file.read()

    def list(self):
        """Of objects with something in them: an empty one with a slash at its end is Arrow's mark of a directory."""
        found = self.client.get_file_info(fs.FileSelector(self.name, recursive=True))
        return sorted(one.path.partition("/")[2] for one in found if one.is_file)

    def get_all(self, key, folder):
        folder.mkdir()
        fs.copy_files(f"{self.name}/{key}", str(folder), self.client, fs.LocalFileSystem())
        return folder


@pytest.fixture
def bucket(server, tmp_path, monkeypatch):
    """With the variables by which it is found, and temporary files in tmp_path/temp."""
    (tmp_path / "temp").mkdir()
    given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "2"}
    for name, value in {**given, "AWS_ENDPOINT_URL": server, "TMPDIR": str(tmp_path / "temp")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", None)
    yield Bucket(server)
    assert list((tmp_path / "temp").iterdir()) == []


def through(monkeypatch, **how):
    """From now on the server is reached through a proxy."""
    proxy = stores.Proxy(os.environ["AWS_ENDPOINT_URL"], **how)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
    return proxy


def numbers(path, count=3_000_000):
    """A table of some 12 MB that no coding makes smaller: of several parts when it is sent."""
    drawn = np.random.default_rng(3)
    pq.write_table(pa.table({"qid": np.arange(count) // 100, "score": drawn.normal(size=count).astype("f4")}), path)
    return path


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
    folder, bucket = tmp_path_factory.mktemp("tree"), Bucket(server)
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


WORKERS = {"engine": "processes", "workers": 2, "memory": "1GiB"}


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
        proxy = through(context, delay=0.03)  # slow enough that the manifest is sent before all are finished
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


def test_rows_of_a_group_are_brought_together(bucket, tmp_path):
    table = scored().take(np.random.default_rng(0).permutation(87))
    put(table, tmp_path / "in.csv")
    bucket.put(tmp_path / "in.csv", "in.csv")
    run_file("rank", tmp_path / "in.csv", tmp_path / "out.csv", sort_groups=True)
    run_file("rank", f"{bucket.path}/in.csv", f"{bucket.path}/out.csv", sort_groups=True)
    assert bucket.bytes("out.csv") == (tmp_path / "out.csv").read_bytes()


class Overwrites(Silent):
    """An object is another one as soon as something of it is read."""

    def __init__(self, bucket, path, key):
        self.given, self.bucket = (path, key), bucket

    def progress(self, rows, total):
        if self.given:
            self.bucket.put(*self.given)
            self.given = None


@pytest.mark.parametrize("format", ["parquet", "npy"])
def test_an_object_that_is_replaced_while_it_is_read_is_refused(bucket, tmp_path, format):
    for name, seed in (("one", 1), ("two", 2)):
        scores = np.random.default_rng(seed).normal(size=(20_000, 50)).astype("f4")
        if format == "npy":
            np.save(tmp_path / f"{name}.npy", scores)
        else:
            table = pa.table({"qid": np.repeat(np.arange(20_000), 50), "score": scores.ravel()})
            pq.write_table(table, tmp_path / f"{name}.parquet")
    bucket.put(tmp_path / f"one.{format}", f"x.{format}")
    words = Overwrites(bucket, tmp_path / f"two.{format}", f"x.{format}")
    with pytest.raises((DataError, IOFailed), match=rf"x\.{format}: "):
        run_file("rank", f"{bucket.path}/x.{format}", f"{bucket.path}/out.{format}", words=words, memory=LEAST)
    assert words.given is None
    assert bucket.list() == [f"x.{format}"]


REFUSED = {
    "no key": ("rank s3://{bucket}/no.parquet -o {tmp}/out.parquet", 66, "no.parquet: no such object"),
    "no match": ("rank s3://{bucket}/no*.parquet -o {tmp}/out.parquet", 66, "no*.parquet: no object matches"),
    "no data": ("rank s3://{bucket}/csv/ -o {tmp}/out.parquet", 66, "the directory holds no .parquet file"),
    "no bucket": ("rank s3://no-such/a.parquet -o {tmp}/out.parquet", 66, "there is no bucket no-such"),
    "no bucket to match in": ("rank s3://no-such/*.csv -o {tmp}/out.csv", 66, "there is no bucket no-such"),
    "no bucket to write": ("rank {tmp}/in.parquet -o s3://no-such/o.parquet", 73, "there is no such bucket; make it"),
    "no bucket for many": ("rank {tmp}/in.parquet -o s3://no-such/o/", 73, "there is no such bucket; make it first"),
    "in the way": ("rank {tmp}/in.parquet -o s3://{bucket}/is/there.parquet", 73, "exists already; pass --force"),
    "many in the way": (
        "rank {tmp}/in.parquet -o s3://{bucket}/is/",
        73,
        "is/in.parquet: exists already; pass --force",
    ),
    "empty": ("rank s3://{bucket}/empty.parquet -o {tmp}/out.parquet", 65, "empty.parquet: the file is empty"),
    "within the input": ("rank s3://{bucket}/is -o s3://{bucket}/is/out/", 73, "lies in s3://{bucket}/is, whose files"),
    "scheme": ("rank http://host/a.parquet -o {tmp}/out.parquet", 2, "http:// is no place of files here; known are"),
    "scheme to write": ("rank {tmp}/in.parquet -o hdfs://host/a.parquet", 2, "hdfs:// is no place of files here"),
    "settings": ("rank s3://{bucket}/a.npy?secret_key=b -o {tmp}/out.npy", 2, "a path takes no settings; set AWS_END"),
    "nothing named": ("rank s3:// -o {tmp}/out.npy", 2, "name a bucket, as in s3://bucket/scores.parquet"),
    "residual": ("topk s3://{bucket}/a.npy -k 1 --by magnitude --residual {tmp}/r.npy", 2, "of this machine"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_said_in_a_line(bucket, tmp_path, name):
    pq.write_table(scored(), tmp_path / "in.parquet")
    for key in ("is/there.parquet", "is/in.parquet"):
        bucket.put(tmp_path / "in.parquet", key)
    put(scored(), tmp_path / "in.csv")
    bucket.put(tmp_path / "in.csv", "csv/in.csv")
    (tmp_path / "empty").touch()
    bucket.put(tmp_path / "empty", "empty.parquet")
    before, here = bucket.list(), sorted(tmp_path.rglob("*"))
    command, code, words = REFUSED[name]
    done = run(*command.format(bucket=bucket.name, tmp=tmp_path).split(), "-q")
    assert words.format(bucket=bucket.name) in refusal(done.stderr)
    assert done.returncode == code
    assert bucket.list() == before
    assert sorted(tmp_path.rglob("*")) == here


@pytest.mark.parametrize("sink", ["out.parquet", "out/"])
def test_who_is_not_let_in_is_told(bucket, tmp_path, monkeypatch, sink):
    pq.write_table(scored(), tmp_path / "in.parquet")
    with stores.closed() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        done = run("rank", f"{bucket.path}/in.parquet", "-o", f"{tmp_path}/{sink}", "-q")
        assert (done.returncode, "access is denied; check the cred" in refusal(done.stderr)) == (66, True)
        done = run("rank", tmp_path / "in.parquet", "-o", f"{bucket.path}/{sink}", "-q")
        assert (done.returncode, "access is denied; check the cred" in refusal(done.stderr)) == (73, True)


def test_a_store_that_is_not_there_is_said(bucket, tmp_path, monkeypatch):
    pq.write_table(scored(), tmp_path / "in.parquet")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{stores.HOST}:1")
    for ends in (
        f"{bucket.path}/in.parquet {tmp_path}/out.parquet",
        f"{tmp_path}/in.parquet {bucket.path}/out.parquet",
    ):
        source, sink = ends.split()
        done = run("rank", source, "-o", sink, "-q")
        assert (done.returncode, "the store cannot be reached" in refusal(done.stderr)) == (74, True)


@pytest.mark.parametrize("most", [100_000, 1_000_000])
@pytest.mark.parametrize("format", ["parquet", "npy", "csv"])
def test_a_connection_that_breaks_while_it_is_read_leaves_nothing(bucket, tmp_path, monkeypatch, format, most):
    source = tmp_path / f"in.{format}"
    drawn = np.random.default_rng(0).normal(size=300_000 if format == "csv" else 1_000_000)
    if format == "npy":
        np.save(source, drawn)
    else:
        put(pa.table({"qid": np.arange(len(drawn)) // 100, "score": drawn}), source)
    bucket.put(source, f"in.{format}")
    proxy = through(monkeypatch, most_from=most)
    done = run("rank", f"{bucket.path}/in.{format}", "-o", tmp_path / f"out.{format}", "-q")
    assert (done.returncode, "the connection broke off" in refusal(done.stderr)) == (74, True)
    assert f"in.{format}: " in refusal(done.stderr)
    assert not (tmp_path / f"out.{format}").exists()
    assert proxy.count > 1
    proxy.close()


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("how", [{"most_to": 1_000_000}, {"most_of_all": 12_000_000}], ids=["each", "all"])
def test_a_connection_that_breaks_while_it_is_written_leaves_nothing(bucket, tmp_path, monkeypatch, how, is_there):
    source = numbers(tmp_path / "in.parquet")
    if is_there:
        pq.write_table(scored(), tmp_path / "old.parquet")
        bucket.put(tmp_path / "old.parquet", "out.parquet")
    proxy = through(monkeypatch, **how)
    done = run("rank", source, "-o", f"{bucket.path}/out.parquet", "-q", "--force")
    assert (done.returncode, "writing failed" in refusal(done.stderr)) == (74, True)
    assert bucket.list() == ["out.parquet"] * is_there
    if is_there:
        assert bucket.bytes("out.parquet") == (tmp_path / "old.parquet").read_bytes()
    proxy.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_that_is_sending(bucket, tmp_path, monkeypatch, number):
    source = numbers(tmp_path / "in.parquet")
    proxy = through(monkeypatch, delay=0.05)
    running = subprocess.Popen([*LAPSUM, "rank", source, "-o", f"{bucket.path}/out.parquet"], stderr=subprocess.PIPE)
    while not list((tmp_path / "temp").iterdir()):
        assert running.poll() is None
        time.sleep(0.01)
    while proxy.count < 3:
        time.sleep(0.01)
    time.sleep(1)
    running.send_signal(number)
    assert running.wait(10) == 128 + number
    assert bucket.list() == []
    running.stderr.close()
    proxy.close()


@pytest.mark.parametrize("is_there", [False, True])
def test_an_exception_while_it_is_sent_changes_nothing(bucket, tmp_path, monkeypatch, is_there):
    """Of Python, as Ctrl-C in a notebook is one: Arrow would complete the upload with what it has."""
    source = numbers(tmp_path / "in.parquet")
    if is_there:
        bucket.put(source, "out.parquet")
    from lapsum_cli.formats import stores as ours

    def interrupted():
        yield bytes(1 << 24)
        raise KeyboardInterrupt

    send = ours.Store._send
    monkeypatch.setattr(ours.Store, "_send", lambda self, path, given: send(self, path, interrupted()))
    with pytest.raises(KeyboardInterrupt):
        run_file("rank", source, f"{bucket.path}/out.parquet", force=True)
    gc.collect()
    assert bucket.list() == ["out.parquet"] * is_there
    assert not is_there or bucket.bytes("out.parquet") == source.read_bytes()


def test_a_script_ends_as_soon_as_it_is_done(bucket, tmp_path):
    pq.write_table(scored(), tmp_path / "in.parquet")
    bucket.put(tmp_path / "in.parquet", "in.parquet")
    program = f"""if True:
        from lapsum_cli import run_file
        print(run_file("rank", "{bucket.path}/in.parquet", "{bucket.path}/o.csv").rows)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "87\n", "")


def test_a_store_of_google_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", f"http://{stores.HOST}:1")
    monkeypatch.setattr(clients, "_PATIENCE", clients.dt.timedelta(seconds=1))
    monkeypatch.setattr(clients, "_of_gs", lambda bucket: None)
    with pytest.raises((IOFailed, InputMissing), match=r"gs://bucket/x\.parquet: "):
        run_file("rank", "gs://bucket/x.parquet", tmp_path / "out.parquet")


class Counted:
    """An open object, and the places that were asked of it."""

    def __init__(self, data):
        self.data, self.at, self.asked = data, 0, []

    def seek(self, at):
        self.at = at

    def readinto(self, into):
        into[:] = self.data[self.at : self.at + len(into)]
        self.asked.append((self.at, len(into)))
        return len(into)


def test_small_pieces_are_fetched_in_large_ones():
    data = np.random.default_rng(0).bytes(40 << 20)
    file = Counted(data)
    ranges = Ranges("x", file, len(data))
    got = bytearray()
    while piece := ranges.read(10_000):
        got += piece
    assert bytes(got) == data
    assert len(file.asked) < 20
    file.asked.clear()
    for at in (5, 30 << 20, 100, (40 << 20) - 3):
        ranges.seek(at)
        assert ranges.read(8) == data[at : at + 8]
    assert all(size <= 1 << 16 for _, size in file.asked)
    assert ranges.seek(-4, os.SEEK_END) == (40 << 20) - 4
    assert ranges.read() == data[-4:]


def test_a_path_names_a_bucket_and_a_key():
    for path in ("s3://", "s3:///x.parquet", "s3://buck*/x.parquet"):
        with pytest.raises(OptionError, match="name a bucket, as in s3://"):
            expand([path])
    with pytest.raises(OptionError, match="an empty name between two slashes is not read"):
        expand(["s3://bucket/a//b.parquet"])
