"""Two scores of a pair: how far they are apart, and what it costs if the better is not above."""

import math

import numpy as np

from ..jit import inner
from ..scalars.laplace import LARGEST_GAP


@inner
def apart(a, b, up, alpha):
    """(a - b) / alpha, times up = 1 or -1; 0 of equal infinities, and infinite where one of them is."""
    if a == b:
        return 0.0
    far = up * (0.5 * np.float64(a) - 0.5 * np.float64(b)) / (0.5 * alpha)
    if abs(far) == np.inf and abs(a) < np.inf and abs(b) < np.inf:
        return math.copysign(LARGEST_GAP, far)
    return far


@inner
def first_finite(x, start, stop):
    """Where the first finite score of start .. stop is, or the last: one from which others are seen."""
    first = start
    while first < stop - 1 and abs(x[first]) == np.inf:
        first += 1
    return first


@inner
def behind(z):
    """1 / (1 + e^z), how far a score is behind one that it is z above, and how fast that falls along z."""
    e = math.exp(-abs(z))
    share = e / (1.0 + e)
    return share if z >= 0.0 else 1.0 / (1.0 + e), share / (1.0 + e)


@inner
def missed(z):
    """log(1 + e^-z) for a pair whose better score is z above the other, and how fast it falls along z: 1 / (1 + e^z).

    At infinity it does not fall: no step changes what it is.
    """
    cost = math.log1p(math.exp(-abs(z)))
    return cost if z >= 0.0 else cost - z, behind(z)[0] if z > -np.inf else 0.0
