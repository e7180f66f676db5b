"""Graded top-k as trees are boosted by it: losses, gradients and the diagonal of a Hessian, in one go.

As graded_topk.py has it, a ranking's loss is the sum over the cuts between its grades of the cross-entropy of a soft
top k. With p the memberships of a cut, the Hessian is Fisher's of these as independent labels, by the score at a fixed
threshold: (dp / dx)^2 / p (1 - p), which is min(p, 1 - p) / max(p, 1 - p) / alpha^2 for a Laplace distribution.

Every cut is a ranking by itself to the kernels of a top-k, so that the scores of a query are repeated for each of its
cuts, a piece at a time. Targets do not change between rounds: what is known of them is prepared once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...core.errors import BadRanking
from ...core.rankings import Array, Rankings, one_for_all
from ..jit import uncounted
from ..scalars.cut import GIVEN
from ..scalars.team import join, mine, team_sums
from .declared import Loss
from .graded_topk import cuts
from .topk import logs

PIECE = 1 << 15  # scores of all cuts of a piece of rankings: five arrays of them, within a cache of the second level

MOST_CUTS = 128  # of a ranking: more grades are numbers that were not meant to be such


class Piece(NamedTuple):
    """Consecutive rankings first .. last of scores begin .. end, and their cuts; offsets are those in the piece.

    offsets        (m + 1,) of the rankings
    cuts           (m + 1,) which cuts are a ranking's
    cut_offsets    (c + 1,) of the scores of every cut
    whole_offsets  (m + 1,) of the scores of all cuts of a ranking
    ks, grades, weights  (c,) float64 of every cut: how many are above it, the lowest target of these, what it counts
    """

    first: int
    last: int
    begin: int
    end: int
    offsets: np.ndarray
    cuts: np.ndarray
    cut_offsets: np.ndarray
    whole_offsets: np.ndarray
    ks: np.ndarray
    grades: np.ndarray
    weights: np.ndarray


class Newton(NamedTuple):
    """Losses (m,), NaN of a ranking without two different targets; gradients and Hessians (N,), by the scores."""

    losses: np.ndarray
    gradients: np.ndarray
    hessians: np.ndarray


def prepared(
    target: Array, offsets: np.ndarray, weigh: Callable[[np.ndarray, np.ndarray], np.ndarray], each: np.ndarray
) -> list[Piece]:
    """Pieces of rankings with these targets (N,); BadRanking for one with more than MOST_CUTS cuts.

    weigh  (grades above, grades below) of cuts -> what they count
    each   (m,) what rankings count, times that of their cuts
    """
    owners, ks, grades, below = cuts(target, offsets)
    counts = np.bincount(owners, minlength=len(offsets) - 1)
    if (counts > MOST_CUTS).any():
        r = int((counts > MOST_CUTS).argmax())
        many = f"{counts[r] + 1} different labels, and each takes a top-k"
        raise BadRanking(r, f"{many}; round them to {MOST_CUTS + 1} grades or fewer")
    weights = weigh(grades, below) * each[owners]
    of_cuts, of_all = _offsets(counts), _offsets(counts * np.diff(offsets))
    found = []
    for first, last in _pieces(of_all):
        mine = slice(of_cuts[first], of_cuts[last])
        here = offsets[first : last + 1] - offsets[first]
        found.append(
            Piece(
                *(first, last, int(offsets[first]), int(offsets[last])),
                *(here, of_cuts[first : last + 1] - of_cuts[first]),
                *(_offsets(np.diff(offsets)[owners[mine]]), of_all[first : last + 1] - of_all[first]),
                *(ks[mine].astype(np.float64), grades[mine], weights[mine]),
            )
        )
    return found


def _offsets(lengths: np.ndarray) -> np.ndarray:
    found = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=found[1:])
    return found


def _pieces(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of whole rankings with about PIECE scores each, or one that has more."""
    ends = np.searchsorted(offsets, np.arange(PIECE, offsets[-1] + PIECE, PIECE), side="left")
    bounds = np.unique(np.concatenate([[0], np.minimum(ends, len(offsets) - 1), [len(offsets) - 1]]))
    yield from zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)


def newton(
    kernels: Any,
    place: Any,
    pieces: Sequence[Piece],
    scores: Array,
    target: Array,
    alpha: float,
    derivatives: bool = True,
    each: Callable[..., list[Newton]] = lambda function, pieces: list(map(function, pieces)),
) -> Newton:
    """Of finite scores (N,) float64 and their targets (N,) float64; derivatives: whether more than the losses is made.

    kernels, place  of the CPU, and where a piece runs
    each            `map` over the pieces, side by side if it likes
    """
    made = each(lambda piece: _of_piece(kernels, place, piece, scores, target, alpha, derivatives), pieces)
    return Newton(*map(np.concatenate, zip(*(made or [Newton(*[np.empty(0)] * 3)]), strict=True)))


def _of_piece(
    kernels: Any, place: Any, piece: Piece, scores: Array, target: Array, alpha: float, derivatives: bool
) -> Newton:
    here, size, count = slice(piece.begin, piece.end), int(piece.whole_offsets[-1]), piece.end - piece.begin
    shared = {"offsets": piece.offsets, "cuts": piece.cuts, "cut_offsets": piece.cut_offsets}

    def each_ranking(loop: Loss, given: dict[str, Any], shapes: Sequence[tuple[int, ...]]) -> Any:
        return kernels.losses.each_ranking(place, loop, piece.whole_offsets, {**shared, **given}, shapes)

    _, (repeated,) = each_ranking(REPEATED, {"scores": scores[here]}, [(size,)])
    rankings, alphas = Rankings(repeated, piece.cut_offsets), one_for_all(alpha, len(piece.ks))
    _, found = kernels.topk.soft_topk(place, rankings, piece.ks, alphas, results=False)
    given = {"grades": piece.grades, "weights": piece.weights, "alpha": alpha}
    given |= {"scores": repeated, "target": target[here], "found": kernels.losses.cuts_of(found)}
    losses, (upstream, hessians) = each_ranking(ENTROPIES, given, [(size * derivatives,), (count * derivatives,)])
    if not derivatives:
        return Newton(losses, upstream, hessians)
    pulled = kernels.topk.topk_gradient(place, rankings, upstream, found, alphas, slope=GIVEN)[0]
    _, (gradients,) = each_ranking(TOGETHER, {"gradients": pulled}, [(count,)])
    return Newton(losses, gradients, hessians)


@uncounted
def _repeated(rankings, _, read, losses, upstreams):
    """The scores of every ranking, once for each of its cuts."""
    team, (offsets, cuts, cut_offsets, scores), (out,) = join(rankings), read, upstreams
    for r in range(team.first, team.last):
        start, n = offsets[r], offsets[r + 1] - offsets[r]
        for c in range(cuts[r], cuts[r + 1]):
            x, to = scores[start : start + n], out[cut_offsets[c] : cut_offsets[c + 1]]
            for i in mine(team, n):
                to[i] = x[i]


@uncounted
def _entropies(rankings, _, read, losses, upstreams):
    """The cross-entropies of all cuts; their gradients along x / alpha at a fixed threshold, by cut, and Hessians, by
    score, unless these are empty.
    """
    offsets, cuts, cut_offsets, grades, weights, alpha, scores, target, found = read
    team, (upstream, hessians) = join(rankings), upstreams
    for r in range(team.first, team.last):
        start, n, loss = offsets[r], offsets[r + 1] - offsets[r], 0.0
        if hessians.size > 0:
            for i in mine(team, n):
                hessians[start + i] = 0.0
        for c in range(cuts[r], cuts[r + 1]):
            at, cut, grade, weight, total = cut_offsets[c], found[c], grades[c], weights[c], 0.0
            curved = weight / alpha / alpha
            for i in mine(team, n):
                log_in, log_out, rises, falls = logs(scores[at + i], 0.0, cut, alpha)
                is_in = target[start + i] >= grade
                total -= log_in if is_in else log_out
                if hessians.size > 0:
                    upstream[at + i] = weight * (-rises if is_in else -falls)
                    hessians[start + i] += curved * (-rises * falls)
            loss += weight * total
        (loss,) = team_sums(team, (loss,))
        if team.t == 0:
            losses[r] = loss if cuts[r] < cuts[r + 1] else np.nan


@uncounted
def _together(rankings, _, read, losses, upstreams):
    """Gradients of every score, the sum over the cuts of its ranking."""
    team, (offsets, cuts, cut_offsets, gradients), (out,) = join(rankings), read, upstreams
    for r in range(team.first, team.last):
        start, n = offsets[r], offsets[r + 1] - offsets[r]
        for i in mine(team, n):
            total = 0.0
            for c in range(cuts[r], cuts[r + 1]):
                total += gradients[cut_offsets[c] + i]
            out[start + i] = total


REPEATED = Loss(_repeated, reads=(), moves=(), sums=1)
ENTROPIES = Loss(_entropies, reads=(), moves=(), sums=1)
TOGETHER = Loss(_together, reads=(), moves=(), sums=1)
