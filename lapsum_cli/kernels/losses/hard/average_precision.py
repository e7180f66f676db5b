"""Average precision: the mean over what is relevant of the share that is relevant of the places down to its own."""

import numpy as np

from ...jit import uncounted
from ...scalars.team import join
from ..declared import Loss
from .blocks import block_from, put_in_order


@uncounted
def average_precision(rankings, offsets, read, losses, upstreams):
    """Of equal scores, that of each place in the mean over their orders."""
    team, (x, y, places), (work,) = join(rankings), read, upstreams
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        put_in_order(team, start, stop, places, work[0])
        if team.t == 0:
            found, above, first = 0.0, 0.0, start
            while first < stop:
                last, relevant = block_from(x, y, work[0], first, stop)
                ties = np.float64(last - first)
                others = (relevant - 1.0) / (ties - 1.0) if ties > 1.0 else 0.0  # of the places beside a relevant one
                for at in range(first, last if relevant > 0.0 else first):
                    found += relevant / ties * (above + 1.0 + (at - first) * others) / (at - start + 1.0)
                above, first = above + relevant, last
            losses[r] = found / above if above > 0.0 else np.nan


LOSS = Loss(average_precision, reads=("scores", "target", "places"), moves=(), sums=1, work=1, of_constant=True)
