"""Gains of targets, relative to the best of a ranking, and the logarithm that discounts them."""

import numpy as np

from ..jit import inner
from ..scalars.functions import LOG_2, exp_nonpositive, log_normal
from ..scalars.team import team_maxima


@inner
def best_of(team, y, start, stop):
    """The largest target of a ranking, to all of its team."""
    (best,) = team_maxima(team, (best_in(team, y, start, stop),))
    return best


@inner
def best_in(team, y, start, stop):
    """The largest target that a thread sees."""
    best = -np.inf
    for i in range(start + team.t, stop, team.threads):
        best = max(best, y[i])
    return best


@inner
def nothing_of(best):
    """What y = 0 has of 2^y relative to 2^best."""
    return exp_nonpositive(-max(best, 0.0) * LOG_2)


@inner
def gain_of(y, best, nothing, exponential):
    """2^y - 1 relative to 2^best, which may be more than a float holds; or y relative to best.

    nothing: that of `nothing_of`.
    """
    if best <= 0.0:
        return 0.0
    return exp_nonpositive((y - best) * LOG_2) - nothing if exponential else y / best


@inner
def log2(x):
    return log_normal(x) / LOG_2
