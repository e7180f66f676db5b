"""Ranks, sorted scores and memberships by a matrix P of positions and items, of scores that are sorted, best first.

    ranks         sum over l of l P[l, j]: positions by how likely an item is there
    sorted        sum over j of P[l, j] x_j
    memberships   sum over l of w_l P[l, j], w 1 in the first k rows, the part of k in the next, and 0 from there on

A matrix is an object that knows its products with vectors, and their gradients; loops are in softmaxes.py, laplace.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import each, laplace, places, softmaxes

SIZE = 1 << 12  # scores in a slice of rankings whose every score takes as many steps as there are scores
_NONE = np.empty(0)


class Ordered(NamedTuple):
    """Scores best first, less the one in the middle of their ranking, which keeps their differences exact.

    y        (N,) these
    at       (N,) int64: where each score of the input is among them
    middles  (N,) what each is less
    """

    y: np.ndarray
    at: np.ndarray
    middles: np.ndarray

    @classmethod
    def of(cls, cores, given):
        """Of the finite scores of rankings."""
        offsets, lengths = given.offsets, given.lengths
        at = places(cores, given) + np.repeat(offsets[:-1], lengths)
        y = np.empty(len(at))
        y[at] = given.x
        middles = np.repeat(y[(offsets[:-1] + lengths // 2)[lengths > 0]], lengths[lengths > 0])
        return cls(y - middles, at, middles)


def rows(given):
    """(N,) the number of each row in its ranking, from 0."""
    return np.arange(int(given.offsets[-1])) - np.repeat(given.offsets[:-1], given.lengths)


def top_weights(given):
    """(N,) how much of each row is in the top k."""
    return np.clip(np.repeat(given.ks, given.lengths) - rows(given), 0.0, 1.0)


class Softmaxes(NamedTuple):
    """P of softmaxes.py; power: 0 for NeuralSort."""

    power: float

    def applied(self, cores, given, y, values):
        out = np.empty(len(y))
        each(cores, given.offsets, softmaxes.applied, y, given.alphas, values, self.power, out, size=SIZE)
        return out

    def transposed(self, cores, given, y, weights, log=False):
        out, loop = np.empty(len(y)), softmaxes.logs_of_transposed if log else softmaxes.transposed
        each(cores, given.offsets, loop, y, given.alphas, weights, self.power, out, size=SIZE)
        return out

    def gradient(self, cores, given, y, weights, values):
        """For y, without that of values which move with it, and for alpha."""
        out, to_alpha = np.empty(len(y)), np.empty(len(given.alphas))
        loop, of_it = softmaxes.gradient, (weights, values, self.power)
        each(cores, given.offsets, loop, y, given.alphas, *of_it, out, to_alpha, size=SIZE)
        return out, to_alpha

    def log_gradient(self, cores, given, y, weights, logs, upstream):
        out, to_alpha = np.empty(len(y)), np.empty(len(given.alphas))
        loop, of_it = softmaxes.log_gradient, (weights, logs, upstream, self.power)
        each(cores, given.offsets, loop, y, given.alphas, *of_it, out, to_alpha, size=SIZE)
        return out, to_alpha

    def logs_of_sums(self, cores, given, y):
        """(N,) logarithms of what rows are divided by."""
        out = np.empty(len(y))
        each(cores, given.offsets, softmaxes.logs_of_sums, y, given.alphas, self.power, out, size=SIZE)
        return out


class Laplace(Softmaxes):
    """P of laplace.py: softmaxes of absolute distances, by sweeps."""

    def applied(self, cores, given, y, values):
        out = np.empty(len(y))
        each(cores, given.offsets, laplace.applied, y, given.alphas, values, out)
        return out

    def transposed(self, cores, given, y, weights, log=False):
        out = np.empty(len(y))
        each(cores, given.offsets, laplace.transposed, y, given.alphas, weights, log, out)
        return out

    def gradient(self, cores, given, y, weights, values):
        out, to_alpha = np.empty(len(y)), np.empty(len(given.alphas))
        each(cores, given.offsets, laplace.gradient, y, given.alphas, weights, values, out, to_alpha)
        return out, to_alpha

    def log_gradient(self, cores, given, y, weights, logs, upstream):
        out, to_alpha = np.empty(len(y)), np.empty(len(given.alphas))
        of_it = (weights, logs, upstream)
        each(cores, given.offsets, laplace.log_gradient, y, given.alphas, *of_it, out, to_alpha)
        return out, to_alpha

    def logs_of_sums(self, cores, given, y):
        out = np.empty(len(y))
        each(cores, given.offsets, laplace.logs_of_sums, y, given.alphas, out)
        return out


# --- The passes of a method, by the matrix that it makes: see operations.methods.rows. --------------------------------


def squares(given):
    """(m + 1,) int64: where the matrix of each ranking begins."""
    return np.concatenate([[0], np.cumsum(given.lengths.astype(np.int64) ** 2)])


def _by_place(order, values):
    out = np.empty(len(values))
    out[order.at] = values
    return out


class Passes(NamedTuple):
    """Of the matrix that matrix_of(given) makes."""

    matrix_of: Callable[[Any], Any]

    def rank(self, cores, given):
        """Ranks from 1, and the order."""
        matrix = self.matrix_of(given)
        order = Ordered.of(cores, given)
        return matrix.transposed(cores, given, order.y, rows(given) + 1.0)[order.at], order

    def rank_gradient(self, cores, given, order, upstream):
        """For the scores and alpha."""
        matrix = self.matrix_of(given)
        values = _by_place(order, upstream)
        to_y, to_alpha = matrix.gradient(cores, given, order.y, rows(given) + 1.0, values)
        return to_y[order.at], to_alpha

    def sort(self, cores, given):
        """Sorted scores, best first, and the order."""
        matrix = self.matrix_of(given)
        order = Ordered.of(cores, given)
        return order.middles + matrix.applied(cores, given, order.y, order.y), order

    def sort_gradient(self, cores, given, order, upstream):
        """For the scores and alpha."""
        matrix = self.matrix_of(given)
        to_y, to_alpha = matrix.gradient(cores, given, order.y, upstream, order.y)
        return (to_y + matrix.transposed(cores, given, order.y, upstream))[order.at], to_alpha

    def topk(self, cores, given):
        """Memberships, or their logarithms; and the order with these by place."""
        matrix = self.matrix_of(given)
        order = Ordered.of(cores, given)
        members = matrix.transposed(cores, given, order.y, top_weights(given), given.log)
        return members[order.at], (order, members if given.log else _NONE)

    def topk_gradient(self, cores, given, state, upstream):
        """For the scores, alpha and k, which moves the part of a row that comes next."""
        matrix = self.matrix_of(given)
        (order, logs), values = state, _by_place(state[0], upstream)
        if given.log:
            to_y, to_alpha = matrix.log_gradient(cores, given, order.y, top_weights(given), logs, values)
        else:
            to_y, to_alpha = matrix.gradient(cores, given, order.y, top_weights(given), values)
        to_k, of_it = np.empty(len(given.alphas)), (given.ks.astype(np.int64), values, logs, matrix.power)
        each(cores, given.offsets, softmaxes.in_row, order.y, given.alphas, *of_it, to_k)
        return to_y[order.at], to_alpha, to_k

    def permute(self, cores, given):
        """What rows of the permutation are made of: the order, and what rows of P are divided by."""
        matrix = self.matrix_of(given)
        order = Ordered.of(cores, given)
        return order, matrix.logs_of_sums(cores, given, order.y)

    def permute_rows(self, given, state, r, items):
        """(len(items), n): how likely these of a ranking's items are at every position."""
        matrix = self.matrix_of(given)
        (order, logs), part = state, slice(given.offsets[r], given.offsets[r + 1])
        y, at = order.y[part], order.at[part][items] - part.start
        out = np.empty((len(at), len(y)))
        softmaxes.columns(y, given.alphas[r], at, logs[part], matrix.power, out)
        return out

    def permute_gradient(self, cores, given, state, upstream):
        """For the scores and alpha; upstream has a matrix for each ranking, one after the other."""
        matrix = self.matrix_of(given)
        order, _ = state
        origins = np.empty(len(order.at), np.int64)
        origins[order.at] = np.arange(len(order.at))
        out, to_alpha = np.empty(len(order.y)), np.empty(len(given.alphas))
        of_it = (origins, given.alphas, squares(given), upstream, matrix.power)
        each(cores, given.offsets, softmaxes.matrix_gradient, order.y, *of_it, out, to_alpha, size=SIZE)
        return out[order.at], to_alpha


def _by_distance(given):
    power = float(given.choices["power"])
    return Laplace(power) if power == 1.0 else Softmaxes(power)


NEURALSORT = Passes(lambda given: Softmaxes(0.0))
SOFTSORT = Passes(_by_distance)
