"""Workers in processes of their own: the same files, killed or not, and nothing left of them."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from commands import contents, run
from cut_tables import SHAPES, files, scored, written
from killed_runs import children, is_whole, large_set, listed, started, until
from shard_tasks import die, die_at_first, fail, fail_oddly

from lapsum_cli import DataError, IOFailed, run_file
from lapsum_cli.core.errors import BadRanking, InputMissing
from lapsum_cli.engines import processes
from lapsum_cli.formats.places import MANIFEST

WORKERS = ("--engine", "processes", "--workers", 2, "--memory", "1GiB")
TIMES = int(os.environ.get("LAPSUM_KILLS", "1"))


def square(x):
    return x, x * x, os.getpid()


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    """Workers find these functions."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def engine():
    with processes.opened(None, "cpu") as engine:
        yield engine


def test_every_shard_is_computed_once_in_some_other_process(engine):
    found = list(engine.run(square, range(7), 2))
    assert sorted((x, y) for x, y, _ in found) == [(x, x * x) for x in range(7)]
    others = {pid for _, _, pid in found}
    assert len(others) == 2
    assert os.getpid() not in others
    assert [pid for _, _, pid in engine.run(square, [3], 2)] == [os.getpid()]


def test_workers_wait_for_the_next_run_of_their_job_alone(engine):
    first = {pid for _, _, pid in engine.run(square, range(4), 2)}
    with processes.opened(None, "cpu") as other:
        assert not first & {pid for _, _, pid in other.run(square, range(4), 2)}
    assert {pid for _, _, pid in engine.run(square, range(4), 2)} <= first
    engine.close()
    assert not [pid for pid in first if Path(f"/proc/{pid}").exists()]


def test_a_shard_of_a_killed_worker_is_tried_again(engine, tmp_path):
    from functools import partial

    found = engine.run(partial(die_at_first, str(tmp_path)), range(6), 2)
    assert sorted(x for x, _, _ in found) == list(range(6))


def test_a_shard_whose_workers_are_all_killed_is_an_error(engine):
    with pytest.raises(IOFailed, match=r"^(0|1): its worker was killed by signal 9, 3 times; lower workers= or raise"):
        list(engine.run(die, range(2), 2))


def test_an_error_of_a_worker_is_that_of_the_shard(engine):
    with pytest.raises(BadRanking, match="ranking 5: is wrong") as error:
        list(engine.run(fail, range(6), 2))
    assert "in fail" in error.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Odd"):
        list(engine.run(fail_oddly, range(2), 1))


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_results_are_those_of_one_process(tmp_path, format):
    inputs = written(scored(), tmp_path / "in", SHAPES["straddling"], format)
    given = {"k": 3, "method": "noised", "seed": 4}
    run_file("topk", inputs, tmp_path / f"one.{format}", **given)
    done = run_file("topk", inputs, f"{tmp_path}/out/", engine="processes", workers=2, memory="8GiB", **given)
    run_file("topk", inputs, f"{tmp_path}/here/", **given)
    assert (done.shards, done.rows, done.rankings, done.short) == (5, 87, 8, 3)
    assert done.how_soft.line() is not None
    for path in files(tmp_path / "out", format):
        assert path.read_bytes() == (tmp_path / "here" / path.name).read_bytes()


def test_an_error_says_and_leaves_with_the_same(tmp_path):
    table = scored(hole=pa.array([None if i == 60 else 1.0 for i in range(87)]))
    inputs = written(table, tmp_path / "in", [9, 40])
    said = []
    for i, engine in enumerate([(), WORKERS]):
        done = run("rank", *inputs, "--score", "hole", "-o", f"{tmp_path}/{i}/", "-q", *engine)
        said.append((done.returncode, done.stdout, done.stderr))
    assert said[0] == said[1]
    assert said[0][0] == 65
    with pytest.raises(DataError):
        run_file("rank", inputs, f"{tmp_path}/2/", score="hole", engine="processes", workers=2, memory="8GiB")
    assert issubclass(InputMissing, FileNotFoundError)


def test_a_single_output_is_computed_here(tmp_path):
    inputs = written(scored(), tmp_path / "in", [40])
    run_file("rank", inputs, tmp_path / "one.parquet")
    run_file("rank", inputs, tmp_path / "two.parquet", engine="processes")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


# Killed, for real.


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return large_set(tmp_path_factory.mktemp("large"))


def workers(pid):
    """Those that are no tracker of multiprocessing's."""
    found = []
    for child in children(pid):
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


@pytest.mark.faults
def test_a_run_that_is_killed_again_and_again_ends_whole(large, tmp_path):
    """Killed as soon as some files more are finished, or a little later, and resumed: none is computed again."""
    drawn, out = random.Random("processes"), tmp_path / "out"
    command = ["rank", large / "in", "-o", f"{out}/", "-q", "--resume", *WORKERS]
    stops = []
    while not stops or stops[-1] < 12:
        with started(*command) as process:
            enough = len(listed(out)) + drawn.randint(2, 5)
            until(lambda enough=enough, process=process: len(listed(out)) >= enough or process.poll() is not None)
            time.sleep(drawn.uniform(0, 0.01))
            below, whole = workers(process.pid), {path: path.stat().st_mtime_ns for path in listed(out)}
            process.kill()
        until(lambda below=below: not any(os.path.exists(f"/proc/{pid}") for pid in below))
        stops.append(len(listed(out)))
        assert all(path.stat().st_mtime_ns == was for path, was in whole.items())
    done = run(*command, "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["resumed"] == 12
    assert any(0 < stop < 12 for stop in stops)
    assert is_whole(out, large)
    names = [MANIFEST, *(path.name for path in (large / "in").iterdir())]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)


ANY = {"threads": (), "processes": WORKERS, "shuffled": ("--sort-groups", *WORKERS)}


@pytest.mark.faults
@pytest.mark.parametrize("kind", ANY)
def test_a_run_that_is_killed_at_any_moment_may_be_resumed(large, tmp_path, kind):
    """Also while it plans, begins its manifest, brings groups together, or looks for groups in two files."""
    drawn = random.Random(f"{kind} at any moment")
    command = ["rank", large / "in", "-q", *ANY[kind], "-o"]
    began = time.monotonic()
    assert run(*command, f"{tmp_path}/whole/").returncode == 0
    takes = time.monotonic() - began
    for i in range(TIMES):
        for _ in range(3):
            with started(*command, f"{tmp_path}/{i}/", "--resume") as process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(drawn.uniform(0.2, 1.05) * takes)
                below = workers(process.pid)
                process.kill()
            until(lambda below=below: not any(os.path.exists(f"/proc/{pid}") for pid in below))
        done = run(*command, f"{tmp_path}/{i}/", "--resume")
        assert done.returncode == 0, done.stderr.decode()
        assert is_whole(tmp_path / f"{i}", large)
        assert not list((tmp_path / f"{i}").glob(".*"))


@pytest.mark.faults
def test_a_worker_that_is_killed_is_replaced(large, tmp_path):
    drawn = random.Random(1)
    with started("rank", large / "in", "-o", f"{tmp_path}/out/", "-q", *WORKERS) as process:
        killed = set()
        while process.poll() is None and len(killed) < 3:
            for pid in set(workers(process.pid)) - killed:
                time.sleep(drawn.uniform(0, 0.5))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed.add(pid)
                break
        assert process.wait(120) == 0, process.stderr.read()
    assert killed
    assert is_whole(tmp_path / "out", large)
    assert not [name for name in os.listdir(tmp_path / "out") if name.startswith(".")]


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_what_is_finished_and_no_process(large, tmp_path, number):
    with started("rank", large / "in", "-o", f"{tmp_path}/out/", *WORKERS) as process:
        until(lambda: files(tmp_path / "out") if (tmp_path / "out").exists() else False)
        below = children(process.pid)
        process.send_signal(number)
        assert process.wait(20) == 128 + number
        assert b"Traceback" not in process.stderr.read()
    assert below
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in below))
    assert not list((tmp_path / "out").rglob(".lapsum-*.tmp"))
    assert run("rank", large / "in", "-o", f"{tmp_path}/out/", "--resume", "-q").returncode == 0
    assert is_whole(tmp_path / "out", large)


@pytest.mark.faults
def test_a_script_without_a_guard_is_told_so(tmp_path):
    written(scored(), tmp_path / "in", [40])
    script = "from lapsum_cli import run_file\nrun_file('rank', 'in', 'out/', engine='processes', memory='1GiB')\n"
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, timeout=120)
    assert b'a script that starts workers needs: if __name__ == "__main__"' in done.stderr
    assert contents(tmp_path).keys() == {tmp_path / "script.py", *(tmp_path / "in").iterdir()}
