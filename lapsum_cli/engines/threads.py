"""This process: one shard after another, each computed by as many threads as were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def run(task: Callable[[Any], Any], shards: Iterable[Any]) -> list[Any]:
    """What task(shard) gives, for every shard, in order."""
    return [task(shard) for shard in shards]
