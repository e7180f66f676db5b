"""What is done to the whole process, and why it must stay: each of these fails when the surgery that it names goes."""

import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa
import pytest

from lapsum_cli.flow.process import returning_memory
from lapsum_cli.kernels import jit

ROOT = Path(__file__).parents[2]
MODULE, MAIN = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["lapsum"].split(":")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc, as Linux accounts for memory")


def python(*arguments, **environment) -> subprocess.CompletedProcess:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ARROW_")}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=ours | environment, capture_output=True, text=True, check=True)


# Modules that PyArrow and Numba import where they are installed, half a second and 50 MB for nothing.


IMPORTED = """
import os, sys
os._exit = sys.exit
try:
    {act}
finally:
    print(*(name for name in ("pandas", "scipy", "coverage", "pyarrow") if sys.modules.get(name)), file=sys.stderr)
"""


@pytest.mark.skipif(not (find_spec("pandas") and find_spec("scipy")), reason="neither is there to be imported")
def test_the_command_imports_neither_pandas_nor_scipy_nor_coverage():
    source = str(ROOT / "samples" / "search.parquet")
    by_command = f"sys.argv = ['lapsum', 'rank', {source!r}, '-q']; from {MODULE} import {MAIN}; {MAIN}()"
    by_library = (
        f"from lapsum_cli import run_file; run_file('rank', {source!r}, os.devnull, to_format='csv', force=True)"
    )
    assert python("-c", IMPORTED.format(act=by_command)).stderr.split() == ["pyarrow"]
    assert "scipy" in python("-c", IMPORTED.format(act=by_library)).stderr.split()  # so it would be imported


# Arrow's memory: jemalloc gives it back.


@on_linux
@pytest.mark.parametrize(("given", "pool"), [({}, "jemalloc"), ({"ARROW_DEFAULT_MEMORY_POOL": "system"}, "system")])
def test_arrow_takes_jemalloc_in_a_command_unless_told_otherwise(given, pool):
    """Before PyArrow is imported: its C++ looks once."""
    program = (
        f"import os, sys; os._exit, sys.argv = sys.exit, ['lapsum', '--version']\nfrom {MODULE} import {MAIN}\n"
        f"assert 'pyarrow' not in sys.modules\n"
        f"try:\n    {MAIN}()\nexcept SystemExit:\n    pass\n"
        "import pyarrow\nprint(pyarrow.default_memory_pool().backend_name)"
    )
    assert python("-c", program, **given).stdout.splitlines()[-1] == pool


def test_the_pool_of_a_caller_stands_again_after_a_run():
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        with returning_memory(256 << 20):
            assert pa.default_memory_pool().backend_name == "jemalloc"
        assert pa.default_memory_pool().backend_name == "system"
    finally:
        pa.set_memory_pool(before)


# A process that was given little memory.

LEAN = """
import sys, numpy as np
from lapsum_cli import soft_rank
from lapsum_cli.flow import process

def resident(of=None):
    if of is None:
        return int(open("/proc/self/statm").read().split()[1]) * 4096
    total, inside = 0, False
    for line in open("/proc/self/smaps"):
        if line.split()[0].count("-") == 1 and not line.split()[0].endswith(":"):
            inside = of in line and " r-xp " in line
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) << 10
    return total

def fill(mib, count):
    made, pins = [], []
    for _ in range(count):
        made.append(np.ones(mib << 17))
        pins.append(bytes(100_000))  # what lies above and keeps a heap from shrinking
    return made, pins

soft_rank([1.0, 2.0], alpha=0.1)
code = resident("libllvmlite")
process.memory_budget(int(sys.argv[1]))
left = resident("libllvmlite")
held, pins = fill(20, 1)
held = None  # glibc raises its bound to the largest array that was freed
before = resident()
held, pins = fill(1, 100)
held = None
print(code, left, resident() - before)
"""


@on_linux
@pytest.mark.slow
def test_little_memory_is_given_back_at_once():
    mib = 1 << 20
    lean, ample = (list(map(int, python("-c", LEAN, size).stdout.split())) for size in (256 * mib, 4096 * mib))
    assert ample[1] == ample[0] > 10 * mib  # the code of LLVM
    assert lean[1] < lean[0] / 4
    assert ample[2] > 50 * mib  # arrays of 1 MiB that nobody holds
    assert lean[2] < 20 * mib


# Numba.


def test_kernels_without_an_array_of_their_own_count_no_references():
    """By an option of Numba that has no public name: a tenth of the time of short rankings."""

    def made_by(compiler):
        @compiler
        def part(x):
            total = 0.0
            for i in range(x.size):
                total += x[i] * x[i]
            return total

        @compiler
        def whole(x, size):
            total = 0.0
            for start in range(0, x.size, size):
                total += part(x[start : start + size])
            return total

        assert whole(np.ones(10), 3) == 10
        return "".join(whole.inspect_llvm().values())

    plain = {name: value for name, value in jit.OPTIONS.items() if name != "cache"}
    counted, uncounted = made_by(numba.njit(**plain)), made_by(numba.njit(**plain, **jit._UNCOUNTED))
    assert "NRT_incref" in counted
    assert "NRT_incref" not in uncounted
