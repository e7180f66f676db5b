"""Scores of a ranking that no memory holds, or targets beside them, as passes over its pieces see them: where a top-k
cuts them, and the bands that they are parted into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .giant_ranking import Ranking

SAMPLE = 1 << 18  # scores of a sample, at most
_BYTES_OF_A_SAMPLE = 32  # a score: itself, and what is summed at it


class Weights(NamedTuple):
    """What goes with every score, such as an upstream gradient.

    of_piece  (first, rankings) -> those of a piece; common: what is taken off all of them
    """

    of_piece: Callable[[int, Any], np.ndarray]
    dtype: np.dtype
    common: float


class Cut(NamedTuple):
    """Where a top-k cuts them: the cut (4,), how many are infinite on top, and how many finite."""

    cut: np.ndarray
    top: int
    finite: int


class Scores(NamedTuple):
    """One number for every item.

    ranking   where they are from
    of_piece  (first, rankings) -> those of a piece, of this dtype
    length    of all of them; largest: whether the largest is best
    """

    ranking: Ranking
    of_piece: Callable[[int, Any], np.ndarray]
    length: int
    dtype: np.dtype
    largest: bool

    @property
    def sign(self) -> Any:
        """With which the largest is best."""
        return self.dtype.type(1 if self.largest else -1)

    def of_parts(self, function: Callable[[int, np.ndarray], Any]) -> Iterator[Any]:
        """What function(first, scores) returns for every piece, in their order."""
        return self.ranking.of_parts(lambda first, rankings: function(first, self.of_piece(first, rankings)))

    def with_weights(self, weights: Weights | None, function: Callable[[int, np.ndarray, Any], Any]) -> Any:
        """A function of (first, scores, weights or None) as one of the pieces that Ranking has."""

        def of_piece(first: int, rankings: Any) -> Any:
            v = None if weights is None else weights.of_piece(first, rankings)
            return function(first, self.of_piece(first, rankings), v)

        return of_piece

    def cut(self, k: float, alpha: float) -> Cut:
        """Of a top-k: one look at a sample, and one at a bracket."""
        from ..kernels.cpu.topk import cut_of_parts
        from ..kernels.cpu.topk_parts import Whole

        whole = Whole(self.length, self.dtype, self.ranking.pieces.room(2 * self.dtype.itemsize, 0.5), self._sample)
        return Cut(*cut_of_parts(self.of_parts, whole, k, alpha, self.sign))

    def bands(self, rate: float, weights: Weights | None = None, more: int = 0) -> Any:
        """The work on them, and their bands: a sample, then every score into its band on the disk. more: bytes that a
        score of a band takes besides.
        """
        from ..kernels.cpu import bands
        from ..kernels.cpu.topk_parts import sample_of_part

        # A band is read, sorted with its places to and fro, padded, swept, and given in float64.
        of_weights = 0 if weights is None else weights.dtype.itemsize
        pieces, each = self.ranking.pieces, 6 * self.dtype.itemsize + 20 + 4 * of_weights + more
        room = pieces.room_of_a_band(each, self.length, 2 if weights is None else 4)
        kept, common = (None, 0.0) if weights is None else weights[1:]

        def parted(function: Any, stores: Any) -> Any:
            return self.ranking.parted(self.with_weights(weights, function), stores)

        given = parted, pieces.over, pieces.kept, pieces.store
        work = bands.Work(*given, self.length, self.dtype, kept, room)
        whole, size, sign = self.ranking.length, self._sample, self.sign
        sample = self.of_parts(lambda first, x: sample_of_part(first, x, whole, size, sign))
        cuts = bands.cuts_of(np.concatenate(list(sample)), self.length, room)
        found = bands.part(work, cuts, rate, self.sign, common)
        while found.sizes.max() > room:  # of a band of which the sample had fewer than its share
            cuts = bands.more_cuts(found, room, size)
            found.close()
            found = bands.part(work, cuts, rate, self.sign, common)
        return work, found

    @property
    def _sample(self) -> int:
        return min(SAMPLE, self.length, self.ranking.pieces.room(_BYTES_OF_A_SAMPLE, 0.1))


def rate_of(alpha: float) -> float:
    """1 / alpha, as a sweep takes it."""
    from ..kernels.scalars.laplace import LARGEST_RATE

    return min(1.0 / alpha, LARGEST_RATE)


def common_of(least: float, most: float) -> float:
    """What is taken off all upstream gradients of ranks, of which these are the ends, as kernels.cpu.rank has it."""
    near, far = (least, most) if least > 0 else (most, least)
    return near if near * far > 0 and abs(far) <= abs(near + near) else 0.0
