"""The reciprocal rank of the first that is relevant, 0 where it is not among the first k."""

import numpy as np

from ...jit import inner, uncounted
from ...scalars.team import join
from ..declared import Loss
from .blocks import block_from, put_in_order


@uncounted
def mrr(rankings, offsets, read, losses, upstreams):
    """1 / rank, of equal scores in the mean over their orders."""
    team, (x, y, places, limits), (work,) = join(rankings), read, upstreams
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        put_in_order(team, start, stop, places, work[0])
        if team.t == 0:
            found, first = np.nan, start
            while first < stop:
                last, relevant = block_from(x, y, work[0], first, stop)
                if relevant > 0.0:
                    found = _first_of(first - start, last - first, relevant, limits[r])
                    break
                first = last
            losses[r] = found


@inner
def _first_of(before, ties, relevant, limit):
    """The mean of 1 / rank of the first of so many relevant among ties, behind so many others: how likely it is that
    this is one of them and none was before.
    """
    found, share = 0.0, relevant / ties
    for at in range(int(ties - relevant) + 1):
        if before + at < limit:
            found += share / (before + at + 1.0)
        left = ties - at - 1.0
        share *= (left - relevant + 1.0) / left if left > 0.0 else 0.0
    return found


LOSS = Loss(mrr, reads=("scores", "target", "places", "limits"), moves=(), sums=1, work=1, of_constant=True)
