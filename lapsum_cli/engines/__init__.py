"""Who runs the shards of a job, and what a data set's shards are (plan.py) and which of them are done (manifest.py).

An engine is a name and a module with

    run(task, shards, workers) -> iterable      what task(shard) gives, for every shard, as they are finished
    SENDS = True                                where it has workers, which are other processes: what they are given is
                                                pickled, and all that a worker needs
    DIVIDES = True                              where these are of this machine: a job's memory and threads are divided
                                                among them

A new engine is its file and its line.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from ..core.errors import OptionError

ENGINES = {"threads": "lapsum_cli.engines.threads", "processes": "lapsum_cli.engines.processes"}


def engine_called(name: str, workers: int | None = None) -> ModuleType:
    """The engine of this name, with so many workers, None for its default; OptionError where there is no such."""
    if name not in ENGINES:
        raise OptionError(f"⟨engine⟩ must be {' or '.join(ENGINES)}, got {name!r}")
    engine = importlib.import_module(ENGINES[name])
    if workers is not None and not sends(engine):
        raise OptionError(f"⟨workers⟩ are those of ⟨engine=processes⟩, and this is {name}; pass ⟨threads⟩")
    return engine


def sends(engine: ModuleType) -> bool:
    """Whether it has workers, which are other processes."""
    return bool(getattr(engine, "SENDS", False))


def divides(engine: ModuleType) -> bool:
    """Whether its workers are processes of this machine."""
    return bool(getattr(engine, "DIVIDES", False))
