"""What all losses begin and end with: which scores take part, and gradients in the unit of the scores, and times the
weights of their rankings.

They are loops over rankings like those of the losses, so that threads and cards have their share of them; on arrays
in memory here it is the CPU's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.rankings import Array, Rankings
from ..jit import uncounted
from ..scalars.team import join, team_sums
from .declared import Loss
from .pairs import first_finite

_SMALL = 2.0**-40  # so that sums over scores at the end of the floats are none beyond it


@uncounted
def _partaking(rankings, offsets, read, counts, upstreams):
    """How many scores of a ranking are not masked: 0 where all their targets are alike, and so no order is better than
    another, unless the loss is of such too; -1 where one of these targets is no gain, and the loss needs gains.
    """
    team, (x, y, masked, needs_gains, of_constant) = join(rankings), read
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        first = start
        while first < stop and x[first] == masked:
            first += 1
        taken, others, wrong = 0.0, 0.0, 0.0
        for i in range(start + team.t, stop, team.threads):
            if x[i] != masked:
                taken += 1.0
                others += 1.0 if y[i] != y[first] else 0.0
                wrong += 1.0 if y[i] < 0.0 or y[i] == np.inf else 0.0
        taken, others, wrong = team_sums(team, (taken, others, wrong))
        if team.t == 0:
            counts[r] = taken if others > 0.0 or of_constant else 0.0
            if needs_gains and wrong > 0.0:
                counts[r] = -1.0


@uncounted
def _weighted(rankings, offsets, read, counts, upstreams):
    """Gradients times the weight of their ranking; a weight of 0 makes 0 of whatever there is."""
    team, (gradient, weights), (out,) = join(rankings), read, upstreams
    for r in range(team.first, team.last):
        weight = weights[r]
        for i in range(offsets[r] + team.t, offsets[r + 1], team.threads):
            out[i] = gradient[i] * weight if weight != 0.0 and gradient[i] != 0.0 else 0.0


@uncounted
def _scaled(rankings, offsets, read, to_alpha, upstreams):
    """Gradients along the scores over alpha, larger is better, as those of the scores, and what alpha makes of them;
    about one of the scores, as a shift of all moves nothing. A score that is infinite has none.
    """
    team, (x, upstream, alphas, descending), (out,) = join(rankings), read, upstreams
    up = 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, stop, alpha, moment = offsets[r], offsets[r + 1], alphas[r], 0.0
        first = first_finite(x, start, stop)
        for i in range(start + team.t, stop, team.threads):
            g = upstream[i] * up if abs(x[i]) < np.inf else 0.0
            out[i] = g / alpha
            moment -= g * ((0.5 * np.float64(x[i]) - 0.5 * np.float64(x[first])) * _SMALL) if g != 0.0 else 0.0
        (moment,) = team_sums(team, (moment,))
        if team.t == 0:
            to_alpha[r] = moment / alpha / (0.5 * _SMALL * alpha)


PARTAKING = Loss(_partaking, reads=(), moves=(), sums=3)
SCALED = Loss(_scaled, reads=(), moves=(), sums=1)
WEIGHTED = Loss(_weighted, reads=(), moves=(), sums=1)


def partaking(kernels: Any, place: Any, rankings: Rankings, target: Array, masked: float, loss: Loss) -> np.ndarray:
    """(m,) how many scores of a ranking take part, as `_partaking` says; masked: the score that does not."""
    needs = {"needs_gains": loss.needs_gains, "of_constant": loss.of_constant}
    given = {"scores": rankings.values, "target": target, "masked": masked, **needs}
    counts: np.ndarray = kernels.losses.each_ranking(place, PARTAKING, rankings.offsets, given, ())[0]
    return counts


def weighted(kernels: Any, place: Any, offsets: np.ndarray, gradient: Array, weights: np.ndarray) -> Array:
    """(N,) float64 gradients times the weights (m,) of their rankings, wherever they are; 0 of anything is 0."""
    given = {"gradient": gradient, "weights": weights}
    made: Array = kernels.losses.each_ranking(place, WEIGHTED, offsets, given, ((int(offsets[-1]),),))[1][0]
    return made
