"""How kernels are compiled: their options, a disk cache that cannot go stale, and one compiler at a time.

Numba validates a cached kernel by the one file that defines it, so a change in a helper of another file goes unseen
(numba #1833). The cache directory is therefore named by a digest of every kernel source, and of the versions that
compiled them. Several processes that compile at once can crash (numba #10128): first use holds a file lock.
"""

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import llvmlite.binding
import numba
import numpy as np
from numpy.typing import DTypeLike

_SOURCES_OF = Path(__file__).parent
_SOURCES = sorted(_SOURCES_OF.rglob("*.py"))


def sources_digest() -> str:
    """Sixteen hex digits that change with any kernel source and with the versions of Numba and NumPy."""
    processor = llvmlite.binding.get_host_cpu_name()
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__} {sys.version} {processor}".encode())
    for path in _SOURCES:
        digest.update(path.relative_to(_SOURCES_OF).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _user_cache() -> Path:
    if "LAPSUM_CACHE_DIR" in os.environ:
        return Path(os.environ["LAPSUM_CACHE_DIR"])
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lapsum"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "lapsum" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lapsum"


def _writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _choose_cache() -> Path | None:
    """The user's cache, else a private folder of the temporary one, else none: a slow start, never a failure."""
    name = Path("numba") / sources_digest()
    with contextlib.suppress(RuntimeError):  # no home directory
        if _writable(_user_cache() / name):
            return _user_cache() / name
    private = Path(tempfile.gettempdir()) / f"lapsum-{os.getuid() if hasattr(os, 'getuid') else 'cache'}" / name
    if _writable(private) and (not hasattr(os, "getuid") or private.stat().st_uid == os.getuid()):
        return private
    return None


CACHE = _choose_cache()


@contextlib.contextmanager
def cache_directory() -> Iterator[None]:
    """Numba's cache goes to CACHE while the kernels are imported; what a caller set stands again afterwards."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(CACHE or "")
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def _known(**options: Any) -> dict[str, Any]:
    """Options without a public name, where this version of Numba has them."""
    try:
        numba.njit(**options)(lambda: None)
    except KeyError:
        return {}
    return options


# No fastmath: the compiler may neither drop a NaN check, reorder a sum, nor choose where a*b+c becomes one instruction
# (scalars/functions.py fma), so that all lanes of a loop, and its rest, compute the same.
OPTIONS: Any = {"nogil": True, "error_model": "numpy"}
kernel = numba.njit(cache=CACHE is not None, **OPTIONS)

# Numba counts references to arrays, by an atomic instruction at either end of every slice: of a ranking of 100 scores
# that is a tenth of the time. A kernel that makes no array, nor copies one into another, needs no count. It passes this
# on to what it calls, which must be of that kind too.
_UNCOUNTED = _known(_nrt=False)
uncounted = numba.njit(cache=CACHE is not None, **OPTIONS, **_UNCOUNTED)

# A scalar formula that loops over arrays use: part of the loop before LLVM sees it, or it is a call, and nothing is
# vectorised (25 against 3 ns for the root of a threshold).
inlined = numba.njit(inline="always", **OPTIONS)

# For sums and counts over one short block only: reordering is what lets the compiler add in SIMD lanes.
REORDERED: Any = {**OPTIONS, "fastmath": {"reassoc"}}
block_sum = numba.njit(cache=CACHE is not None, **REORDERED, **_UNCOUNTED)


def _marker(cache: Path, name: str, dtype: DTypeLike) -> Path:
    return cache / f"{name}-{np.dtype(dtype).name}.compiled"


def is_compiled(name: str, dtype: DTypeLike) -> bool:
    """Whether the kernels of this operation and dtype load from the cache rather than compile."""
    return CACHE is not None and _marker(CACHE, name, dtype).exists()


_prepared: set[tuple[str, np.dtype]] = set()


def prepare(name: str, dtype: DTypeLike, run: Callable[[], object], run_all: Callable[[], object]) -> None:
    """Have the kernels of an operation ready: `run_all()` runs each of them on a tiny input, one process at a time.

    Where they are compiled, `run()` loads those that most inputs need.
    """
    if (name, np.dtype(dtype)) in _prepared:
        return
    if is_compiled(name, dtype):
        run()
    elif CACHE is None:
        run_all()
    else:
        with open(CACHE / "lock", "w") as lock, _exclusive(lock):
            run_all()
            _marker(CACHE, name, dtype).touch()
    _prepared.add((name, np.dtype(dtype)))


@contextlib.contextmanager
def _exclusive(lock: TextIO) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: no lock; Numba's own file replacement still keeps the cache whole
        yield
        return
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield  # closing the file releases it
