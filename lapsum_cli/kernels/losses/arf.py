"""ARF: of each stage of a cascade, what NeuralSort's permutation P gives the k best targets, and its cross-entropy.

Wang et al., Adaptive neural ranking framework, 2023. With the m places that a stage keeps, t the k largest targets, L
the permutation of the targets, whose ties share their places, e = 1e-6 and tau = alpha, the sum over the stages of

    relaxed   -(1/n) sum of t log(mean of the first m of P + e),     where m is less than n
    global    -(1/n^2) sum of L log(P + e),                          of which half counts, at an uncertainty weight of 1

It takes n^2 steps.
"""

import math

from ..jit import inner, uncounted
from ..scalars.team import join, team_sums
from .declared import Loss
from .lcron import LEAST, counts
from .neural_sort import MEAN, PULL, SLOPE, prepare, pull, share, to_scores
from .neural_sort import ROWS as OF_MATRIX

# Rows of work, by item: how many targets are better, how many equal; the gradient for what it has of the first places.
BETTER, EQUAL, INSIDE = OF_MATRIX, OF_MATRIX + 1, OF_MATRIX + 2
ROWS = OF_MATRIX + 3


@uncounted
def arf(rankings, offsets, read, losses, upstreams):
    """The loss of both stages, and its gradient along the z of each."""
    x, y, wanted, ks, kept, alphas, descending = read
    team, (upstream, work), up = join(rankings), upstreams, 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, n, total = offsets[r], (offsets[r + 1] - offsets[r]) // 2, 0.0
        for stage in range(2):
            first, limit = start + stage * n, kept[stage] if kept.size > 0 else ks[2 * r]
            prepare(team, x, first, first + n, up, alphas[2 * r + stage], work)
            for j in range(first + team.t, first + n, team.threads):
                total += _cost(y, wanted[j], first, first + n, j, limit, work)
            if upstream.size > 0:
                _back(team, first, first + n, limit, work, upstream)
        (total,) = team_sums(team, (total,))
        if team.t == 0:
            losses[r] = total / max(n, 1)


@inner
def _cost(y, t, start, stop, j, limit, work):
    """n times what an item costs; INSIDE then has the gradient for what it has of the first places."""
    better, equal = 0.0, 0.0
    for i in range(start, stop):
        better, equal = better + (y[i] > y[j]), equal + (y[i] == y[j])
    work[BETTER, j], work[EQUAL, j], work[INSIDE, j] = better, equal, 0.0
    inside, cost = 0.0, 0.0
    for k in range(start, stop):
        p = share(work, start, stop, k, j)
        inside += counts(limit, k - start) * p
        cost -= 0.5 * _wanted(work, start, k, j) * math.log(p + LEAST) / (stop - start)
    if 0.0 < limit < stop - start:
        cost -= t * math.log(inside / limit + LEAST)
        work[INSIDE, j] = -t / (inside + limit * LEAST)
    return cost


@inner
def _wanted(work, start, k, j):
    """L: how much of a place an item is to have; equal targets share theirs."""
    place = k - start
    return 1.0 / work[EQUAL, j] if work[BETTER, j] <= place < work[BETTER, j] + work[EQUAL, j] else 0.0


@inner
def _to_p(work, start, stop, k, j, limit):
    """n times the gradient for an entry of P."""
    wanted, slope = _wanted(work, start, k, j), counts(limit, k - start) * work[INSIDE, j]
    return slope - 0.5 * wanted / (share(work, start, stop, k, j) + LEAST) / (stop - start) if wanted > 0.0 else slope


@inner
def _back(team, start, stop, limit, work, upstream):
    """From the matrix to z."""
    team_sums(team, (0.0,))
    for k in range(start + team.t, stop, team.threads):
        mean = 0.0
        for j in range(start, stop):
            mean += share(work, start, stop, k, j) * _to_p(work, start, stop, k, j, limit)
        work[MEAN, k] = mean
    team_sums(team, (0.0,))
    for j in range(start + team.t, stop, team.threads):
        work[PULL, j], work[SLOPE, j] = 0.0, 0.0
        for k in range(start, stop):
            pull(work, start, stop, j, k, _to_p(work, start, stop, k, j, limit))
    to_scores(team, start, stop, work, 1.0 / (stop - start), upstream)


LOSS = Loss(
    arf,
    reads=("scores", "target", "target_members", "ks", "kept", "alphas", "descending"),
    moves=("scores over alpha",),
    sums=1,
    work=ROWS,
    stages=2,
    card_bytes=100 + 8 * ROWS,
)
