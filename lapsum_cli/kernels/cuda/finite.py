"""The scores that a method sees, on a card: float64, the largest best; and what infinite ones are given.

As ..cpu.finite, for a top-k by loops of teams. Scores stay where they are: one that is infinite is -inf to a method,
which takes no part in its loops (..methods), whichever end it is at, and what is made of it is put back here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...core.rankings import Array, Rankings, one_for_all
from ..scalars.cut import MOST
from ..scalars.team import join, mine, team_sums
from .adapter import Lane, cuda, kernel, one_of
from .doubts import Doubts
from .teams import by_teams, fresh
from .tiles import OnTiles

NO_K = math.nan  # of rankings of which none is asked for: neither none nor all of them are in


class Given(NamedTuple):
    """What the loops of a method read, on the card; offsets in memory here. As ..cpu.finite.Given."""

    x: Any
    offsets: np.ndarray
    lengths: Any
    alphas: Any
    ks: Any
    choices: dict[str, Any]
    log: bool

    def empty(self, lane: Lane, *shape: int) -> Any:
        """A new array of float64."""
        return fresh(lane, shape)

    def each(self, lane: Lane, loop: Any, *arrays: Any) -> None:
        """Run a loop that is written for teams, loop(rankings, offsets, *arrays)."""
        by_teams(lane, loop, self.offsets, *arrays)


@dataclass(frozen=True)
class Finite:
    """Rankings whose infinite scores take no part.

    scores  (N,) all of them, on the card; whether they came from memory here: `like`
    tops    (m,) what one at +inf has of the places at the top
    sign    -1 where the smallest score is best
    """

    given: Given
    scores: Any
    like: Array
    tops: Any
    sign: float

    @classmethod
    def of(
        cls, lane: Lane, rankings: Rankings, descending: bool, choices: dict[str, Any], log: bool, whole_k: bool
    ) -> Finite:
        """Of rankings with alpha, and k if there is one, in `each`; whole_k: a part of a place counts as one."""
        asked = rankings.each.get("k", one_for_all(NO_K, len(rankings)))
        count, sign = len(rankings), 1.0 if descending else -1.0
        scores, asked, alphas = (
            lane.put(array, name)
            for array, name in (
                (rankings.values, "scores"),
                (asked, "ks"),
                (rankings.each["alpha"], "alphas"),
            )
        )
        x, ks, own, tops = (fresh(lane, (size,)) for size in (int(rankings.offsets[-1]), count, count, count))
        lengths = lane.empty((count,), np.int64) if count else lane.room("no lengths", (0,), np.int64)
        made = (x, lengths, ks, own, tops)
        by_teams(lane, _take, rankings.offsets, scores, sign, asked, whole_k, alphas, 1 / MOST, MOST, *made)
        given = Given(x, rankings.offsets, lengths, own, ks, choices, log)
        return cls(given, scores, rankings.values, tops, sign)

    def members(self, lane: Lane, values: Any, dtype: str, log: bool, has_members: bool) -> Any:
        """Memberships of all scores: of infinite ones too, and 0 or 1 where k takes none or all of a ranking."""
        given, layout = self.given, OnTiles.of(lane, self.given.offsets)
        out = lane.result("memberships", layout.size, np.dtype(dtype), self.like)
        at = (self.scores, self.sign, given.ks, given.lengths, self.tops, log, values)
        layout.each_tile(layout.large_tiles, _put_back, 0, *at, out)
        return out

    def number(self, lane: Lane, values: Any) -> Any:
        """(m,) what is in the unit of the scores, with their sign."""
        out = fresh(lane, values.shape)
        lane.launch(_times, -(-out.size // 256), 256, 0, values, self.sign, out)
        return out

    def upstream(self, lane: Lane, given: Array) -> Any:
        """An upstream gradient, 0 of infinite scores."""
        out = fresh(lane, (self.given.x.size,))
        lane.launch(_upstream, -(-out.size // 256), 256, 0, self.given.x, lane.put(given, "upstream"), out)
        return out

    def logs(self, lane: Lane, members: Any) -> Any:
        """Logarithms of memberships of finite scores."""
        out = fresh(lane, members.shape)
        lane.launch(_logs, -(-out.size // 256), 256, 0, members, out)
        return out

    def upstream_of_logs(self, lane: Lane, upstream: Any, members: Any) -> Any:
        """What is upstream of memberships, of what is upstream of their logarithms: none where they are 0."""
        out = fresh(lane, members.shape)
        lane.launch(_upstream_of_logs, -(-out.size // 256), 256, 0, upstream, members, out)
        return out

    def gradients(self, lane: Lane, found: Any, dtype: str, has_members: bool) -> Any:
        """Gradients for all scores, as they came: 0 for those that are not finite, and where k takes none or all."""
        given, layout = self.given, OnTiles.of(lane, self.given.offsets)
        out = lane.result("gradient of scores", layout.size, np.dtype(dtype), self.like)
        of_each = (given.ks, given.lengths)
        layout.each_tile(layout.large_tiles, _put_gradients_back, 0, given.x, self.sign, *of_each, found.scores, out)
        lane.launch(_clear_ends, -(-found.k.size // 256), 256, 0, *of_each, found.alpha, found.k)
        return found._replace(scores=out)


def sees_scores(lane: Lane, scores: Array) -> bool:
    """Whether it is to be seen here if a score is more than MOST. Those on a card are not waited for: where they are
    not seen, the call is in doubt if one is.
    """
    is_seen = isinstance(scores, np.ndarray) or lane.knows_alphas
    if not is_seen:
        Doubts.of(lane).beyond(scores, MOST)
    return is_seen


def sees_alphas(lane: Lane, alphas: Array) -> bool:
    """The same of alphas, from 1 / MOST to MOST."""
    is_seen = isinstance(alphas, np.ndarray) or lane.knows_alphas
    if not is_seen:
        Doubts.of(lane).outside(alphas, 1 / MOST, MOST)
    return is_seen


def _take(rankings, offsets, scores, sign, asked, whole_k, alphas, least, most, x, lengths, ks, own, tops):
    team = join(rankings)
    for r in range(team.first, team.last):
        start, held, best = offsets[r], 0.0, 0.0
        for j in mine(team, offsets[r + 1] - start):
            score = sign * np.float64(scores[start + j])
            is_finite = abs(score) < np.inf
            x[start + j] = score if is_finite else -np.inf
            held, best = held + (1.0 if is_finite else 0.0), best + (1.0 if score == np.inf else 0.0)
        held, best = team_sums(team, (held, best))
        if team.t == 0:
            lengths[r], own[r], k = np.int64(held), min(max(one_of(alphas, r), least), most), one_of(asked, r)
            if k != k:
                ks[r], tops[r] = k, 1.0
            else:
                k = math.ceil(k) if whole_k else k
                ks[r] = min(max(k - best, 0.0), held)
                tops[r] = min(max(k / best, 0.0), 1.0) if best > 0.0 else 0.0


@kernel
def _put_back(numbers, ranking, begin, end, scores, sign, ks, lengths, tops, log, values, out):
    tile = numbers[cuda.blockIdx.x]
    r = ranking[tile]
    is_none, is_all = ks[r] <= 0.0, ks[r] >= lengths[r]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        score = sign * scores[i]
        if abs(score) < np.inf and not is_none and not is_all:
            out[i] = values[i]
            continue
        share = tops[r] if score == np.inf else (1.0 if is_all and score > -np.inf else 0.0)
        out[i] = (math.log(share) if share > 0.0 else -np.inf) if log else share


@kernel
def _times(values, sign, out):
    r = cuda.grid(1)
    if r < out.size:
        out[r] = sign * values[r]


@kernel
def _upstream(x, given, out):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = given[i] if x[i] > -np.inf else 0.0


@kernel
def _logs(members, out):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = math.log(members[i]) if members[i] > 0.0 else (-np.inf if members[i] == 0.0 else np.nan)


@kernel
def _upstream_of_logs(upstream, members, out):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = upstream[i] / members[i] if members[i] > 0.0 else 0.0


@kernel
def _put_gradients_back(numbers, ranking, begin, end, x, sign, ks, lengths, found, out):
    tile = numbers[cuda.blockIdx.x]
    r = ranking[tile]
    is_moot = ks[r] <= 0.0 or ks[r] >= lengths[r]
    for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
        out[i] = 0.0 if is_moot or not x[i] > -np.inf else sign * found[i]


@kernel
def _clear_ends(ks, lengths, to_alpha, to_k):
    r = cuda.grid(1)
    if r < to_k.size and (ks[r] <= 0.0 or ks[r] >= lengths[r]):
        to_alpha[r], to_k[r] = 0.0, 0.0
