"""1 - the correlation of soft ranks, from 1, with the ranks of the target, whose ties take their mean."""

import math

import numpy as np

from ..jit import uncounted
from ..scalars.team import join, team_sums
from .parts import Loss


@uncounted
def spearman(rankings, offsets, read, losses, upstreams):
    """1 - c for c = <r, w> / (|r| |w|) of ranks r and wanted ones w, both centred; for r: (c r / |r| - w / |w|) / |r|.

    Ranks that are all alike correlate with nothing, and no direction is better than another.
    """
    team, (ranks, wanted), (upstream,) = join(rankings), read, upstreams
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        a, b, n = 0.0, 0.0, max(stop - start, 1)
        for i in range(start + team.t, stop, team.threads):
            a, b = a + ranks[i], b + wanted[i]
        a, b = team_sums(team, (a, b))
        mean, wanted_mean = a / n, b / n
        aa, bb, ab = 0.0, 0.0, 0.0
        for i in range(start + team.t, stop, team.threads):
            a, b = ranks[i] - mean, wanted[i] - wanted_mean
            aa, bb, ab = aa + a * a, bb + b * b, ab + a * b
        aa, bb, ab = team_sums(team, (aa, bb, ab))
        aa, bb = math.sqrt(aa), math.sqrt(bb)
        correlation = ab / (aa * bb) if aa > 0.0 else 0.0
        for i in range(start + team.t, stop if upstream.size > 0 else start, team.threads):
            a, b = ranks[i] - mean, wanted[i] - wanted_mean
            upstream[i] = (correlation * a / aa - b / bb) / aa if aa > 0.0 and bb > 0.0 else 0.0
        if team.t == 0:
            losses[r] = 1.0 - correlation if bb > 0.0 else np.nan


LOSS = Loss(spearman, reads=("ranks", "target_ranks"), moves=("ranks",), sums=3, card_bytes=100)
