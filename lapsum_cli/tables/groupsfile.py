"""Groups across shards: each shard leaves those that it has in a file, 8 bytes each, and a look at all of these proves
that none is in two, in bounded memory.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from .groups import key_hashes

_RUN = 1 << 18  # groups that are sorted together
_HEAD = 8  # bytes before the first run: whether a null is a group
_PIECE = 1 << 21  # groups that are compared at a time
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, odd: what is different stays so, and spreads


class GroupsFile:
    """Writes the groups of a shard as 64 bits each, in sorted runs of a fixed number."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.file.write(bytes(_HEAD))
        self.held: list[np.ndarray] = []
        self.count, self.has_null = 0, False

    def add(self, keys: list[pa.Array]) -> None:
        """Groups that begin now."""
        hashes, is_null = key_hashes(keys)
        self.has_null = self.has_null or bool(is_null.any())
        self.held.append(mixed(hashes))
        self.count += len(hashes)
        if self.count >= _RUN:
            groups = np.concatenate(self.held)
            whole = len(groups) // _RUN * _RUN
            self._write(groups[:whole])
            self.held, self.count = [groups[whole:]], len(groups) - whole

    def _write(self, groups: np.ndarray) -> None:
        for start in range(0, len(groups), _RUN):
            self.file.write(np.sort(groups[start : start + _RUN]).tobytes())

    def close(self) -> None:
        """All groups are in the file, whoever closes it."""
        if self.held:
            self._write(np.concatenate(self.held))
        self.file.seek(0)
        self.file.write(int(self.has_null).to_bytes(_HEAD, "little"))


def mixed(hashes: np.ndarray) -> np.ndarray:
    """(n,) uint64 for int64: different where these are, and spread evenly where these are consecutive."""
    return hashes.view(np.uint64) * _MIX


class Returned(NamedTuple):
    """What may be a group of several files: its 64 bits as `mixed` has them, None for null, and the places of these
    files. Two groups of text may have the same.
    """

    group: int | None
    files: list[int]


class Twice(NamedTuple):
    """Groups that are there twice, in ascending order, and between which bounds they were looked for."""

    low: int
    high: int
    groups: np.ndarray


# Calls a function with every item; what it returns, in any order.
Run = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


def twice(paths: Sequence[str], piece: int = _PIECE, run: Run = map) -> list[Twice]:
    """What may be groups of several of the files, in ascending order.

    piece  groups that are in memory at a time
    run    looks between bounds side by side, in other processes too: an engine's
    """
    total = sum((os.path.getsize(path) - _HEAD) // 8 for path in paths)
    pieces = max(1, -(-total // piece))
    bounds = [i * 2**64 // pieces for i in range(pieces + 1)]
    found = run(partial(_twice_between, paths), list(itertools.pairwise(bounds)))
    return sorted((one for one in found if len(one.groups)), key=lambda one: one.low)


def returned(paths: Sequence[str], found: Iterable[Twice]) -> Iterator[Returned]:
    """What may be a group of several of the files, for each that may, of those that were found twice."""
    nulls = [i for i, path in enumerate(paths) if _has_null(path)]
    if len(nulls) > 1:
        yield Returned(None, nulls)
    for low, high, groups in found:
        for group in groups:
            yield Returned(int(group), [i for i, of_it in enumerate(_between(paths, low, high)) if group in of_it])


def sharing(paths: Sequence[str], found: Iterable[Twice]) -> list[int]:
    """The files that may have a group of another, by their places."""
    nulls = [i for i, path in enumerate(paths) if _has_null(path)]
    share = set(nulls if len(nulls) > 1 else ())
    for low, high, groups in found:
        share.update(i for i, of_it in enumerate(_between(paths, low, high)) if np.isin(of_it, groups).any())
    return sorted(share)


def _twice_between(paths: Sequence[str], ends: tuple[int, int]) -> Twice:
    """Groups from one bound to before the other that are there twice."""
    groups = np.sort(np.concatenate([np.empty(0, np.uint64), *_between(paths, *ends)]))
    return Twice(*ends, np.unique(groups[1:][groups[1:] == groups[:-1]]))


def _has_null(path: str) -> bool:
    with open(path, "rb") as file:
        return any(file.read(_HEAD))


def _between(paths: Sequence[str], low: int, high: int) -> Iterator[np.ndarray]:
    """The groups of each file from `low` to before `high`: of its runs only the pages that hold these are read."""
    for path in paths:
        parts = [np.empty(0, np.uint64)]
        if os.path.getsize(path) > _HEAD:
            groups = np.memmap(path, np.uint64, "r", _HEAD)
            for start in range(0, len(groups), _RUN):
                run = groups[start : start + _RUN]
                stop = len(run) if high >= 2**64 else int(np.searchsorted(run, np.uint64(high)))
                parts.append(np.array(run[int(np.searchsorted(run, np.uint64(low))) : stop]))
        yield np.concatenate(parts)
