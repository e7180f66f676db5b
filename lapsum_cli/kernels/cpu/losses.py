"""Losses on the cores: loops over rankings, handed to threads in slices; ..losses has what is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...core.rankings import frozen
from . import parallel


def each_ranking(
    cores: parallel.Cores, loss: Any, offsets: np.ndarray, given: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Losses (m,), and upstream gradients of these shapes, by the loop of a loss from what it reads."""
    losses, upstreams = np.empty(len(offsets) - 1), tuple(np.empty(shape) for shape in shapes)
    read = tuple(frozen(value) if isinstance(value, np.ndarray) else value for value in given.values())
    parallel.by_teams(cores, loss.loop, offsets, read, losses, upstreams)
    return losses, upstreams


def widened(cores: parallel.Cores, values: np.ndarray) -> np.ndarray:
    """The values in float64."""
    return values.astype(np.float64, copy=False)


def cuts_of(cuts: np.ndarray) -> np.ndarray:
    """(m, 4) of what topk.soft_topk keeps."""
    return cuts


def here(cores: parallel.Cores, numbers: np.ndarray) -> np.ndarray:
    """Numbers of rankings (m,), in memory here."""
    return numbers


def add(cores: parallel.Cores, to: np.ndarray, more: np.ndarray) -> None:
    """Add to values (N,), or to numbers of rankings (m,), in place."""
    to += more
