"""What does not fit is refused with what it would need, before it is read; a file that shrinks meanwhile, in a line."""

import io
import os
import re
import subprocess
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import LAPSUM, refusal, run
from tables import TABLES, put

pytestmark = pytest.mark.faults

MIB = 1 << 20


def refused(source, *arguments, stdin=None):
    """The line that refuses a source, with the size it needs and the memory that would do."""
    done = run("rank", source, "-q", "--memory", "240MiB", "--to", "csv", *arguments, stdin=stdin)
    line = refusal(done.stderr)
    assert done.returncode == 2, line
    assert re.search(r"needs \d+ MiB .*, and --memory leaves \d+ MiB; raise --memory to \d+MiB or more", line), line
    return line


@pytest.mark.parametrize("as_a_pipe", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize(("format", "row"), [("jsonl", '{"score": 1, "x": "%s"}\n'), ("csv", "1,%s\n")])
def test_a_line_for_which_there_is_no_room(tmp_path, format, row, as_a_pipe):
    """The first, before the columns are known, and one that comes late."""
    head = "score,x\n" if format == "csv" else ""
    for late in (0, 3):
        path = tmp_path / f"{late}.{format}"
        path.write_text(head + row % "x" * late + row % ("x" * 20 * MIB) + row % "x")
        given = ("-", "--from", format) if as_a_pipe else (path,)
        line = refused(*given, stdin=path.read_bytes() if as_a_pipe else None)
        assert f", line {late + 1 + (format == 'csv')}: is 20.0 MiB long" in line


def test_a_long_line_of_text_is_read_where_there_is_room(tmp_path):
    (tmp_path / "a.csv").write_text("score,x\n1,%s\n2,y\n" % ("x" * 5 * MIB))
    done = run("rank", tmp_path / "a.csv", "-q", "--memory", "700MiB", "-o", tmp_path / "b.csv")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "b.csv").stat().st_size > 5 * MIB


def test_lines_that_end_with_carriage_returns_alone(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"score,x\r" + b"1,%s\r" % (b"x" * 1000) * 3000)
    done = run("rank", tmp_path / "a.csv", "-q", "-o", tmp_path / "b.csv")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "b.csv").read_bytes().count(b"\n") == 3001


OPEN = {
    "1GiB": (65, "line 2: a quote opens that nothing closes: '\"text"),
    "240MiB": (
        2,
        "line 2: begins a row of several lines that is over \\d.\\d MiB long, where a quote may be open, and",
    ),
}


@pytest.mark.parametrize("memory", OPEN)
def test_a_quote_that_stays_open_is_said_to(tmp_path, memory):
    code, words = OPEN[memory]
    (tmp_path / "a.csv").write_text('score,x\n1,"' + "text\n" * 3_000_000)
    done = run("rank", tmp_path / "a.csv", "-q", "--memory", memory, "--to", "csv")
    assert done.returncode == code
    assert re.search(words, refusal(done.stderr))


def test_a_dictionary_of_parquet(tmp_path):
    words = pa.array([f"{i:036d}" for i in range(500_000)])
    chosen = pa.array(np.arange(600_000, dtype=np.int32) % len(words))
    table = pa.table({"score": np.zeros(len(chosen)), "id": pa.DictionaryArray.from_arrays(chosen, words)})
    pq.write_table(table, tmp_path / "a.parquet")
    assert "for their pages" in refused(tmp_path / "a.parquet")


def test_many_columns_of_parquet_from_a_pipe():
    file, rng = io.BytesIO(), np.random.default_rng(0)
    table = pa.table({f"x{i}": rng.standard_normal(10_000) for i in range(2000)} | {"score": np.zeros(10_000)})
    pq.write_table(table, file)
    assert "to read 2001 columns side by side" in refused("-", stdin=file.getvalue())


@pytest.mark.parametrize("as_a_pipe", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("format", ["arrow", "arrows"])
def test_a_batch_of_arrow_that_unfolds_to_more(tmp_path, format, codec, as_a_pipe):
    path, options = tmp_path / f"a.{format}", pa.ipc.IpcWriteOptions(compression=codec)
    table = pa.table({"score": np.zeros(30 * MIB)})
    with (pa.ipc.new_file if format == "arrow" else pa.ipc.new_stream)(path, table.schema, options=options) as out:
        out.write_batch(table.to_batches()[0])
    assert path.stat().st_size < 2 * MIB
    line = refused("-", stdin=path.read_bytes()) if as_a_pipe else refused(path)
    assert re.search(r"a record batch needs 24\d MiB while it is decompressed", line)


def test_a_large_batch_of_arrow_from_a_pipe():
    file, table = io.BytesIO(), pa.table({"score": np.zeros(8 * MIB)})
    with pa.ipc.new_stream(file, table.schema) as out:
        out.write_batch(table.to_batches()[0])
    assert "a record batch of the stream needs 128 MiB" in refused("-", stdin=file.getvalue())


@pytest.mark.parametrize(("words", "index"), [(120, pa.int8()), (256, pa.uint8())])
def test_dictionaries_with_small_indices_come_back_whole(tmp_path, words, index):
    """In two row groups, of which each has as many values as its indices can name, or nearly."""
    rng = np.random.default_rng(0)
    parts = [
        pa.DictionaryArray.from_arrays(
            pa.array(rng.integers(0, words, 2000), index), pa.array([f"{part}-{i}" for i in range(words)])
        )
        for part in "ab"
    ]
    schema = pa.schema({"score": pa.float64(), "kind": parts[0].type})
    with pq.ParquetWriter(tmp_path / "a.parquet", schema) as out:
        for part in parts:
            out.write_table(pa.table([np.arange(2000.0), part], schema=schema))
    want = [value for part in parts for value in part.to_pylist()]
    for sink in ("b.parquet", "b.arrow", "b.arrows", "b.csv"):
        done = run("rank", tmp_path / "a.parquet", "-q", "-o", tmp_path / sink)
        assert (done.returncode, done.stderr) == (0, b""), sink
    assert pq.read_table(tmp_path / "b.parquet")["kind"].cast(pa.string()).to_pylist() == want
    with pa.ipc.open_stream(tmp_path / "b.arrows") as stream:
        assert stream.read_all()["kind"].cast(pa.string()).to_pylist() == want


@pytest.mark.parametrize("format", [*TABLES, "npy"])
def test_a_file_that_is_cut_short_while_it_is_read(tmp_path, format):
    """The output is a pipe that nobody empties at first, so that most of the file is read after it has shrunk."""
    path = tmp_path / f"a.{format}"
    scores = np.random.default_rng(0).standard_normal(2_000_000)
    table = pa.table({"qid": np.arange(len(scores)) // 100, "score": scores})
    if format == "npy":
        np.save(path, scores.reshape(-1, 100))
    elif format in ("parquet", "arrow", "arrows"):
        put(table, path, rows=30_000)
    elif format == "jsonl":
        path.write_text("".join(f'{{"qid": {i // 100}, "score": {x}}}\n' for i, x in enumerate(scores)))
    else:
        path.write_text("qid,score\n".replace(",", separator := "," if format == "csv" else "\t"))
        with path.open("a") as out:
            out.writelines(f"{i // 100}{separator}{x}\n" for i, x in enumerate(scores))
    to = "npy" if format == "npy" else "csv"
    command = [*LAPSUM, "rank", str(path), "--to", to, "-q", "--memory", "240MiB"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    process.stdout.read(1)
    time.sleep(0.5)
    os.truncate(path, path.stat().st_size // 3)
    _, words = process.communicate(timeout=100)
    assert process.returncode in (65, 74), words
    refusal(words)
    assert os.listdir(tmp_path) == [path.name]
