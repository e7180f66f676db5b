"""1 - soft recall at k: sum of t_i p_i / k, for soft memberships p and places t of the k largest targets.

Ties of the target share what is left of k. There is none for k = 0.
"""

import numpy as np

from ..jit import uncounted
from ..scalars.team import join, team_sums
from .parts import Loss


@uncounted
def recall(rankings, offsets, read, losses, upstreams):
    """1 - sum of t_i p_i / k, at most the length for k; for p: -t_i / k."""
    team, (members, wanted, ks), (upstream,) = join(rankings), read, upstreams
    for r in range(team.first, team.last):
        start, stop, total = offsets[r], offsets[r + 1], 0.0
        k = min(ks[r], np.float64(stop - start))
        for i in range(start + team.t, stop, team.threads):
            slope = -wanted[i] / k if k > 0.0 else 0.0
            total += members[i] * slope
            if upstream.size > 0:
                upstream[i] = slope
        (total,) = team_sums(team, (total,))
        if team.t == 0:
            losses[r] = 1.0 + total if k > 0.0 else np.nan


LOSS = Loss(recall, reads=("members", "target_members", "ks"), moves=("members",), sums=1, card_bytes=72)
