"""Cross-entropy of a soft top k: -(1/n) sum of t_i log p_i + (1 - t_i) log(1 - p_i).

p are soft memberships, t those of the k largest targets, whose ties share what is left of k. Both logarithms come from
the cut, with all digits of a membership near 0 or 1.
"""

import math

import numpy as np

from ..jit import uncounted
from ..scalars.cut import log_share
from ..scalars.laplace import log_or_minus_inf
from ..scalars.team import join, team_sums
from .parts import Loss


@uncounted
def topk(rankings, offsets, read, losses, upstreams):
    """The mean cross-entropy; its gradient is along x / alpha at a fixed threshold."""
    team, (x, members, wanted, cuts, alphas, descending), (upstream,) = join(rankings), read, upstreams
    up = 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, stop, total = offsets[r], offsets[r + 1], 0.0
        n = max(stop - start, 1)
        for i in range(start + team.t, stop, team.threads):
            entropy, slope = _cross_entropy(up * x[i], members[i], wanted[i], cuts[r], alphas[r])
            total += entropy
            if upstream.size > 0:
                upstream[i] = slope / n
        (total,) = team_sums(team, (total,))
        if team.t == 0:
            losses[r] = total / n


@uncounted
def _cross_entropy(v, p, t, cut, alpha):
    """-(t log p + (1 - t) log(1 - p)) of a score v, larger being better, and its slope along v / alpha at a fixed
    threshold, where log p rises by (1 - p) / p or 1, and so on.
    """
    log_below, log_above, slope = cut[2], cut[3], 0.0
    if log_below == -np.inf and log_above == -np.inf:
        log_in, log_out = log_or_minus_inf(p), log_or_minus_inf(1.0 - p)
    elif v >= cut[1]:
        log_out = log_share(log_above) - (0.5 * v - 0.5 * cut[1]) / (0.5 * alpha)
        tail = math.exp(log_out)
        log_in = math.log1p(-tail)
        slope = 1.0 - t - t * tail / (1.0 - tail)
    else:
        log_in = log_share(log_below) - (0.5 * cut[0] - 0.5 * v) / (0.5 * alpha)
        tail = math.exp(log_in)
        log_out = math.log1p(-tail)
        slope = (1.0 - t) * tail / (1.0 - tail) - t
    return -(t * log_in if t > 0.0 else 0.0) - ((1.0 - t) * log_out if t < 1.0 else 0.0), slope


LOSS = Loss(
    topk,
    reads=("scores", "members", "target_members", "cuts", "alphas", "descending"),
    moves=("distances to the threshold",),
    sums=1,
    card_bytes=72,
)
