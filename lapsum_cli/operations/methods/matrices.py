"""Soft permutations by rows that are made where they are read: those of finite scores by a method's loops.

Items at +inf share the first positions evenly, padding the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.rankings import Array

if TYPE_CHECKING:
    from ...kernels.cpu.finite import Finite


class Matrices:
    """The matrices of rankings: a row for each item, in the order of the input, and a column for each position."""

    def __init__(self, finite: Finite, kernels: Any, state: Any, dtype: str):
        self.finite, self.kernels, self.state, self.dtype = finite, kernels, state, dtype
        self.offsets = finite.whole

    def dense(self, r: int, first: int, last: int, most: int | None = None) -> Array:
        """Rows first .. last of the matrix of one ranking: (last - first, n), or of so many first columns at most."""
        finite, start = self.finite, int(self.offsets[r])
        n, begin = int(self.offsets[r + 1]) - start, int(finite.best[r])
        end = begin + int(finite.given.lengths[r])
        taken, out = np.ones(n, bool), np.zeros((last - first, n), self.dtype)
        if finite.taken is not None:
            taken, top = finite.taken[start : start + n], finite.top[start + first : start + last]
            out[top, :begin] = 1 / max(begin, 1)
            out[~taken[first:last] & ~top, end:] = 1 / max(n - end, 1)
        here = taken[first:last]
        if here.any():
            items = (np.cumsum(taken) - 1)[first:last][here]
            out[here, begin:end] = self.kernels.permute_rows(finite.given, self.state, r, items)
        return out[:, :most]

    def widths(self, tolerance: float, threads: int = 1) -> Array:
        """At most how many positions each item keeps: (N,) int64."""
        finite = self.finite
        lengths = np.diff(self.offsets)
        if finite.taken is None:
            return np.repeat(lengths, lengths)
        best, inner = finite.best.astype(np.int64), finite.given.lengths
        of_each = (np.repeat(counts, lengths) for counts in (best, lengths - best - inner, inner))
        at_top, at_end, of_finite = of_each
        return np.where(finite.taken, of_finite, np.where(finite.top, at_top, at_end))

    def sparse(self, tolerance: float, first: int, last: int, width: Array) -> tuple[Array, Array, Array]:
        """The most probable positions of items first .. last of all rankings, until what each drops is at most the
        tolerance: items, positions in the ranking from 0, ascending for each item, and probabilities.
        """
        from ...kernels.cpu import permute

        found = []
        r = int(np.searchsorted(self.offsets, first, "right")) - 1
        while first < last:
            start, end = int(self.offsets[r]), min(int(self.offsets[r + 1]), last)
            if first < end:
                item, position, p = permute.most_probable(self.dense(r, first - start, end - start), tolerance)
                found.append((item + first, position, p))
            first, r = max(first, end), r + 1
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, self.dtype)
        items, positions, probabilities = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return items, positions, probabilities
