"""`lapsum bench --files`: whole processes on files that are made and removed, and no time for a file that is wrong."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import refusal, run

from lapsum_cli import run_file
from lapsum_cli.core.errors import IOFailed
from lapsum_cli.study.bench import clock, files
from lapsum_cli.study.bench.cases import Choice
from lapsum_cli.study.bench.check import WrongResult
from lapsum_cli.study.bench.filecheck import check_array, check_table, keeps_order
from lapsum_cli.study.bench.files import FileBench
from lapsum_cli.study.bench.shapes import Even
from lapsum_cli.study.bench.sources import make_npy, make_parquet
from lapsum_cli.study.bench.tables import TABLES

CHOICE = Choice(["rank", "topk"], ["1x100"], ["float32"], ["normal"], alpha=0.1, k="10%", threads=None)


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    """What `lapsum bench --files` says of a small file, and what it leaves behind."""
    folder = tmp_path_factory.mktemp("bench")
    done = run(
        "bench",
        "--files",
        "--rows",
        "2050",
        "--runs",
        "1",
        "--threads",
        "1",
        "--temp-dir",
        folder,
        "--json",
        "--peers",
        "pyarrow,pyarrow-tuned",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["cases"], list(folder.iterdir())


@pytest.mark.slow
def test_rank_and_topk_are_timed_on_every_file(timed):
    cases, left = timed
    assert left == []
    assert [(case["file"], case["operation"], case["rankings"], case["length"]) for case in cases] == [
        ("long Parquet", "rank", 20, 100),
        ("long Parquet", "topk", 20, 100),
        ("NPY matrix", "rank", 100, 100),
        ("NPY matrix", "topk", 100, 100),
        ("NPY vector", "rank", 1, 10000),
        ("NPY vector", "topk", 1, 10000),
    ]
    assert {"lapsum", "pyarrow", "pyarrow-tuned"} <= set(cases[0]["sides"])
    assert list(cases[-1]["sides"]) == ["lapsum", "cat"]
    # Time and memory are those of the process.
    for side in cases[-1]["sides"].values():
        assert len(side["seconds"]) == 1
    lapsum, cat = (cases[-1]["sides"][name] for name in ("lapsum", "cat"))
    assert lapsum["memory"] > 5 * cat["memory"]
    assert cat["memory"] < 40_000_000


def test_a_process_does_not_count_the_memory_of_its_parent():
    held = np.ones(30_000_000)
    [run] = clock.take_turns({"true": clock.process(["true"], lambda: None, {"PATH": "/usr/bin:/bin"})}, 1).values()
    assert run.memory < held.nbytes / 4


def test_a_process_that_fails_is_an_error_with_its_last_word():
    failing = clock.process(
        ["sh", "-c", "echo first >&2; echo last >&2; exit 3"], lambda: None, {"PATH": "/usr/bin:/bin"}
    )
    with pytest.raises(IOFailed, match=r": last$"):
        failing()


def test_files_that_do_not_fit_are_refused_before_they_are_made(tmp_path):
    done = run("bench", "--files", "--rows", "1e12", "--temp-dir", tmp_path)
    assert done.returncode == 74
    assert "1e+12 rows need" in refusal(done.stderr)


@pytest.mark.slow
def test_with_a_card_lapsum_runs_there_and_on_the_cpu(monkeypatch):
    """The card is left out of the commands that run: here there is none."""
    commands = []

    def process(command, *given):
        commands.append(command)
        return clock.process([word for word in command if word not in ("--device", "cuda")], *given)

    monkeypatch.setattr(files, "process", process)
    choice = replace(CHOICE, operations=["topk"], threads=1, device="cuda")
    found = list(FileBench(choice, 100, None, [], 1).measure(print))
    assert [list(m.sides) for m in found] == [["lapsum", "cpu"], *2 * [["lapsum", "cpu", "cat"]]]
    ours = [command for command in commands if "topk" in command]
    assert [command[-2:] == ["--device", "cuda"] for command in ours] == 3 * [True, False]
    assert len({command[command.index("-o") + 1] for command in ours}) == 6
    note, *_ = TABLES["files"](found, choice, 1).markdown().splitlines()
    assert "lapsum has --device cuda, and cpu is lapsum without it" in note


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    """A long Parquet of 5 queries, with its case, and its ranks as lapsum writes them."""
    folder = tmp_path_factory.mktemp("parquet")
    source, sink = folder / "in.parquet", folder / "out.parquet"
    make_parquet(source, Even.of(5, 100))
    run_file("rank", str(source), str(sink), alpha="0.1")
    bench = FileBench(CHOICE, 500, None, [], 1)
    return bench.cases(bench.files()[0])[0], source, pq.read_table(sink)


def test_a_right_table_passes(parquet, tmp_path):
    case, source, table = parquet
    pq.write_table(table, tmp_path / "out.parquet")
    check_table(case, source, tmp_path / "out.parquet")
    assert keeps_order("lapsum", source, tmp_path / "out.parquet")


def _with(table, name, values):
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def _off(table, name, step):
    values = table[name].to_numpy().copy()
    values[-1] += step
    return _with(table, name, values)


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (lambda table: table.drop_columns("docid"), "the columns are qid, score, soft_rank"),
        (lambda table: table.select(["docid", "qid", "score", "soft_rank"]), "the columns are docid, qid"),
        (lambda table: _off(table, "docid", 1), "column docid"),
        (lambda table: _off(table, "score", np.float32(1e-3)), "column score"),
        (lambda table: _off(table, "soft_rank", np.float32(1e-2)), "sum of ranking 4"),
        (lambda table: table.take(np.r_[1, 0, 2:500]), "column docid"),
        (lambda table: table.slice(0, 400), "column qid"),
    ],
)
def test_a_wrong_table_is_refused(parquet, tmp_path, spoilt, words):
    case, source, table = parquet
    pq.write_table(spoilt(table), tmp_path / "out.parquet")
    with pytest.raises(WrongResult, match=words):
        check_table(case, source, tmp_path / "out.parquet")


def test_a_tool_that_moves_rows_is_found_out_and_one_that_loses_them_refused(parquet, tmp_path):
    _, source, table = parquet
    pq.write_table(table.take(np.arange(500)[::-1]), tmp_path / "moved.parquet")
    assert not keeps_order("tool", source, tmp_path / "moved.parquet")
    pq.write_table(table.slice(1), tmp_path / "short.parquet")
    with pytest.raises(WrongResult, match="tool wrote 499 rows, not 500"):
        keeps_order("tool", source, tmp_path / "short.parquet")


@pytest.mark.parametrize("shape", [(25, 100), (2500,)])
def test_arrays_are_checked(tmp_path, shape):
    source, sink = tmp_path / "in.npy", tmp_path / "out.npy"
    make_npy(source, shape)
    run_file("topk", str(source), str(sink), k="10%", alpha="0.1")
    bench = FileBench(CHOICE, 500, None, [], 1)
    _, matrix, vector = bench.files()
    case = bench.cases(matrix if len(shape) == 2 else vector)[1]
    check_array(case, source, sink)
    right = np.load(sink)
    for wrong, words in (
        (right[:-1], "has shape"),
        (right * np.float32(1.001), "sum of ranking 0"),
        (1 - right, "sum"),
    ):
        np.save(sink, wrong)
        with pytest.raises(WrongResult, match=words):
            check_array(case, source, sink)


def test_a_signal_ends_what_was_launched(tmp_path):
    """It would go on writing into a folder that is gone."""
    program = f"""
import os, signal, sys
from lapsum_cli.study.bench.clock import process
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
script = "echo $$ > {tmp_path}/made && mv {tmp_path}/made {tmp_path}/pid; exec sleep 60"
process(["sh", "-c", script], print, dict(os.environ))()
"""
    with subprocess.Popen([sys.executable, "-c", program]) as benchmark:
        _wait_for((tmp_path / "pid").exists)
        launched = int((tmp_path / "pid").read_text())
        os.kill(launched, 0)
        benchmark.terminate()
        assert benchmark.wait(30) == 143
    _wait_for(lambda: _has_ended(launched))


def _has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def _wait_for(condition) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")
