"""Pipes, terminals, signals and full disks: the command among its neighbours, in processes of their own."""

import contextlib
import io
import os
import pty
import re
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import LAPSUM, refusal, run

from lapsum_cli import soft_rank, soft_topk

COMMAND = shlex.join(LAPSUM)
PYTHON = shlex.quote(sys.executable)


def shell(script: str, cwd) -> subprocess.CompletedProcess:
    return subprocess.run(["bash", "-c", "set -o pipefail\n" + script], cwd=cwd, capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """scores.parquet and scores.csv: 30 000 items in 300 rankings, more than any pipe holds."""
    path = tmp_path_factory.mktemp("scores")
    duckdb.sql(
        "create or replace temp table scores as select i // 100 as qid, 9007199254740993000 + i as docid, "
        "sin(i * 12.9898)::float as score from range(30000) t(i)"
    )
    duckdb.sql("from scores order by docid").write_csv(str(path / "scores.csv"))
    duckdb.sql("from scores order by docid").write_parquet(str(path / "scores.parquet"))
    return path


def scores(folder) -> np.ndarray:
    return pq.read_table(folder / "scores.parquet")["score"].to_numpy().reshape(300, 100)


def test_between_two_duckdbs(folder):
    query = "copy (from 'scores.parquet' order by docid) to '/dev/stdout' (format csv, header)"
    check = (
        "select count(*), round(sum(soft_topk), 6), count(distinct docid), "
        "max(docid), round(max(per_query), 6) from (select *, sum(soft_topk) over (partition by qid) as per_query "
        "from read_csv('/dev/stdin'))"
    )
    done = shell(
        f"{PYTHON} -c {shlex.quote(f'import duckdb; duckdb.sql({query!r})')}"
        f" | {COMMAND} topk - --k 10"
        f" | {PYTHON} -c {shlex.quote(f'import duckdb; print(*duckdb.execute({check!r}).fetchone())')}",
        folder,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.split() == [b"30000", b"3000.0", b"30000", b"9007199254741022999", b"10.0"]


@pytest.mark.parametrize("to", ["csv", "arrows", "parquet", "npy"])
def test_a_closed_pipe_ends_quietly(folder, to):
    run("topk", "scores.parquet", "--k", 10, "-q", cwd=folder)  # which may compile, and would be said
    done = shell(
        f"{COMMAND} topk scores.parquet --k 10 --to {to} --memory 256MiB | head -c 30; exit ${{PIPESTATUS[0]}}", folder
    )
    assert len(done.stdout) == 30
    assert all(line.startswith("lapsum: scores from") for line in done.stderr.decode().splitlines()), done.stderr
    assert done.returncode == 141


def test_head_of_a_csv(folder):
    done = shell(f"cat scores.csv | {COMMAND} topk - --k 10 --quiet | head -n 3; exit ${{PIPESTATUS[1]}}", folder)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("asked", ["--help", "rank --help", "--version"])
def test_help_that_nobody_reads_ends_quietly_too(asked, tmp_path):
    done = shell(f"({COMMAND} {asked}; echo $? >&2) | true", tmp_path)
    assert done.stderr == b"141\n"


def test_numpy_arrays_through_pipes(folder):
    x = scores(folder)
    np.save(folder / "x.npy", x)
    done = shell(f"cat x.npy | {COMMAND} rank - --alpha 0.2 --quiet | cat", folder)
    assert done.stderr == b""
    np.testing.assert_array_equal(np.load(io.BytesIO(done.stdout)), soft_rank(x, alpha=0.2))


def test_arrow_streams_through_pipes_of_two_commands(folder):
    table = pq.read_table(folder / "scores.parquet")
    with pa.ipc.new_stream(folder / "in.arrows", table.schema) as out:
        out.write_table(table, max_chunksize=999)
    done = shell(
        f"cat in.arrows | {COMMAND} rank - --alpha 0.2 --to arrows -q"
        f" | {COMMAND} topk - --score score --k 3 --alpha 0.2 --to arrows -q",
        folder,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    result = pa.ipc.open_stream(done.stdout).read_all()
    assert result.select(table.column_names).equals(table)
    x = scores(folder)
    np.testing.assert_array_equal(result["soft_rank"], soft_rank(x, alpha=0.2).ravel())
    np.testing.assert_array_equal(result["soft_topk"], soft_topk(x, 3, alpha=0.2).ravel())


def test_results_leave_while_the_input_is_open(folder):
    """A reader at the other end need not wait for the end of a stream."""
    batch = pa.record_batch({"scores": pa.array([[1.0, 2.0]] * 100_000)})
    with popen("rank", "-", "--to", "arrows", "-q", "--memory", "256MiB") as process:

        def feed():
            with pa.ipc.new_stream(process.stdin, batch.schema) as out, contextlib.suppress(OSError):
                for _ in range(30):
                    out.write_batch(batch)
                process.stdin.flush()
                done.wait(30)
            process.stdin.close()

        done = threading.Event()
        feeder = threading.Thread(target=feed)
        feeder.start()
        killer = threading.Timer(20, process.kill)
        killer.start()
        first = pa.ipc.open_stream(process.stdout).read_next_batch()
        assert first["soft_rank"][0].as_py() == pytest.approx([2, 1], abs=1e-3)
        assert not done.is_set()
        done.set()
        killer.cancel()
        process.stdout.read()
        feeder.join()


def test_parquet_from_standard_input(folder):
    done = run("rank", "-", "--alpha", 0.2, stdin=(folder / "scores.parquet").read_bytes())
    assert done.returncode == 0, done.stderr
    result = np.genfromtxt(io.BytesIO(done.stdout), delimiter=",", names=True)
    assert result.dtype.names == ("qid", "docid", "score", "soft_rank")
    np.testing.assert_allclose(result["soft_rank"].reshape(300, 100), soft_rank(scores(folder), alpha=0.2), rtol=1e-7)


def test_parquet_to_standard_output(folder):
    done = run("rank", "scores.parquet", "--alpha", 0.2, "--to", "parquet", cwd=folder)
    result = pq.read_table(io.BytesIO(done.stdout))
    np.testing.assert_array_equal(result["soft_rank"], soft_rank(scores(folder), alpha=0.2).ravel())


def test_words_go_to_stderr_and_quiet_silences_them(folder):
    quiet, loud = (run("rank", "scores.csv", *flag, cwd=folder) for flag in (["--quiet"], []))  # the first may compile
    assert loud.stdout == quiet.stdout
    assert (loud.returncode, quiet.returncode, quiet.stderr) == (0, 0, b"")
    found, soft, done = loud.stderr.decode().splitlines()
    assert found == 'lapsum: scores from "score", grouped by "qid"'
    assert re.fullmatch(r"lapsum: alpha = 0\.1std: soft ranks are 0\.\d+ places from the hard ones, of 100 .*", soft)
    assert done == "lapsum: 30000 scores in 300 rankings"


def test_rankings_with_too_few_scores_are_told(tmp_path):
    done = run("topk", "-", "--k", 2, stdin=b"qid,score\na,1\nb,2\nb,3\n")
    assert b"lapsum: 1 of 2 rankings are shorter than k" in done.stderr


# Signals.


def popen(*args, **options) -> subprocess.Popen:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*LAPSUM, *map(str, args)], **(pipes | options))


def until_it_waits(process) -> None:
    """Everything is imported, and half a second has passed without work (Linux)."""
    patience, spent, since = time.monotonic() + 60, "", 0.0
    while not (spent and time.monotonic() - since > 0.5):
        assert time.monotonic() < patience
        time.sleep(0.05)
        with open(f"/proc/{process.pid}/maps") as maps, open(f"/proc/{process.pid}/stat") as stat:
            now = " ".join(stat.read().rpartition(")")[2].split()[11:13]) if "libarrow" in maps.read() else ""
        if now != spent:
            spent, since = now, time.monotonic()


@contextlib.contextmanager
def fed_slowly(tmp_path, format):
    """A run whose input has begun and does not end; its output is under way in tmp_path."""
    with popen("rank", "-", "-o", tmp_path / f"out.{format}", "--memory", "256MiB") as process:
        rows = b"".join(b"%d,%d.5\n" % (i // 10, i % 10) for i in range(400_000))
        process.stdin.write(b"qid,score\n" + rows)
        process.stdin.flush()
        patience = time.monotonic() + 30
        while not any(path.stat().st_size > 0 for path in tmp_path.iterdir()):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < patience, "nothing was written while the input stayed open"
            time.sleep(0.01)
        yield process


@pytest.mark.parametrize(("number", "format"), [(signal.SIGTERM, "parquet"), (signal.SIGINT, "csv")])
def test_a_signal_leaves_no_file_behind(tmp_path, number, format):
    with fed_slowly(tmp_path, format) as process:
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == 128 + number
        assert time.monotonic() - began < 5
        words = process.stderr.read().decode().splitlines()
    assert all(line.startswith("lapsum: ") for line in words), words
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_nothing_has_come_ends_the_run(tmp_path):
    """The first read of standard input waits in the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with popen("rank", "-", "-o", tmp_path / "out.csv") as process:
            until_it_waits(process)
            process.send_signal(number)
            assert process.wait(10) == 128 + number
            assert b"Traceback" not in process.stderr.read()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_leaves_nothing_that_looks_finished(tmp_path):
    with fed_slowly(tmp_path, "parquet") as process:
        process.kill()
        assert process.wait(10) == -signal.SIGKILL
    assert not (tmp_path / "out.parquet").exists()
    assert all(
        path.name.startswith(".") for path in tmp_path.iterdir()
    )  # hidden: no glob and no directory read takes it


# A full disk.


@pytest.mark.parametrize("to", ["parquet", "arrow", "csv"])
def test_a_full_disk_is_one_line_and_no_output(folder, tmp_path, to):
    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # Python ignores SIGXFSZ: writes fail with EFBIG

    done = run("rank", "scores.parquet", "-q", "-o", tmp_path / f"out.{to}", cwd=folder, preexec_fn=small)
    assert done.returncode == 74
    line = refusal(done.stderr)
    assert f"out.{to}" in line
    assert "File too large" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["csv", "parquet", "arrows"])
def test_standard_output_may_be_full(folder, to):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*LAPSUM, "rank", "scores.parquet", "-q", "--to", to], cwd=folder, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 74
    assert "No space left on device" in refusal(done.stderr)


# A terminal.


def on_a_terminal(*args, cwd) -> tuple[int, str, bytes]:
    """Exit code, what the terminal shows, and stderr, which is a pipe."""
    ours, theirs = pty.openpty()
    process = popen(*args, cwd=cwd, stdout=theirs, env=os.environ | {"COLUMNS": "100", "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # EIO when the other side is closed
        while part := os.read(ours, 1 << 16):
            shown += part
    os.close(ours)
    _, words = process.communicate(timeout=30)
    return process.returncode, re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()), words


def test_a_terminal_shows_the_first_rows_and_how_many_follow(folder):
    code, shown, _ = on_a_terminal("rank", "scores.parquet", "--alpha", 0.2, cwd=folder)
    assert code == 0
    assert all(name in shown for name in ("qid", "docid", "score", "soft_rank"))
    x = scores(folder)
    for i in range(3):
        assert str(9007199254740993000 + i) in shown
        assert f"{soft_rank(x[0], alpha=0.2)[i]:.6g}" in shown
    assert str(9007199254740993000 + 29999) not in shown
    assert "29990 more rows" in shown


def test_a_terminal_shows_an_array_too(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[3.0, 1, 2]] * 12))
    code, shown, _ = on_a_terminal("rank", "x.npy", "--alpha", 0.001, cwd=tmp_path)
    assert code == 0
    assert "[1, 3, 2]" in shown
    assert "2 more rows" in shown


def test_few_rows_are_shown_without_a_note(tmp_path):
    (tmp_path / "in.csv").write_text("id,score\n[red]007[/red],1\n")
    _, shown, _ = on_a_terminal("rank", "in.csv", cwd=tmp_path)
    assert "[red]007[/red]" in shown  # text is text, not markup
    assert "more row" not in shown


def test_a_terminal_shows_no_control_character_of_a_file(tmp_path):
    (tmp_path / "in.csv").write_text("i\x1b[31md,score\n\x1b[2J\x07\x9b1m,1\n")
    _, shown, _ = on_a_terminal("rank", "in.csv", "-q", cwd=tmp_path)
    assert "\\x1b[2J\\x07\\x9b1m" in shown
    assert not set(shown) & set("\x1b\x07\x9b")


@pytest.mark.parametrize("to", ["parquet", "npy"])
def test_a_terminal_is_spared_binary_output(folder, to):
    code, shown, words = on_a_terminal("rank", "scores.parquet", "-q", "--to", to, cwd=folder)
    assert (code, shown) == (2, "")
    assert f"--to {to}" in refusal(words)


def on_an_error_terminal(*args, cwd) -> tuple[int, bytes, str]:
    """Exit code, standard output, and what a terminal shows of stderr, colours and movements of the cursor included."""
    ours, theirs = pty.openpty()
    process = popen(*args, cwd=cwd, stderr=theirs, env=os.environ | {"COLUMNS": "100", "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(ours, 1 << 16):
            shown += part
    os.close(ours)
    out, _ = process.communicate(timeout=30)
    return process.returncode, out, shown.decode()


def test_a_terminal_sees_a_bar_that_goes_and_words_that_stay(folder):
    sink = folder / "ranks.parquet"
    code, out, shown = on_an_error_terminal("rank", "scores.parquet", "-o", sink, cwd=folder)
    assert (code, out) == (0, b"")
    assert re.search(r"30,000 of 30,000 rows .*100%", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown))
    left = re.split(r"\x1b\[2K", shown)[-1]  # after the line of the bar was erased for the last time
    _, done = (line for line in left.splitlines() if line)  # how soft, and what was done
    assert done == f"lapsum: 30000 scores in 300 rankings -> {sink}"
    assert 'lapsum: scores from "score", grouped by "qid"' in shown


def test_quiet_shows_a_terminal_nothing(folder):
    code, out, shown = on_an_error_terminal("rank", "scores.parquet", "-q", "-o", folder / "quiet.csv", cwd=folder)
    assert (code, out, shown) == (0, b"", "")
