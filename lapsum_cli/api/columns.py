"""The columns of a file, without its rows."""

from __future__ import annotations

import contextlib

from ..flow.budget import MIB, Budget
from ..formats.sources import Sources
from ..tables.roles import Names


def column_names(path: str, from_format: str | None = None) -> list[str]:
    """What the columns of a file are called, in order; raises what a run would for a file that cannot be read."""
    source = Sources([path], from_format, Names().numbers, Budget(1024 * MIB))
    with contextlib.closing(source):
        return list(source.schema.names)
