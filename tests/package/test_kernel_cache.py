"""The cache of compiled kernels: never stale, never fatal, and safe when several processes start at once."""

import compileall
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import lapsum_cli
from lapsum_cli.kernels import cache as kernel_cache

PACKAGE = Path(lapsum_cli.__file__).parent

# One kernel, where an operation takes some: the sum of e^-distance above 0.5, of 1.5.
PROGRAM = """
import numpy as np
from lapsum_cli.kernels.cpu.threshold import collapse

print(collapse(np.array([1.5]), 1.0, -1.0, 0.5, 1.0, np.empty(1), np.empty((2, 1)))[1])
"""
FOUND = 0.3679  # 1 / e


def _start(folder, cache, cwd=None):
    environment = {**os.environ, "PYTHONPATH": str(folder), "LAPSUM_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.Popen(
        command, env=environment, cwd=cwd or folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _copy(folder):
    """The package without what was compiled, in a folder of its own."""
    return shutil.copytree(PACKAGE, folder / "lapsum_cli", ignore=shutil.ignore_patterns("__pycache__"))


def _kept(cache):
    return {path: path.stat().st_mtime_ns for path in cache.rglob("*.nbc")}


def _result(process):
    out, error = process.communicate()
    assert process.returncode == 0, error
    return float(out)


@pytest.mark.slow
def test_a_change_in_a_helper_of_another_file_is_seen(tmp_path):
    """Numba's own cache looks at the file of the kernel alone: threshold.py does not change here, functions.py does."""
    folder, cache = tmp_path / "program", tmp_path / "cache"
    _copy(folder)
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
    assert len(_kept(cache)) == 1  # the others waited, and loaded what the first had compiled


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


@pytest.mark.slow
def test_every_installation_of_a_version_shares_what_is_compiled(tmp_path):
    cache = tmp_path / "cache"
    assert round(_result(_start(PACKAGE.parent, cache)), 4) == FOUND
    compiled = _kept(cache)
    assert compiled
    _copy(tmp_path / "elsewhere")
    shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path / "elsewhere")
    for place in (tmp_path / "elsewhere", tmp_path / "zipped.zip"):
        assert round(_result(_start(place, cache, tmp_path)), 4) == FOUND
        assert _kept(cache) == compiled


@pytest.mark.slow
def test_an_installation_without_sources_keeps_what_it_compiles(tmp_path):
    package, cache = _copy(tmp_path / "place"), tmp_path / "cache"
    assert compileall.compile_dir(package, legacy=True, quiet=2)
    for source in package.rglob("*.py"):
        source.unlink()
    assert round(_result(_start(package.parent, cache)), 4) == FOUND
    compiled = _kept(cache)
    assert compiled
    assert round(_result(_start(package.parent, cache)), 4) == FOUND
    assert _kept(cache) == compiled


# Calls one after another, and the kernels that each compiles, which those before it had not.
CALLS = {
    "soft_rank(x, alpha=1.0)": {"order._count_each", "rank._rank_block"},
    "soft_rank_vjp(x, x, alpha=1.0)": {"rank._rank_block"},
    "soft_sort(x, alpha=1.0)": {"inversion._invert_block"},
    "soft_topk(x, 2, alpha=1.0)": {"topk._topk_block"},
    "soft_topk(x, 2, alpha='1std')": {"deviations._standard_deviations"},
    "soft_topk_vjp(x, 2, x, alpha=1.0)": {"topk_gradient._topk_gradient"},
    "soft_rank(np.resize(x, 5000), alpha=1.0)": {"order._radix_each", "rank._rank_longer", "sweeps.blocks_of"},
}
EACH_CALL = """
import json
from pathlib import Path
import numpy as np
from lapsum_cli import *
from lapsum_cli.kernels.cache import CACHE

x, before = np.array([3.0, 1.0, 2.0, 0.0], np.float32), set()
for call in CALLS:
    eval(call)
    kept = {path.relative_to(CACHE) for path in CACHE.rglob("*.nbc")}
    print(json.dumps([str(path) for path in kept - before]))
    before = kept
"""


@pytest.mark.slow
def test_what_the_data_needs_compiles_when_it_needs_it(tmp_path):
    """No kernel of long rankings for short ones, and none of gradients for a result; nor one twice."""
    environment = {**os.environ, "LAPSUM_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", f"CALLS = {list(CALLS)}\n{EACH_CALL}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for (call, wanted), line in zip(CALLS.items(), done.stdout.splitlines(), strict=True):
        assert {re.search(r"(\w+\.\w+)-\d+\.", path)[1] for path in json.loads(line)} == wanted, call


HOME, HERE = "the home", "the folder it runs in"


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="their caches have other names")
@pytest.mark.parametrize(
    ("named", "general", "where"),
    [
        (None, None, (HOME, ".cache", "lapsum")),
        ("", "", (HOME, ".cache", "lapsum")),
        ("~/kept", None, (HOME, "kept")),
        ("~", None, (HOME,)),
        ("near/by", None, (HERE, "near", "by")),
        (None, "relative", (HOME, ".cache", "lapsum")),
        (None, "~/general", (HOME, ".cache", "lapsum")),
        ("~nobody-of-this-name/x", None, None),
    ],
)
def test_the_cache_is_where_its_name_says(tmp_path, monkeypatch, named, general, where):
    """Empty is unset, ~ is the home; XDG_CACHE_HOME counts if it is absolute, as its specification has it."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, value in (("LAPSUM_CACHE_DIR", named), ("XDG_CACHE_HOME", general), ("HOME", str(home))):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    wanted = tmp_path / f"lapsum-{os.getuid()}"
    if where:
        wanted = {HOME: home, HERE: here}[where[0]].joinpath(*where[1:])
    assert kernel_cache._choose_cache() == wanted / "numba" / kernel_cache.sources_digest()
    assert [path.name for path in here.iterdir()] == (["near"] if named == "near/by" else [])


def test_sums_in_lanes_are_those_of_a_cpu():
    """What calls them on a card would be told of all of fastmath, for which NaN and infinities are impossible."""
    from lapsum_cli.kernels.methods import threshold

    assert threshold._tails._compiler.targetoptions["fastmath"] == {"reassoc"}
    assert "fastmath" not in threshold._tails.targetoptions
