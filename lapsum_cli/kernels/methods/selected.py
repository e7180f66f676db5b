"""The k-th largest of some scores and the next, by counting: no sort, and no copy.

How many scores are above a pivot is a loop of whole vectors. Where they are k, the nearest scores on either side are
the two. Else the next pivot is where the line between two counts has k, and each third one halves the floats between
them (not their values), which ends soon whatever the scores are. Where that is not soon enough, as of scores of which
many are alike, a pass looks for the nearest scores too, which are bounds as good as any between them.
"""

import numpy as np

from ..jit import inner
from ..scalars.functions import as_bits, as_float, in_order
from ..scalars.team import mine, takes_part, team_maxima, team_sums

COUNTED = 18  # turns that count alone: of normal scores nine of ten take no more than a dozen
LONG, AT_FIRST = 1 << 10, 4  # scores from which what is left after so many turns is gathered


@inner
def beside_place(team, x, n, k, spare):
    """The k-th largest of the float64 scores x, none of which is NaN, and the next, -inf where k takes all; k >= 1. Of
    the x so many take part, n.

    spare: as long as x, for what is left of many scores; or shorter, and then all of them are gone through every time,
    as by a team of several threads
    """
    high, low = -np.inf, np.inf
    for i in mine(team, x.size):
        high, low = in_order(high, x[i])[0], in_order(low, x[i] if takes_part(team, x[i]) else np.inf)[1]
    high, low = team_maxima(team, (high, -low))
    low = -low
    if k >= n:
        return low, -np.inf
    is_long = team.threads == 1 and LONG < x.size <= spare.size
    left = 0, n, low, high
    is_found, upper, lower, left = _narrow(team, x, k, 0, left, 0, AT_FIRST if is_long else 1 << 30)
    if not is_found:
        above, _, low, high = left
        some = spare[: _gather(x, low, high, spare)]
        is_found, upper, lower, left = _narrow(team, some, k, above, left, AT_FIRST, 1 << 30)
    return upper, lower


@inner
def _narrow(team, x, k, base, left, turn, turns):
    """Whether the two were found until so many turns, these, and what is left: (above, held, low, high), where fewer
    than k are above `high`, at least k above `low` or not below it. base: how many are above all of x.
    """
    above, held, low, high = left
    while low < high:
        if turn == turns:
            return False, 0.0, 0.0, (above, held, low, high)
        turn += 1
        pivot = high - (high - low) * ((k - 0.5 - above) / (held - above))
        if turn % 3 == 0 or not low <= pivot < high:
            pivot = _between(low, high)
        (above_it,) = team_sums(team, (np.float64(_above(team, x, pivot)),))
        count, lower, upper = base + int(above_it), pivot, pivot
        if count == k or turn > COUNTED:
            upper, lower = _split(team, x, pivot)
        if count == k:
            return True, upper, lower, left
        if count < k:
            high, above = lower, count
        else:
            low, held = upper, count
    return True, low, low, left


@inner
def _gather(x, low, high, to):
    """Put scores from low to high there, and say how many. Each is written, and most are written over: no branch."""
    size = 0
    for i in range(x.size):
        to[size] = x[i]
        size += int(x[i] >= low) & int(x[i] <= high)
    return size


@inner
def _above(team, x, pivot):
    count = 0
    for i in mine(team, x.size):
        count += x[i] > pivot
    return count


@inner
def _split(team, x, pivot):
    """The least score above a pivot, and the largest of the others."""
    least, largest = np.inf, -np.inf
    for i in mine(team, x.size):
        is_above = x[i] > pivot
        least = in_order(least, x[i] if is_above else np.inf)[1]
        largest = in_order(largest, -np.inf if is_above else x[i])[0]
    largest, least = team_maxima(team, (largest, -least))
    return -least, largest


@inner
def _between(low, high):
    """The float that has as many floats on either side, up to these; not the higher one."""
    a, b = _rank(low), _rank(high)
    return _of_rank((a & b) + ((a ^ b) >> 1))


@inner
def _rank(x):
    """An integer that orders like the float64, 0 for 0."""
    bits = as_bits(x)
    return bits if bits >= 0 else LEAST - bits


@inner
def _of_rank(rank):
    return as_float(rank if rank >= 0 else LEAST - rank)


LEAST = np.int64(-(2**63))
