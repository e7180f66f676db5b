"""The rows of a result by their hard places: the best of each ranking alone, each ranking best first, the hard rank."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.rankings import Rankings
from ..operations import padding
from ..operations.softness import k_of


@dataclass
class Places:
    """Hard places in the rankings of a batch.

    rankings  those with a score, padding last
    valid     (rows,) which rows have a score; None where all have
    starts    (m + 1,) the rows at which rankings begin
    """

    operation: Any
    rankings: Rankings
    valid: np.ndarray | None
    starts: np.ndarray
    threads: int

    @classmethod
    def of(
        cls, operation: Any, rankings: Rankings, valid: np.ndarray | None, starts: np.ndarray, threads: int
    ) -> Places:
        """Those of the rankings of a batch; the rest as above."""
        return cls(operation, operation.seen(rankings), valid, starts, threads)

    @cached_property
    def of_score(self) -> np.ndarray:
        """(N,) int64 from 0, best first; ties in the order of the input."""
        return np.asarray(self.operation.places(self.rankings, self.threads))

    def hard_ranks(self) -> np.ndarray:
        """(N,) float64 from 1; ties share the mean of their places, as soft ranks of a small alpha do."""
        first = np.repeat(self.rankings.offsets[:-1], self.rankings.lengths)
        at = first + self.of_score
        best_first = np.empty_like(self.rankings.values)
        best_first[at] = self.rankings.values
        begins = np.ones(len(at), bool)
        begins[1:] = best_first[1:] != best_first[:-1]
        begins[self.rankings.offsets[:-1][self.rankings.lengths > 0]] = True
        runs = np.append(np.flatnonzero(begins), len(at))
        means = np.repeat((runs[:-1] + runs[1:] - 1) / 2, np.diff(runs))
        return means[at] - first + 1

    def is_top(self) -> np.ndarray:
        """(N,) whether a score is among the k best, a fraction of an item counting as one; with ties="all" also what
        equals the last of these. Padding never is.
        """
        operation, rankings = self.operation, self.rankings
        worst = -np.inf if operation.descending else np.inf
        items = rankings.lengths - padding.count(rankings, worst)
        k = rankings.each.get("k")
        if k is None:
            k = k_of(operation.ks[0], rankings.with_each({**rankings.each, "items": items}))
        top = np.repeat(np.minimum(np.ceil(k), items), rankings.lengths)
        is_in = self.of_score < top
        if operation.ties == "all":
            last = self.of_score == top - 1
            boundary = np.full(len(rankings), np.nan)
            ranking = np.repeat(np.arange(len(rankings)), rankings.lengths)
            boundary[ranking[last]] = rankings.values[last]
            is_in |= (rankings.values == boundary[ranking]) & (rankings.values != worst)
        return is_in

    def rows(self) -> np.ndarray:
        """(rows to write,) int64, in the order in which they are to be written."""
        count = int(self.starts[-1])
        kept = np.ones(len(self.rankings.values), bool)
        if self.operation.only_top:
            kept = self.is_top()
        if self.valid is not None:
            spread = np.zeros(count, bool) if self.operation.only_top else ~self.valid
            spread[self.valid] = kept
            kept = spread
        if not self.operation.order:
            return np.flatnonzero(kept)
        order = np.empty(count, np.int64)
        order[self._row_places()] = np.arange(count)
        return order[kept[order]]

    def _row_places(self) -> np.ndarray:
        """(rows,) where each row goes, best first in its ranking; rows without a score behind the others."""
        lengths = np.diff(self.starts)
        first = np.repeat(self.starts[:-1], lengths)
        if self.valid is None:
            return first + self.of_score
        missing = np.concatenate([[0], np.cumsum(~self.valid)])
        behind = (
            missing[:-1] - np.repeat(missing[self.starts[:-1]], lengths) + np.repeat(self.rankings.lengths, lengths)
        )
        behind[self.valid] = self.of_score
        return first + behind


def placed(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """The table of these rows."""
    if len(rows) == len(table) and (rows == np.arange(len(rows))).all():
        return table
    return table.take(pa.array(rows))
