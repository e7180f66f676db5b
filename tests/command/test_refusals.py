"""What a user can fix is one line that names what and where, an exit code, and no file left behind."""

import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import refusal, run

from lapsum_cli import devices
from lapsum_cli.cli import app as cli


@pytest.fixture
def lapsum(tmp_path, monkeypatch, capfd):
    """`lapsum ARGS --quiet` in tmp_path and in this process: sixty refusals take seconds, not a minute.

    Returns the exit code and the one line, after a look around: nothing may be there that was not there before.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    monkeypatch.setattr(cli.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")

    def lapsum(*args):
        before = contents(tmp_path)
        monkeypatch.setattr(sys, "argv", ["lapsum", *map(str, args), "--quiet"])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert contents(tmp_path) == before
        return left.value.code, refusal(capfd.readouterr().err.encode())

    return lapsum


def contents(folder) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=4)


# Files: what is written, and words that the line about it must have.

FILES = {
    "missing.parquet": (None, 66, "missing.parquet: no such file"),
    "empty.parquet": (b"", 65, "empty.parquet: the file is empty"),
    "empty.csv": (b"", 65, "empty.csv: the file is empty"),
    "no-magic.parquet": (b"qid,score\n1,2\n", 65, "no-magic.parquet: not a Parquet file"),
    "no-magic.npy": (b"qid,score\n1,2\n", 65, "no-magic.npy: not an NPY file"),
    "no-magic.arrow": (b"qid,score\n1,2\n", 65, "no-magic.arrow: not an Arrow"),
    "no-magic.arrows": (b"qid,score\n1,2\n", 65, "no-magic.arrows: not an Arrow"),
    "binary": (b"\0\1\2\3" * 9, 65, "binary: its format is not recognised", "--from"),
    "ragged.csv": (b"qid,score\n1,2\n1,2,3\n", 65, "ragged.csv", "expected 2 columns, got 3"),
    "words.csv": (b"qid,score\n1,2\n1,high\n", 65, "words.csv", "high", '"score"'),
    "latin.csv": (b"qid,score\nK\xf6ln,2\n", 65, "latin.csv", "utf8"),
    "latin-header.csv": (b"K\xf6ln,score\n1,2\n", 65, "latin-header.csv", "utf"),
    "twice.csv": (b"score,score\n1,2\n", 65, "twice.csv", "score"),
    "header.csv": (b"qid,docid\n1,2\n", 65, "header.csv: no score column", '"qid", "docid"', "--score"),
    "hole.csv": (b"qid,score\na,1\nb,\n", 65, "hole.csv, row 2", 'qid "b"', "null"),
    "malformed.jsonl": (b'{"score": 1}\n{"score": 2}\n{"score": \n', 65, "malformed.jsonl", "JSON"),
    "array.jsonl": (b"[1, 2]\n", 65, "array.jsonl", "JSON"),
    "words.jsonl": (b'{"score": 1}\n{"score": "high"}\n', 65, "words.jsonl", "/score"),
    "blank.jsonl": (b"\n\n", 65, "blank.jsonl"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_named(lapsum, tmp_path, name):
    content, code, *words = FILES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    got, line = lapsum("rank", name, "-o", "out.csv")
    assert got == code, line
    assert all(word.lower() in line.lower() for word in words), line


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_malformed_line_far_into_a_file_is_named_by_its_number(lapsum, tmp_path, format):
    if format == "jsonl":
        lines = [json.dumps({"qid": i, "score": 1.0, "text": "x" * 100}) for i in range(20_000)]
        lines[17_000 - 1] = '{"qid": 5, "score": }'
    else:
        lines = ["qid,score,text", *(f"{i},1.0,{'x' * 100}" for i in range(20_000))]
        lines[17_000 - 1] = "5,1.0"
    (tmp_path / f"in.{format}").write_text("\n".join(lines))
    code, line = lapsum("rank", f"in.{format}", "-o", "out.csv")
    assert code == 65
    assert "17000" in line or (format == "csv" and "16999" in line), line  # a row of data, or a line of the file


@pytest.mark.parametrize("format", ["parquet", "npy", "arrow", "arrows"])
@pytest.mark.parametrize("keep", [0.01, 0.5, 0.99])
def test_a_truncated_file_is_named(lapsum, tmp_path, format, keep):
    path = tmp_path / f"in.{format}"
    table = pa.table({"qid": np.arange(5000) // 10, "score": np.random.default_rng(1).random(5000)})
    if format == "npy":
        np.save(path, table["score"].to_numpy())
    elif format == "parquet":
        pq.write_table(table, path)
    else:
        with (pa.ipc.new_file if format == "arrow" else pa.ipc.new_stream)(path, table.schema) as out:
            out.write_table(table, max_chunksize=1000)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    code, line = lapsum("rank", path.name, "-o", "out.parquet")
    assert code == 65, line
    assert f"in.{format}" in line
    assert "truncated" in line


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_damaged_file_is_named(lapsum, tmp_path, format):
    table = pa.table({"qid": np.arange(5000) // 10, "score": np.random.default_rng(1).random(5000)})
    path = tmp_path / f"in.{format}"
    if format == "parquet":
        pq.write_table(table, path, compression="zstd", use_dictionary=False)
    else:
        with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as out:
            out.write_table(table)
    whole = bytearray(path.read_bytes())
    whole[2000 : len(whole) - 2000] = bytes(len(whole) - 4000)
    path.write_bytes(whole)
    code, line = lapsum("rank", path.name, "-o", "out.csv")
    assert code == 65, line
    assert f"in.{format}" in line
    assert "damaged" in line


ARRAYS = {
    "int64": (np.arange(3), "int64", "astype"),
    "complex128": (np.ones(3, complex), "complex128"),
    "bool": (np.ones(3, bool), "bool"),
    "text": (np.array(["a"]), "<U1"),
    "record": (np.zeros(2, [("score", "f4")]), "score"),
    "pickled": (np.array([{}, None], object), "pickled"),
    "cube": (np.ones((2, 3, 4)), "3 dimensions (2, 3, 4)"),
    "number": (np.array(1.0), "0 dimensions"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_without_scores_is_refused(lapsum, tmp_path, name):
    array, *words = ARRAYS[name]
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    code, line = lapsum("rank", "x.npy", "-o", "out.npy")
    assert code == 65, line
    assert all(word in line for word in ["x.npy", *words]), line


# Tables: the columns, options, exit code and words of the line.

NAN, INF = float("nan"), float("inf")
QID, SCORE = [7, 7, 7, 8, 8, 9], [3.0, 1.0, 2.0, 1.0, 2.0, 5.0]
TWO = {"qid": QID, "score": SCORE}
RETURNS = {"qid": [7, 7, 8, 8, 9, 7], "score": SCORE}
TABLES = [
    ({"qid": QID, "name": list("abcdef")}, "rank", 65, "no score column", '"qid", "name"', "--score"),
    ({"qid": QID, "x": SCORE, "y": SCORE}, "rank", 2, 'could be the score: "x", "y"', "--score"),
    ({"score": SCORE, "pred": SCORE}, "rank", 2, 'could be the score: "score", "pred"', "--score"),
    (TWO | {"user_id": QID}, "rank", 2, 'could be the group: "qid", "user_id"', "--group"),
    ({"qid": QID, "score": list("abcdef")}, "rank --score score", 65, '"score" has type string'),
    ({"qid": QID, "score": [True] * 6}, "rank --score score", 65, '"score" has type bool'),
    ({"qid": QID, "score": [2**60 + 1] * 6}, "rank", 65, "integers that no float64 holds"),
    (TWO, "rank --score sorce", 2, 'no column "sorce"', '"qid", "score"'),
    (TWO, "rank --group qid,day", 2, 'no column "day"'),
    (TWO, "rank --columns s_*", 2, "no column matches --columns s_*"),
    (TWO, "rank --columns score --group qid", 2, "--columns", "--group"),
    ({"scores": [[1.0], [2.0]], "id": [1, 2]}, "rank --group id", 2, '"scores" holds a ranking in each row', "--group"),
    (TWO | {"soft_rank": SCORE}, "rank --score score", 2, '"soft_rank" already', "--column"),
    (TWO | {"threshold": QID}, "topk --k 1 --threshold", 2, '"threshold" already'),
    (TWO, "topk --k 1 --threshold --column threshold", 2, "threshold"),
    ({"qid": QID, "score": [1.0, 1, NAN, 1, 1, 1]}, "rank", 65, "in.parquet, row 3", 'qid "7"', "NaN", "--nan"),
    ({"qid": QID, "score": [1, 1, 1, 1, None, 1.0]}, "rank", 65, "in.parquet, row 5", 'qid "8"', "null", "--nan"),
    ({"scores": [[1.0], [2.0, None]]}, "rank", 65, "in.parquet, row 2, score 2", "null"),
    ({"s1": [1.0, 2.0], "s2": [1.0, NAN]}, "rank --columns s*", 65, 'row 2, column "s2"', "NaN"),
    (TWO, "rank --nan skip", 2, "--nan", "error, last or drop", "skip"),
    (RETURNS, "rank", 65, "in.parquet, row 6", 'qid "7"', "appears again", 'sort by "qid"'),
    ({"qid": list("ppqqrp"), "score": SCORE}, "rank", 65, "row 6", 'qid "p"', "appears again"),
    (
        {"a": [1, 1, 1, 1, 2, 1], "b": [1, 1, 2, 2, 2, 1], "score": SCORE},
        "rank --group a,b",
        65,
        "row 6",
        'a "1", b "1"',
    ),
    (TWO, "topk --k 3 --strict-k", 65, "in.parquet, row 4", 'qid "8"', "k = 3"),
    (TWO, "topk", 2, "--k"),
    (TWO, "topk --k 1 --k-column qid", 2, "--k", "--k-column"),
    (TWO, "topk --k=-1", 2, "k must be 0 or more", "-1"),
    (TWO, "topk --k nan", 2, "k must be 0 or more", "nan"),
    (TWO, "topk --k inf", 2, "k must be 0 or more", "inf"),
    (TWO, "topk --k ten", 2, "k must be a number", "ten"),
    (TWO, "topk --k 101%", 2, "at most 100%", "101%"),
    (TWO, "topk --k 10,", 2, "k must be a number", "''"),
    (TWO, "topk --k 2,2", 2, "twice"),
    (TWO, "topk --k 1,2 --min 0.1", 2, "--min needs a single k"),
    (TWO, "topk --k 1 --min 1.5", 2, "--min", "1.5"),
    (TWO, "topk --k 1 --min nan", 2, "--min", "nan"),
    (TWO, "rank --base 2", 2, "base must be 0 or 1, got 2"),
    (TWO, "rank --alpha 0", 2, "alpha must be positive", "got 0"),
    (TWO, "rank --alpha=-1", 2, "alpha must be positive", "got -1"),
    (TWO, "rank --alpha nan", 2, "alpha must be positive", "got nan"),
    (TWO, "rank --alpha inf", 2, "alpha must be positive", "got inf"),
    (TWO, "rank --alpha 0std", 2, "alpha must be positive", "got 0"),
    (TWO, "rank --alpha soft", 2, "alpha must be a number", "'soft'"),
    (TWO, "rank --alpha 1sd", 2, "alpha must be a number", "'1sd'"),
    (TWO | {"a": SCORE}, "rank --alpha 1 --alpha-column a", 2, "--alpha and --alpha-column"),
    (TWO, "rank --alpha-column a", 2, 'no column "a"'),
    (TWO | {"a": [1.0] * 5 + [0.0]}, "rank --score score --alpha-column a", 65, "row 6", 'qid "9"', "alpha", "got 0"),
    (TWO | {"a": [1.0] * 5 + [NAN]}, "rank --score score --alpha-column a", 65, "row 6", 'qid "9"', "alpha", "got nan"),
    (TWO | {"a": [1.0, 1, 1, None, None, 1]}, "rank --score score --alpha-column a", 65, "row 4", 'qid "8"', "alpha"),
    (TWO | {"a": [1.0, 1, 2, 1, 1, 1]}, "rank --score score --alpha-column a", 65, "row 3", '"a" changes within'),
    (TWO | {"a": [1.0, 1, None, 1, 1, 1]}, "rank --score score --alpha-column a", 65, "row 3", '"a" changes within'),
    (TWO | {"a": list("abcdef")}, "rank --alpha-column a", 65, '"a" has type string'),
    (TWO | {"n": [1, 1, 1, 1, 1, -1]}, "topk --k-column n", 65, "row 6", 'qid "9"', "k must be 0 or more", "-1"),
    (TWO | {"n": [1, 1, 1, 1, 1, None]}, "topk --k-column n", 65, "row 6", 'qid "9"', "k must be"),
    (TWO | {"n": [1, 2, 1, 1, 1, 1]}, "topk --k-column n", 65, "row 2", '"n" changes within'),
    (TWO, "rank --memory 50MiB", 2, "--memory 50MiB is too little", "MiB"),
    (TWO, "rank --memory lots", 2, "--memory must be a size", "'lots'"),
    (TWO, "rank --memory=-1GiB", 2, "--memory"),
    (TWO, "rank --memory nan", 2, "--memory", "nan"),
    (TWO, "rank --from xlsx", 2, "--from xlsx: unknown format", "parquet"),
    (TWO, "rank --to xlsx", 2, "--to xlsx: unknown format", "parquet"),
]


@pytest.mark.parametrize(("columns", "command", "code", "words"), [(c, m, e, w) for c, m, e, *w in TABLES])
def test_a_table_or_an_option_that_cannot_be_used_is_named(lapsum, tmp_path, columns, command, code, words):
    parquet(tmp_path / "in.parquet", **columns)
    name, *options = command.split()
    got, line = lapsum(name, "in.parquet", "-o", "out.csv", *options)
    assert got == code, line
    assert all(word in line for word in words), line


OUTPUTS = [
    ("out.xlsx", 2, "out.xlsx: no format has the extension '.xlsx'", "--to"),
    ("out", 2, "out: no format has the extension", "--to"),
    ("there.csv", 73, "there.csv: exists already", "--force"),
    ("no/such/out.csv", 73, "no/such/out.csv", "directory", "does not exist"),
    ("folder", 73, "folder: is a directory"),
    ("folder.csv", 73, "folder.csv: is a directory"),
]


@pytest.mark.parametrize(("sink", "code", "words"), [(sink, code, words) for sink, code, *words in OUTPUTS])
def test_an_output_that_cannot_be_made_is_named(lapsum, tmp_path, sink, code, words):
    parquet(tmp_path / "in.parquet", **TWO)
    (tmp_path / "there.csv").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.csv").mkdir()
    for name in ([], ["--to", "csv"])[: 1 if code == 2 else 2]:
        got, line = lapsum("rank", "in.parquet", "-o", sink, *name)
        assert all(word in line for word in words), line
        assert got == code


def test_an_existing_output_survives_a_failed_run_even_with_force(lapsum, tmp_path):
    parquet(tmp_path / "in.parquet", qid=QID, score=[*SCORE[:-1], NAN])
    (tmp_path / "there.csv").write_text("precious")
    code, line = lapsum("rank", "in.parquet", "-o", "there.csv", "--force")
    assert (code, "NaN" in line) == (65, True)
    assert (tmp_path / "there.csv").read_text() == "precious"


def test_force_replaces_an_existing_output(tmp_path):
    parquet(tmp_path / "in.parquet", **TWO)
    (tmp_path / "there.csv").write_text("old")
    assert run("rank", "in.parquet", "-o", "there.csv", "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "there.csv").read_text().startswith("qid,score,soft_rank\n7,")


def test_several_inputs_are_told_apart_in_a_message(lapsum, tmp_path):
    parquet(tmp_path / "a.parquet", **TWO)
    parquet(tmp_path / "b.parquet", qid=[10, 10], score=[1.0, NAN])
    code, line = lapsum("rank", "a.parquet", "b.parquet", "-o", "out.csv")
    assert (code, "b.parquet, row 2" in line) == (65, True), line


def test_standard_input_is_read_once(lapsum):
    code, line = lapsum("rank", "-", "-", "-o", "out.csv")
    assert code in (2, 66)
    assert "standard input" in line


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
    score[-1] = NAN
    parquet_rows = pa.table({"qid": np.arange(rows) // 100, "score": score})
    pq.write_table(parquet_rows, tmp_path / "in.parquet")
    code, line = lapsum("rank", "in.parquet", "-o", "out.csv", "--memory", "256MiB")
    assert (code, f"row {rows}" in line, f'qid "{rows // 100 - 1}"' in line) == (65, True, True), line


def test_a_ranking_larger_than_the_memory_says_how_much_would_do(tmp_path):
    """And so much does do."""
    scores = 20_000_000
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (scores,)).flush()
    pq.write_table(
        pa.table({"qid": np.zeros(scores, np.int8), "score": np.zeros(scores, np.float32)}), tmp_path / "x.pq"
    )
    for name, where in (("x.npy", "x.npy, row 1"), ("x.pq", 'x.pq, row 1 (qid "0")')):
        command = ("topk", name, "--k", 10, "--alpha", 1, "-q", "-o", "out.npy")
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


PROCESSES = [
    (("rank", "missing.parquet", "-o", "out.csv"), 66, "missing.parquet: no such file"),
    (("rank", "in.parquet", "--alpha", "0", "-o", "out.csv"), 2, "alpha must be positive"),
    (("rank", "in.parquet", "-q", "-o", "in.parquet"), 73, "in.parquet: exists already"),
    (("topk", "in.parquet", "-q", "--k", "3", "--strict-k", "-o", "out.csv"), 65, "row 4"),
]


@pytest.mark.parametrize(("args", "code", "words"), PROCESSES)
def test_a_process_says_the_same(tmp_path, args, code, words):
    parquet(tmp_path / "in.parquet", **TWO)
    before = contents(tmp_path)
    done = run(*args, cwd=tmp_path)
    assert done.returncode == code
    assert words in refusal(done.stderr)
    assert done.stdout == b""
    assert contents(tmp_path) == before


@pytest.mark.parametrize("args", [("rank", "in.csv", "--alhpa", "1"), ("rnak", "in.csv"), ("rank",)])
def test_a_command_that_does_not_exist_is_a_usage_error(tmp_path, args):
    done = run(*args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Usage: lapsum" in done.stderr or b"Usage: python -m lapsum_cli" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("installed", "driver", "words"),
    [
        (None, (None, 0), "needs the packages of the extra cuda; pip install 'lapsum-cli[cuda]'"),
        (True, (None, 0), "no NVIDIA driver answers here"),
        (True, (12080, 1), "the NVIDIA driver supports CUDA 12.8, and 13 is needed; update the driver"),
        (True, (13000, 0), "the NVIDIA driver finds no GPU that may be used"),
    ],
)
def test_a_gpu_that_is_not_there(lapsum, monkeypatch, tmp_path, installed, driver, words):
    (tmp_path / "x.csv").write_text("score\n1\n2\n")
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(devices, "find_spec", lambda name: installed)
    monkeypatch.setattr(devices, "_driver", lambda: driver)
    code, line = lapsum("rank", "x.csv", "-o", "y.csv", "--device", "cuda")
    assert code == 69
    assert words in line
    assert devices.choose("auto", 1).name == "cpu"


def test_a_gpu_that_works_is_named_with_the_cuda_version_of_its_driver(monkeypatch):
    card = SimpleNamespace(compute_capability=lambda: (9, 0), IS_SIMULATED=False)
    monkeypatch.setattr(devices, "_adapter", lambda: card)
    monkeypatch.setattr(devices, "_driver", lambda: (13020, 1))
    assert devices.cuda() == "a kernel runs; compute capability 9.0, driver for CUDA 13.2"
