"""The scores that a method sees: finite ones alone, float64, the largest best; and what the others are given.

Methods differ in what they make of scores that can be compared. What has no place among them is the same for all: an
item at +inf is at the top, padding is at the end, neither has a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...core.errors import OptionError
from ...core.rankings import Array, Rankings, frozen
from ..scalars.cut import MOST
from . import parallel


class Given(NamedTuple):
    """What the loops of a method read; and, for those of teams, who runs them, and new arrays for them to fill.

    x        (N,) float64, finite, the largest best
    offsets  (m + 1,) int64
    alphas   (m,) float64
    ks       (m,) float64, from 0 to the length; None where there is none
    numbers  (m,) int64, of each ranking in its file or call
    choices  options of the method (choices.py); an array among them has a row for each score
    log      whether logarithms of memberships are asked for
    """

    x: Array
    offsets: np.ndarray
    alphas: np.ndarray
    ks: np.ndarray | None
    numbers: np.ndarray
    choices: dict[str, Any]
    log: bool = False

    @property
    def lengths(self) -> np.ndarray:
        """(m,) scores of each ranking."""
        return np.diff(self.offsets)

    def empty(self, cores: parallel.Cores, *shape: int) -> Array:
        """A new array of float64."""
        return np.empty(shape)

    def each(self, cores: parallel.Cores, loop: Any, *arrays: Any) -> None:
        """Run a loop that is written for teams, loop(rankings, offsets, *arrays)."""
        parallel.by_teams(cores, loop, self.offsets, *arrays)


@dataclass(frozen=True)
class Finite:
    """Rankings without their infinite scores, and the way back to all of them.

    taken  (N,) which scores are finite, and `top` which are above these; None where all are finite
    best   (m,) how many are above; asked: k with these, or None
    whole  offsets with all scores
    sign   -1 where the smallest score is best
    """

    given: Given
    taken: Any
    top: Any
    best: np.ndarray
    asked: Any
    whole: np.ndarray
    sign: float

    @classmethod
    def of(
        cls,
        cores: parallel.Cores,
        rankings: Rankings,
        descending: bool,
        choices: dict[str, Any],
        log: bool,
        whole_k: bool,
    ) -> Finite:
        """Of rankings with alpha, and k if there is one, in `each`; whole_k: a part of a place counts as one."""
        sign = 1.0 if descending else -1.0
        x, whole = rankings.values * np.float64(sign), rankings.offsets
        offsets, top = whole, None
        taken: Any = np.isfinite(x)
        best = np.zeros(len(rankings))
        if taken.all():
            taken = None
        else:
            top = x == np.inf
            best, offsets = _counts(top, whole), frozen(_before(taken, whole))  # as those of rankings
            x = x[taken]
        asked, ks = rankings.each.get("k"), None
        if asked is not None:
            asked = np.ceil(asked) if whole_k else asked
            ks = np.clip(asked - best, 0, np.diff(offsets))
        choices = {name: _of_scores(name, value, len(rankings.values), taken) for name, value in choices.items()}
        numbers = np.asarray(rankings.each.get("number", np.arange(len(rankings))), np.int64)
        alphas = np.clip(rankings.each["alpha"], 1 / MOST, MOST)  # of constant rankings alone it is not between these
        return cls(Given(x, offsets, alphas, ks, numbers, choices, log), taken, top, best, asked, whole, sign)

    def members(self, cores: parallel.Cores, values: Array, dtype: str, log: bool, has_members: bool) -> Array:
        """Memberships of all scores: of infinite ones too, and 0 or 1 where k takes none or all of a ranking.

        log: whether they are logarithms; has_members: whether they are memberships at all
        """
        given, none, whole = self.given, _NONE[log], _ALL[log]
        if given.ks is None or not has_members:
            return self.spread(values, np.full(1, whole), np.full(1, none)).astype(dtype, copy=False)
        for moot, share in ((given.ks <= 0, none), (given.ks >= given.lengths, whole)):
            if moot.any():
                values[np.repeat(moot, given.lengths)] = share
        if self.taken is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                at_top = np.clip(self.asked / self.best, 0, 1)
                values = self.spread(values, np.log(at_top) if log else at_top, np.full(1, none))
        return values.astype(dtype, copy=False)

    def ranks(self, values: Array, base: int) -> Array:
        """Ranks from the base, of ranks from 1: infinite scores at an end share the mean of its places."""
        values = values + (base - 1)
        if self.taken is None:
            return values
        lengths, end = np.diff(self.whole), self.best + self.given.lengths
        values = values + np.repeat(self.best, self.given.lengths)
        return self.spread(values, base + (self.best - 1) / 2, base + (end + lengths - 1) / 2)

    def number(self, cores: parallel.Cores, values: Array) -> Array:
        """(m,) what is in the unit of the scores, with their sign."""
        return self.sign * values

    def spread(self, values: Array, at_top: Any, at_end: Any) -> Array:
        """Values of finite scores, beside those (m,) of scores above and of scores below them."""
        if self.taken is None:
            return values
        out: Any = np.where(self.top, self._each(at_top), self._each(at_end))
        out[self.taken] = values
        return out

    def sorted(self, values: Array) -> Array:
        """Sorted scores as they came, between the infinities."""
        if self.taken is None:
            return self.sign * values
        is_finite, is_top = self._by_place()
        out: Any = np.where(is_top, np.inf, -np.inf)
        out[is_finite] = values
        return self.sign * out

    def upstream(self, cores: parallel.Cores, given: Array) -> Array:
        """Of an upstream gradient by score, that of finite ones."""
        given = np.asarray(given, np.float64)
        return _own(given if self.taken is None else given[self.taken])

    def logs(self, cores: parallel.Cores, members: Array) -> Array:
        """Logarithms of memberships of finite scores."""
        with np.errstate(divide="ignore"):
            logs: Array = np.log(members)
        return logs

    def upstream_of_logs(self, cores: parallel.Cores, upstream: Array, members: Array) -> Array:
        """What is upstream of memberships, of what is upstream of their logarithms: none where they are 0."""
        return np.divide(upstream, members, out=np.zeros(len(upstream)), where=members > 0)

    def upstream_by_place(self, given: Array) -> Array:
        """Of an upstream gradient by place, what goes to places of finite scores."""
        given = np.asarray(given, np.float64)
        return self.sign * (given if self.taken is None else given[self._by_place()[0]])

    def upstream_of_squares(self, upstream: Array) -> Array:
        """Of upstream matrices, a row for each item and a column for each place, those of finite scores, flat."""
        upstream = np.asarray(upstream, np.float64)
        if self.taken is None:
            return _own(upstream)
        lengths, parts, begin = np.diff(self.whole), [np.empty(0)], 0
        for r, n in enumerate(lengths):
            square = upstream[begin : begin + n * n].reshape(n, n)
            begin += n * n
            place = int(self.best[r])
            items = self.taken[self.whole[r] : self.whole[r + 1]]
            parts.append(square[items, place : place + int(items.sum())].reshape(-1))
        return np.concatenate(parts)

    def _by_place(self) -> tuple[Array, Array]:
        """Which places are those of finite scores, and which are above these."""
        places = np.arange(int(self.whole[-1])) - self._each(self.whole[:-1])
        is_top = places < self._each(self.best)
        return ~is_top & (places < self._each(self.best + self.given.lengths)), is_top

    def gradients(self, cores: parallel.Cores, found: Any, dtype: str, has_members: bool) -> Any:
        """Gradients for all scores, as they came: 0 for those that are not finite, and where k takes none or all."""
        ks, lengths = self.given.ks, self.given.lengths
        if ks is not None and has_members:
            moot = (ks <= 0) | (ks >= lengths)
            found.scores[np.repeat(moot, lengths)] = 0
            found.alpha[moot], found.k[moot] = 0, 0
        scores = found.scores if self.sign == 1 else -found.scores
        scores = self.spread(scores, np.zeros(1), np.zeros(1))
        with np.errstate(over="ignore"):
            return found._replace(scores=scores.astype(dtype, copy=False))

    def _each(self, numbers: Any) -> Array:
        """(N,) the number of its ranking for every score."""
        return np.repeat(np.broadcast_to(numbers, len(self.whole) - 1), np.diff(self.whole))


_NONE, _ALL = {False: 0.0, True: float("-inf")}, {False: 1.0, True: 0.0}  # by whether logarithms are asked for


def sees_scores(cores: parallel.Cores, scores: Array) -> bool:
    """Whether it is to be seen here if a score is more than MOST: what is in memory is."""
    return True


def sees_alphas(cores: parallel.Cores, alphas: Array) -> bool:
    """The same of alphas, from 1 / MOST to MOST."""
    return True


def _own(array: Array) -> Array:
    """Contiguous and writable: a read-only array is of another type to Numba, and a run of a file would compile what a
    call has compiled.
    """
    return np.require(array, requirements=["C", "W"])


def _of_scores(name: str, given: Any, count: int, taken: Any) -> Any:
    """Of an array with a row for each score the rows of those that were taken; anything else as it is."""
    if not hasattr(given, "shape"):
        return given
    if given.ndim < 2 or not given.shape[-1] or given.size != count * given.shape[-1]:
        raise OptionError(f"⟨{name}⟩ has the shape {given.shape}; it must have that of the scores, and an axis more")
    rows = np.asarray(given, np.float64).reshape(count, given.shape[-1])
    return np.ascontiguousarray(rows if taken is None else rows[taken])


def _before(chosen: Array, offsets: np.ndarray) -> np.ndarray:
    """(m + 1,) int64: how many are chosen before each ranking begins."""
    return np.concatenate([[0], np.cumsum(chosen)])[offsets]


def _counts(chosen: Array, offsets: np.ndarray) -> np.ndarray:
    """(m,) float64: how many of each ranking are chosen."""
    return np.diff(_before(chosen, offsets)).astype(np.float64)
