"""What goes wrong with an object store: replaced objects, keys that let nobody in, connections that break, signals."""

import gc
import importlib.util
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
from cut_tables import scored
from tables import put

from lapsum_cli import DataError, InputMissing, IOFailed, OptionError, run_file
from lapsum_cli.flow.process import LEAST
from lapsum_cli.formats import clients
from lapsum_cli.formats.files import expand
from lapsum_cli.formats.ranges import Ranges
from lapsum_cli.stream import Silent

pytestmark = pytest.mark.cluster
if not (importlib.util.find_spec("moto") and importlib.util.find_spec("flask")):
    pytest.skip("needs moto[server], which the extra scale brings", allow_module_level=True)


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
    proxy = stores.through(monkeypatch, most_from=most)
    done = run("rank", f"{bucket.path}/in.{format}", "-o", tmp_path / f"out.{format}", "-q")
    assert (done.returncode, "the connection broke off" in refusal(done.stderr)) == (74, True)
    assert f"in.{format}: " in refusal(done.stderr)
    assert not (tmp_path / f"out.{format}").exists()
    assert proxy.count > 1
    proxy.close()


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("how", [{"most_to": 1_000_000}, {"most_of_all": 12_000_000}], ids=["each", "all"])
def test_a_connection_that_breaks_while_it_is_written_leaves_nothing(bucket, tmp_path, monkeypatch, how, is_there):
    source = stores.numbers(tmp_path / "in.parquet")
    if is_there:
        pq.write_table(scored(), tmp_path / "old.parquet")
        bucket.put(tmp_path / "old.parquet", "out.parquet")
    proxy = stores.through(monkeypatch, **how)
    done = run("rank", source, "-o", f"{bucket.path}/out.parquet", "-q", "--force")
    assert (done.returncode, "writing failed" in refusal(done.stderr)) == (74, True)
    assert bucket.list() == ["out.parquet"] * is_there
    if is_there:
        assert bucket.bytes("out.parquet") == (tmp_path / "old.parquet").read_bytes()
    proxy.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_that_is_sending(bucket, tmp_path, monkeypatch, number):
    source = stores.numbers(tmp_path / "in.parquet")
    proxy = stores.through(monkeypatch, delay=0.05)
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
    source = stores.numbers(tmp_path / "in.parquet")
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
