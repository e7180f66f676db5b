"""The merge law, and the soft count at a cut: all that is ever known of scores which are not at hand.

With F the CDF of the Laplace distribution, the soft count of scores above a cut t is a number and two sums,

    sum of F((x_j - t) / alpha) = (number of x_j >= t) - above / 2 + below / 2
    above = sum over x_j >= t of e^-(x_j - t)/alpha           below = sum over x_j < t of e^-(t - x_j)/alpha

and so is a run of scores to whatever lies beside it: its number and either sum, seen from one of its own ends. Sums are
carried, merged and seen from elsewhere by factors e^-distance/alpha, all in [0, 1]: nothing can overflow. So a thread's
part, a tile of a card, a chunk of a file and a partition of a cluster are one idea: summarise each, merge what lies
outside each, finish inside. Before an exponential may stand a weight, in place of 1: gradients are made of such sums.

These are formulas for the loops of both devices, and part of the loop before it is compiled.
"""

import math

from ..jit import inlined
from .functions import exp_nonpositive, fma


@inlined
def step(carry, weight, factor):
    """The sum behind a score, from the sum behind the next one and that one's weight; factor: of the gap between them.

    Not (carry + weight) factor: one multiply-add is between two steps, not two.
    """
    return fma(carry, factor, weight * factor)


@inlined
def merged(own, outer, factor):
    """The sum over a run and all beyond it, seen from one place; factor: from the place that `outer` is seen from."""
    return fma(outer, factor, own)


@inlined
def faded(outer, distance, alpha):
    """A sum seen from farther away than before; 0 where there is nothing, however far."""
    return outer * math.exp(-distance / alpha) if outer > 0.0 else 0.0


@inlined
def soft_count(number, above, below):
    """Of scores above a cut, from the hard one and the sums on either side, seen from the cut.

    At the upper neighbour of a gap: (over, above, below * fade), at the lower one (over, above * fade, below), with the
    sums seen from these neighbours and fade = e^-gap/alpha. At the i-th score, from 0, best first: i more than `base`
    without its own half, (i, before, behind), is its soft rank.
    """
    return fma(0.5, below - above, number)


@inlined
def sample_deviation(count, squares, size):
    """Of the mean of F over a sample of this size, from the sums of F and of F^2."""
    return math.sqrt(max(0.0, squares / size - (count / size) ** 2) / size)


@inlined
def softmax_parts(v, above, below, to_above, to_below):
    """v in two, by the weights e^-distance/alpha of the scores above and below a point: what goes to its neighbours.

    above, below        sums over the scores of a side, seen from the neighbour there
    to_above, to_below  logarithms of e^-distance/alpha from the point to the neighbours
    """
    lead = to_above - to_below
    lesser = exp_nonpositive(-abs(lead))
    from_above, from_below = (1.0, lesser) if lead >= 0.0 else (lesser, 1.0)
    weight = v / fma(from_above, above, from_below * below)
    return weight * from_above, weight * from_below


@inlined
def nearer(to_above, to_below, of_above, of_below):
    """What belongs to the neighbour of a point that loses less to it, which is the nearer one."""
    return of_below if to_below >= to_above else of_above
