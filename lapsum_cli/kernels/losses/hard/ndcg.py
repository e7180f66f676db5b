"""NDCG at k: DCG / ideal DCG of the hard order's first k places, DCG = sum of gain_i / log2(1 + place_i)."""

import numpy as np

from ...jit import inner, uncounted
from ...scalars.team import join, team_maxima, team_sums
from ..declared import Loss
from ..gains import gain_of, log2, nothing_of
from .blocks import block_from, put_in_order


@uncounted
def ndcg(rankings, offsets, read, losses, upstreams):
    """Of equal scores, each has the mean of the discounts of their places."""
    team, (x, y, places, ideal_places, limits, exponential), (work,) = join(rankings), read, upstreams
    for r in range(team.first, team.last):
        start, stop, best = offsets[r], offsets[r + 1], -np.inf
        put_in_order(team, start, stop, places, work[0])
        for i in range(start + team.t, stop, team.threads):
            best = max(best, y[i])
        (best,) = team_maxima(team, (best,))
        ideal, nothing = 0.0, nothing_of(best)
        for i in range(start + team.t, stop, team.threads):
            ideal += gain_of(y[i], best, nothing, exponential) * _discount(ideal_places[i], limits[r])
        (ideal,) = team_sums(team, (ideal,))
        if team.t == 0:
            gained, first = 0.0, start
            while first < stop and first - start < limits[r]:
                last, gains, discounts = block_from(x, y, work[0], first, stop)[0], 0.0, 0.0
                for at in range(first, last):
                    gains += gain_of(y[int(work[0, at])], best, nothing, exponential)
                    discounts += _discount(at - start, limits[r])
                gained, first = gained + gains * discounts / (last - first), last
            losses[r] = gained / ideal if ideal > 0.0 else np.nan


@inner
def _discount(place, limit):
    """Of a place from 0: of the first k, the last of them for the rest of k."""
    return min(limit - place, 1.0) / log2(2.0 + place) if place < limit else 0.0


LOSS = Loss(
    ndcg,
    reads=("scores", "target", "places", "target_places", "limits", "exponential"),
    moves=(),
    sums=1,
    needs_gains=True,
    work=1,
    of_constant=True,
)
