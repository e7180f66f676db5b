"""Kendall's tau-b of scores and targets: pairs in the same order less pairs in the opposite, over the geometric mean of
how many differ in either. Kendall, The treatment of ties in ranking problems, 1945. It takes n^2 steps.
"""

import math

import numpy as np

from ...jit import uncounted
from ...scalars.team import join, team_sums
from ..declared import Loss


@uncounted
def kendall(rankings, offsets, read, losses, upstreams):
    """Every pair twice; scores that are all alike correlate with nothing."""
    team, (x, y, descending) = join(rankings), read
    for r in range(team.first, team.last):
        start, stop, same, of_x, of_y = offsets[r], offsets[r + 1], 0.0, 0.0, 0.0
        for i in range(start + team.t, stop, team.threads):
            for j in range(start, stop):
                a = 0.0 if x[i] == x[j] else (1.0 if (x[i] > x[j]) == descending else -1.0)
                b = 0.0 if y[i] == y[j] else (1.0 if y[i] > y[j] else -1.0)
                same, of_x, of_y = same + a * b, of_x + a * a, of_y + b * b
        same, of_x, of_y = team_sums(team, (same, of_x, of_y))
        if team.t == 0:
            losses[r] = same / max(math.sqrt(of_x) * math.sqrt(of_y), 1.0) if of_y > 0.0 else np.nan


LOSS = Loss(kendall, reads=("scores", "target", "descending"), moves=(), sums=3)
