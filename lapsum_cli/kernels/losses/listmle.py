"""ListMLE: -log of the probability that the target's order is drawn, one after the other by softmax(x / alpha).

The sum over i of log sum of e^z_j over the items not drawn yet, less z_i, z = x / alpha: Xia et al., Listwise approach
to learning to rank, ICML 2008. Of d equal targets each is drawn in turn, the items before it being so many shares of
all d: Efron's way (The efficiency of Cox's likelihood function for censored data, 1977), which knows no order of them.
"""

import math

import numpy as np

from ..jit import inner, uncounted
from ..scalars.team import join, team_sums
from .declared import Loss
from .pairs import apart

ITEM, TOP, LOWER, OWN = 0, 1, 2, 3  # rows of work, by place: an item; of equal targets, at the first: see _from_below


@uncounted
def listmle(rankings, offsets, read, losses, upstreams):
    """The sum over a list, and its gradient along z."""
    team, (x, y, places, alphas, descending), (upstream, work) = join(rankings), read, upstreams
    up = 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        for i in range(start + team.t, stop, team.threads):
            work[ITEM, start + places[i]] = i
        team_sums(team, (0.0,))  # all of them are there
        if team.t == 0:
            losses[r] = _from_below(x, y, start, stop, up, alphas[r], work)
            if upstream.size > 0:
                _from_above(x, y, start, stop, up, alphas[r], work, upstream)


@inner
def _from_below(x, y, start, stop, up, alpha, work):
    """The loss, from the lowest targets up; of equal ones it leaves TOP, the largest score so far, LOWER and OWN, the
    sums of e^(z - TOP) over the items below them and over themselves.
    """
    total, top, below, last = 0.0, -np.inf, 0.0, stop
    while last > start:
        first, before = last - 1, top
        target = y[int(work[ITEM, first])]
        while first > start and y[int(work[ITEM, first - 1])] == target:
            first -= 1
        for at in range(first, last):
            top = max(top, up * np.float64(x[int(work[ITEM, at])]))
        below *= math.exp(apart(before, top, 1.0, alpha))
        own = 0.0
        for at in range(first, last):
            own += math.exp(apart(up * np.float64(x[int(work[ITEM, at])]), top, 1.0, alpha))
        for at in range(first, last):
            total += math.log(below + _left(at, first, last) * own)
            total -= apart(up * np.float64(x[int(work[ITEM, at])]), top, 1.0, alpha)
        work[TOP, first], work[LOWER, first], work[OWN, first] = top, below, own
        below, last = below + own, first
    return total


@inner
def _from_above(x, y, start, stop, up, alpha, work, upstream):
    """The gradient, from the highest targets down: of every sum that an item is in, its share."""
    drawn, before, first = 0.0, work[TOP, start], start  # drawn: the sum of 1 / sum so far, relative to e^-before
    while first < stop:
        top, below, own, last = work[TOP, first], work[LOWER, first], work[OWN, first], first + 1
        while last < stop and y[int(work[ITEM, last])] == y[int(work[ITEM, first])]:
            last += 1
        drawn *= math.exp(apart(top, before, 1.0, alpha))
        inside, outside = 0.0, 0.0
        for at in range(first, last):
            left = _left(at, first, last)
            inside, outside = inside + left / (below + left * own), outside + 1.0 / (below + left * own)
        for at in range(first, last):
            i = int(work[ITEM, at])
            upstream[i] = math.exp(apart(up * np.float64(x[i]), top, 1.0, alpha)) * (drawn + inside) - 1.0
        drawn, before, first = drawn + outside, top, last


@inner
def _left(at, first, last):
    """What is left of equal targets at first .. last when the one at this place is drawn."""
    return np.float64(last - at) / np.float64(last - first)


LOSS = Loss(
    listmle,
    reads=("scores", "target", "target_places", "alphas", "descending"),
    moves=("scores over alpha",),
    sums=1,
    work=4,
    card_bytes=130,
)
