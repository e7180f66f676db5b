"""Recall at k: the share of what is relevant that the first k places of the hard order hold."""

import numpy as np

from ...jit import uncounted
from ...scalars.team import join
from ..declared import Loss
from .blocks import block_from, put_in_order


@uncounted
def recall(rankings, offsets, read, losses, upstreams):
    """Of equal scores, each has an equal share of the places that are left."""
    team, (x, y, places, limits), (work,) = join(rankings), read, upstreams
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        put_in_order(team, start, stop, places, work[0])
        if team.t == 0:
            found, total, first = 0.0, 0.0, start
            while first < stop:
                last, relevant = block_from(x, y, work[0], first, stop)
                held = min(max(limits[r] - (first - start), 0.0), np.float64(last - first))
                found, total, first = found + relevant * held / (last - first), total + relevant, last
            losses[r] = found / total if total > 0.0 else np.nan


LOSS = Loss(recall, reads=("scores", "target", "places", "limits"), moves=(), sums=1, work=1, of_constant=True)
