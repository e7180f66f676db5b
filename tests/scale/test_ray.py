"""Tasks of a Ray cluster: the same files, whoever is killed; what keeps them from running is a line."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace

import clusters
import pyarrow as pa
import pytest
from commands import contents, refusal, run
from cut_tables import SHAPES, files, scored, written
from shard_tasks import die, die_at_first, fail, fail_oddly

from lapsum_cli import DataError, DeviceError, IOFailed, OptionError, __version__, run_file
from lapsum_cli.core.errors import BadRanking, InputMissing
from lapsum_cli.engines import ray as engine

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own are not ours to mend
]


def miss(x):
    raise InputMissing("in.npy: no such file")


@pytest.fixture(scope="module")
def connected(cluster):
    """This process is connected, once for all tests."""
    with engine.opened(cluster.address, "cpu"):
        yield {"engine": "ray", "ray_address": cluster.address, "memory": "500MiB"}


@pytest.fixture
def shards(cluster, connected):
    """What a task gives for these shards."""

    def shards(task, shards, workers=2):
        with engine.opened(cluster.address, "cpu") as found:
            return list(found.run(task, shards, workers))

    return shards


# What comes of shards.


def test_every_shard_is_computed_once_though_a_worker_is_killed(shards, tmp_path):
    found = shards(partial(die_at_first, str(tmp_path)), range(6))
    assert sorted(x for x, _, _ in found) == list(range(6))
    assert os.getpid() not in {pid for _, pid, _ in found}
    assert {where for _, _, where in found} == {os.getcwd()}


def test_a_shard_whose_workers_are_all_killed_is_an_error(shards):
    with pytest.raises(IOFailed, match=r"^(0|1): its worker died, 3 times; lower workers= or raise memory="):
        shards(die, range(2))


def test_an_error_of_a_worker_is_that_of_the_shard(shards):
    with pytest.raises(BadRanking, match="ranking 5: is wrong") as error:
        shards(fail, range(6))
    assert "in fail" in error.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Odd"):
        shards(fail_oddly, range(2))


def test_a_node_without_lapsum_or_with_another_is_named(monkeypatch):
    compute = engine._remote()
    asked = ("0.0", "/", "host", {}, b"", b"")
    assert compute(*asked) == (
        False,
        f"Ray node {socket.gethostname()}: lapsum must be 0.0 there too, and is {__version__}",
    )
    monkeypatch.setitem(sys.modules, "lapsum_cli", None)
    assert compute(*asked)[1].endswith("and is not installed")


def test_a_node_that_does_not_see_a_file_is_named(monkeypatch, tmp_path):
    import pickle

    monkeypatch.chdir(tmp_path)
    task, shard = pickle.dumps(miss), pickle.dumps(1)
    for host, where in ((socket.gethostname(), ""), ("elsewhere", f"Ray node {socket.gethostname()}: ")):
        is_done, error = engine.perform(str(tmp_path), host, task, shard)
        assert not is_done
        assert isinstance(error, InputMissing)
        assert str(error) == f"{where}in.npy: no such file" + ("; it must see the same files" if where else "")


GIB = 1 << 30
NODES = [{"CPU": 8, "memory": 16 * GIB}, {"CPU": 3, "memory": 9 * GIB, "GPU": 1}, {"memory": GIB}]


@pytest.mark.parametrize(
    ("given", "gpus", "found"),
    [
        ((None, None), 0, (11, 2 * GIB, 1)),
        ((GIB, None), 0, (11, GIB, 1)),
        ((None, 2), 0, (5, 4 * GIB, 2)),
        ((None, 8), 0, (1, 4 * GIB, 8)),
        ((None, None), 1, (1, 3 * GIB, 1)),
        ((None, 9), 0, "threads= of a task are 9, and no node of the Ray cluster has more than 8 CPUs"),
        ((17 * GIB, 1), 0, "memory= of a task is 17408 MiB, and no node of the Ray cluster has more than 16384 MiB"),
    ],
)
def test_a_task_takes_what_a_node_has(given, gpus, found):
    nodes = [{"Alive": True, "Resources": node} for node in NODES] + [{"Alive": False, "Resources": {"CPU": 64}}]
    cluster = engine.Cluster(SimpleNamespace(nodes=lambda: nodes), is_own=False)
    cluster.needs |= {"num_gpus": 1} if gpus else {}
    if isinstance(found, str):
        with pytest.raises(OptionError, match=found):
            cluster.share(*given)
    else:
        assert cluster.share(*given) == found
        assert (cluster.needs["num_cpus"], cluster.needs["memory"]) == (found[2], found[1])


# Files.


@pytest.mark.parametrize(
    ("format", "shape", "given"),
    [
        ("parquet", "straddling", ("topk", {"k": 3, "method": "noised", "seed": 4})),
        ("csv", "within a query", ("rank", {})),
        ("jsonl", "even", ("sort", {"keep": "docid"})),
        ("parquet", "even", ("rank", {"sort_groups": True})),
        (
            "parquet",
            "empty files",
            ("loss", {"loss": "ndcg", "target": "label", "gradient": True, "reduction": "mean"}),
        ),
    ],
)
def test_results_are_those_of_one_process(connected, tmp_path, format, shape, given):
    operation, options = given
    inputs = written(scored(), tmp_path / "in", SHAPES[shape], format)
    here = run_file(operation, inputs, f"{tmp_path}/here/", **options)
    there = run_file(operation, inputs, f"{tmp_path}/there/", **connected, **options)
    assert (there.shards, there.rows, there.rankings, there.short) == (
        here.shards,
        here.rows,
        here.rankings,
        here.short,
    )
    for path in files(tmp_path / "here", format):
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes()
    assert [path.name for path in (tmp_path / "there").iterdir() if path.name.startswith(".")] == []


def test_paths_are_those_of_who_asks(by_ray, tmp_path):
    written(scored(), tmp_path / "in", SHAPES["straddling"])
    said = set()
    for out, given in (("here/", ()), ("there/", by_ray)):
        done = run("rank", "in", "-o", out, *given, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        said.add(done.stderr.decode().replace(out, ""))
    assert len(said) == 1
    for path in files(tmp_path / "here"):
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes()


def test_an_error_says_and_leaves_with_the_same(by_ray, tmp_path):
    table = scored(hole=pa.array([None if i == 60 else 1.0 for i in range(87)]))
    inputs = written(table, tmp_path / "in", [9, 40])
    said = []
    for i, given in enumerate([(), by_ray]):
        done = run("rank", *inputs, "--score", "hole", "-o", f"{tmp_path}/{i}/", "-q", *given)
        said.append((done.returncode, done.stdout, done.stderr))
    assert said[0] == said[1]
    assert said[0][0] == DataError.exit_code


def test_a_script_that_is_connected_stays_so(cluster, tmp_path):
    inputs = written(scored(), tmp_path / "in", [40])
    script = (
        "import ray, sys\nfrom lapsum_cli import run_file\nray.init(sys.argv[1], logging_level='ERROR')\n"
        "run_file('rank', sys.argv[2:], 'out/', engine='ray', memory='500MiB')\n"
        "print(ray.get(ray.remote(lambda: 3).remote()))\n"
    )
    command = [sys.executable, "-c", script, cluster.address, *map(str, inputs)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    assert done.stdout == b"3\n", done.stderr.decode()
    assert len(files(tmp_path / "out")) == 2


# What keeps it from running.


@contextlib.contextmanager
def _something_else():
    """A server of another kind."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    one, _ = server.accept()
                    one.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]


def test_no_cluster_is_a_line_within_seconds(tmp_path):
    inputs = written(scored(), tmp_path / "in", [40])
    before = contents(tmp_path)
    with _something_else() as other:
        for address, why in (("127.0.0.1:1", "refused"), (f"127.0.0.1:{other}", "is not Ray's"), ("here", "ddress")):
            done = run(
                "rank", *inputs, "-o", f"{tmp_path}/out/", "--engine", "ray", "--ray-address", address, timeout=20
            )
            assert done.returncode == DeviceError.exit_code
            line = refusal(done.stderr)
            assert line.startswith(f"lapsum: no Ray cluster answers at {address}: ")
            assert why in line
    assert contents(tmp_path) == before


def test_without_ray_it_is_said_what_to_install(tmp_path):
    inputs = written(scored(), tmp_path / "in", [40])
    program = "import sys; sys.modules['ray'] = None; from lapsum_cli.cli.startup import main; main()"
    command = [
        sys.executable,
        "-c",
        program,
        "rank",
        *map(str, inputs),
        "-o",
        f"{tmp_path}/out/",
        *map(str, clusters.OWN),
    ]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == DeviceError.exit_code
    assert refusal(done.stderr) == "lapsum: --engine ray needs Ray; pip install 'lapsum-cli[ray]'"


def test_a_gpu_that_the_cluster_has_not_is_refused(cluster, tmp_path):
    inputs = written(scored(), tmp_path / "in", [40])
    asked, environment = ("--engine", "ray", "--device", "cuda"), {**os.environ, "RAY_ADDRESS": cluster.address}
    done = run("rank", *inputs, "-o", f"{tmp_path}/out/", *asked, timeout=60, env=environment)
    assert done.returncode == DeviceError.exit_code
    assert refusal(done.stderr) == "lapsum: --device cuda: the Ray cluster has no GPU; use --device cpu"
    assert not (tmp_path / "out").exists()


# Killed, for real.
