"""The rows that items wait in, of a loss that puts them at the places of their targets (giant_places.py).

Targets are parted into bands, each of which has some of the places. Targets that are a cut between two bands are a tie,
however large, and have the places between these: some at a time are a row, with the items whose scores lie among their
edges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..core.rankings import Array
from .giant_parts import Piece


class Row(NamedTuple):
    """Places from .. to, and those of the tie that they are of, or None for a band."""

    place: int
    stop: int
    tie: tuple[int, int] | None


class Rows:
    """Of which row every item is: the first are those of bands, the others those of ties.

    bands    of the targets; room: how many places of a tie are one row
    span     places from .. to that finite scores have, beyond which a tie is one row
    edges    (place, stop) -> the edges above and below these places (2, 1 + places)
    alpha, descending  of the scores
    """

    def __init__(
        self,
        bands: Any,
        room: int,
        span: tuple[int, int],
        edges: Callable[[int, int], np.ndarray],
        alpha: float,
        descending: bool,
    ):
        self.cuts, self.alpha, self.descending = bands.cuts, alpha, descending
        firsts, at = bands.above.tolist(), bands.at.tolist()
        stops = (bands.above + bands.at + bands.sizes).tolist()
        self.rows = [Row(first + ties, stop, None) for first, ties, stop in zip(firsts, at, stops, strict=True)]
        self.of_cuts, self.ends = np.zeros(len(self.cuts), np.int64), {}
        for cut in np.flatnonzero(bands.at).tolist():
            tie, self.of_cuts[cut] = (firsts[cut], firsts[cut] + at[cut]), len(self.rows)
            is_finite = span[0] <= tie[0] and tie[1] <= span[1]
            size = -(-at[cut] // (-(-at[cut] // room))) if is_finite else at[cut]
            places = range(tie[0], tie[1], size)
            self.rows += [Row(place, min(place + size, tie[1]), tie) for place in places]
            if len(places) > 1:
                self.ends[cut] = np.concatenate([edges(place, place)[:, :1] for place in places[1:]], axis=1)

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, piece: Piece) -> tuple[Array, Array]:
        """The items of a piece, row by row as they came, and how many of each row there are."""
        from ..kernels.cpu.bands import band_of, to_halve
        from ..kernels.losses.permutation_parts import part_of_tie

        y, places = piece.target, np.empty(len(piece.target), np.uint16)
        band_of(y, 1.0, to_halve(self.cuts), places)
        is_cut, rows = self.cuts[places] == y, places.astype(np.int64)
        rows[is_cut] = self.of_cuts[places[is_cut]]
        for cut, (anchors, steps) in self.ends.items():
            here = np.flatnonzero(is_cut & (places == cut))
            out = np.empty(len(here), np.int64)
            part_of_tie(piece.scores[here], anchors, steps, self.alpha, self.descending, out)
            rows[here] += out
        return np.argsort(rows, kind="stable"), np.bincount(rows, minlength=len(self.rows))
