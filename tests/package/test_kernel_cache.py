"""The cache of compiled kernels: never stale, never fatal, and safe when several processes start at once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lapsum_cli

PACKAGE = Path(lapsum_cli.__file__).parent

# One kernel, where an operation is dozens and takes ten seconds to compile: the sum of e^-distance above 0.5, of 1.5.
PROGRAM = """
import numpy as np
from lapsum_cli.kernels import jit
from lapsum_cli.kernels.cpu.threshold import collapse

def run():
    return collapse(np.array([1.5]), 1.0, -1.0, 0.5, 1.0, np.empty(1), np.empty((2, 1)))

jit.prepare("one", "float64", run, run)
print(run()[1])
"""
FOUND = 0.3679  # 1 / e


def _start(folder, cache):
    environment = {**os.environ, "PYTHONPATH": str(folder), "LAPSUM_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _result(process):
    out, error = process.communicate()
    assert process.returncode == 0, error
    return float(out)


@pytest.mark.slow
def test_a_change_in_a_helper_of_another_file_is_seen(tmp_path):
    """Numba's own cache looks at the file of the kernel alone: threshold.py does not change here, functions.py does."""
    folder, cache = tmp_path / "program", tmp_path / "cache"
    shutil.copytree(PACKAGE, folder / "lapsum_cli", ignore=shutil.ignore_patterns("__pycache__"))
    assert round(_result(_start(folder, cache)), 4) == FOUND

    helper = folder / "lapsum_cli" / "kernels" / "scalars" / "functions.py"
    changed = helper.read_text().replace("_T2 = [1 / math", "_T2 = [2 / math")
    assert changed != helper.read_text()
    helper.write_text(changed)
    assert round(_result(_start(folder, cache)), 4) != FOUND
    assert len(list((cache / "numba").iterdir())) == 2


@pytest.mark.slow
def test_processes_that_compile_at_once_agree(tmp_path):
    cache = tmp_path / "cache"
    processes = [_start(PACKAGE.parent, cache) for _ in range(3)]
    assert {round(_result(process), 4) for process in processes} == {FOUND}
    assert len(list(cache.glob("numba/*/one-float64.compiled"))) == 1


@pytest.mark.slow
def test_without_a_writable_place_it_still_runs():
    program = (
        "import tempfile; tempfile.tempdir = '/dev/null'\n"
        "from lapsum_cli.kernels import jit\nassert jit.CACHE is None, jit.CACHE\n" + PROGRAM
    )
    environment = {**os.environ, "LAPSUM_CACHE_DIR": "/dev/null/no"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert round(float(done.stdout), 4) == FOUND
