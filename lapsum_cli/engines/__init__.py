"""Who runs the shards of a job, and what a data set's shards are (plan.py) and which of them are done (manifest.py).

An engine is a name and a module with

    run(task, shards, workers) -> iterable      what task(shard) gives, for every shard, as they are finished
    SENDS = True                                where it has workers, which are other processes: what they are given is
                                                pickled, and all that a worker needs
    DIVIDES = True                              where these are of this machine: a job's memory and threads are divided
                                                among them
    ELSEWHERE = True                            where they may be at an address; then `device` of what is opened tells
                                                which they compute on, and where it does not divide
                                                share(memory, threads) -> (workers by default, memory, threads of each)
    opened(address, device) -> what has these   where it begins and ends: a context manager

A new engine is its file and its line.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from ..core.errors import OptionError

ENGINES = {
    "threads": "lapsum_cli.engines.threads",
    "processes": "lapsum_cli.engines.processes",
    "ray": "lapsum_cli.engines.ray",
}


def engine_called(name: str, workers: int | None = None, address: str | None = None) -> ModuleType:
    """The engine of this name, with so many workers, None for its default, at an address, None for none; OptionError
    where there is no such.
    """
    if name not in ENGINES:
        raise OptionError(f"⟨engine⟩ must be {' or '.join(', '.join(ENGINES).rsplit(', ', 1))}, got {name!r}")
    engine = importlib.import_module(ENGINES[name])
    if workers is not None and not sends(engine):
        raise OptionError(
            f"⟨workers⟩ are those of ⟨engine=processes⟩ or ⟨engine=ray⟩, and this is {name}; pass ⟨threads⟩"
        )
    if address is not None and not getattr(engine, "ELSEWHERE", False):
        raise OptionError(f"⟨ray_address⟩ is that of ⟨engine=ray⟩, and this is {name}")
    return engine


@contextlib.contextmanager
def opened(engine: ModuleType, address: str | None, device: str) -> Iterator[Any]:
    """An engine for a run, which computes on this device."""
    begin = getattr(engine, "opened", lambda *given: contextlib.nullcontext(engine))
    with begin(address, device) as found:
        yield found


def sends(engine: Any) -> bool:
    """Whether it has workers, which are other processes."""
    return bool(getattr(engine, "SENDS", False))


def divides(engine: Any) -> bool:
    """Whether its workers are processes of this machine, all of this run."""
    return bool(getattr(engine, "DIVIDES", False))
