"""Sorting as transport (Cuturi, Teboul, Vert, NeurIPS 2019), as OTT has it: squashed scores to even positions.

    u = (x - mean) / (deviation + 1e-10)       s = 1 / (1 + e^-u)       anchors 1 - l / (n - 1), l from 0

at a cost of (s - anchor)^2, alpha being epsilon. Ranks are positions, and sorted scores scores, by where the transport
takes scores; a permutation is the transport itself. Memberships are those of two anchors, for which it is a threshold
of squashed scores by the logistic distribution with half of alpha.
"""

import math
from typing import NamedTuple

import numpy as np

from ..jit import inner, kernel
from ..scalars.functions import exp_nonpositive
from . import each, threshold, transport, transported
from .matrices import SIZE, Ordered, rows, squares

LEAST = 1e-10  # what is added to a deviation
_NONE, _WHOLE = np.empty(0), np.empty(0, np.int64)


class Squashed(NamedTuple):
    """Sorted scores, squashed.

    s, slopes   (N,) these, and their slopes along u
    spreads     (2, m) mean and deviation of y
    """

    order: Ordered
    s: np.ndarray
    slopes: np.ndarray
    spreads: np.ndarray

    @classmethod
    def of(cls, cores, given):
        """Of the finite scores of rankings."""
        order = Ordered.of(cores, given)
        s, slopes, spreads = np.empty(len(order.y)), np.empty(len(order.y)), np.zeros((2, len(given.alphas)))
        each(cores, given.offsets, _squash, order.y, s, slopes, spreads)
        return cls(order, s, slopes, spreads)

    def back(self, cores, given, to_s):
        """From gradients for s to those for the scores, in their order; those for alpha, which s is over, too."""
        out, to_alpha = np.empty(len(to_s)), np.empty(len(given.alphas))
        each(cores, given.offsets, _unsquash, self.order.y, self.s, self.slopes, self.spreads, to_s, out, to_alpha)
        return out, to_alpha / given.alphas


@kernel
def _squash(first, last, offsets, y, s, slopes, spreads):
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        mean, deviation = _spread(y[a:b])
        spreads[0, r], spreads[1, r] = mean, deviation
        for i in range(a, b):
            u = (y[i] - mean) / (deviation + LEAST)
            e = exp_nonpositive(-abs(u))
            s[i] = (1.0 if u >= 0.0 else e) / (1.0 + e)
            slopes[i] = e / ((1.0 + e) * (1.0 + e))


@inner
def _spread(y):
    """Mean and standard deviation, relative to the largest of the scores, which are about one of them."""
    largest, mean, square = 0.0, 0.0, 0.0
    for i in range(y.size):
        largest = max(largest, abs(y[i]))
    if largest == 0.0:
        return 0.0, 0.0
    for i in range(y.size):
        mean += y[i] / largest
    mean /= y.size
    for i in range(y.size):
        square += (y[i] / largest - mean) * (y[i] / largest - mean)
    return mean * largest, math.sqrt(square / y.size) * largest


@kernel
def _unsquash(first, last, offsets, y, s, slopes, spreads, to_s, out, to_alpha):
    """A score moves its own s, and by mean and deviation those of all."""
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        mean, deviation = spreads[0, r], spreads[1, r]
        total, along, to_alpha[r] = 0.0, 0.0, 0.0
        for i in range(a, b):
            to_alpha[r] -= to_s[i] * (s[i] - 0.5)
            out[i] = to_s[i] * slopes[i]
            total += out[i] / (b - a)
            along += out[i] * ((y[i] - mean) / (deviation + LEAST)) / (b - a)
        for i in range(a, b):
            z = (y[i] - mean) / deviation if deviation > 0.0 else 0.0
            out[i] = ((out[i] - total) - z * along) / (deviation + LEAST)


class State(NamedTuple):
    """What is solved: squashed scores, how many anchors and what rate each ranking has, and potentials."""

    squashed: Squashed
    anchors: np.ndarray
    rates: np.ndarray
    e: np.ndarray

    @classmethod
    def of(cls, cores, given):
        """Solve every ranking."""
        squashed, lengths = Squashed.of(cores, given), given.lengths
        rates, e = -2.0 / np.maximum(lengths - 1, 1) / given.alphas, np.empty(len(squashed.s))
        place = (squashed.s, lengths, rates)
        each(cores, given.offsets, transport.solve, *place, given.choices["iterations"], e, size=SIZE)
        return cls(squashed, lengths, rates, e)

    @property
    def place(self):
        """What loops of transport.py begin with."""
        return self.squashed.s, self.anchors, self.rates, self.e

    def gradient(self, cores, given, left, right, begins=_WHOLE, origins=_WHOLE, upstream=_NONE):
        """For sorted scores inside the transport, and alpha."""
        out = np.empty(len(left))
        given_up = (left, right, False, begins, origins, upstream)
        each(cores, given.offsets, transported.gradient, *self.place, *given_up, out, size=SIZE)
        return self.squashed.back(cores, given, out)


def rank(cores, given):
    """Ranks from 1, and the state."""
    state, out = State.of(cores, given), np.empty(len(given.x))
    each(cores, given.offsets, transported.weighted, *state.place, rows(given) + 1.0, out, size=SIZE)
    return out[state.squashed.order.at], state


def rank_gradient(cores, given, state, upstream):
    """For the scores and alpha."""
    at = state.squashed.order.at
    to_y, to_alpha = state.gradient(cores, given, _sorted(at, upstream), rows(given) + 1.0)
    return to_y[at], to_alpha


def sort(cores, given):
    """Sorted scores, best first, and the state."""
    state, out = State.of(cores, given), np.empty(len(given.x))
    order = state.squashed.order
    each(cores, given.offsets, transported.collected, *state.place, order.y, out, size=SIZE)
    return order.middles + out, state


def sort_gradient(cores, given, state, upstream):
    """For the scores and alpha."""
    order, own = state.squashed.order, np.empty(len(given.x))
    to_y, to_alpha = state.gradient(cores, given, order.y, upstream)
    each(cores, given.offsets, transported.weighted, *state.place, upstream, own, size=SIZE)
    return (to_y + own)[order.at], to_alpha


def topk(cores, given):
    """Memberships, or their logarithms; and the squashed scores with the thresholds."""
    squashed = Squashed.of(cores, given)
    members, found = threshold.summing(cores, given, squashed.s[squashed.order.at], 0.5 * given.alphas)
    return members, (squashed, found)


def topk_gradient(cores, given, state, upstream):
    """For the scores, alpha and k."""
    squashed, found = state
    at = squashed.order.at
    to_s, to_tau, to_k = threshold.summing_gradient(cores, given, squashed.s[at], found, upstream)
    return squashed.back(cores, given, _sorted(at, to_s))[0][at], 0.5 * to_tau, to_k


def permute(cores, given):
    """The state."""
    return State.of(cores, given)


def permute_rows(given, state, r, items):
    """(len(items), n): how likely these of a ranking's items are at every position."""
    part = slice(given.offsets[r], given.offsets[r + 1])
    s, _, rates, e = state.place
    out = np.empty((len(items), part.stop - part.start))
    transported.rows(s[part], e[part], rates[r], state.squashed.order.at[part][items] - part.start, out)
    return out


def permute_gradient(cores, given, state, upstream):
    """For the scores and alpha; upstream has a matrix for each ranking, one after the other."""
    at = state.squashed.order.at
    origins, ones = _sorted(at, np.arange(len(at)), np.int64), np.ones(len(at))
    to_y, to_alpha = state.gradient(cores, given, ones, ones, squares(given), origins, upstream)
    return to_y[at], to_alpha


def _sorted(at, values, dtype=np.float64):
    out = np.empty(len(values), dtype)
    out[at] = values
    return out
