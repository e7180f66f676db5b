"""Signals at any moment: the run ends, and nothing of it is left but what is whole."""

import contextlib
import itertools
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import LAPSUM, contents, run

from lapsum_cli.cli.startup import SIGNALS
from lapsum_cli.formats import temporary

pytestmark = pytest.mark.faults
TIMES = int(os.environ.get("LAPSUM_KILLS", "1"))  # how often each command is killed, in each format


def heed_all() -> None:
    """What a shell ignores on behalf of its jobs stays ignored, and these tests may be such a job."""
    for name in SIGNALS:
        signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_DFL)


def started(*args, **options) -> subprocess.Popen:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*LAPSUM, *map(str, args)], **(pipes | options))


def until(condition) -> None:
    patience = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.01)


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def writing(folder, name="out.csv"):
    """A run whose input does not end, and whose output has begun."""
    before = set(folder.iterdir())
    given = ("rank", "-", "-q", "-o", folder / name, "--memory", "256MiB")
    with started(*given, preexec_fn=heed_all) as process:
        process.stdin.write(b"qid,score\n" + b"".join(b"%d,%d.5\n" % (i // 10, i % 10) for i in range(300_000)))
        process.stdin.flush()
        until(lambda: any(path.is_file() and path.stat().st_size > 1000 for path in set(folder.iterdir()) - before))
        yield process


@pytest.mark.parametrize("name", SIGNALS)
def test_every_signal_removes_the_temporary_file(tmp_path, name):
    number = getattr(signal, f"SIG{name}")
    with writing(tmp_path) as process:
        process.send_signal(number)
        assert process.wait(10) == 128 + number
        assert process.stderr.read() == b""
    assert files(tmp_path) == []


@pytest.mark.parametrize("format", ["csv", "jsonl", "arrows"])
def test_a_producer_that_falls_silent_does_not_hold_the_run(tmp_path, format):
    """Arrow's CSV reader waits for a block, in C++ and on the thread that called it."""
    begun = {"csv": b"qid,score\n1,2\n", "jsonl": b'{"qid":1,"score":2}\n', "arrows": b"\xff\xff\xff\xff"}[format]
    for number in (signal.SIGINT, signal.SIGTERM):
        with started("rank", "-", "--from", format, "-o", tmp_path / "out.csv") as process:
            process.stdin.write(begun)
            process.stdin.flush()
            with open(f"/proc/{process.pid}/maps") as maps:
                until(lambda maps=maps: "libarrow" in (maps.seek(0), maps.read())[1])
            time.sleep(1)
            process.send_signal(number)
            assert process.wait(10) == 128 + number
            assert b"Traceback" not in process.stderr.read()
    assert files(tmp_path) == []


def test_a_signal_that_was_ignored_stays_so(tmp_path):
    """As under nohup."""
    with started(
        "rank", "-", "-q", "-o", tmp_path / "out.csv", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ) as process:
        time.sleep(1)
        process.send_signal(signal.SIGHUP)
        process.communicate(b"score\n1\n", timeout=60)
        assert process.returncode == 0
    assert files(tmp_path) == ["out.csv"]


def test_an_interrupt_at_any_moment_of_the_start_is_no_traceback(tmp_path):
    (tmp_path / "in.csv").write_text("score\n1\n2\n")
    drawn = random.Random(7)
    for _ in range(4 * TIMES):
        with started("rank", "in.csv", "-q", cwd=tmp_path) as process:
            with open(f"/proc/{process.pid}/status") as status:  # until it takes signals: bits 1 to 3 and more
                until(lambda status=status: "SigBlk:\t0000000000000000" not in (status.seek(0), status.read())[1])
            time.sleep(drawn.uniform(0, 1))
            process.send_signal(signal.SIGINT)
            assert process.wait(10) in (0, 128 + signal.SIGINT)
            assert process.stderr.read() == b""


def test_the_next_run_removes_what_a_killed_one_left_and_nothing_else(tmp_path):
    (tmp_path / "in.csv").write_text("score\n1\n")
    others = (".out.csv.tmp", ".lapsum-notes", "lapsum-x.tmp")
    for name in others:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".lapsum-folder.tmp").mkdir()
    (tmp_path / ".lapsum-link.tmp").symlink_to("in.csv")
    before = files(tmp_path)
    with writing(tmp_path, "live.csv") as live:
        [living] = set(files(tmp_path)) - set(before)
        with writing(tmp_path, "dead.csv") as dead:
            dead.kill()
        assert len(files(tmp_path)) == len(before) + 2
        assert run("rank", "in.csv", "-q", "-o", "out.csv", cwd=tmp_path).returncode == 0
        assert files(tmp_path) == sorted([*before, living, "out.csv"])
        live.stdin.close()
        assert live.wait(60) == 0
    assert files(tmp_path) == sorted([*before, "live.csv", "out.csv"])


COMMANDS = [["rank"], ["sort"], ["topk", "--k", 3], ["permute"], ["loss", "ndcg", "--target", "gain"]]
FORMATS = ["csv", "tsv", "jsonl", "parquet", "arrow", "arrows"]
EVERY = [*itertools.product(COMMANDS, FORMATS), (["rank"], "npy")]
SOME = [*zip(itertools.cycle(COMMANDS), FORMATS, strict=False), (["rank"], "npy")]  # each at least once


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """300 000 scores as a table, and as an array."""
    folder = tmp_path_factory.mktemp("inputs")
    x = np.random.default_rng(0).normal(size=(30_000, 10)).astype(np.float32)
    table = pa.table({"qid": np.arange(300_000) // 10, "score": x.ravel(), "gain": np.arange(300_000) % 3})
    pq.write_table(table, folder / "in.parquet")
    np.save(folder / "in.npy", x)
    return folder


@pytest.mark.parametrize(("command", "format"), EVERY if TIMES > 1 else SOME, ids=str)
def test_a_kill_at_a_random_moment_leaves_what_is_whole_or_nothing(inputs, tmp_path, command, format):
    """An array comes with its gradient: both or neither."""
    source, beside = inputs / "in.parquet", []
    if format == "npy":
        source, beside = inputs / "in.npy", ["--upstream", inputs / "in.npy"]
    command = [*command, source, *beside, "-q", "-o", tmp_path / f"out.{format}"]
    began = time.monotonic()
    assert run(*command).returncode == 0
    takes = time.monotonic() - began
    whole = contents(tmp_path)
    drawn = random.Random(f"{command[0]} {format}")
    for _ in range(TIMES):
        for path in tmp_path.iterdir():
            path.unlink()
        number = drawn.choice([signal.SIGKILL, signal.SIGTERM])
        with started(*command) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(drawn.uniform(0.3, 1.1) * takes)
            process.send_signal(number)
            code = process.wait(10)
        if number == signal.SIGKILL:  # the next run in the folder removes what is left
            assert run("rank", inputs / "in.npy", "-q", "-o", tmp_path / "next.npy").returncode == 0
            (tmp_path / "next.npy").unlink()
        left = contents(tmp_path)
        assert left == whole or (left == {} and code != 0), (number, code, list(left))


def test_a_benchmark_that_is_ended_leaves_neither_folder_nor_process(tmp_path):
    """Nor does the next keep the folder of one that was killed."""
    command = ("bench", "--files", "--rows", 1e5, "--runs", 99, "--peers", "", "--temp-dir", tmp_path)

    def launched(process) -> list[int]:
        """The processes that it started, and those started by these."""
        children = Path(f"/proc/{process}/task/{process}/children")
        found = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        return found + [below for pid in found for below in launched(pid)]

    with started(*command) as process:
        until(lambda: len(launched(process.pid)) >= 2)
        below = launched(process.pid)
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in below))
    assert files(tmp_path) == []
    with started(*command) as killed:
        until(lambda: files(tmp_path))
        killed.kill()
    left = files(tmp_path)
    with started(*command) as process:
        until(lambda: files(tmp_path) not in ([], left))
        process.terminate()
    assert files(tmp_path) == []


def test_a_folder_goes_while_a_thread_still_writes_into_it(tmp_path):
    """The thread that ends the process removes what the main thread may just be filling."""

    def write(folder):
        with contextlib.suppress(OSError):
            for number in range(50):
                (folder / str(number)).touch()

    for _ in range(100):
        with temporary.folder(str(tmp_path), "writing-") as folder:
            writer = threading.Thread(target=write, args=(folder,))
            writer.start()
        writer.join()
    assert files(tmp_path) == []
