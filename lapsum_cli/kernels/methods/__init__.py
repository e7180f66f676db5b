"""Loops of methods other than LapSum's, over rankings of finite float64 scores, of which the largest is best.

selected     the k-th largest of some scores and the next
threshold    memberships above a threshold, by the logistic distribution: SOFT, OTT's mask, DFTopK
isotonic     projections by pool adjacent violators: sparse top-k, fast soft sort
matrices     ranks, sorted scores and memberships by a matrix: NeuralSort, SoftSort (softmaxes, laplace)
transport    entropic transport to anchors in a row, and what is made of it (transported): SOFT's sorted top-k, OTT
network      sorting networks, of soft comparisons (sortnet)
noised       hard memberships of scores with noise
gates        what a gate lets pass; OneSoft; hard memberships, ranks and sorted scores
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.rankings import Rankings
from ..cpu import order, parallel


def each(cores: Any, offsets: np.ndarray, loop: Any, *arrays: Any, size: int = parallel.SLICE) -> None:
    """Call loop(first, last, offsets, *arrays) for slices of rankings, by threads."""
    parallel.for_each(
        lambda first, last: loop(first, last, offsets, *arrays), parallel.slices(offsets, size), cores.threads
    )


def places(cores: Any, given: Any) -> np.ndarray:
    """(N,) int64: the place of every score in its ranking, from 0, the best first; ties in the order of the input."""
    found: np.ndarray = order.Order(cores, Rankings(given.x, given.offsets)).positions()
    return found
