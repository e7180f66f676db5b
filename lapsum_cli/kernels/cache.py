"""A disk cache of compiled kernels that cannot go stale, and fails at nothing.

Numba validates a cached kernel by the one file that defines it, so a change in a helper of another file goes unseen
(numba #1833), and looks for it under the path of that file, which need not be there. The cache directory is therefore
named by a digest of every kernel source, and of the versions that compiled them, and in it a kernel by its module: all
installations of one version share it.

What it holds is code that runs as this user: the directory is theirs alone. It is a convenience: whatever is wrong with
it, kernels compile, and take the place of what is damaged.
"""

import contextlib
import functools
import hashlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from numba.core.cpu import CPUContext
from numba.core.runtime import rtsys


def _sources(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Names and contents of the modules in a folder and those below, in order, be they sources, compiled or zipped."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith((".py", ".pyc")):
            yield prefix + entry.name, entry.read_bytes()


def sources_digest() -> str:
    """Sixteen hex digits that change with any kernel source and with the versions of Numba, numba-cuda and NumPy."""
    processor = llvmlite.binding.get_host_cpu_name()
    for_cards = ""
    with contextlib.suppress(PackageNotFoundError):
        for_cards = version("numba-cuda")
    digest = hashlib.sha256(f"{numba.__version__} {for_cards} {np.__version__} {sys.version} {processor}".encode())
    for name, content in _sources(files(__package__)):
        digest.update(name.encode() + content)
    return digest.hexdigest()[:16]


def _user_cache() -> Path:
    if named := os.environ.get("LAPSUM_CACHE_DIR"):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lapsum"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "lapsum" / "cache"
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "lapsum"  # its specification ignores others


def _is_private(directory: Path) -> bool:
    """Whether a directory, which is made if it is not there, can be written and is this user's alone.

    Nobody else may be able to put another in its place either: all that lie above it, links followed and not, belong to
    the user or to root, and others may not write there, but as in /tmp. A group of the user's own number is no other.
    What was open to others is emptied: anything may have been put there.
    """
    try:
        for folder in reversed([directory, *directory.parents]):
            folder.mkdir(0o700, exist_ok=True)
        if hasattr(os, "getuid"):
            user = os.getuid()
            for folder in {*directory.parents, *directory.resolve().parents}:
                found = folder.stat()
                others = 0o002 if found.st_gid == user else 0o022
                if found.st_uid not in (0, user) or (found.st_mode & others and not found.st_mode & 0o1000):
                    return False
            found = directory.lstat()
            if found.st_uid != user:
                return False
            if found.st_mode & 0o077:
                shutil.rmtree(directory)
                directory.mkdir(0o700)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _choose_cache() -> Path | None:
    """The user's cache, else a private folder of the temporary one, else none: a slow start, never a failure."""
    name = Path("numba") / sources_digest()
    private = Path(tempfile.gettempdir()) / f"lapsum-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"
    with contextlib.suppress(RuntimeError):  # no home directory
        if _is_private(_user_cache().absolute() / name):
            return _user_cache().absolute() / name
    return private / name if _is_private(private / name) else None


CACHE = _choose_cache()


_wrong: dict[str, str] = {}  # what was found wrong with the cache since it was last asked for, by kind


def what_was_wrong() -> str | None:
    """One line about what was wrong with the cache since this was last called; None where all was well."""
    found = next(iter(_wrong.values()), None)
    _wrong.clear()
    return found


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


_OfNumba: Any = object  # one of its classes, of which it has one for a CPU and one for cards


class _Files(_OfNumba):
    """Numba's index and data of a function, with a digest at the end: one that does not fit is as good as not there."""

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        written = io.BytesIO()
        yield written
        with super()._open_for_write(filepath) as file:
            file.write(_with_digest(written.getvalue()))

    def _is_whole(self, path: str) -> bool:
        """What follows a pickle, such as the digest, is not read with it."""
        return os.path.exists(path) and _whole(Path(path)) is not None

    def _load_index(self) -> dict:
        return super()._load_index() if self._is_whole(self._index_path) else {}

    def _load_data(self, name: str) -> Any:
        if not self._is_whole(self._data_path(name)):
            raise FileNotFoundError(name)  # which Numba takes for what it is
        return super()._load_data(name)


def _with_digest(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


def _whole(path: Path) -> bytes | None:
    """What was kept in a file, or None where it is not what its digest says."""
    content = path.read_bytes()
    if hashlib.sha256(content[:-32]).digest() == content[-32:]:
        return content[:-32]
    _wrong["damaged"] = f"{CACHE}: compiled kernels were damaged; they compile again, and are replaced"
    return None


def _unusable(error: Exception) -> None:
    _wrong["unusable"] = f"{CACHE}: compiled kernels do not load, and compile again: {_reason(error)}"


def _not_kept(error: Exception) -> None:
    _wrong["full"] = f"{CACHE}: kernels cannot be kept, and later runs compile again: {_reason(error)}"


def _have_references_counted(target_context: Any) -> None:
    if isinstance(target_context, CPUContext):
        rtsys.initialize(target_context)
    else:
        target_context.refresh()


class _Cache(_OfNumba):
    """Numba's cache of a function that fails at nothing: what is not loaded compiles, what cannot be kept is said."""

    _cache_file: Any

    def __init__(self, function: Callable):
        super().__init__(function)
        stamp, files = self._impl.locator.get_source_stamp(), type("Files", (_Files, type(self._cache_file)), {})
        self._cache_file = files(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, or None.

        Numba would first import what it can compile: a fifth of the time that a command takes to start. What is
        compiled needs the functions that count references, and whoever compiles imports the rest.
        """
        try:
            _have_references_counted(target_context)
            return self._load_overload(sig, target_context)
        except Exception as error:  # whatever Numba, pickle and LLVM may raise of what they cannot use
            _unusable(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it, if that is possible."""
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _not_kept(error)


class _InCache:
    """Where Numba keeps a function: in a folder of CACHE that has its module's name, wherever its file is, if at all.

    CACHE is named by our sources; a function from elsewhere is known by the file that defines it.
    """

    def __init__(self, function: Callable, file: str):
        self.folder, self.line = f"{CACHE}{os.sep}{function.__module__}", function.__code__.co_firstlineno
        is_ours = function.__module__.startswith(f"{__package__}.")
        self.stamp = "" if is_ours else hashlib.sha256(Path(file).read_bytes()).hexdigest()

    @classmethod
    def from_function(cls, function: Callable, file: str) -> "_InCache":
        return cls(function, file)

    def ensure_cache_path(self) -> None:
        os.makedirs(self.folder, 0o700, exist_ok=True)

    def get_cache_path(self) -> str:
        return self.folder

    def get_source_stamp(self) -> str:
        return self.stamp

    def get_disambiguator(self) -> str:
        return str(self.line)


@functools.cache
def checked(cache: Any) -> type:
    """Numba's cache of functions, of a CPU or of cards, with our digests: in CACHE or nowhere.

    Numba would go on to a folder beside the sources, which others may write.
    """
    here = type("Here", (cache._impl_class,), {"_locator_classes": [_InCache]})
    return type("Checked", (_Cache, cache), {"_impl_class": here})


def holds(cache: Any) -> bool:
    """Whether anything of a function is in its cache."""
    files = getattr(cache, "_cache_file", None)
    return files is not None and os.path.exists(files._data_path(files._data_name(1)))


def kept(name: str, make: Callable[[], bytes], load: Callable[[bytes], Any]) -> Any:
    """load(what was made), once made and then kept in a file of this name; one process at a time makes it.

    For what does not depend on our sources, and takes long: the file lies beside CACHE, as private. Whatever is wrong
    with it, it is made again and replaced.
    """
    folder = CACHE.with_name("kept") if CACHE else None
    if folder is None or not _is_private(folder):
        return load(make())
    path = folder / name
    if (found := _loaded(path, load)) is not None:
        return found
    with exclusive(folder / f"{name}.lock"):
        if (found := _loaded(path, load)) is not None:
            return found
        made = make()
        _keep(path, made)
    return load(made)


def _loaded(path: Path, load: Callable[[bytes], Any]) -> Any:
    """load(what is kept in a file); None where there is nothing, or nothing that loads."""
    try:
        content = _whole(path) if path.exists() else None
        return None if content is None else load(content)
    except Exception as error:  # whatever a library may raise of what it cannot use
        _unusable(error)
        return None


def _keep(path: Path, content: bytes) -> None:
    """Keep it in a file with a digest, if that is possible; what killed processes left of it goes."""
    torn = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        for left in path.parent.glob(f"{path.name}.tmp.*"):
            left.unlink()
        torn.write_bytes(_with_digest(content))
        torn.replace(path)
    except OSError as error:
        _not_kept(error)
        with contextlib.suppress(OSError):
            torn.unlink(missing_ok=True)


def remove_torn() -> None:
    """Remove what a process that was killed while it wrote to the cache left behind."""
    for path in CACHE.rglob("*.tmp.*") if CACHE else ():
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """One process at a time, where the file can be made and locked: Numba replaces whole files in any case."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):  # Windows; a full disk; a file system without locks
            import fcntl

            fcntl.flock(stack.enter_context(open(path, "w")), fcntl.LOCK_EX)
        yield
