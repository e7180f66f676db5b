"""Cross-entropy of a soft top k: -(1/n) sum of t_i log p_i + (1 - t_i) log(1 - p_i).

p are soft memberships, t those of the k largest targets, whose ties share what is left of k. Both logarithms come from
the cut, with all digits of a membership near 0 or 1.
"""

import numpy as np

from ..jit import inner, uncounted
from ..scalars.cut import log_share
from ..scalars.functions import exp_nonpositive, log_one_minus
from ..scalars.laplace import log_or_minus_inf
from ..scalars.team import join, mine, team_sums
from .declared import InParts, Loss, Round
from .second import by_parts


@uncounted
def topk(rankings, offsets, read, losses, upstreams):
    """The mean cross-entropy; its gradient is along x / alpha at a fixed threshold."""
    team = join(rankings)
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        n = stop - start
        (total,) = team_sums(team, _entropies(team, r, start, stop, read, upstreams, (n,)))
        if team.t == 0:
            losses[r] = _loss(r, read, (n, total))


@uncounted
def _entropies(team, r, start, stop, read, upstreams, known):
    """The sum of the cross-entropies, and the gradient of their mean."""
    (x, members, wanted, cuts, alphas, descending), (upstream,) = read, upstreams
    up, n, total = 1.0 if descending else -1.0, max(known[0], 1), 0.0
    for item in mine(team, stop - start):
        i = start + item
        entropy, slope = _cross_entropy(up * x[i], members[i], wanted[i], cuts[r], alphas[r])
        total += entropy
        if upstream.size > 0:
            upstream[i] = slope / n
    return (total,)


@uncounted
def _loss(r, read, known):
    return known[1] / max(known[0], 1)


@inner
def _cross_entropy(v, p, t, cut, alpha):
    """-(t log p + (1 - t) log(1 - p)) of a score v, and its slope."""
    log_in, log_out, rises, falls = logs(v, p, cut, alpha)
    return _entropy(t, log_in, log_out), -t * rises - (1.0 - t) * falls


@uncounted
def _bend(rankings, offsets, read, losses, bends):
    """How the slopes move with the distances: an entropy is curved on the side where its logarithm is no line."""
    team, (x, members, wanted, cuts, alphas, descending, moved), (bend,) = join(rankings), read, bends
    up = 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, n = offsets[r], offsets[r + 1] - offsets[r]
        for item in mine(team, n):
            i = start + item
            _, _, rises, falls = logs(up * x[i], members[i], cuts[r], alphas[r])
            if falls == -1.0:
                bend[i] = wanted[i] * rises * (1.0 + rises) * moved[i] / n
            else:
                bend[i] = (1.0 - wanted[i]) * falls * (falls - 1.0) * moved[i] / n


@inner
def logs(v, p, cut, alpha):
    """log p and log(1 - p) of a score v, larger being better, and their slopes along v / alpha at a fixed threshold:
    (1 - p) / p or 1, and so on.
    """
    if cut[2] == -np.inf and cut[3] == -np.inf:
        return log_or_minus_inf(p), log_or_minus_inf(1.0 - p), 0.0, 0.0
    is_above = v >= cut[1]
    distance = 0.5 * v - 0.5 * cut[1] if is_above else 0.5 * cut[0] - 0.5 * v
    log_tail = log_share(cut[3] if is_above else cut[2]) - distance / (0.5 * alpha)
    tail = exp_nonpositive(log_tail)
    log_rest, odds = log_one_minus(tail), tail / (1.0 - tail)
    return (log_rest, log_tail, odds, -1.0) if is_above else (log_tail, log_rest, 1.0, -odds)


@inner
def _entropy(t, log_in, log_out):
    return -(t * log_in if t > 0.0 else 0.0) - ((1.0 - t) * log_out if t < 1.0 else 0.0)


LOSS = Loss(
    topk,
    reads=("scores", "members", "target_members", "cuts", "alphas", "descending"),
    moves=("distances to the threshold",),
    sums=1,
    card_bytes=72,
    in_parts=InParts((Round(_entropies),), _entropies, _loss),
    second=by_parts(_bend),
)
