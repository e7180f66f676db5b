"""Where a path is: on this machine, or in an object store. What is asked of a path is asked here, and alike of both.

A kind of place is a scheme, as in s3://bucket/key, and a module whose PLACE is a Place. A new kind is its file and its
line.
"""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import pyarrow as pa

from ..core.errors import OptionError
from .temporary import Temporary

MANIFEST = "_manifest.jsonl"  # of a data set that was written, beside its files: no glob takes it for data
PLACES = {"": "local", "s3": "stores", "gs": "stores", "gcs": "stores"}

Stamp = tuple[int, int | str]  # the bytes of a file, and what changes with every change: a time, or a tag


class File(Protocol):
    """A file that is read.

    opened_as: of one that others may replace meanwhile, what it was when it was opened. is_far: every read takes a
    request.
    """

    opened_as: Stamp | None
    is_far: bool

    def raw(self) -> io.RawIOBase:
        """Its bytes, from the first, to be read anywhere."""

    def for_arrow(self) -> pa.NativeFile:
        """The same as Arrow reads them, by itself."""

    def size(self) -> int:
        """How many bytes it has."""

    def close(self) -> None:
        """Let go of what was opened."""


class Place(Protocol):
    """What is asked of paths: first of inputs, which raise InputMissing or IOFailed, then of outputs and of directories
    of them, which raise OutputError or IOFailed. What the system says of this machine is raised as it is where nothing
    else is said.

    appends: whether a file can be written on at its end, and locked.
    """

    appends: bool

    def expand(self, source: str) -> list[str]:
        """The files of a path, a glob or a directory, by name."""

    def is_regular(self, path: str) -> bool:
        """Whether it is, or will be when it is opened, a file: its bytes are read anywhere, and again."""

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory."""

    def is_read_once(self, path: str) -> bool:
        """Whether what is there can be read once, as a pipe."""

    def file(self, path: str) -> File:
        """A file, opened to be read."""

    def stamp(self, path: str) -> Stamp:
        """Of a file, as it is now."""

    def identity(self, path: str) -> Hashable:
        """The same for all paths of one file; None where it is known that there is none."""

    def absolute(self, path: str) -> str:
        """The path from the root of all places."""

    def read(self, path: str) -> bytes | None:
        """All of a small file; None where there is none."""

    def settled(self, path: str) -> str:
        """The path of an output, where links lead."""

    def refuse_output(self, path: str, name: str) -> None:
        """OutputError where there can be no such file, whether or not there is one."""

    def exists(self, path: str, name: str) -> bool:
        """Whether an output would replace a file."""

    def making(self, path: str, folder: str) -> str:
        """The folder of this machine in which an output is made: its own, or that of temporary files."""

    def sync(self, handle: int, path: str) -> None:
        """An open file is whole, and will be at the path."""

    def publish(self, made: Sequence[tuple[Temporary, str]], check: Callable[[], None]) -> None:
        """Give files their paths, all or none, if after `check`, which raises where they may not have them."""

    def refuse_directory(self, directory: str) -> None:
        """OutputError where there can be no such directory."""

    def make_directory(self, directory: str) -> None:
        """A new directory."""

    def make_folders(self, path: str) -> None:
        """A directory, and those above, if they are not there."""

    def present(self, directory: str, names: Iterable[str]) -> dict[str, int]:
        """Those of some names that a directory has, and their bytes; -1 for what is no file."""

    def tidy(self, folder: str) -> None:
        """Remove what dead runs left."""

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""

    def remove_tree(self, path: str) -> None:
        """Remove a directory and what is in it, if it is there."""

    def remove_empty(self, folders: Sequence[str]) -> None:
        """Remove those directories that are empty."""

    def copies(self, paths: Sequence[str], folder: str) -> AbstractContextManager[Sequence[str]]:
        """The paths of files on this machine that are the same, for a while."""


def place_at(path: str) -> Place:
    """Where a path is; OptionError for a scheme that is none of ours."""
    scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*)://", path)
    name = scheme[1].lower() if scheme else ""
    if name not in PLACES:
        known = ", ".join(f"{known}://" for known in PLACES if known)
        raise OptionError(f"{path}: {name}:// is no place of files here; known are paths of this machine and {known}")
    place: Place = importlib.import_module(f".{PLACES[name]}", __package__).PLACE
    return place
