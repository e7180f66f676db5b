"""Files under a temporary name, which become outputs, and folders for a while. Who made one holds a lock on it, so
that the next run in its directory tells what a killed one left from what a live one needs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ..core import unfinished
from ..core.errors import OptionError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked, and nothing removed
    fcntl = None  # type: ignore[assignment]

PREFIX, SUFFIX = ".lapsum-", ".tmp"  # hidden: no glob and no directory read takes it for an input


def temporary_place(folder: str | None) -> str:
    """Where temporary files go, by default the system's place; OptionError for what is no directory."""
    if folder is not None and not os.path.isdir(folder):
        raise OptionError(f"⟨temp_dir={folder}⟩ is no directory")
    return folder or tempfile.gettempdir()


class Temporary:
    """A new file in a directory, at `path` and open for writing as `handle`; a signal that ends the process removes
    it. Whoever is done with it closes the handle and calls `remove`.
    """

    def __init__(self, directory: str):
        """OSError where it cannot be made. First, what dead runs of this user left in the directory goes."""
        remove_dead(directory)
        with unfinished.lock:
            self.handle, self.path = _made_and_locked(directory)
            unfinished.enter(self._unlink)

    def _unlink(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def rename(self, path: str) -> None:
        """Give the file its name: it is no temporary one any more."""
        with unfinished.lock:
            os.replace(self.path, path)
            unfinished.take_out(self._unlink)

    def remove(self) -> None:
        """Remove the file if it still has its temporary name."""
        self._unlink()
        unfinished.take_out(self._unlink)


def _made_and_locked(directory: str) -> tuple[int, str]:
    """Another run may find the file before it is locked, and remove it: then another is made."""
    while True:
        handle, path = tempfile.mkstemp(prefix=PREFIX, suffix=SUFFIX, dir=directory)
        if lock(handle) is False or os.fstat(handle).st_nlink:
            return handle, path
        os.close(handle)


def lock(handle: int, wait: bool = True) -> bool:
    """Lock a file or a directory for as long as it stays open; False where another has it, or no lock is to be had."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return True
    except (OSError, AttributeError):
        return False


def is_locked_by_another(handle: int) -> bool:
    """Lock an open file as `lock` does, without waiting; False also where no lock is to be had."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, AttributeError):
        return False
    return False


def remove_dead(
    directory: str,
    prefix: str = PREFIX,
    suffix: str = SUFFIX,
    is_kind: Callable[[int], bool] = stat.S_ISREG,
    remove: Callable[[str], object] = os.unlink,
) -> None:
    """Remove what is named so in a directory, is of this kind and this user's, and is locked by no live process."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(suffix):
                with contextlib.suppress(OSError):
                    found = os.lstat(entry.path)
                    if found.st_uid == os.getuid() and is_kind(found.st_mode):
                        _remove_if_dead(entry.path, remove)


def _remove_if_dead(path: str, remove: Callable[[str], object]) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if lock(handle, wait=False):
            remove(path)
    finally:
        os.close(handle)


@contextlib.contextmanager
def folder(directory: str, prefix: str) -> Iterator[Path]:
    """A new folder in a directory, removed at the end or by a signal; those that dead runs left are removed first."""
    remove_dead(directory, prefix, "", stat.S_ISDIR, shutil.rmtree)
    with unfinished.lock:
        path = tempfile.mkdtemp(prefix=prefix, dir=directory)
        handle = os.open(path, os.O_RDONLY)
        lock(handle)
        undo = partial(_remove_folder, path)
        unfinished.enter(undo)
    try:
        yield Path(path)
    finally:
        undo()
        unfinished.take_out(undo)
        os.close(handle)


def _remove_folder(path: str) -> None:
    """Remove a folder into which another thread of this process may still write: a file that is made between the
    listing and the removal makes that fail, so it is tried again.
    """
    for _ in range(100):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.exists(path):
            return
