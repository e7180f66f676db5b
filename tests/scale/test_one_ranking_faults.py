"""Runs over one ranking in many files that are killed, or whose workers are: the same files, and nothing left."""

import contextlib
import os
import random
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import clusters
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run
from cut_tables import files, together, written
from killed_runs import children, started, until

from lapsum_cli import run_file

WORKERS = ("--engine", "processes", "--workers", 2, "--memory", "1GiB")
ENGINES = {"threads": ("--memory", "512MiB"), "processes": WORKERS}
TIMES = int(os.environ.get("LAPSUM_KILLS", "1"))
needs_ray = [
    pytest.mark.cluster,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own are not ours to mend
]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Eight files that are one ranking, and its ranks."""
    folder, drawn, rows = tmp_path_factory.mktemp("one"), np.random.default_rng(0), 800_000
    table = pa.table({"score": np.round(drawn.normal(size=rows), 4).astype(np.float32)})
    written(table, folder / "in", [int(cut) for cut in np.sort(drawn.integers(0, rows, 7))], rows=50_000)
    assert run("rank", folder / "in", "--score", "score", "-o", folder / "one.parquet", "-q").returncode == 0
    return folder


def is_whole(folder, one):
    found, wanted = together(folder), pq.read_table(one / "one.parquet")
    np.testing.assert_allclose(found["soft_rank"], wanted["soft_rank"], rtol=1e-6)
    return found["score"].equals(wanted["score"])


def left(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def workers(pid):
    """Those that are no tracker of multiprocessing's."""
    found = []
    for child in children(pid):
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


@pytest.mark.faults
@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_is_killed_at_any_moment_may_be_resumed(one, tmp_path, engine):
    drawn = random.Random(engine)
    command = ["rank", one / "in", "--score", "score", "-q", *ENGINES[engine], "-o"]
    began = time.monotonic()
    assert run(*command, f"{tmp_path}/whole/").returncode == 0
    takes = time.monotonic() - began
    assert is_whole(tmp_path / "whole", one)
    for i in range(TIMES):
        for _ in range(3):
            with started(*command, f"{tmp_path}/{i}/", "--resume") as process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(drawn.uniform(0.3, 1.0) * takes)
                below = workers(process.pid)
                process.kill()
            until(lambda below=below: not any(os.path.exists(f"/proc/{pid}") for pid in below))
        done = run(*command, f"{tmp_path}/{i}/", "--resume")
        assert done.returncode == 0, done.stderr.decode()
        assert is_whole(tmp_path / f"{i}", one)
        assert not left(tmp_path / f"{i}")


@pytest.mark.faults
def test_a_worker_that_is_killed_is_replaced(one, tmp_path):
    drawn = random.Random(1)
    with started("rank", one / "in", "--score", "score", "-o", f"{tmp_path}/out/", "-q", *WORKERS) as process:
        killed = set()
        while process.poll() is None and len(killed) < 3:
            for pid in set(workers(process.pid)) - killed:
                time.sleep(drawn.uniform(0, 0.8))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed.add(pid)
                break
        assert process.wait(240) == 0, process.stderr.read()
    assert killed
    assert is_whole(tmp_path / "out", one)
    assert not left(tmp_path / "out")


@pytest.mark.faults
def test_an_interrupt_leaves_no_numbers_that_tasks_shared(one, tmp_path):
    out = tmp_path / "out"
    with started("rank", one / "in", "--score", "score", "-o", f"{out}/", "-q", *ENGINES["threads"]) as process:
        until(lambda: (out / ".lapsum-shuffle").exists() or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
    assert not list(out.rglob(".lapsum-*.tmp"))
    done = run("rank", one / "in", "--score", "score", "-o", f"{out}/", "-q", "--resume")
    assert done.returncode == 0, done.stderr.decode()
    assert is_whole(out, one)
    assert not left(out)


class TestOnRay:
    """The same by tasks of a cluster."""

    pytestmark = needs_ray

    @pytest.mark.parametrize(
        ("operation", "options"),
        [
            ("rank", {"alpha": 0.01}),
            ("loss", {"loss": "ndcg", "target": "label", "gradient": True}),
            ("topk", {"k": "10%", "threshold": True}),
        ],
    )
    def test_results_are_those_of_one_process(self, cluster, tmp_path, operation, options):
        drawn = np.random.default_rng(2)
        columns = {"score": drawn.normal(size=3000), "label": drawn.integers(0, 3, 3000).astype(float)}
        inputs = written(pa.table(columns), tmp_path / "in", [100, 100, 1700])
        given = {"group": [], "score": "score", "memory": "500MiB", **options}
        run_file(operation, inputs, f"{tmp_path}/here/", **given)
        run_file(operation, inputs, f"{tmp_path}/there/", engine="ray", ray_address=cluster.address, **given)
        for path in files(tmp_path / "here"):
            assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes()
        assert not left(tmp_path / "there")

    @pytest.mark.faults
    def test_a_task_that_is_killed_is_sent_again(self, cluster, by_ray, one, tmp_path):
        with started("rank", one / "in", "--score", "score", "-o", f"{tmp_path}/out/", "-q", *by_ray) as process:
            killed = set()
            while process.poll() is None and len(killed) < 3:
                for pid in set(clusters.tasks(cluster.pid)) - killed:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                    break
            assert process.wait(240) == 0, process.stderr.read()
        assert killed
        assert is_whole(tmp_path / "out", one)
        assert not left(tmp_path / "out")
