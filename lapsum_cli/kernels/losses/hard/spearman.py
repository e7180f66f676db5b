"""Spearman's correlation: that of the ranks of the scores with the ranks of the target; ties take their mean."""

import math

import numpy as np

from ...jit import uncounted
from ...scalars.team import join, team_sums
from ..declared import Loss


@uncounted
def spearman(rankings, offsets, read, losses, upstreams):
    """Ranks have the mean (n + 1) / 2; those that are all alike correlate with nothing."""
    team, (ranks, wanted) = join(rankings), read
    for r in range(team.first, team.last):
        start, stop, aa, bb, ab = offsets[r], offsets[r + 1], 0.0, 0.0, 0.0
        mean = (stop - start + 1.0) / 2.0
        for i in range(start + team.t, stop, team.threads):
            a, b = ranks[i] - mean, wanted[i] - mean
            aa, bb, ab = aa + a * a, bb + b * b, ab + a * b
        aa, bb, ab = team_sums(team, (aa, bb, ab))
        if team.t == 0:
            losses[r] = ab / max(math.sqrt(aa) * math.sqrt(bb), 1e-300) if bb > 0.0 else np.nan


LOSS = Loss(spearman, reads=("hard_ranks", "target_ranks"), moves=(), sums=3)
