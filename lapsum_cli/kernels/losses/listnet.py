"""ListNet: the cross-entropy of softmax(x / alpha) against softmax(y), -sum of softmax(y)_i log softmax(x / alpha)_i.

Cao et al., Learning to rank: from pairwise approach to listwise approach, ICML 2007: who is first.
"""

import math

import numpy as np

from ..jit import uncounted
from ..scalars.team import join, team_maxima, team_sums
from .declared import Loss
from .pairs import apart


@uncounted
def listnet(rankings, offsets, read, losses, upstreams):
    """The cross-entropy of a list; for x / alpha: the one softmax less the other."""
    team, (x, y, alphas, descending), (upstream,) = join(rankings), read, upstreams
    up = 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, stop, first, best = offsets[r], offsets[r + 1], -np.inf, -np.inf
        for i in range(start + team.t, stop, team.threads):
            first, best = max(first, up * np.float64(x[i])), max(best, y[i])
        first, best = team_maxima(team, (first, best))
        e, wanted, total = 0.0, 0.0, 0.0
        for i in range(start + team.t, stop, team.threads):
            behind = apart(up * np.float64(x[i]), first, 1.0, alphas[r])
            share = math.exp(apart(y[i], best, 1.0, 1.0))
            e, wanted = e + math.exp(behind), wanted + share
            total -= share * behind if share > 0.0 else 0.0
        e, wanted, total = team_sums(team, (e, wanted, total))
        for i in range(start + team.t, stop if upstream.size > 0 else start, team.threads):
            behind = apart(up * np.float64(x[i]), first, 1.0, alphas[r])
            share = math.exp(apart(y[i], best, 1.0, 1.0))
            upstream[i] = math.exp(behind) / e - share / wanted
        if team.t == 0:
            losses[r] = total / wanted + math.log(e)


LOSS = Loss(
    listnet, reads=("scores", "target", "alphas", "descending"), moves=("scores over alpha",), sums=3, card_bytes=24
)
