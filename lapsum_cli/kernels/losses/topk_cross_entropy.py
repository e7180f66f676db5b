"""Top-k cross-entropy: -log(p (1 - 2e-7) + 1e-7), p what the true item has of the first k places by NeuralSort.

Petersen et al., Differentiable top-k classification learning, ICML 2022, of one k, with tau = alpha. True is the item
of the largest target; of several it is the mean. As columns of the matrix need not sum to 1, p of many places may be a
little more. It takes n^2 steps.
"""

import math

import numpy as np

from ..jit import inner, uncounted
from ..scalars.team import join, team_sums
from .declared import Loss
from .gains import best_of
from .lcron import counts
from .neural_sort import MEAN, PULL, SLOPE, prepare, pull, share, to_scores
from .neural_sort import ROWS as OF_MATRIX

LEAST = 1e-7  # as with its authors: of p = 0, and what 1 lacks
INSIDE = OF_MATRIX  # row of work, by item: the gradient for what it has of the first places, 0 of what is not true
ROWS = OF_MATRIX + 1


@uncounted
def topk_cross_entropy(rankings, offsets, read, losses, upstreams):
    """The mean over true items, and its gradient along z."""
    x, y, ks, alphas, descending = read
    team, (upstream, work), up = join(rankings), upstreams, 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        best = best_of(team, y, start, stop)
        last = start + math.ceil(min(ks[r], np.float64(stop - start)))
        prepare(team, x, start, stop, up, alphas[r], work)
        total, true = 0.0, 0.0
        for j in range(start + team.t, stop, team.threads):
            work[INSIDE, j] = 0.0
            if y[j] == best:
                total, true = total + _cost(work, start, stop, last, ks[r], j), true + 1.0
        total, true = team_sums(team, (total, true))
        if upstream.size > 0:
            _back(team, start, stop, last, ks[r], work, 1.0 / max(true, 1.0), upstream)
        if team.t == 0:
            losses[r] = total / max(true, 1.0)


@inner
def _cost(work, start, stop, last, limit, j):
    """Of a true item; INSIDE then has its gradient."""
    inside = 0.0
    for k in range(start, last):
        inside += counts(limit, k - start) * share(work, start, stop, k, j)
    kept = inside * (1.0 - 2.0 * LEAST) + LEAST
    work[INSIDE, j] = -(1.0 - 2.0 * LEAST) / kept
    return -math.log(kept)


@inner
def _back(team, start, stop, last, limit, work, scale, upstream):
    """From INSIDE through the first places of the matrix to z."""
    for k in range(start + team.t, last, team.threads):
        mean = 0.0
        for j in range(start, stop):
            if work[INSIDE, j] != 0.0:
                mean += share(work, start, stop, k, j) * work[INSIDE, j]
        work[MEAN, k] = counts(limit, k - start) * mean
    team_sums(team, (0.0,))
    for j in range(start + team.t, stop, team.threads):
        work[PULL, j], work[SLOPE, j] = 0.0, 0.0
        for k in range(start, last):
            pull(work, start, stop, j, k, counts(limit, k - start) * work[INSIDE, j])
    to_scores(team, start, stop, work, scale, upstream)


LOSS = Loss(
    topk_cross_entropy,
    reads=("scores", "target", "ks", "alphas", "descending"),
    moves=("scores over alpha",),
    sums=2,
    work=ROWS,
    card_bytes=40 + 8 * ROWS,
)
