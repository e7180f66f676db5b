"""Where bytes come from and go to: paths, globs, directories and pipes in; atomic files and pipes out."""

from __future__ import annotations

import codecs
import contextlib
import errno
import functools
import glob
import io
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from ..core import unfinished
from ..core.errors import (
    DataError,
    InputMissing,
    IOFailed,
    LapsumError,
    OutputError,
    is_out_of_memory,
)
from . import FORMATS, IN_DIRECTORY
from .temporary import Temporary

STDIN = "-"
MANIFEST = "_manifest.jsonl"  # of a data set that was written, beside its files: no glob takes it for data


def is_directory(path: str | None) -> bool:
    """Whether an output is a directory: one that is there, or a path that ends as one."""
    return path is not None and (path.endswith(("/", os.sep)) or os.path.isdir(path))


def expand(sources: list[str]) -> list[str]:
    """Paths, globs and directories as a list of files, in the order given and by name within a glob or a directory."""
    paths = []
    for source in sources:
        if source == STDIN or os.path.isfile(source) or Path(source).is_fifo():
            paths.append(source)
        elif os.path.isdir(source):
            paths += _in_directory(source)
        elif glob.has_magic(source):
            found = sorted(filter(_may_be_data, glob.glob(source, recursive=True)))
            if not found:
                raise InputMissing(f"{source}: no file matches")
            paths += found
        elif os.path.exists(source):
            paths.append(source)  # a device, such as /dev/stdin
        else:
            raise InputMissing(f"{source}: no such file" if source else "'' is the name of no file")
    return paths


def _may_be_data(path: str) -> bool:
    return os.path.isfile(path) and os.path.basename(path) != MANIFEST


def _in_directory(directory: str) -> list[str]:
    """The data in a directory, at any depth, by name; InputMissing where there is none.

    What begins with a dot or an underscore is a note of some program, as macOS's ._x.parquet and Spark's _temporary
    are, unless it is the name of a partition.
    """
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
        folders[:] = sorted(filter(_is_data, folders))
        found += [Path(folder, name) for name in files if name.endswith(extension) and _is_data(name)]
    if not found:
        raise InputMissing(f"{directory}: the directory holds no {extension} file")
    return [str(path) for path in sorted(found)]


def _is_data(name: str) -> bool:
    return not name.startswith(".") and ("=" in name or not name.startswith("_"))


@dataclass(frozen=True)
class Part:
    """Some rows of a file: from `first` to before `stop`, or to its end."""

    path: str
    first: int = 0
    stop: int | None = None


class _Replayed(io.RawIOBase):
    """A pipe whose first bytes were looked at: they come again, then the rest."""

    def __init__(self, head: bytes, raw: io.RawIOBase):
        self.head, self.raw = head, raw

    def readable(self) -> bool:
        """What BufferedReader asks."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """The next bytes, as io.RawIOBase has it."""
        if not self.head:
            return self.raw.readinto(buffer)
        part, self.head = self.head[: len(buffer)], self.head[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


class Input:
    """A file or a pipe to read, opened once and looked into before it is read; first, stop: those rows that are asked
    for.
    """

    def __init__(self, path: str, first: int = 0, stop: int | None = None):
        self.name, self.first, self.stop = path, first, stop
        self.is_regular = path != STDIN and os.path.isfile(path)

    @functools.cached_property
    def _raw(self) -> io.RawIOBase:
        if self.name == STDIN and sys.stdin is None:
            raise InputMissing("standard input is closed; name a file")
        try:
            return io.FileIO(sys.stdin.fileno(), closefd=False) if self.name == STDIN else io.FileIO(self.name)
        except OSError as error:
            raise InputMissing(f"{self.name}: cannot be opened: {error.strerror}") from None

    @functools.cached_property
    def head(self) -> bytes:
        """At least the first line that says something, up to a MiB; nothing is consumed. A pipe may deliver it in
        pieces, of which the first may be a mark, blank lines, or the bracket of a JSON array alone.
        """
        head = b""
        while len(head) < 1 << 20 and b"\n" not in head.removeprefix(codecs.BOM_UTF8).lstrip(b"[ \t\r\n"):
            more = self._raw.read(1 << 16)
            if not more:
                break
            head += more
        return head

    @functools.cached_property
    def stream(self) -> io.BufferedReader:
        """All its bytes from the first, to be read once."""
        head = self.head
        if self.is_regular:
            self._raw.seek(0)
            return io.BufferedReader(self._raw, 1 << 16)
        return io.BufferedReader(_Replayed(head, self._raw), 1 << 16)

    def seekable(self) -> io.BufferedIOBase:
        """The whole input, to be read anywhere: a pipe is copied to an unlinked temporary file first."""
        return self.stream if self.is_regular else self._spool

    def for_arrow(self) -> io.BufferedIOBase | pa.NativeFile:
        """The whole input as Arrow reads it: a file by itself. Its name may be any bytes, which only its own files
        take.
        """
        return pa.OSFile(os.fsencode(self.name)) if self.is_regular else self._spool

    @functools.cached_property
    def _spool(self) -> io.BufferedIOBase:
        with writing("the temporary copy of " + self.name):
            spool = tempfile.TemporaryFile()  # noqa: SIM115  closed by close
            shutil.copyfileobj(self.stream, spool, 1 << 20)
            spool.seek(0)
        return spool

    def close(self) -> None:
        """Let go of what was opened. A pipe stays open: another thread may be waiting in it, and would not let go."""
        opened = ("stream", "_raw", "_spool") if self.is_regular else ("_spool",)
        for name in opened:
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    def size(self) -> int | None:
        """Bytes of a file; None for a pipe."""
        return os.path.getsize(self.name) if self.is_regular else None

    def stamp(self) -> tuple[int, int]:
        """What changes of a file when it is written to: its bytes, and the time of the last change."""
        found = os.stat(self.name)
        return found.st_size, found.st_mtime_ns

    def position(self) -> int:
        """How many bytes were read of `stream`."""
        return self.stream.tell() if "stream" in self.__dict__ else 0


class Output:
    """A file that appears whole or not at all; standard output, a device or a named pipe, which are written as it goes.

    The file is written under a temporary name beside it, synced, and renamed; an exception or a signal removes it.
    """

    def __init__(self, path: str | None, force: bool = False, inputs: Sequence[str] = ()):
        """OutputError where it cannot be made. inputs: the paths that no file beside this one may replace."""
        if path == "":
            raise OutputError("'' is the name of no file; leave out ⟨sink⟩ to write to standard output")
        self.name = path or "standard output"
        self.is_file = path is not None and not _is_device(path)
        self.path = path or ""  # empty for standard output
        self.force, self.inputs = force, inputs
        self.companions: list[Output] = []
        if self.is_file:
            self.path = os.path.realpath(self.path)  # a link stays, and its target is replaced
            self._check()

    def _check(self) -> None:
        directory = os.path.dirname(self.path)
        if not os.path.isdir(directory):
            raise OutputError(f"{self.name}: the directory {directory} does not exist; make it first")
        if os.path.isdir(self.path):
            raise OutputError(f"{self.name}: is a directory; name a file in it")
        if self._replaced() and not self.force:
            raise OutputError(f"{self.name}: exists already; pass ⟨force=True⟩ to replace it")

    def _replaced(self) -> os.stat_result | None:
        """What is there under the name now; OutputError where nothing may have that name, as where it is too long."""
        try:
            return os.stat(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"{self.name}: cannot be made: {error.strerror}") from None

    def free(self) -> float:
        """Bytes that the disk has left for the file; no bound for what is no file."""
        return shutil.disk_usage(os.path.dirname(self.path)).free if self.is_file else math.inf

    def beside(self, name: str) -> Output:
        """Another file, NAME.SUFFIX as NAME.`name`.SUFFIX, which appears with this one; OutputError where it is an
        input, whose name nobody gave for an output.
        """
        path = Path(self.path)
        companion = Output(str(path.with_name(f"{path.stem}.{name}{path.suffix}")), self.force)
        there = companion._replaced()
        for source in self.inputs:
            with contextlib.suppress(OSError):
                if there and os.path.samestat(there, os.fstat(0) if source == STDIN else os.stat(source)):
                    raise OutputError(
                        f"{companion.name}: would be written with {self.name}, but is read; rename either"
                    )
        self.companions.append(companion.__enter__())
        return companion

    @property
    def for_arrow(self) -> io.BufferedIOBase | pa.NativeFile:
        """What Arrow is to write to: a file by itself, without a copy of every buffer in Python; of any name."""
        return pa.OSFile(os.fsencode(self.temporary.path), "wb") if self.is_file else self.stream

    def __enter__(self) -> Output:
        try:
            self.stream = self._open()
        except OSError as error:
            raise OutputError(f"{self.name}: cannot be made: {error.strerror}") from None
        return self

    def _open(self) -> io.BufferedWriter:
        if self.is_file:
            self.temporary = Temporary(os.path.dirname(self.path))
            return io.BufferedWriter(io.FileIO(self.temporary.handle, "w"), 1 << 20)
        if self.path:
            return io.BufferedWriter(io.FileIO(os.open(self.path, os.O_WRONLY), "w"), 1 << 16)
        if sys.stdout is None:
            raise OutputError("standard output is closed; name a file with ⟨sink⟩")
        sys.stdout.flush()
        return io.BufferedWriter(io.FileIO(sys.stdout.fileno(), "w", closefd=False), 1 << 16)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the file and its companions their names, all or none; after an exception, remove them."""
        if not self.is_file:
            with contextlib.suppress(*[OSError] if kind else []), writing(self.name):
                self.stream.flush()
                if self.path:
                    self.stream.close()
            return
        everything = [*self.companions, self]
        try:
            if kind is None:
                for output in everything:  # all are whole before the first gets its name
                    output._sync()
                with unfinished.lock, writing(self.name):  # and a signal waits until the last has it
                    for output in everything:
                        output._check()  # another process may have made it meanwhile
                    for output in everything:
                        output.temporary.rename(output.path)
        finally:
            for output in everything:
                with contextlib.suppress(OSError):  # a full disk fails again when the buffer is flushed
                    output.stream.close()
                output.temporary.remove()

    def _sync(self) -> None:
        """All bytes on the disk, with the mode of the file that is replaced, or that of a new one."""
        with writing(self.name):
            self.stream.flush()
            if replaced := self._replaced():
                mode = replaced.st_mode & 0o777
            else:
                mask = os.umask(0o077)
                os.umask(mask)
                mode = 0o666 & ~mask
            os.fchmod(self.stream.fileno(), mode)
            os.fsync(self.stream.fileno())


def _is_device(path: str) -> bool:
    """Whether a path is to be written into rather than replaced: /dev/stdout may well be a regular file."""
    special = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    place = os.path.abspath(path)
    return special or os.path.dirname(place) == "/dev" or place.startswith(("/dev/fd/", "/proc/"))


@contextlib.contextmanager
def writing(name: str) -> Iterator[None]:
    """Errors of the operating system while an output is written, as one that says what to do; a closed pipe stays
    itself.
    """
    try:
        yield
    except (BrokenPipeError, LapsumError):
        raise
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise BrokenPipeError(error.errno, error.strerror) from None
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise IOFailed(f"{name}: writing failed: {reason}; nothing was kept") from None


# What the system says of a place in a file that there is not, as a damaged one may name: that is the file's fault.
_OF_DAMAGE = {None, errno.EINVAL, errno.EOVERFLOW, errno.ESPIPE}


def first_line(error: Exception) -> str:
    """What an error of Arrow says about data, without the lines that follow.

    An error that is not about data is raised instead: one of ours, memory that is used up, or what the system says of
    a disk. They reach whoever catches Arrow's, since they are OSErrors or MemoryErrors too.
    """
    if isinstance(error, LapsumError | MemoryError):
        raise error
    if is_out_of_memory(error):
        raise MemoryError(str(error))
    if isinstance(error, OSError) and error.errno not in _OF_DAMAGE:
        raise IOFailed(f"{error.filename or 'input'}: reading failed: {os.strerror(error.errno or 0)}") from error
    return str(error).split("\n", 1)[0]


def unread(name: str, error: Exception) -> DataError:
    """The refusal of an input with a type that PyArrow does not read."""
    return DataError(
        f"{name}: a column has a type that is not supported: {first_line(error)}; write the column as another type"
    )
