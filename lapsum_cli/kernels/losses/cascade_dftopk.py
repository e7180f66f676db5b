"""DFTopK's loss of a cascade: of memberships that are logistic about the middle of the k-th best score and the next.

Zhu et al., Differentiable fast top-k selection, 2025; tau is alpha. bce_dftopk.py has the memberships, cascade.py the
loss. Where k takes none or all, the loss is 0.
"""

import math

import numpy as np

from ..jit import inner, uncounted
from ..scalars.team import join, team_sums
from .cascade import costs
from .declared import Loss
from .pairs import apart, missed


@uncounted
def cascade_dftopk(rankings, offsets, read, losses, upstreams):
    """The mean over items, and its gradient along x / alpha, of which the scores about either threshold take theirs."""
    x, places, wanted, ks, alphas, descending = read
    team, (upstream, work), up = join(rankings), upstreams, 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, n, k, total = offsets[r], (offsets[r + 1] - offsets[r]) // 2, math.ceil(ks[2 * r]), 0.0
        is_moot = k <= 0 or k >= n
        for stage in range(0 if is_moot else 2):
            first = start + stage * n
            _logits(team, x, places, first, first + n, k, up, alphas[2 * r + stage], work[0])
        for i in range(start + team.t, start + (0 if is_moot else n), team.threads):
            cost, to_first, to_second = costs(wanted[i], _logs(work[0, i]), _logs(work[0, i + n]))
            total += cost
            work[1, i], work[1, i + n] = to_first / n, to_second / n
        (total,) = team_sums(team, (total,))
        for stage in range(2 if upstream.size > 0 else 0):
            first = start + stage * n
            if is_moot:
                for i in range(first + team.t, first + n, team.threads):
                    upstream[i] = 0.0
            else:
                _share(team, x, places, first, first + n, k, work[1], upstream)
        if team.t == 0:
            losses[r] = total / max(n, 1)


@inner
def _about(team, x, places, start, stop, k):
    """The k-th best score, and the next."""
    last, next_one = 0.0, 0.0
    for i in range(start + team.t, stop, team.threads):
        last = np.float64(x[i]) if places[i] == k - 1 else last
        next_one = np.float64(x[i]) if places[i] == k else next_one
    return team_sums(team, (last, next_one))


@inner
def _logits(team, x, places, start, stop, k, up, alpha, out):
    """How far each score of a stage is above its threshold, in alphas."""
    last, next_one = _about(team, x, places, start, stop, k)
    for i in range(start + team.t, stop, team.threads):
        out[i] = 0.5 * apart(x[i], last, up, alpha) + 0.5 * apart(x[i], next_one, up, alpha)


@inner
def _logs(z):
    """log p and log(1 - p) of a logit, and their slopes."""
    outside, q = missed(z)
    inside, p = missed(-z)
    return -outside, -inside, q, -p


@inner
def _share(team, x, places, start, stop, k, slopes, upstream):
    """Half of all that moves goes to each of the scores about the threshold, or those that are equal to it."""
    last, next_one = _about(team, x, places, start, stop, k)
    moved, like_last, like_next = 0.0, 0.0, 0.0
    for i in range(start + team.t, stop, team.threads):
        moved += slopes[i]
        like_last, like_next = like_last + (x[i] == last), like_next + (x[i] == next_one)
    moved, like_last, like_next = team_sums(team, (moved, like_last, like_next))
    for i in range(start + team.t, stop, team.threads):
        share = (0.5 / like_last if x[i] == last else 0.0) + (0.5 / like_next if x[i] == next_one else 0.0)
        upstream[i] = slopes[i] - share * moved


LOSS = Loss(
    cascade_dftopk,
    reads=("scores", "places", "target_members", "ks", "alphas", "descending"),
    moves=("scores over alpha",),
    sums=3,
    work=2,
    stages=2,
    card_bytes=130,
)
