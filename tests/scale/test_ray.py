"""Tasks of a Ray cluster: the same files, whoever is killed; what keeps them from running is a line."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from commands import contents, refusal, run
from cut_tables import SHAPES, files, scored, written
from killed_runs import children, is_whole, large_set, listed, started, until

from lapsum_cli import DataError, DeviceError, IOFailed, OptionError, __version__, run_file
from lapsum_cli.core.errors import BadRanking, InputMissing
from lapsum_cli.engines import ray as engine
from lapsum_cli.formats.places import MANIFEST

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own are not ours to mend
]

HERE = Path(__file__).parent
OWN = ("--engine", "ray", "--workers", 2, "--memory", "1GiB")
# What a cluster of tests has: it listens to this machine, and takes who has the token.
ALIKE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
ALIKE |= {"RAY_AUTH_TOKEN": secrets.token_hex(32)}


def die_at_first(folder, x):
    """Killed when it is first asked for 3."""
    path = Path(folder, str(x))
    if x == 3 and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x, os.getpid(), os.getcwd()


def die(x):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(x):
    if x == 2:
        raise BadRanking(5, "is wrong")
    return x


class Odd(Exception):
    """What cannot be sent."""

    def __init__(self, x):
        super().__init__(x, lambda: x)


def fail_oddly(x):
    raise Odd(x)


def miss(x):
    raise InputMissing("in.npy: no such file")


def _is_called(pid, name):
    with contextlib.suppress(OSError):
        return name in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two CPUs on this machine, of other processes than those of the tests: its address, and its raylet's
    number.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        for name, value in ALIKE.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]))
        patch.delenv("RAY_ADDRESS", raising=False)
        command = ["start", "--head", "--block", "--node-ip-address=127.0.0.1", "--port=0", "--num-cpus=2"]
        command += ["--include-dashboard=false", "--object-store-memory=80000000", f"--temp-dir={folder}"]
        with subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        ) as process:
            told = Path(folder, "ray_current_cluster")
            until(lambda: told.exists() and told.read_text().strip())
            address = told.read_text().strip()
            until(lambda: any(_is_called(pid, b"raylet") for pid in children(process.pid)))
            below = children(process.pid)
            yield SimpleNamespace(address=address, pid=process.pid)
            below = {*below, *children(process.pid)}
            process.kill()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def by_ray(cluster):
    return ("--engine", "ray", "--ray-address", cluster.address, "--memory", "500MiB")


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


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return large_set(tmp_path_factory.mktemp("large"))


def tasks(pid):
    """The processes below that one that compute a shard."""
    return [child for child in children(pid) if _is_called(child, b"ray::lapsum_shard")]


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
    command = [sys.executable, "-c", program, "rank", *map(str, inputs), "-o", f"{tmp_path}/out/", *map(str, OWN)]
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


@pytest.mark.faults
def test_a_worker_that_is_killed_is_replaced(cluster, by_ray, large, tmp_path):
    with started("rank", large / "in", "-o", f"{tmp_path}/out/", "-q", *by_ray) as process:
        killed = set()
        while process.poll() is None and len(killed) < 3:
            for pid in set(tasks(cluster.pid)) - killed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed.add(pid)
                break
        assert process.wait(120) == 0, process.stderr.read()
    assert killed
    assert is_whole(tmp_path / "out", large)
    assert not [name for name in os.listdir(tmp_path / "out") if name.startswith(".")]


@pytest.mark.faults
def test_a_run_that_is_killed_again_and_again_ends_whole(by_ray, large, tmp_path):
    out = tmp_path / "out"
    command = ["rank", large / "in", "-o", f"{out}/", "-q", "--resume", *by_ray]
    for _ in range(3):
        with started(*command) as process:
            before = len(listed(out))
            until(lambda before=before, process=process: len(listed(out)) > before or process.poll() is not None)
            process.kill()
    assert 0 < len(listed(out)) < 12
    done = run(*command, "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["resumed"] > 0
    assert is_whole(out, large)
    names = [MANIFEST, *(path.name for path in (large / "in").iterdir())]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)


@pytest.mark.faults
@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_what_is_finished_and_no_process(request, cluster, large, tmp_path, number, is_own):
    given = OWN if is_own else request.getfixturevalue("by_ray")
    before = set(Path("/tmp").glob("lapsum-ray-*"))
    with started("rank", large / "in", "-o", f"{tmp_path}/out/", *given) as process:
        until(lambda: listed(tmp_path / "out"))
        below = children(process.pid)
        process.send_signal(number)
        assert process.wait(30) == 128 + number
        said = process.stderr.read()
    assert all(line.startswith(b"lapsum: ") for line in said.splitlines()), said
    assert bool(below) == is_own
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in below))
    until(lambda: not tasks(cluster.pid))
    assert not list((tmp_path / "out").rglob(".lapsum-*.tmp"))
    assert set(Path("/tmp").glob("lapsum-ray-*")) <= before
    assert 0 < len(listed(tmp_path / "out")) < 12
    assert run("rank", large / "in", "-o", f"{tmp_path}/out/", "--resume", "-q").returncode == 0
    assert is_whole(tmp_path / "out", large)


@pytest.mark.faults
def test_a_cluster_of_a_run_ends_with_it(large, tmp_path):
    before = set(Path("/tmp").glob("lapsum-ray-*"))
    with started("rank", large / "in", "-o", f"{tmp_path}/out/", *OWN) as process:
        until(lambda: listed(tmp_path / "out"))
        below = children(process.pid)
        listening = _listening(below)
        assert process.wait(60) == 0
        said = process.stderr.read().decode().splitlines()
    assert listening == {"127.0.0.1"}
    assert len(said) == 3
    assert said[-1].startswith("lapsum: 400000 scores in ")
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in below))
    assert set(Path("/tmp").glob("lapsum-ray-*")) <= before
    assert is_whole(tmp_path / "out", large)


@pytest.mark.faults
def test_a_script_has_one_cluster_after_another_and_is_as_it_was(large, tmp_path):
    script = (
        "import os, signal, sys, threading\nfrom lapsum_cli import run_file\n"
        "before = signal.getsignal(signal.SIGTERM)\n"
        "def act(out):\n    run_file('rank', sys.argv[1], out, engine='ray', workers=2, memory='1GiB')\n"
        "act('1/')\nother = threading.Thread(target=act, args=['2/'])\nother.start()\nother.join()\n"
        "assert signal.getsignal(signal.SIGTERM) == before\nassert 'RAY_AUTH_TOKEN' not in os.environ\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-c", script, str(large / "in")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert is_whole(tmp_path / "1", large)
    assert is_whole(tmp_path / "2", large)


def _listening(pids):
    """The addresses of this machine at which these processes listen."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            inodes |= {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if os.path.lexists(path)}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = line.split()
            if state == "0A" and f"socket:[{line.split()[9]}]" in inodes:
                found.add(socket.inet_ntoa(bytes.fromhex(local.split(":")[0][-8:])[::-1]))
    return found


@pytest.mark.faults
def test_a_killed_run_takes_its_cluster_with_it(large, tmp_path):
    """Ray's agents, which compute nothing, may look for a minute whether it comes back."""
    with started("rank", large / "in", "-o", f"{tmp_path}/out/", *OWN) as process:
        until(lambda: listed(tmp_path / "out"))
        below = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(process.pid)}
        process.kill()
    ended = [pid for pid, command in below.items() if b"agent" not in command.lower()]
    assert len(ended) >= 4
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in ended))
    for pid in set(below) - set(ended):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert run("rank", large / "in", "-o", f"{tmp_path}/out/", "--resume", "-q").returncode == 0
    assert is_whole(tmp_path / "out", large)
