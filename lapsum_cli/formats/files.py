"""Where bytes come from and go to: files and pipes in; atomic files and pipes out."""

from __future__ import annotations

import codecs
import contextlib
import functools
import io
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pyarrow as pa

from ..core.errors import DataError, InputMissing, OutputError
from .faults import writing
from .places import File, Stamp, place_at
from .temporary import Temporary, temporary_place

STDIN = "-"


def is_directory(path: str | None) -> bool:
    """Whether an output is a directory: one that is there, or a path that ends as one."""
    try:
        return path is not None and (path.endswith(("/", os.sep)) or place_at(path).is_directory(path))
    except InputMissing as error:
        raise OutputError(error.message) from None


def expand(sources: list[str]) -> list[str]:
    """Paths, globs and directories as a list of files, in the order given and by name within a glob or a directory."""
    return [path for source in sources for path in ([STDIN] if source == STDIN else place_at(source).expand(source))]


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
        self.place = place_at(path)
        self.is_regular = path != STDIN and self.place.is_regular(path)

    @functools.cached_property
    def _file(self) -> File:
        return self.place.file(self.name)

    @functools.cached_property
    def _raw(self) -> io.RawIOBase:
        if self.name != STDIN:
            return self._file.raw()
        if sys.stdin is None:
            raise InputMissing("standard input is closed; name a file")
        return io.FileIO(sys.stdin.fileno(), closefd=False)

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
        """The whole input as Arrow reads it: a file by itself."""
        return self._file.for_arrow() if self.is_regular else self._spool

    @functools.cached_property
    def _spool(self) -> io.BufferedIOBase:
        with writing("the temporary copy of " + self.name):
            spool = tempfile.TemporaryFile()  # noqa: SIM115  closed by close
            shutil.copyfileobj(self.stream, spool, 1 << 20)
            spool.seek(0)
        return spool

    @property
    def is_far(self) -> bool:
        """Whether every read takes a request, so that few large ones do better."""
        return self.is_regular and self._file.is_far

    def close(self) -> None:
        """Let go of what was opened. A pipe stays open: another thread may be waiting in it, and would not let go."""
        opened = ("stream", "_raw", "_file", "_spool") if self.is_regular else ("_spool",)
        for name in opened:
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    def size(self) -> int | None:
        """Bytes of a file; None for a pipe."""
        return self._file.size() if self.is_regular else None

    def stamp(self) -> Stamp:
        """Its bytes, and what changes of a file when it is written to."""
        return self.place.stamp(self.name)

    def check_unchanged(self, stamp: Stamp | None = None) -> None:
        """DataError where a file is not what it was at another time, by default when it was opened, if what is read of
        it since is not that.
        """
        stamp = stamp or (self._file.opened_as if "_file" in self.__dict__ else None)
        if stamp and self.stamp() != stamp:
            raise DataError(f"{self.name}: was written to while it was read; run again when it is whole")

    def position(self) -> int:
        """How many bytes were read of `stream`."""
        return self.stream.tell() if "stream" in self.__dict__ else 0


class Output:
    """A file that appears whole or not at all; standard output, a device or a named pipe, which are written as it goes.

    The file is written under a temporary name beside it, synced, and renamed; an exception or a signal removes it. In
    an object store it is sent, from a folder for temporary files.
    """

    def __init__(self, path: str | None, force: bool = False, inputs: Sequence[str] = (), temp_dir: str | None = None):
        """OutputError where it cannot be made. inputs: the paths that no file beside this one may replace. temp_dir:
        the folder for temporary files, by default the system's.
        """
        if path == "":
            raise OutputError("'' is the name of no file; leave out ⟨sink⟩ to write to standard output")
        self.name = path or "standard output"
        self.place = place_at(path or "")
        self.path = path or ""  # empty for standard output
        self.force, self.inputs, self.temp_dir = force, inputs, temp_dir
        self.companions: list[Output] = []
        try:
            self.is_file = path is not None and not _is_device(path)
            self.path = self.place.settled(self.path) if self.is_file else self.path
        except OSError as error:  # of a relative path, where the directory of the process is gone
            raise OutputError(f"{self.name}: cannot be made: {error.strerror}") from None
        if self.is_file:
            self._check()

    def _check(self) -> None:
        self.place.refuse_output(self.path, self.name)
        if self.place.exists(self.path, self.name) and not self.force:
            raise OutputError(f"{self.name}: exists already; pass ⟨force=True⟩ to replace it")

    def _check_all(self) -> None:
        for output in (*self.companions, self):
            output._check()

    @property
    def _folder(self) -> str:
        """In which it is made."""
        return self.place.making(self.path, temporary_place(self.temp_dir))

    def free(self) -> float:
        """Bytes that the disk has left for the file; no bound for what is no file."""
        return shutil.disk_usage(self._folder).free if self.is_file else math.inf

    def beside(self, name: str) -> Output:
        """Another file, NAME.SUFFIX as NAME.`name`.SUFFIX, which appears with this one; OutputError where it is an
        input, whose name nobody gave for an output.
        """
        stem, suffix = os.path.splitext(self.path)
        companion = Output(f"{stem}.{name}{suffix}", self.force, temp_dir=self.temp_dir)
        there = self.place.identity(companion.path)
        for source in self.inputs:
            read = "/dev/stdin" if source == STDIN else source
            if there is not None and there == place_at(read).identity(read):
                raise OutputError(f"{companion.name}: would be written with {self.name}, but is read; rename either")
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
            self.temporary = Temporary(self._folder)
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
                    with writing(output.name):
                        output.stream.flush()
                        output.place.sync(output.stream.fileno(), output.path)
                with writing(self.name):
                    made = [(output.temporary, output.path) for output in everything]
                    self.place.publish(made, self._check_all)
        finally:
            for output in everything:
                with contextlib.suppress(OSError):  # a full disk fails again when the buffer is flushed
                    output.stream.close()
                output.temporary.remove()


def _is_device(path: str) -> bool:
    """Whether a path is to be written into rather than replaced: /dev/stdout may well be a regular file."""
    special = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    place = os.path.abspath(path)
    return special or os.path.dirname(place) == "/dev" or place.startswith(("/dev/fd/", "/proc/"))
