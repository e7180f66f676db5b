"""Whatever is wrong with the cache of compiled kernels, a run goes on, says one word, and the next starts at once."""

import hashlib
import os
import resource
import subprocess
import sys

import pytest

pytestmark = pytest.mark.faults
PROGRAM = """
import numpy as np
from lapsum_cli import Rankings
from lapsum_cli.kernels import cache, jit
from lapsum_cli.kernels.cpu import deviations, parallel

print(jit.CACHE)
print(cache.holds(deviations._standard_deviations._cache))
print(*deviations.spreads(parallel.Cores(), Rankings(np.array([1.0, 2.0, 3.0, 6.0]), np.array([0, 4])), "mad"))
print(jit.what_was_wrong() or "")
"""


def run(cache, **options) -> tuple[str, bool, str]:
    """What was found wrong, whether kernels were there already, and where they are; a wrong number is an error."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "LAPSUM_CACHE_DIR": str(cache), "TMPDIR": str(cache.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )
    assert done.returncode == 0, done.stderr
    where, before, spread, wrong = done.stdout.splitlines()
    assert float(spread) == 1.0
    return wrong, before == "True", where


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp("faults") / "cache"
    run(path)
    return path


def kernels(cache) -> list:
    return sorted(cache.rglob("*.nb?"))


@pytest.mark.parametrize("first", range(2))
def test_damaged_files_compile_again_and_are_replaced(cache, first):
    """Index and data of a function take turns in what is wrong with them."""
    damages = [
        lambda content: content[: len(content) // 2],
        lambda content: os.urandom(1000),
        lambda content: content[:50] + bytes([content[50] ^ 1]) + content[51:],
        lambda content: b"",
        lambda content: content + b"0",
    ]
    paths = sorted(cache.rglob("*.nb?"))
    assert len(paths) == 6
    for i, path in enumerate(paths, first):
        path.write_bytes(damages[i % len(damages)](path.read_bytes()))
    wrong, before, where = run(cache)
    assert before
    assert wrong == f"{where}: compiled kernels were damaged; they compile again, and are replaced"
    assert run(cache)[:2] == ("", True)


def test_files_that_are_gone_compile_again(cache):
    for path in cache.rglob("*.nbc"):
        path.unlink()
    assert run(cache)[:2] == ("", False)
    assert list(cache.rglob("*.nbc"))


def test_a_full_disk_keeps_nothing_and_stops_nothing(tmp_path):
    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))  # Python ignores SIGXFSZ: writes fail with EFBIG

    wrong, before, where = run(tmp_path / "cache", preexec_fn=small)
    assert (wrong, before) == (f"{where}: kernels cannot be kept, and later runs compile again: File too large", False)
    assert where.startswith(str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").rglob("*.tmp.*"))
    assert run(tmp_path / "cache")[:2] == ("", False)
    assert run(tmp_path / "cache")[:2] == ("", True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to others")
def test_a_directory_of_somebody_else_is_not_read(cache, tmp_path):
    above = cache / "numba"
    os.chown(above, 12345, -1)
    try:
        _, before, where = run(cache)
    finally:
        os.chown(above, 0, -1)
    assert not before
    assert where.startswith(str(cache.parent / f"lapsum-{os.getuid()}"))


def test_a_directory_open_to_others_is_emptied(cache):
    [folder] = (cache / "numba").iterdir()
    folder.chmod(0o777)
    assert run(cache)[:2] == ("", False)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert run(cache)[:2] == ("", True)


def test_a_directory_that_others_may_replace_is_not_used(cache):
    (cache / "numba").chmod(0o777)
    try:
        assert not run(cache)[2].startswith(str(cache))
    finally:
        (cache / "numba").chmod(0o700)


def test_what_a_killed_process_left_goes_with_the_next_that_compiles(cache):
    [folder] = (cache / "numba").iterdir()
    torn = folder / "cpu" / "deviations.nbi.tmp.0123456789abcdef"
    torn.parent.mkdir(exist_ok=True)
    torn.write_bytes(b"half")
    for path in kernels(cache):
        path.unlink()
    run(cache)
    assert not torn.exists()


KEPT = """
import sys
from lapsum_cli.kernels import jit

def make():
    print("made")
    return b"x" * 10_000

def load(content):
    if content != b"x" * 10_000:
        raise ValueError("no such version")
    return len(content)

assert jit.kept("sorter", make, load) == 10_000
print(jit.what_was_wrong() or "")
"""


def keep(cache, **options) -> list[str]:
    """What was made, and found wrong."""
    environment = {**os.environ, "LAPSUM_CACHE_DIR": str(cache), "TMPDIR": str(cache.parent)}
    done = subprocess.run([sys.executable, "-c", KEPT], env=environment, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_is_kept_for_a_card_is_made_once_and_again_where_it_is_damaged(tmp_path):
    cache = tmp_path / "cache"
    assert keep(cache) == ["made", ""]
    assert keep(cache) == [""]
    [path] = cache.rglob("sorter")
    whole = path.read_bytes()
    for damaged in (whole[:5000], b"", os.urandom(100), whole[:50] + b"y" + whole[51:], whole + b"0"):
        path.write_bytes(damaged)
        made, wrong = keep(cache)
        assert made == "made"
        assert wrong.endswith("compiled kernels were damaged; they compile again, and are replaced")
        assert path.read_bytes() == whole
    other = b"of another version"
    path.write_bytes(other + hashlib.sha256(other).digest())
    made, wrong = keep(cache)
    assert (made, wrong.split(": ", 1)[1]) == (
        "made",
        "compiled kernels do not load, and compile again: no such version",
    )
    (path.parent / "sorter.tmp.1").write_bytes(b"torn")
    path.unlink()
    assert keep(cache) == ["made", ""]
    assert not list(path.parent.glob("*.tmp.*"))


def test_what_is_kept_for_a_card_finds_a_full_disk(tmp_path):
    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    made, wrong = keep(tmp_path / "cache", preexec_fn=small)
    assert made == "made"
    assert wrong.endswith("kernels cannot be kept, and later runs compile again: File too large")
    assert not [path for path in (tmp_path / "cache").rglob("sorter*") if path.suffix != ".lock"]
    assert keep(tmp_path / "cache") == ["made", ""]


def test_what_is_kept_for_a_card_is_not_read_where_others_may_write(tmp_path):
    assert keep(tmp_path / "cache") == ["made", ""]
    [path] = (tmp_path / "cache").rglob("sorter")
    path.parent.chmod(0o777)
    assert keep(tmp_path / "cache") == ["made", ""]
    assert keep(tmp_path / "cache") == [""]


FOR_A_CARD = """
from pathlib import Path
from lapsum_cli.kernels import jit
from lapsum_cli.kernels.cuda import order

cache = order._turn._cache
files, folder = cache._cache_file, Path(cache.cache_path)
folder.mkdir(exist_ok=True)
for ending in ("nbc", "nbi"):
    files.save("signature", "code")
    assert (files.load("signature"), jit.what_was_wrong()) == ("code", None)
    [path] = folder.glob(f"order._turn-*.{ending}*")
    content = path.read_bytes()
    path.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    assert files.load("signature") is None
    print(jit.what_was_wrong())
"""


def test_damaged_kernels_for_a_card_are_not_loaded(tmp_path):
    pytest.importorskip("numba_cuda")
    environment = {**os.environ, "LAPSUM_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run([sys.executable, "-c", FOR_A_CARD], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("compiled kernels were damaged; they compile again, and are replaced") == 2
