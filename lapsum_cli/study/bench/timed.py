"""What can be timed, as tables: help reads them, and so nothing heavy is imported before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

SHAPES = {  # by device
    "cpu": ("1x10000000", "100000x100", "10000x1000"),
    "cuda": ("1x1000000", "1x10000000", "1x100000000", "100000x1000"),
}
UNEVEN = ("geometric:10", "uniform:1-60", "lognormal:90", "zipf")  # those of --shapes uneven (shapes.py)
DTYPES = ("float32", "float64")
FROM_FILE_TO_FILE = ("rank", "topk")


class Timed(NamedTuple):
    """An operation of the menu, and the options with which it is timed."""

    operation: str
    options: Mapping[str, Any] = MappingProxyType({})


# A gradient is that of one sort, or one threshold, with its result, as a run of the command with --upstream makes them.
TIMED = {
    "rank": Timed("rank"),
    "rank-gradient": Timed("rank", {"gradient": True}),
    "sort": Timed("sort"),
    "topk": Timed("topk"),
    "topk-gradient": Timed("topk", {"gradient": True}),
    "log-topk": Timed("topk", {"log": True}),
}
