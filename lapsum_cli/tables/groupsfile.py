"""Groups across shards: each shard leaves those that it has in a file, 8 bytes each, and a look at all of these proves
that none is in two, in bounded memory.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from .groups import key_hashes

_RUN = 1 << 18  # groups that are sorted together
_HEAD = 8  # bytes before the first run: whether a null is a group
_PIECE = 1 << 22  # groups that are compared at a time
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, odd: what is different stays so, and spreads


class GroupsFile:
    """Writes the groups of a shard as 64 bits each, in sorted runs of a fixed number."""

    def __init__(self, path: str):
        self.file = open(path, "wb")  # noqa: SIM115  closed by close
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
        """All groups on the disk."""
        if self.held:
            self._write(np.concatenate(self.held))
        self.file.seek(0)
        self.file.write(int(self.has_null).to_bytes(_HEAD, "little"))
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()


def mixed(hashes: np.ndarray) -> np.ndarray:
    """(n,) uint64 for int64: different where these are, and spread evenly where these are consecutive."""
    return hashes.view(np.uint64) * _MIX


class Returned(NamedTuple):
    """A group that several files have: the first two of these; and all files that share some group with another.

    group: its 64 bits as `mixed` has them, None for null
    """

    group: int | None
    first: int
    second: int
    files: list[int]


def returned(paths: Sequence[str], piece: int = _PIECE) -> Returned | None:
    """A group that two of the files have; None where there is none. piece: groups that are in memory at a time."""
    nulls = [i for i, path in enumerate(paths) if _has_null(path)]
    found: set[int] = set(nulls if len(nulls) > 1 else ())
    example: tuple[int | None, int, int] | None = (None, nulls[0], nulls[1]) if len(nulls) > 1 else None
    total = sum((os.path.getsize(path) - _HEAD) // 8 for path in paths)
    pieces = max(1, -(-total // piece))
    bounds = [i * 2**64 // pieces for i in range(pieces + 1)]
    for low, high in itertools.pairwise(bounds):
        groups = np.sort(np.concatenate([np.empty(0, np.uint64), *_between(paths, low, high)]))
        twice = groups[1:][groups[1:] == groups[:-1]]
        if not len(twice):
            continue
        del groups
        holders = [i for i, of_it in enumerate(_between(paths, low, high)) if np.isin(of_it, twice).any()]
        found.update(holders)
        if example is None:
            group = int(twice[0])
            first, second = [i for i, of_it in enumerate(_between(paths, low, high)) if group in of_it][:2]
            example = (group, first, second)
    return None if example is None else Returned(*example, sorted(found))


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
