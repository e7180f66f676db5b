"""SOFT's sorted top-k (Xie et al., NeurIPS 2020): transport to the anchors k, k - 1, ..., 0; the last has n - k.

A membership is what a score has of the first k. The largest cost is that of each ranking, not of a batch, so that no
result depends on others, and gradients hold it constant, as the original does. Exponents are never made probabilities
before they are compared: no epsilon underflows.
"""

import numpy as np

from . import each, transport, transported
from .matrices import SIZE, Ordered, rows

_NONE, _WHOLE = np.empty(0), np.empty(0, np.int64)


def topk(cores, given):
    """Memberships, or their logarithms; and the order, anchors, rates and potentials."""
    order, ks = Ordered.of(cores, given), given.ks.astype(np.int64)
    anchors = np.where((ks > 0) & (ks < given.lengths), ks + 1, 0)
    rates, e, out = _rates(given, order, ks, anchors > 0), np.empty(len(order.y)), np.zeros(len(order.y))
    place = (order.y, anchors, rates)
    each(cores, given.offsets, transport.solve, *place, given.choices["iterations"], e, size=SIZE)
    if given.log:
        each(cores, given.offsets, transported.logs_of_first, *place, e, out, size=SIZE)
    else:
        each(cores, given.offsets, transported.weighted, *place, e, _in_top(given), out, size=SIZE)
    return np.minimum(out, 0.0 if given.log else 1.0)[order.at], (order, anchors, rates, e)


def topk_gradient(cores, given, state, upstream):
    """For the scores and alpha; k is a whole number, and has none."""
    order, anchors, rates, e = state
    left, out = np.empty(len(upstream)), np.empty(len(upstream))
    left[order.at] = upstream
    given_up = (left, _in_top(given), given.log, _WHOLE, _WHOLE, _NONE)
    each(cores, given.offsets, transported.gradient, order.y, anchors, rates, e, *given_up, out, size=SIZE)
    to_alpha, ranking = np.zeros(len(rates)), np.repeat(np.arange(len(rates)), given.lengths)
    with np.errstate(over="ignore"):
        np.subtract.at(to_alpha, ranking, out * order.y)
        return out[order.at], to_alpha / given.alphas, np.zeros(len(rates))


def _in_top(given):
    """(N,) 1 for the first k anchors, 0 for the last, in their places."""
    return (rows(given) < np.repeat(given.ks, given.lengths)).astype(np.float64)


def _rates(given, order, ks, has):
    """-2 / (largest cost * alpha) where a ranking has anchors: costs are largest for the best score or the last, at an
    end of these.
    """
    rates = np.zeros(len(ks))
    x = order.y + order.middles
    for ends in (given.offsets[:-1][has], given.offsets[1:][has] - 1):
        cost = np.maximum(x[ends] ** 2, (x[ends] - ks[has]) ** 2)
        rates[has] = np.maximum(rates[has], cost)
    return -2.0 / np.where(has, rates, np.inf) / given.alphas
