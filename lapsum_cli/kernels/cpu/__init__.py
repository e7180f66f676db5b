"""Loops on the cores of this machine: rankings in memory, NumPy arrays in and out.

parallel        threads: groups of rankings side by side, or the parts of a long one
vectors         sums, counts, the largest, a filter: loops over one array that a compiler vectorises
order           sorting, best first, with places; radix, of a long ranking
sweeps          the recurrence along sorted scores, in blocks and in parts
inversion       where the soft counts of sorted scores meet targets
threshold       where a soft count meets its target, without a sort; columns, of many short rankings at a time
rank, sort, topk, topk_gradient, quantile, permute, deviations, losses    what is made of these
along, diagonal    second derivatives
finite          the scores that methods other than LapSum's see
"""

import importlib
from typing import Any

__all__ = [
    "along",
    "columns",
    "deviations",
    "diagonal",
    "finite",
    "inversion",
    "losses",
    "order",
    "parallel",
    "permute",
    "quantile",
    "radix",
    "rank",
    "sort",
    "sweeps",
    "threshold",
    "topk",
    "topk_gradient",
    "vectors",
]


def __getattr__(name: str) -> Any:
    """A module when it is asked for: to make all of them takes a tenth of a short run."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
