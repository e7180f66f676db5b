"""Object stores: s3://bucket/key and gs://bucket/key, by Arrow's clients. A directory is what keys have before a slash.

An object is there whole or not at all, cannot be written on at its end, and has no lock. What is written is made in a
temporary file of this machine, and sent when it is whole.
"""

from __future__ import annotations

import contextlib
import ctypes
import fnmatch
import functools
import glob
import io
import os
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from pyarrow import fs

from ..core import unfinished
from ..core.errors import InputMissing, IOFailed, LapsumError, OptionError, OutputError
from . import FORMATS, IN_DIRECTORY
from .clients import client
from .faults import unread_from, unwritten_to
from .local import is_data
from .places import MANIFEST, Stamp
from .ranges import Ranges
from .temporary import Temporary
from .temporary import folder as temporary_folder

_SMALL = 4 << 20  # bytes of an object that is one request
_PIECE, _AT_ONCE = 8 << 20, 4  # bytes that are sent as a part, and parts that are on their way
_SETTING = re.compile(r"\?(region|scheme|endpoint_override|anonymous|access_key|secret_key|[a-z_]+_(key|token))=", re.I)


def _located(path: str) -> tuple[Any, str]:
    """The client of a path, and bucket/key; OptionError where it names no bucket, or more than that."""
    if setting := _SETTING.search(path):
        raise OptionError(
            f"{path[: setting.start()]}: a path takes no settings; set AWS_ENDPOINT_URL, AWS_REGION or AWS_PROFILE"
        )
    scheme, _, place = path.partition("://")
    place = place.rstrip("/")
    bucket = place.partition("/")[0]
    if not bucket or glob.has_magic(bucket):
        raise OptionError(f"{path}: name a bucket, as in {scheme}://bucket/scores.parquet")
    if "//" in place:
        raise OptionError(f"{path}: an empty name between two slashes is not read")
    return client(scheme.lower(), bucket), place


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """What goes wrong, as errors of an input."""
    try:
        yield
    except LapsumError:
        raise
    except FileNotFoundError:
        raise InputMissing(f"{name}: no such object") from None
    except (pa.ArrowException, OSError) as error:
        raise unread_from(name, error) from None


@contextlib.contextmanager
def _writing(name: str) -> Iterator[None]:
    """What goes wrong, as errors of an output."""
    try:
        yield
    except LapsumError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise unwritten_to(name, error) from None


class _File:
    """An object that is open; a small one is fetched whole when something of it is read."""

    def __init__(self, path: str):
        """InputMissing where there is none, or it may not be read."""
        self.path = path
        with _reading(path):
            system, key = _located(path)
            self.file = system.open_input_file(key)
            self.opened_as: Stamp | None = _stamp(self.file)
        self.bytes = self.opened_as[0]
        self.is_far = self.bytes > _SMALL

    @functools.cached_property
    def _near(self) -> pa.NativeFile:
        if self.is_far:
            return self.file
        whole = bytearray(self.bytes)
        Ranges(self.path, self.file, self.bytes).fetch(0, memoryview(whole))
        return pa.BufferReader(whole)

    def raw(self) -> io.RawIOBase:
        """As File has it."""
        return Ranges(self.path, self._near, self.bytes)

    def for_arrow(self) -> pa.NativeFile:
        """As File has it."""
        return self._near

    def size(self) -> int:
        """As File has it."""
        return self.bytes

    def close(self) -> None:
        """As File has it."""
        self.file.close()


def _stamp(file: pa.NativeFile) -> Stamp:
    """Its bytes, and its tag, which goes with its contents, or when it was written."""
    told = file.metadata() or {}
    tag = next((told[name] for name in ("ETag", "etag", "generation", "Last-Modified") if name in told), b"")
    return file.size(), tag.decode("utf-8", "backslashreplace")


class Store:
    """As Place has it."""

    appends = False

    def __init__(self) -> None:
        self.buckets: set[tuple[str, str]] = set()  # that were seen to be there

    def expand(self, source: str) -> list[str]:
        """A key may have the characters of a glob: it is looked for as it is first."""
        found = self._look(source)
        if found.is_file and not source.endswith("/"):
            return [source]
        if found.type == fs.FileType.Directory:
            return self._in_directory(source)
        if glob.has_magic(source):
            return self._matching(source)
        raise self._missing(source, "no such object")

    def _missing(self, source: str, what: str) -> InputMissing:
        """Why there is nothing to read: also where there is no bucket, Arrow finds nothing in it."""
        scheme, _, place = source.partition("://")
        bucket = place.partition("/")[0]
        there = self._look(f"{scheme}://{bucket}").type != fs.FileType.NotFound
        return InputMissing(f"{source}: {what if there else f'there is no bucket {bucket}'}")

    def _look(self, path: str) -> Any:
        """What Arrow knows of a path."""
        with _reading(path):
            system, key = _located(path)
            return system.get_file_info(key)

    def _listed(self, directory: str, deep: bool = False) -> list[tuple[list[str], Any]]:
        """The objects below a directory, by the names between slashes below it, in their order."""
        with _reading(directory):
            system, key = _located(directory)
            found = system.get_file_info(fs.FileSelector(key, recursive=deep, allow_not_found=True))
        named = [(one.path[len(key) + 1 :].split("/"), one) for one in found if one.is_file]
        return sorted(named, key=lambda one: one[0])

    def _in_directory(self, directory: str) -> list[str]:
        extension = FORMATS[IN_DIRECTORY].extensions[0]
        found = self._listed(directory, deep=True)
        paths = [
            f"{directory.rstrip('/')}/{'/'.join(names)}"
            for names, _ in found
            if names[-1].endswith(extension) and all(map(is_data, names))
        ]
        if not paths:
            raise self._missing(directory, f"the directory holds no {extension} file")
        return paths

    def _matching(self, pattern: str) -> list[str]:
        """As glob has it: a star stops at a slash and at a dot that begins a name, ** goes through directories."""
        scheme, _, place = pattern.partition("://")
        names = place.split("/")
        literal = next(i for i, name in enumerate(names) if glob.has_magic(name))
        base, rest = f"{scheme}://{'/'.join(names[:literal])}", names[literal:]
        found = self._listed(base, deep=len(rest) > 1 or rest == ["**"])
        paths = [f"{base}/{'/'.join(key)}" for key, _ in found if key[-1] != MANIFEST and _matches(key, rest)]
        if not paths:
            raise self._missing(pattern, "no object matches")
        return sorted(paths)

    def is_regular(self, path: str) -> bool:
        """Whether it is there shows when it is opened."""
        return True

    def is_directory(self, path: str) -> bool:
        """Whether a key goes on behind it."""
        return bool(self._look(path).type == fs.FileType.Directory)

    def is_read_once(self, path: str) -> bool:
        """As Place has it."""
        return False

    def file(self, path: str) -> _File:
        """As Place has it."""
        return _File(path)

    def stamp(self, path: str) -> Stamp:
        """As Place has it."""
        with contextlib.closing(_File(path)) as file:
            assert file.opened_as is not None
            return file.opened_as

    def identity(self, path: str) -> Hashable:
        """Its path: there are no links."""
        return path.rstrip("/")

    def absolute(self, path: str) -> str:
        """Below a folder that is called as the scheme, with a colon."""
        return "/" + path.rstrip("/").replace("://", ":/")

    def read(self, path: str) -> bytes | None:
        """As Place has it."""
        if not self.exists(path, path):
            return None
        with contextlib.closing(_File(path)) as file:
            return file.raw().read()

    def settled(self, path: str) -> str:
        """As Place has it."""
        return path

    def refuse_output(self, path: str, name: str) -> None:
        """As Place has it."""
        if path.endswith("/"):
            raise OutputError(f"{name}: is a directory; name an object in it")
        with _writing(name):
            system, key = _located(path)
            bucket, scheme = key.split("/")[0], path.partition("://")[0]
            if (scheme, bucket) in self.buckets:
                return
            if system.get_file_info(bucket).type == fs.FileType.NotFound:
                raise OutputError(f"{name}: there is no such bucket; make it first")
            self.buckets.add((scheme, bucket))

    def exists(self, path: str, name: str) -> bool:
        """As Place has it."""
        with _writing(name), contextlib.suppress(FileNotFoundError):
            system, key = _located(path)
            system.open_input_file(key).close()  # one request, where Arrow looks for a directory too with two
            return True
        return False

    def making(self, path: str, folder: str) -> str:
        """As Place has it."""
        return folder

    def sync(self, handle: int, path: str) -> None:
        """It is sent from what the system holds of it."""

    def publish(self, made: Sequence[tuple[Temporary, str]], check: Callable[[], None]) -> None:
        """Of several that go together, those that were new and have been sent go where the next cannot be."""
        check()
        new = [path for _, path in made if not self.exists(path, path)]
        sent: list[str] = []

        def undo(paths: Sequence[str] = sent) -> None:
            for path in paths:
                with contextlib.suppress(LapsumError):
                    if path in new:
                        self.remove(path)

        with unfinished.undone_by(undo):
            for temporary, path in made:
                try:
                    self._send_file(temporary.path, path)
                except BaseException:
                    undo([*sent, path])
                    raise
                sent.append(path)

    def _send_file(self, source: str, path: str) -> None:
        with open(source, "rb") as file:
            self._send(path, iter(partial(file.read, _PIECE), b""))
        if self.stamp(path)[0] != os.path.getsize(source):
            raise IOFailed(f"{path}: writing failed: not all of it has arrived; run again")

    def write(self, path: str, data: bytes) -> None:
        """Replace a small object."""
        self._send(path, [data])

    def _send(self, path: str, pieces: Iterable[bytes]) -> None:
        """An object, of which no more than some pieces are in memory, and which is there once all have arrived.

        Arrow completes an upload when its stream is let go, with what it has by then: one that broke off is held until
        the process is gone.
        """
        with _writing(path):
            system, key = _located(path)
            stream = system.open_output_stream(key)
            try:
                for i, piece in enumerate(pieces, 1):
                    stream.write(piece)
                    if i % _AT_ONCE == 0:
                        stream.flush()
                stream.close()
            except BaseException:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(stream))
                raise

    def refuse_directory(self, directory: str) -> None:
        """As Place has it."""
        self.refuse_output(directory.rstrip("/") + "/_", directory)

    def make_directory(self, directory: str) -> None:
        """There are directories as soon as something is in them."""

    make_folders = tidy = make_directory

    def present(self, directory: str, names: Iterable[str]) -> dict[str, int]:
        """As Place has it."""
        wanted = set(names)
        found = (("/".join(parts), one.size) for parts, one in self._listed(directory, deep=True))
        return {name: size for name, size in found if name in wanted}

    def remove(self, path: str) -> None:
        """As Place has it."""
        with _writing(path), contextlib.suppress(FileNotFoundError):
            system, key = _located(path)
            system.delete_file(key)

    def remove_tree(self, path: str) -> None:
        """As Place has it."""
        with contextlib.suppress(LapsumError, FileNotFoundError), _writing(path):
            system, key = _located(path)
            system.delete_dir(key)

    def remove_empty(self, folders: Sequence[str]) -> None:
        """There is no directory without something in it."""

    @contextlib.contextmanager
    def copies(self, paths: Sequence[str], folder: str) -> Iterator[Sequence[str]]:
        """Copies of objects that lie in one directory."""
        with temporary_folder(folder, "lapsum-copies-") as place:
            with _reading(paths[0]):
                system, key = _located(os.path.dirname(paths[0]))
                fs.copy_files(key, str(place), system, fs.LocalFileSystem())
            yield [str(place / os.path.basename(path)) for path in paths]


def _matches(names: list[str], patterns: list[str]) -> bool:
    if not patterns:
        return not names
    if patterns[0] == "**":
        hidden = next((i for i, name in enumerate(names) if name.startswith(".")), len(names))
        return any(_matches(names[i:], patterns[1:]) for i in range(hidden + 1))
    if not names or (names[0].startswith(".") and not patterns[0].startswith(".")):
        return False
    return fnmatch.fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


PLACE = Store()
