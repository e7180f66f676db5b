"""SOFT's unsorted top-k: transport to the anchors 0 and 1 at a cost of squared distances, over the largest of these.

Xie et al., NeurIPS 2020. The original takes the largest cost of a whole batch; here each ranking has its own, so that
no result depends on others. Gradients hold it constant, as the original does.
"""

from ..jit import uncounted
from ..scalars.team import join, mine, takes_part, team_maxima
from . import threshold


def topk(place, given):
    """Memberships, or their logarithms; and the thresholds."""
    scales = given.empty(place, given.lengths.size)
    given.each(place, _half_of_largest_cost, given.x, scales)
    return threshold.summing(place, given, given.x, scales)


def topk_gradient(place, given, state, upstream):
    """For the scores, alpha and k."""
    return threshold.summing_gradient(place, given, given.x, state, upstream)


def thresholds(given, state):
    """(m,) at which a membership is 1/2."""
    return state[0].b


@uncounted
def _half_of_largest_cost(rankings, offsets, x, scales):
    team = join(rankings)
    for r in range(team.first, team.last):
        part, most = x[offsets[r] : offsets[r + 1]], 0.0
        for i in mine(team, part.size):
            if takes_part(team, part[i]):
                most = max(most, part[i] * part[i], (part[i] + 1.0) * (part[i] + 1.0))
        (most,) = team_maxima(team, (most,))
        if team.t == 0:
            scales[r] = 0.5 * most if most > 0.0 else 1.0
