"""Hypothesis: 25 derandomised examples by default, 5000 with `--hypothesis-profile long`. No deadline: the JIT.

Tests marked `cuda` need a GPU, or Numba's simulator, which runs in a process of its own and takes no other tests:

    NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1 python3 -m pytest
"""

import os
import pkgutil
import sys
import tomllib
from pathlib import Path

import pytest
from commands import contents, refusal
from hypothesis import HealthCheck, settings
from onecard import IS_SIMULATED, RUNS_CUDA

settings.register_profile("default", max_examples=25, derandomize=True, deadline=None, database=None)
settings.register_profile("long", max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("default")

if IS_SIMULATED:
    # A thread of the simulator is one of Python, and polls for the others while it holds the interpreter: with 5 ms a
    # turn, Python's default, most of the time is waiting (20 s of a test that takes 6).
    sys.setswitchinterval(1e-4)


def pytest_collection_modifyitems(config, items):
    """Leave out what cannot run here: tests for the card, those for the simulator alone, and there all others."""

    def can_run(item):
        is_cuda, is_for_simulator = ("cuda" in item.keywords), ("simulated" in item.keywords)
        if IS_SIMULATED:
            return is_cuda or is_for_simulator
        return not is_for_simulator and (RUNS_CUDA or not is_cuda)

    for item in items:  # laws are tried on rankings of any shape: what is said of some has a suite of its own
        if item.path.name != "test_suspicions.py":
            item.add_marker(pytest.mark.filterwarnings("ignore::lapsum_cli.LapsumWarning"))
    left_out = [item for item in items if not can_run(item)]
    items[:] = [item for item in items if can_run(item)]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def _small_blocks(request, monkeypatch):
    if IS_SIMULATED:
        make_blocks_small(monkeypatch)


def make_blocks_small(monkeypatch):
    """In the simulator rankings of a few scores take the ways of long ones: several tiles, many blocks for a top-k."""
    from lapsum_cli import devices
    from lapsum_cli.kernels.cuda import narrowing, sorted_by_team, tiles

    small = {"WALK": 4, "TEAMS": ((2, 1), (5, 2), (30, 4)), "SHORT": 6, "LONG": 60}
    small |= {"FEW_THREADS": 2, "THREADS": 4, "MANY_THREADS": 8}
    for name, value in {**small, "SCAN_THREADS": (4, 8), "TILE": 32, "LARGE_TILE": 16, "WRITTEN_TILE": 24}.items():
        monkeypatch.setattr(tiles, name, value)
    for name, value in {"LANES": (1, 2), "THREADS": (4,), "LONGEST": 32}.items():
        monkeypatch.setattr(sorted_by_team, name, value)
    # A sample of 32 scores is a poor one; a bracket of one deviation is still narrow enough to go on.
    narrow = {"SAMPLE": 32, "SAMPLE_THREADS": 4, "DEVIATIONS": 1.0, "NARROWED": 2, "ENOUGH": 40}
    for name, value in {**narrow, "PASS_THREADS": 4, "FINISH_THREADS": 8}.items():
        monkeypatch.setattr(narrowing, name, value)
    monkeypatch.setattr(devices, "_CARDS", [])


# --- The command in the process of the tests. ---

ROOT = Path(__file__).parents[1]


@pytest.fixture
def here(monkeypatch, capfd):
    """`lapsum ARGS` in this process, which takes no second to start: the exit code and what stderr says."""
    from lapsum_cli.cli import startup

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    main = pkgutil.resolve_name(project["scripts"]["lapsum"])
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    monkeypatch.setattr(startup, "end_on_signals", lambda: None)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")

    def here(*args):
        monkeypatch.setattr(sys, "argv", ["lapsum", *map(str, args)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, capfd.readouterr().err

    return here


@pytest.fixture
def lapsum(tmp_path, monkeypatch, here):
    """`lapsum ARGS --quiet` in tmp_path and in this process: sixty refusals take seconds, not a minute.

    Returns the exit code and the one line, after a look around: nothing may be there that was not there before.
    """
    monkeypatch.chdir(tmp_path)

    def lapsum(*args):
        before = contents(tmp_path)
        code, said = here(*args, "--quiet")
        assert contents(tmp_path) == before
        return code, refusal(said.encode())

    return lapsum
