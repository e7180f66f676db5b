"""Graded top-k: the cross-entropy of a soft top k, times n, summed over the grades of the target.

For every grade but the lowest, k is how many targets have it or a better one. Each of these is a loss of topk.py.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...core.rankings import Array
from .topk import LOSS as TOPK


class Cuts(NamedTuple):
    """The cuts between the grades of targets, of all rankings one after the other, in each from the best grade down.

    owners  (c,) which ranking it cuts
    ks      (c,) how many targets are above it
    grades  (c,) float64, the lowest grade above it
    below   (c,) float64, the grade below it
    """

    owners: np.ndarray
    ks: np.ndarray
    grades: np.ndarray
    below: np.ndarray


def cuts(target: Array, offsets: np.ndarray) -> Cuts:
    """Those of targets (N,)."""
    lengths = np.diff(offsets)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((-target, owners))
    sorted_targets, owners = target[order], owners[order]
    ends = np.flatnonzero((sorted_targets[1:] != sorted_targets[:-1]) & (owners[1:] == owners[:-1])) + 1
    of = owners[ends - 1]
    return Cuts(of, ends - offsets[of], sorted_targets[ends - 1], sorted_targets[ends])


def levels(target: Array, offsets: np.ndarray) -> Iterator[np.ndarray]:
    """(m,) float64 for 1, 2 .. grades: how many targets of each ranking have one of its best so many, and 0 where these
    are all.
    """
    of, above, *_ = cuts(target, offsets)
    level = np.arange(len(of)) - np.searchsorted(of, of)
    by_level = np.argsort(level, kind="stable")
    for chosen in np.split(by_level, np.cumsum(np.bincount(level))[:-1]) if len(level) else ():
        ks = np.zeros(len(offsets) - 1)
        ks[of[chosen]] = above[chosen]
        yield ks


LOSS = TOPK._replace(levels=levels)
