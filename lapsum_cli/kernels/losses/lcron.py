"""LCRON: how much of the first places the k best targets have, in each stage of a cascade, and of those of both.

Wang et al., Learning cascade ranking as one network, 2025. With the soft permutation P of a stage (NeuralSort, tau is
alpha), of which u is what an item has of the places that the stage keeps and d what it has of the others, both over the
sum of its column, which gradients hold constant; t the k largest targets, whose ties share what is left of k; e = 1e-6:

    either stage   -(1/n) sum of t log(u + e) + (1 - t) log(d + e),         of which half counts
    both           -(1/n) sum of t log(u u' + e) + (1 - t) log(1 - (1 - d)(1 - d') + e)

at uncertainty weights of 1. It takes n^2 steps.
"""

import math

from ..jit import inner, uncounted
from ..scalars.team import join, team_sums
from .declared import Loss
from .neural_sort import MEAN, PULL, SLOPE, prepare, pull, share, to_scores
from .neural_sort import ROWS as OF_MATRIX

LEAST = 1e-6  # e, as with its authors
U, D, COLUMN = OF_MATRIX, OF_MATRIX + 1, OF_MATRIX + 2  # by item: u and d, then their gradients; the sum of its column
ROWS = OF_MATRIX + 3


@uncounted
def lcron(rankings, offsets, read, losses, upstreams):
    """The loss of a cascade, and its gradient along the z of each stage."""
    x, wanted, ks, kept, alphas, descending = read
    team, (upstream, work), up = join(rankings), upstreams, 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, n, total = offsets[r], (offsets[r + 1] - offsets[r]) // 2, 0.0
        for stage in range(2):
            first, limit = start + stage * n, kept[stage] if kept.size > 0 else ks[2 * r]
            prepare(team, x, first, first + n, up, alphas[2 * r + stage], work)
            _memberships(team, first, first + n, limit, work)
        team_sums(team, (0.0,))
        for i in range(start + team.t, start + n, team.threads):
            total += _cost(wanted[i], i, i + n, work) / n
        (total,) = team_sums(team, (total,))
        for stage in range(2 if upstream.size > 0 else 0):
            first, limit = start + stage * n, kept[stage] if kept.size > 0 else ks[2 * r]
            _back(team, first, first + n, limit, 1.0 / n, work, upstream)
        if team.t == 0:
            losses[r] = total


@inner
def counts(limit, place):
    """How much of a place from 0 is among so many, which may be no whole number."""
    return min(max(limit - place, 0.0), 1.0)


@inner
def _memberships(team, start, stop, limit, work):
    """Fill U, D and COLUMN."""
    for j in range(start + team.t, stop, team.threads):
        inside, outside = 0.0, 0.0
        for k in range(start, stop):
            p, counted = share(work, start, stop, k, j), counts(limit, k - start)
            inside, outside = inside + counted * p, outside + (1.0 - counted) * p
        work[COLUMN, j] = inside + outside + LEAST
        work[U, j], work[D, j] = inside / work[COLUMN, j], outside / work[COLUMN, j]


@inner
def _cost(t, i, j, work):
    """Of an item, which is i in one stage and j in the other; U and D then have the gradients of what P makes them."""
    u, v, d, e = work[U, i], work[U, j], work[D, i], work[D, j]
    out = 1.0 - (1.0 - d) * (1.0 - e)
    cost = -0.5 * t * (math.log(u + LEAST) + math.log(v + LEAST)) - t * math.log(u * v + LEAST)
    cost -= 0.5 * (1.0 - t) * (math.log(d + LEAST) + math.log(e + LEAST)) + (1.0 - t) * math.log(out + LEAST)
    both, rest = t / (u * v + LEAST), (1.0 - t) / (out + LEAST)
    work[U, i] = -(0.5 * t / (u + LEAST) + both * v) / work[COLUMN, i]
    work[U, j] = -(0.5 * t / (v + LEAST) + both * u) / work[COLUMN, j]
    work[D, i] = -(0.5 * (1.0 - t) / (d + LEAST) + rest * (1.0 - e)) / work[COLUMN, i]
    work[D, j] = -(0.5 * (1.0 - t) / (e + LEAST) + rest * (1.0 - d)) / work[COLUMN, j]
    return cost


@inner
def _back(team, start, stop, limit, scale, work, upstream):
    """From U and D through the matrix to z."""
    for k in range(start + team.t, stop, team.threads):
        mean, counted = 0.0, counts(limit, k - start)
        for j in range(start, stop):
            mean += share(work, start, stop, k, j) * (counted * work[U, j] + (1.0 - counted) * work[D, j])
        work[MEAN, k] = mean
    team_sums(team, (0.0,))
    for j in range(start + team.t, stop, team.threads):
        work[PULL, j], work[SLOPE, j] = 0.0, 0.0
        for k in range(start, stop):
            counted = counts(limit, k - start)
            pull(work, start, stop, j, k, counted * work[U, j] + (1.0 - counted) * work[D, j])
    to_scores(team, start, stop, work, scale, upstream)


LOSS = Loss(
    lcron,
    reads=("scores", "target_members", "ks", "kept", "alphas", "descending"),
    moves=("scores over alpha",),
    sums=1,
    work=ROWS,
    stages=2,
    card_bytes=100 + 8 * ROWS,
)
