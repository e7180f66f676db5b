"""1 - DCG / ideal DCG: DCG = sum of gain_i / log2(1 + r_i) for soft ranks r from 1.

For the k best alone each term is times the soft membership, and of the ideal order the first k count, the last of them
for the rest of k. Gains are 2^y - 1 (exponential) or y >= 0, relative to the best. There is none where no gain is.
"""

import numpy as np

from ..jit import uncounted
from ..scalars.functions import LOG_2
from ..scalars.team import join, mine, team_maxima, team_sums
from .declared import InParts, Loss, Round
from .gains import best_in, gain_of, log2, nothing_of
from .second import by_parts


@uncounted
def ndcg(rankings, offsets, read, losses, upstreams):
    """1 - DCG / ideal, and its gradients for ranks, and for memberships unless all are in: there are none then."""
    team = join(rankings)
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        n = stop - start
        (best,) = team_maxima(team, _best(team, r, start, stop, read, upstreams, (n,)))
        ideal, gained = team_sums(team, _gained(team, r, start, stop, read, upstreams, (n, best)))
        known = n, best, ideal, gained
        _slopes(team, r, start, stop, read, upstreams, known)
        if team.t == 0:
            losses[r] = _loss(r, read, known)


@uncounted
def _best(team, r, start, stop, read, upstreams, known):
    return (best_in(team, read[2], start, stop),)


@uncounted
def _gained(team, r, start, stop, read, upstreams, known):
    """The ideal DCG, and that which there is."""
    ranks, members, y, places, limits, exponential = read
    best, ideal, gained = known[1], 0.0, 0.0
    nothing = nothing_of(best)
    for item in mine(team, stop - start):
        i = start + item
        gain, member = gain_of(y[i], best, nothing, exponential), members[i] if members.size > 0 else 1.0
        if places[i] < limits[r]:
            ideal += gain * min(limits[r] - places[i], 1.0) / log2(2.0 + places[i])
        gained += gain * member / log2(1.0 + ranks[i])
    return ideal, gained


@uncounted
def _slopes(team, r, start, stop, read, upstreams, known):
    ranks, members, y, _, _, exponential = read
    (to_ranks, to_members), (_, best, ideal, _), nothing = upstreams, known, nothing_of(known[1])
    for item in mine(team, stop - start if to_ranks.size > 0 else 0):
        i = start + item
        gain = gain_of(y[i], best, nothing, exponential) / ideal if ideal > 0.0 else 0.0
        depth, member = log2(1.0 + ranks[i]), members[i] if members.size > 0 else 1.0
        if to_members.size > 0:
            to_members[i] = -gain / depth
        to_ranks[i] = gain * member / (depth * depth * (1.0 + ranks[i]) * LOG_2)


@uncounted
def _loss(r, read, known):
    _, _, ideal, gained = known
    return 1.0 - gained / ideal if ideal > 0.0 else np.nan


@uncounted
def _bend(rankings, offsets, read, losses, bends):
    """How the slopes move: those of ranks with both, those of memberships with ranks."""
    team, (ranks, members, y, places, limits, exponential, moved, moved_members) = join(rankings), read
    to_ranks, to_members = bends
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        given = ranks, members, y, places, limits, exponential
        (best,) = team_maxima(team, (best_in(team, y, start, stop),))
        ideal, _ = team_sums(team, _gained(team, r, start, stop, given, bends, (stop - start, best)))
        nothing = nothing_of(best)
        for item in mine(team, stop - start):
            i = start + item
            gain = gain_of(y[i], best, nothing, exponential) / ideal if ideal > 0.0 else 0.0
            depth, step = log2(1.0 + ranks[i]), 1.0 / ((1.0 + ranks[i]) * LOG_2)
            slope, member, more = step / (depth * depth), 1.0, 0.0
            if members.size > 0:
                member, more = members[i], moved_members[i]
                to_members[i] = gain * slope * moved[i]
            fall = -slope * (1.0 / (1.0 + ranks[i]) + 2.0 * step / depth)
            to_ranks[i] = gain * (more * slope + member * fall * moved[i])


LOSS = Loss(
    ndcg,
    reads=("ranks", "members", "target", "target_places", "limits", "exponential"),
    moves=("ranks", "members"),
    sums=2,
    needs_gains=True,
    card_bytes=100,
    in_parts=InParts((Round(_best, largest=True), Round(_gained)), _slopes, _loss),
    second=by_parts(_bend),
)
