"""Sorting as transport (Cuturi, Teboul, Vert, NeurIPS 2019), as OTT has it: squashed scores to even positions.

    u = (x - mean) / (deviation + 1e-10)       s = 1 / (1 + e^-u)       anchors 1 - l / (n - 1), l from 0

at a cost of (s - anchor)^2, alpha being epsilon. Ranks are positions, and sorted scores scores, by where the transport
takes scores; a permutation is the transport itself. Memberships are those of two anchors, for which it is a threshold
of squashed scores by the logistic distribution with half of alpha.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..jit import inner, uncounted
from ..scalars.functions import exp_nonpositive
from ..scalars.team import join, mine, takes_part, team_maxima, team_sums
from . import each, threshold, transport, transported
from .matrices import SIZE, Ordered, rows, squares

LEAST = 1e-10  # what is added to a deviation
_NONE, _WHOLE = np.empty(0), np.empty(0, np.int64)


class Squashed(NamedTuple):
    """Scores, squashed.

    y           (N,) these, less one of their ranking; one of -inf takes no part, and its s is -inf
    s, slopes   (N,) squashed, and their slopes along u
    spreads     (2, m) mean and deviation of y
    """

    y: Any
    s: Any
    slopes: Any
    spreads: Any

    @classmethod
    def of(cls, place, given, y):
        """Of such scores, in any order."""
        s, slopes, spreads = (given.empty(place, *n) for n in ((y.size,), (y.size,), (2, given.lengths.size)))
        given.each(place, _squash, y, given.lengths, s, slopes, spreads)
        return cls(y, s, slopes, spreads)

    def back(self, place, given, to_s):
        """From gradients for s to those for the scores, and for the alpha that s is over, times it."""
        out, to_alpha = given.empty(place, to_s.size), given.empty(place, given.lengths.size)
        given.each(place, _unsquash, *self, given.lengths, to_s, out, to_alpha)
        return out, to_alpha


@uncounted
def _squash(rankings, offsets, y, lengths, s, slopes, spreads):
    team = join(rankings)
    for r in range(team.first, team.last):
        a, b = offsets[r], offsets[r + 1]
        mean, deviation = _spread(team, y[a:b], lengths[r])
        for j in mine(team, b - a):
            u = (y[a + j] - mean) / (deviation + LEAST)
            e = exp_nonpositive(-abs(u))
            s[a + j] = (1.0 if u >= 0.0 else e) / (1.0 + e) if takes_part(team, u) else -np.inf
            slopes[a + j] = e / ((1.0 + e) * (1.0 + e))
        if team.t == 0:
            spreads[0, r], spreads[1, r] = mean, deviation


@inner
def _spread(team, y, n):
    """Mean and standard deviation, relative to the largest of n scores, which are about one of them."""
    largest, mean, square = 0.0, 0.0, 0.0
    for i in mine(team, y.size):
        largest = max(largest, abs(y[i]) if takes_part(team, y[i]) else 0.0)
    (largest,) = team_maxima(team, (largest,))
    if largest == 0.0:
        return 0.0, 0.0
    for i in mine(team, y.size):
        mean += y[i] / largest if takes_part(team, y[i]) else 0.0
    (mean,) = team_sums(team, (mean,))
    mean /= n
    for i in mine(team, y.size):
        square += (y[i] / largest - mean) * (y[i] / largest - mean) if takes_part(team, y[i]) else 0.0
    (square,) = team_sums(team, (square,))
    return mean * largest, math.sqrt(square / n) * largest


@uncounted
def _unsquash(rankings, offsets, y, s, slopes, spreads, lengths, to_s, out, to_alpha):
    """A score moves its own s, and by mean and deviation those of all."""
    team = join(rankings)
    for r in range(team.first, team.last):
        a, b, n = offsets[r], offsets[r + 1], lengths[r]
        mean, deviation = spreads[0, r], spreads[1, r]
        total, along, moved = 0.0, 0.0, 0.0
        for j in mine(team, b - a):
            i = a + j
            out[i] = to_s[i] * slopes[i]
            if takes_part(team, y[i]):
                moved -= to_s[i] * (s[i] - 0.5)
                total += out[i] / n
                along += out[i] * ((y[i] - mean) / (deviation + LEAST)) / n
        total, along, moved = team_sums(team, (total, along, moved))
        for j in mine(team, b - a):
            z = (y[a + j] - mean) / deviation if deviation > 0.0 else 0.0
            out[a + j] = ((out[a + j] - total) - z * along) / (deviation + LEAST)
        if team.t == 0:
            to_alpha[r] = moved


class State(NamedTuple):
    """What is solved: sorted scores, squashed, how many anchors and what rate each ranking has, and potentials."""

    order: Ordered
    squashed: Squashed
    anchors: np.ndarray
    rates: np.ndarray
    e: np.ndarray

    @classmethod
    def of(cls, cores, given):
        """Solve every ranking."""
        order, lengths = Ordered.of(cores, given), given.lengths
        squashed = Squashed.of(cores, given, order.y)
        rates, e = -2.0 / np.maximum(lengths - 1, 1) / given.alphas, np.empty(len(squashed.s))
        place = (squashed.s, lengths, rates)
        each(cores, given.offsets, transport.solve, *place, given.choices["iterations"], e, size=SIZE)
        return cls(order, squashed, lengths, rates, e)

    @property
    def place(self):
        """What loops of transport.py begin with."""
        return self.squashed.s, self.anchors, self.rates, self.e

    def gradient(self, cores, given, left, right, begins=_WHOLE, origins=_WHOLE, upstream=_NONE):
        """For sorted scores inside the transport, and alpha."""
        out = np.empty(len(left))
        given_up = (left, right, False, begins, origins, upstream)
        each(cores, given.offsets, transported.gradient, *self.place, *given_up, out, size=SIZE)
        to_y, to_alpha = self.squashed.back(cores, given, out)
        return to_y, to_alpha / given.alphas


def rank(cores, given):
    """Ranks from 1, and the state."""
    state, out = State.of(cores, given), np.empty(len(given.x))
    each(cores, given.offsets, transported.weighted, *state.place, rows(given) + 1.0, out, size=SIZE)
    return out[state.order.at], state


def rank_gradient(cores, given, state, upstream):
    """For the scores and alpha."""
    at = state.order.at
    to_y, to_alpha = state.gradient(cores, given, _sorted(at, upstream), rows(given) + 1.0)
    return to_y[at], to_alpha


def sort(cores, given):
    """Sorted scores, best first, and the state."""
    state, out = State.of(cores, given), np.empty(len(given.x))
    order = state.order
    each(cores, given.offsets, transported.collected, *state.place, order.y, out, size=SIZE)
    return order.middles + out, state


def sort_gradient(cores, given, state, upstream):
    """For the scores and alpha."""
    order, own = state.order, np.empty(len(given.x))
    to_y, to_alpha = state.gradient(cores, given, order.y, upstream)
    each(cores, given.offsets, transported.weighted, *state.place, upstream, own, size=SIZE)
    return (to_y + own)[order.at], to_alpha


def topk(place, given):
    """Memberships, or their logarithms; and the squashed scores with the thresholds."""
    y, scales = given.empty(place, given.x.size), given.empty(place, given.lengths.size)
    given.each(place, _from_largest, given.x, y, scales)
    squashed = Squashed.of(place, given, y)
    members, found = threshold.summing(place, given, squashed.s, scales)
    return members, (squashed, found)


def topk_gradient(place, given, state, upstream):
    """For the scores, alpha and k."""
    squashed, found = state
    to_s, to_alpha, to_k = threshold.summing_gradient(place, given, squashed.s, found, upstream)
    return squashed.back(place, given, to_s)[0], to_alpha, to_k


@uncounted
def _from_largest(rankings, offsets, x, y, scales):
    """Scores less the largest; and what is half of alpha."""
    team = join(rankings)
    for r in range(team.first, team.last):
        a, b, largest = offsets[r], offsets[r + 1], -np.inf
        for j in mine(team, b - a):
            largest = max(largest, x[a + j])
        (largest,) = team_maxima(team, (largest,))
        for j in mine(team, b - a):
            y[a + j] = x[a + j] - largest
        if team.t == 0:
            scales[r] = 0.5


def permute(cores, given):
    """The state."""
    return State.of(cores, given)


def permute_rows(given, state, r, items):
    """(len(items), n): how likely these of a ranking's items are at every position."""
    part = slice(given.offsets[r], given.offsets[r + 1])
    s, _, rates, e = state.place
    out = np.empty((len(items), part.stop - part.start))
    transported.rows(s[part], e[part], rates[r], state.order.at[part][items] - part.start, out)
    return out


def permute_gradient(cores, given, state, upstream):
    """For the scores and alpha; upstream has a matrix for each ranking, one after the other."""
    at = state.order.at
    origins, ones = _sorted(at, np.arange(len(at)), np.int64), np.ones(len(at))
    to_y, to_alpha = state.gradient(cores, given, ones, ones, squares(given), origins, upstream)
    return to_y[at], to_alpha


def _sorted(at, values, dtype=np.float64):
    out = np.empty(len(values), dtype)
    out[at] = values
    return out
