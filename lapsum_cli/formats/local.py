"""Paths of this machine."""

from __future__ import annotations

import contextlib
import glob
import io
import os
import shutil
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from ..core import unfinished
from ..core.errors import InputMissing, OutputError
from . import FORMATS, IN_DIRECTORY
from .places import MANIFEST, Stamp
from .temporary import Temporary, remove_dead


class _File:
    """A file by its name; who opens it keeps what was there then."""

    opened_as = None
    is_far = False

    def __init__(self, path: str):
        self.path = path

    def raw(self) -> io.RawIOBase:
        """As File has it."""
        try:
            return io.FileIO(self.path)
        except OSError as error:
            raise InputMissing(f"{self.path}: cannot be opened: {error.strerror}") from None

    def for_arrow(self) -> pa.NativeFile:
        """Its name may be any bytes, which of Arrow's files only this takes."""
        return pa.OSFile(os.fsencode(self.path))

    def size(self) -> int:
        """As File has it."""
        return os.path.getsize(self.path)

    def close(self) -> None:
        """Nothing: who opened something closes it."""


class Local:
    """As Place has it."""

    appends = True

    def expand(self, source: str) -> list[str]:
        """A device, such as /dev/stdin, is taken as it is."""
        if os.path.isfile(source) or Path(source).is_fifo():
            return [source]
        if os.path.isdir(source):
            return _in_directory(source)
        if glob.has_magic(source):
            found = sorted(filter(_may_be_data, glob.glob(source, recursive=True)))
            if not found:
                raise InputMissing(f"{source}: no file matches")
            return found
        if os.path.exists(source):
            return [source]
        raise InputMissing(f"{source}: no such file" if source else "'' is the name of no file")

    def is_regular(self, path: str) -> bool:
        """As Place has it."""
        return os.path.isfile(path)

    def is_directory(self, path: str) -> bool:
        """As Place has it."""
        return os.path.isdir(path)

    def is_read_once(self, path: str) -> bool:
        """Whether a path is neither a file nor a directory."""
        return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)

    def file(self, path: str) -> _File:
        """As Place has it."""
        return _File(path)

    def stamp(self, path: str) -> Stamp:
        """Its bytes, and the time of the last change."""
        found = os.stat(path)
        return found.st_size, found.st_mtime_ns

    def identity(self, path: str) -> Hashable:
        """As Place has it."""
        try:
            found = os.stat(path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def absolute(self, path: str) -> str:
        """As Place has it."""
        return os.path.abspath(path)

    def read(self, path: str) -> bytes | None:
        """As Place has it."""
        try:
            return Path(path).read_bytes()
        except OSError:
            return None

    def settled(self, path: str) -> str:
        """A link stays, and its target is replaced."""
        return os.path.realpath(path)

    def refuse_output(self, path: str, name: str) -> None:
        """As Place has it."""
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):
            raise OutputError(f"{name}: the directory {directory} does not exist; make it first")
        if os.path.isdir(path):
            raise OutputError(f"{name}: is a directory; name a file in it")

    def exists(self, path: str, name: str) -> bool:
        """OutputError where nothing may have that name, as where it is too long."""
        return _replaced(path, name) is not None

    def making(self, path: str, folder: str) -> str:
        """Beside what it will be, so that it can be renamed."""
        return os.path.dirname(path)

    def sync(self, handle: int, path: str) -> None:
        """All bytes on the disk, with the mode of the file that is replaced, or that of a new one."""
        if replaced := _replaced(path, path):
            mode = replaced.st_mode & 0o777
        else:
            mask = os.umask(0o077)
            os.umask(mask)
            mode = 0o666 & ~mask
        os.fchmod(handle, mode)
        os.fsync(handle)

    def publish(self, made: Sequence[tuple[Temporary, str]], check: Callable[[], None]) -> None:
        """A signal waits until the last has its name."""
        with unfinished.lock:
            check()
            for temporary, path in made:
                temporary.rename(path)

    def refuse_directory(self, directory: str) -> None:
        """As Place has it."""
        above = os.path.dirname(os.path.abspath(directory))
        if not os.path.isdir(above):
            raise OutputError(f"{directory}: the directory {above} does not exist; make it first")
        if not os.path.isdir(directory) and os.path.lexists(directory.rstrip("/")):
            raise OutputError(f"{directory}: is no directory; name another")

    def make_directory(self, directory: str) -> None:
        """As Place has it."""
        try:
            os.mkdir(directory)
        except OSError as error:
            raise OutputError(f"{directory}: cannot be made: {error.strerror}") from None

    def make_folders(self, path: str) -> None:
        """As Place has it."""
        os.makedirs(path, exist_ok=True)

    def present(self, directory: str, names: Iterable[str]) -> dict[str, int]:
        """As Place has it."""
        found = {}
        for name in names:
            path = os.path.join(directory, name)
            if os.path.lexists(path):
                found[name] = os.path.getsize(path) if os.path.isfile(path) else -1
        return found

    def tidy(self, folder: str) -> None:
        """As Place has it."""
        remove_dead(folder)

    def remove(self, path: str) -> None:
        """As Place has it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def remove_tree(self, path: str) -> None:
        """As Place has it."""
        shutil.rmtree(path, ignore_errors=True)

    def remove_empty(self, folders: Sequence[str]) -> None:
        """As Place has it."""
        for folder in folders:
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    @contextlib.contextmanager
    def copies(self, paths: Sequence[str], folder: str) -> Iterator[Sequence[str]]:
        """They are here."""
        yield paths


def _replaced(path: str, name: str) -> os.stat_result | None:
    """What is there under the name now."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{name}: cannot be made: {error.strerror}") from None


def _may_be_data(path: str) -> bool:
    return os.path.isfile(path) and os.path.basename(path) != MANIFEST


def _in_directory(directory: str) -> list[str]:
    """The data in a directory, at any depth, by name; InputMissing where there is none."""
    extension = FORMATS[IN_DIRECTORY].extensions[0]
    found: list[Path] = []
    seen = set()

    def refuse(error: OSError) -> None:
        raise InputMissing(f"{error.filename}: cannot be searched: {error.strerror}")

    for folder, folders, files in os.walk(directory, onerror=refuse, followlinks=True):
        place = os.stat(folder)
        if (place.st_dev, place.st_ino) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add((place.st_dev, place.st_ino))
        folders[:] = sorted(filter(is_data, folders))
        found += [Path(folder, name) for name in files if name.endswith(extension) and is_data(name)]
    if not found:
        raise InputMissing(f"{directory}: the directory holds no {extension} file")
    return [str(path) for path in sorted(found)]


def is_data(name: str) -> bool:
    """Whether a file or a folder in a directory may be data. What begins with a dot or an underscore is a note of some
    program, as macOS's ._x.parquet and Spark's _temporary are, unless it is the name of a partition.
    """
    return not name.startswith(".") and ("=" in name or not name.startswith("_"))


PLACE = Local()
