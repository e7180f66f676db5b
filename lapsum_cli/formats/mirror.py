"""What the files of a data set are called below the folder that they have in common, and so their results."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from . import FORMATS, by_extension
from .files import expand
from .places import place_at


def mirrored(sources: Sequence[str]) -> dict[str, str]:
    """The files of paths, globs and directories, in order, and the path of each from the folder that all sources have
    in common. One whose name gives a column, such as qid=7, is never that folder.
    """
    root = os.path.commonpath([_absolute(_folder(source)) for source in sources])
    while "=" in os.path.basename(root):
        root = os.path.dirname(root)
    files = expand(list(sources))
    return {path: os.path.relpath(_absolute(path), root).replace(os.sep, "/") for path in files}


def _absolute(path: str) -> str:
    return place_at(path).absolute(path)


def _folder(source: str) -> str:
    """The directory that a source is, or the last that it names without a wildcard."""
    place = place_at(source)
    if place.is_directory(source):
        return source
    folder = os.path.dirname(source)
    while glob.has_magic(folder) and source not in place.expand(source):
        folder = os.path.dirname(folder)
    return folder


def named(name: str, format: str) -> str:
    """The name with the extension of a format, in place of that of another; as it is where it has it."""
    known = by_extension(name)
    if known == format:
        return name
    return (os.path.splitext(name)[0] if known else name) + FORMATS[format].extensions[0]
