"""Clusters of Ray on this machine, for tests."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from killed_runs import children, until

HERE = Path(__file__).parent
OWN = ("--engine", "ray", "--workers", 2, "--memory", "1GiB")
# What a cluster of tests has: it listens to this machine, and takes who has the token.
ALIKE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
ALIKE |= {"RAY_AUTH_TOKEN": secrets.token_hex(32)}


def is_called(pid, name):
    with contextlib.suppress(OSError):
        return name in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@contextlib.contextmanager
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
            until(lambda: any(is_called(pid, b"raylet") for pid in children(process.pid)))
            below = children(process.pid)
            yield SimpleNamespace(address=address, pid=process.pid)
            below = {*below, *children(process.pid)}
            process.kill()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def tasks(pid):
    """The processes below that one that compute a shard."""
    return [child for child in children(pid) if is_called(child, b"ray::lapsum_shard")]
