"""1 - DCG / ideal DCG: DCG = sum of gain_i / log2(1 + r_i) for soft ranks r from 1.

For the k best alone each term is times the soft membership, and of the ideal order the first k count, the last of them
for the rest of k. Gains are 2^y - 1 (exponential) or y >= 0, relative to the best. There is none where no gain is.
"""

import numpy as np

from ..jit import uncounted
from ..scalars.functions import LOG_2
from ..scalars.team import join, team_sums
from .gains import best_of, gain_of, log2, nothing_of
from .parts import Loss


@uncounted
def ndcg(rankings, offsets, read, losses, upstreams):
    """1 - DCG / ideal, and its gradients for ranks, and for memberships unless all are in: there are none then."""
    ranks, members, y, places, limits, exponential = read
    team, (to_ranks, to_members) = join(rankings), upstreams
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        best = best_of(team, y, start, stop)
        ideal, gained, nothing = 0.0, 0.0, nothing_of(best)
        for i in range(start + team.t, stop, team.threads):
            gain, member = gain_of(y[i], best, nothing, exponential), members[i] if members.size > 0 else 1.0
            if places[i] < limits[r]:
                ideal += gain * min(limits[r] - places[i], 1.0) / log2(2.0 + places[i])
            gained += gain * member / log2(1.0 + ranks[i])
        ideal, gained = team_sums(team, (ideal, gained))
        for i in range(start + team.t, stop if to_ranks.size > 0 else start, team.threads):
            gain = gain_of(y[i], best, nothing, exponential) / ideal if ideal > 0.0 else 0.0
            depth, member = log2(1.0 + ranks[i]), members[i] if members.size > 0 else 1.0
            if to_members.size > 0:
                to_members[i] = -gain / depth
            to_ranks[i] = gain * member / (depth * depth * (1.0 + ranks[i]) * LOG_2)
        if team.t == 0:
            losses[r] = 1.0 - gained / ideal if ideal > 0.0 else np.nan


LOSS = Loss(
    ndcg,
    reads=("ranks", "members", "target", "target_places", "limits", "exponential"),
    moves=("ranks", "members"),
    sums=2,
    needs_gains=True,
    card_bytes=100,
)
