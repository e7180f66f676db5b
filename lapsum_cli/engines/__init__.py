"""Who runs the shards of a job: an engine by its name, as a module with

    run(task, shards) -> list      what task(shard) gives, for every shard, in order

A new engine is its file and its line.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from ..core.errors import OptionError

ENGINES = {"threads": "lapsum_cli.engines.threads"}


def engine_called(name: str) -> ModuleType:
    """The engine of this name; OptionError names those that are known."""
    if name not in ENGINES:
        raise OptionError(f"⟨engine⟩ must be {' or '.join(ENGINES)}, got {name!r}")
    return importlib.import_module(ENGINES[name])
