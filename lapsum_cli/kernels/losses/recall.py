"""1 - soft recall at k: sum of t_i p_i / k, for soft memberships p and places t of the k largest targets.

Ties of the target share what is left of k. There is none for k = 0.
"""

import numpy as np

from ..jit import inner, uncounted
from ..scalars.team import join, mine, team_sums
from .declared import InParts, Loss, Round
from .second import by_parts


@uncounted
def recall(rankings, offsets, read, losses, upstreams):
    """1 - sum of t_i p_i / k, at most the length for k; for p: -t_i / k."""
    team = join(rankings)
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        n = stop - start
        (total,) = team_sums(team, _missed(team, r, start, stop, read, upstreams, (n,)))
        if team.t == 0:
            losses[r] = _loss(r, read, (n, total))


@uncounted
def _missed(team, r, start, stop, read, upstreams, known):
    """The sum of -t_i p_i / k, and its gradient."""
    (members, wanted, _), (upstream,) = read, upstreams
    k, total = _places(r, read, known), 0.0
    for item in mine(team, stop - start):
        i = start + item
        slope = -wanted[i] / k if k > 0.0 else 0.0
        total += members[i] * slope
        if upstream.size > 0:
            upstream[i] = slope
    return (total,)


@uncounted
def _loss(r, read, known):
    return 1.0 + known[1] if _places(r, read, known) > 0.0 else np.nan


@inner
def _places(r, read, known):
    return min(read[2][r], np.float64(known[0]))


@uncounted
def _bend(rankings, offsets, read, losses, bends):
    """Its slopes are what they are, wherever the memberships go."""
    (bend,) = bends
    bend[:] = 0.0


LOSS = Loss(
    recall,
    reads=("members", "target_members", "ks"),
    moves=("members",),
    sums=1,
    card_bytes=72,
    in_parts=InParts((Round(_missed),), _missed, _loss),
    second=by_parts(_bend),
)
