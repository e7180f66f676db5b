"""Runs over a Ray cluster of which something is killed, or which are: the same files, and nothing left."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import clusters
import pytest
from commands import run
from killed_runs import children, is_whole, listed, started, until

from lapsum_cli.formats.places import MANIFEST

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own are not ours to mend
]


@pytest.mark.faults
def test_a_worker_that_is_killed_is_replaced(cluster, by_ray, large, tmp_path):
    with started("rank", large / "in", "-o", f"{tmp_path}/out/", "-q", *by_ray) as process:
        killed = set()
        while process.poll() is None and len(killed) < 3:
            for pid in set(clusters.tasks(cluster.pid)) - killed:
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
    given = clusters.OWN if is_own else request.getfixturevalue("by_ray")
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
    until(lambda: not clusters.tasks(cluster.pid))
    assert not list((tmp_path / "out").rglob(".lapsum-*.tmp"))
    until(lambda: set(Path("/tmp").glob("lapsum-ray-*")) <= before)  # others are of tests beside this one
    assert 0 < len(listed(tmp_path / "out")) < 12
    assert run("rank", large / "in", "-o", f"{tmp_path}/out/", "--resume", "-q").returncode == 0
    assert is_whole(tmp_path / "out", large)


@pytest.mark.faults
def test_a_cluster_of_a_run_ends_with_it(large, tmp_path):
    before = set(Path("/tmp").glob("lapsum-ray-*"))
    with started("rank", large / "in", "-o", f"{tmp_path}/out/", *clusters.OWN) as process:
        until(lambda: listed(tmp_path / "out"))
        below = children(process.pid)
        listening = _listening(below)
        assert process.wait(60) == 0
        said = process.stderr.read().decode().splitlines()
    assert listening == {"127.0.0.1"}
    assert len(said) == 3
    assert said[-1].startswith("lapsum: 400000 scores in ")
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in below))
    until(lambda: set(Path("/tmp").glob("lapsum-ray-*")) <= before)  # others are of tests beside this one
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
    with started("rank", large / "in", "-o", f"{tmp_path}/out/", *clusters.OWN) as process:
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
