"""What comes of the pieces of a ranking goes into stores, row by row, and what else is told of it is added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np


def put_away(apart: Any, stores: Sequence[Any]) -> tuple[Any, ...]:
    """The rows of an Apart (kernels.cpu.bands) into stores; what it tells."""
    for row, arrays in apart.rows:
        for store, values in zip(stores, arrays, strict=True):
            store.put(row, values)
    told: tuple[Any, ...] = apart.told
    return told


def put_down(found: Iterable[Any], rows: Iterable[int], stores: Sequence[Any]) -> Iterator[Any]:
    """What was found for rows of stores goes there, an array for each store; what is told of each row."""
    for row, (told, arrays) in zip(rows, found, strict=True):
        for store, values in zip(stores, arrays, strict=True):
            store.put(row, values)
        yield told


def added(told: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The sums of numbers and arrays that were told, one after another; of none nothing."""
    total: tuple[Any, ...] = ()
    for more in told:
        if not total:
            total = tuple(np.array(one) for one in more)
            continue
        for sum_, one in zip(total, more, strict=True):
            sum_ += one
    return total
