"""RankNet: the mean over pairs with y_i > y_j of log(1 + e^-(z_i - z_j)), z = x / alpha.

Burges et al., Learning to rank using gradient descent, ICML 2005; alpha is 1 / sigma there. It takes n^2 steps.
"""

from ..jit import uncounted
from ..scalars.team import join, team_sums
from .declared import Loss
from .pairs import apart, missed


@uncounted
def ranknet(rankings, offsets, read, losses, upstreams):
    """The mean, and its gradient along z: every score goes through all others."""
    team, (x, y, alphas, descending), (upstream,) = join(rankings), read, upstreams
    up = 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, stop, total, pairs = offsets[r], offsets[r + 1], 0.0, 0.0
        for i in range(start + team.t, stop, team.threads):
            slope, costs = 0.0, 0.0  # costs of a score first: where all are alike, each of n^2 would round the same way
            for j in range(start, stop):
                if y[i] > y[j]:
                    cost, falls = missed(apart(x[i], x[j], up, alphas[r]))
                    costs, pairs, slope = costs + cost, pairs + 1.0, slope - falls
                elif y[i] < y[j] and upstream.size > 0:
                    slope += missed(apart(x[j], x[i], up, alphas[r]))[1]
            total += costs
            if upstream.size > 0:
                upstream[i] = slope
        total, pairs = team_sums(team, (total, pairs))
        for i in range(start + team.t, stop if upstream.size > 0 else start, team.threads):
            upstream[i] /= max(pairs, 1.0)
        if team.t == 0:
            losses[r] = total / max(pairs, 1.0)


LOSS = Loss(
    ranknet,
    reads=("scores", "target", "alphas", "descending"),
    moves=("scores over alpha",),
    sums=2,
    card_bytes=24,
)
