"""ApproxNDCG: 1 - DCG / ideal DCG at approximate places 1 + sum over j != i of 1 / (1 + e^((x_i - x_j) / alpha)).

Qin, Liu and Li, A general approximation framework for direct optimization of IR measures, 2010; alpha is 1 / alpha
there. DCG = sum of gain_i / log2(1 + place_i), with the gains of ndcg. It takes n^2 steps.
"""

import numpy as np

from ..jit import uncounted
from ..scalars.functions import LOG_2
from ..scalars.team import join, team_sums
from .declared import Loss
from .gains import best_of, gain_of, log2, nothing_of
from .pairs import apart, behind


@uncounted
def approx_ndcg(rankings, offsets, read, losses, upstreams):
    """1 - DCG / ideal, and its gradient along x / alpha; work: how it moves with every place."""
    team, (x, y, places, alphas, descending, exponential) = join(rankings), read
    (upstream, work), up = upstreams, 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        best = best_of(team, y, start, stop)
        ideal, gained, nothing = 0.0, 0.0, nothing_of(best)
        for i in range(start + team.t, stop, team.threads):
            place = 0.5  # of itself there is half of one
            for j in range(start, stop):
                place += behind(apart(x[i], x[j], up, alphas[r]))[0]
            gain, depth = gain_of(y[i], best, nothing, exponential), log2(1.0 + place)
            ideal, gained = ideal + gain / log2(2.0 + places[i]), gained + gain / depth
            work[0, i] = gain / (depth * depth * (1.0 + place) * LOG_2)
        ideal, gained = team_sums(team, (ideal, gained))
        for i in range(start + team.t, stop if upstream.size > 0 else start, team.threads):
            slope = 0.0
            for j in range(start, stop):
                slope += behind(apart(x[i], x[j], up, alphas[r]))[1] * (work[0, j] - work[0, i])
            upstream[i] = slope / ideal if ideal > 0.0 else 0.0
        if team.t == 0:
            losses[r] = 1.0 - gained / ideal if ideal > 0.0 else np.nan


LOSS = Loss(
    approx_ndcg,
    reads=("scores", "target", "target_places", "alphas", "descending", "exponential"),
    moves=("scores over alpha",),
    sums=2,
    needs_gains=True,
    work=1,
    card_bytes=110,
)
