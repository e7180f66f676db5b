"""Memberships by the logistic distribution: p_i = 1 / (1 + e^-t_i), t_i = (x_i - b) / tau.

The threshold b makes them sum to k, or stands in the middle between the k-th score and the next. Entropic optimal
transport between scores and two anchors has this solution, with tau half of its strength times the largest cost, so
that no iterations are needed (SOFT: Xie et al., NeurIPS 2020; OTT's mask: Cuturi et al., NeurIPS 2019). In the middle
stands that of DFTopK (Zhu et al., 2025).

A threshold is a score and a step from there: differences of scores stay exact, however far they are from 0.
"""

import math
from typing import NamedTuple

import numpy as np

from ..jit import block_sum, inner, uncounted
from ..scalars.functions import exp_nonpositive
from . import each
from .selected import beside_place

STEPS = 200  # of Newton's method, kept in a bracket, at most; 8 to 20 are usual


class Thresholds(NamedTuple):
    """b of every ranking, as anchors and steps (m,), and tau (m,); between (m, 2): the scores on either side."""

    anchors: np.ndarray
    steps: np.ndarray
    taus: np.ndarray
    between: np.ndarray

    @classmethod
    def of(cls, taus: np.ndarray) -> "Thresholds":
        """To be filled."""
        count = len(taus)
        return cls(np.zeros(count), np.zeros(count), taus, np.zeros((count, 2)))


# --- Of a sum: what users call. ---------------------------------------------------------------------------------------


def summing(cores, given, x, taus):
    """Memberships (N,) of scores x that sum to k, or their logarithms, and the thresholds."""
    found, out = Thresholds.of(taus), np.empty(len(x))
    each(cores, given.offsets, _solve, x, given.ks, taus, found.anchors, found.steps)
    each(cores, given.offsets, _members, x, found.anchors, found.steps, taus, given.log, out)
    return out, found


def summing_gradient(cores, given, x, found, upstream):
    """Gradients for x (N,), tau (m,) and k (m,)."""
    out, to_tau, to_k = np.empty(len(x)), np.empty(len(found.taus)), np.empty(len(found.taus))
    place = (x, found.anchors, found.steps, found.taus, given.log)
    each(cores, given.offsets, _gradient_at_sum, *place, upstream, out, to_tau, to_k)
    return out, to_tau, to_k


@uncounted
def _solve(first, last, offsets, x, ks, taus, anchors, steps):
    for r in range(first, last):
        part, k = x[offsets[r] : offsets[r + 1]], ks[r]
        if k > 0.0 and k < part.size:
            anchors[r], steps[r] = _threshold(part, k, taus[r])


@inner
def _threshold(x, k, tau):
    """The score and the step from there at which memberships sum to k: by Newton's method in a bracket, and again from
    the score next to it; in a gap so wide that nothing is on its way, where what is missing above is there below.
    """
    low, high = x[0], x[0]
    for i in range(x.size):
        low, high = min(low, x[i]), max(high, x[i])
    end = -tau * math.log(k / (x.size - k))
    anchor, step = high, _newton(x, high, k, tau, low - high + end, end)
    b = anchor + step
    for i in range(x.size):
        anchor = x[i] if abs(x[i] - b) < abs(anchor - b) else anchor
    step = b - anchor
    for _ in range(3):
        excess, slope = _excess(x, anchor, step, k, tau)
        if slope < 1e-17 and low <= b < high:
            return _in_gap(x, b, tau)
        step += tau * excess / slope if slope > 0.0 else 0.0
    return anchor, step


@inner
def _newton(x, anchor, k, tau, low, high):
    """The step from the anchor, in a bracket, at which memberships sum to k."""
    step = 0.5 * (low + high)
    for _ in range(STEPS):
        excess, slope = _excess(x, anchor, step, k, tau)
        if excess > 0.0:
            low = step
        else:
            high = step
        next_step = step + tau * excess / slope if slope > 0.0 else low
        if not low < next_step < high:
            next_step = 0.5 * (low + high)
        if excess == 0.0 or abs(next_step - step) <= 1e-13 * tau + 4e-16 * abs(step):
            return next_step if excess != 0.0 else step
        step = next_step
    return step


@block_sum
def _excess(x, anchor, step, k, tau):
    """The sum of memberships less k, and that of their slopes. Memberships above 1/2 are counted, and what they lack is
    summed: across a gap that is all that there is.
    """
    count, tails, slope = 0, 0.0, 0.0
    for i in range(x.size):
        t = ((x[i] - anchor) - step) / tau
        e = exp_nonpositive(-abs(t))
        tail = e / (1.0 + e)
        count += t >= 0.0
        tails += -tail if t >= 0.0 else tail
        slope += tail / (1.0 + e)
    return (count - k) + tails, slope


@inner
def _in_gap(x, b, tau):
    """Between the lowest score above b and the highest one below, where tails on both sides have the same sum."""
    above, below = np.inf, -np.inf
    for i in range(x.size):
        if x[i] > b:
            above = min(above, x[i])
        else:
            below = max(below, x[i])
    up, down = 0.0, 0.0
    for i in range(x.size):
        if x[i] > b:
            up += math.exp((above - x[i]) / tau)
        else:
            down += math.exp((x[i] - below) / tau)
    return above, 0.5 * (below - above) + 0.5 * tau * (math.log(down) - math.log(up))


@uncounted
def _members(first, last, offsets, x, anchors, steps, taus, log, out):
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        _members_of(x[a:b], anchors[r], steps[r], taus[r], log, out[a:b])


@inner
def _members_of(x, anchor, step, tau, log, out):
    for i in range(x.size):
        t = ((x[i] - anchor) - step) / tau
        e = exp_nonpositive(-abs(t))
        out[i] = e if log else (1.0 if t >= 0.0 else e) / (1.0 + e)
    if log:
        for i in range(x.size):
            out[i] = min(((x[i] - anchor) - step) / tau, 0.0) - math.log1p(out[i])


@uncounted
def _gradient_at_sum(first, last, offsets, x, anchors, steps, taus, log, upstream, out, to_tau, to_k):
    """With s_i the slope along t_i times the upstream, and q the shares of the slopes of memberships: (s - q sum s) /
    tau for x. All of a shift goes along with the threshold, and so tau has the rest of the homogeneity.
    """
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        place = (x[a:b], anchors[r], steps[r], taus[r])
        nearest = _nearest(*place)
        largest = math.exp(-nearest)
        weights, mean = _shares(*place, nearest, largest, upstream[a:b], out[a:b])
        if log:
            total = _sum_of_rests(*place, upstream[a:b])
            _less_their_share(*place, upstream[a:b], total / weights, out[a:b])
            to_k[r] = total / (weights * largest)
        else:
            for i in range(a, b):
                out[i] *= largest * (upstream[i] - mean) / taus[r]
            to_k[r] = mean
        to_tau[r] = _along(*place, out[a:b])


@inner
def _nearest(x, anchor, step, tau):
    """The least |t_i|."""
    nearest = np.inf
    for i in range(x.size):
        nearest = min(nearest, abs(((x[i] - anchor) - step) / tau))
    return nearest


@inner
def _shares(x, anchor, step, tau, nearest, largest, upstream, out):
    """Slopes of memberships over e^-nearest, which are numbers however small all slopes are: their sum, and the mean
    of the upstream with these weights.
    """
    for i in range(x.size):
        share = exp_nonpositive(nearest - abs(((x[i] - anchor) - step) / tau))
        above = 1.0 + share * largest
        out[i] = share / (above * above)
    weights, total = _total(out), _product(out, upstream)
    return weights, total / weights


# What adds in lanes does nothing but add: where a loop writes too, it takes its lanes only if what it writes is seen to
# be apart in memory from what it reads, and so a last digit would depend on where arrays are.


@block_sum
def _total(values):
    total = 0.0
    for i in range(values.size):
        total += values[i]
    return total


@block_sum
def _product(a, b):
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@inner
def _slope(t, log):
    """That of log p, which is 1 - p, or of p."""
    e = exp_nonpositive(-abs(t))
    return ((e if t >= 0.0 else 1.0) if log else e / (1.0 + e)) / (1.0 + e)


@block_sum
def _sum_of_rests(x, anchor, step, tau, upstream):
    total = 0.0
    for i in range(x.size):
        total += _slope(((x[i] - anchor) - step) / tau, True) * upstream[i]
    return total


@inner
def _less_their_share(x, anchor, step, tau, upstream, each, out):
    for i in range(x.size):
        out[i] = (_slope(((x[i] - anchor) - step) / tau, True) * upstream[i] - out[i] * each) / tau


@block_sum
def _along(x, anchor, step, tau, out):
    """The gradient for tau of what depends on scores less a threshold over tau alone."""
    total = 0.0
    for i in range(x.size):
        total += out[i] * ((x[i] - anchor) - step)
    return -total / tau


# --- In the middle, between two scores. -------------------------------------------------------------------------------


def middle(cores, given, taus):
    """DFTopK's memberships (N,), or their logarithms, and the two scores beside the threshold."""
    found, out = Thresholds.of(taus), np.empty(len(given.x))
    each(cores, given.offsets, _between, given.x, given.ks, found.anchors, found.steps, found.between, out)
    each(cores, given.offsets, _members, given.x, found.anchors, found.steps, taus, given.log, out)
    return out, found


def middle_gradient(cores, given, found, upstream):
    """Gradients for x (N,), tau (m,), and for k, which is a whole number: none."""
    out, to_tau = np.empty(len(given.x)), np.empty(len(found.taus))
    place = (given.x, found.anchors, found.steps, found.taus, given.log, found.between)
    each(cores, given.offsets, _gradient_at_middle, *place, upstream, out, to_tau)
    return out, to_tau, np.zeros(len(found.taus))


@uncounted
def _between(first, last, offsets, x, ks, anchors, steps, between, spare):
    for r in range(first, last):
        start, stop, k = offsets[r], offsets[r + 1], int(ks[r])
        if k < 1 or k >= stop - start:
            continue
        least, next_one = beside_place(x[start:stop], k, spare[start:stop])
        between[r, 0], between[r, 1] = least, next_one
        anchors[r], steps[r] = least, 0.5 * (next_one - least)


@uncounted
def _gradient_at_middle(first, last, offsets, x, anchors, steps, taus, log, between, upstream, out, to_tau):
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        place = (x[a:b], anchors[r], steps[r], taus[r])
        total = _slopes(*place, log, upstream[a:b], out[a:b])
        _take(x[a:b], between[r, 0], between[r, 1], 0.5 * total, out[a:b])
        to_tau[r] = _along(*place, out[a:b])


@inner
def _slopes(x, anchor, step, tau, log, upstream, out):
    """Gradients for x at a fixed threshold, and their sum."""
    for i in range(x.size):
        out[i] = _slope(((x[i] - anchor) - step) / tau, log) * upstream[i] / tau
    return _total(out)


@inner
def _take(x, least, next_one, total, out):
    """From the scores on either side a total, the same from each that is one of them: it moves with none more."""
    above, below = 0, 0
    for i in range(x.size):
        above += x[i] == least
        below += x[i] == next_one
    if above + below == 0:
        return
    of_above, of_below = total / above, total / below
    for i in range(x.size):
        out[i] -= (of_above if x[i] == least else 0.0) + (of_below if x[i] == next_one else 0.0)
