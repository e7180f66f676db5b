"""Memberships by the logistic distribution: p_i = 1 / (1 + e^-t_i), t_i = (x_i - b) / tau.

The threshold b makes them sum to k, or stands in the middle between the k-th score and the next. Entropic optimal
transport between scores and two anchors has this solution, with tau half of its strength times the largest cost, so
that no iterations are needed (SOFT: Xie et al., NeurIPS 2020; OTT's mask: Cuturi et al., NeurIPS 2019). In the middle
stands that of DFTopK (Zhu et al., 2025).

A threshold is a score and a step from there: differences of scores stay exact, however far they are from 0.

Loops are those of teams (..scalars.team), for every device. A score of -inf takes no part, and its upstream is 0.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..jit import block_sum, inner, uncounted
from ..scalars.functions import exp_nonpositive
from ..scalars.team import join, mine, takes_part, team_maxima, team_sums
from .selected import beside_place

STEPS = 200  # of Newton's method, kept in a bracket, at most; 8 to 20 are usual


class Thresholds(NamedTuple):
    """b of every ranking (m,), also as anchors and steps, and tau; between (m, 2): the scores on either side."""

    b: Any
    anchors: Any
    steps: Any
    taus: Any
    between: Any

    @classmethod
    def of(cls, place, given):
        """To be filled."""
        count = given.lengths.size
        b, anchors, steps, taus = (given.empty(place, count) for _ in range(4))
        return cls(b, anchors, steps, taus, given.empty(place, count, 2))


# --- Of a sum: what users call. ---------------------------------------------------------------------------------------


def summing(place, given, x, scales):
    """Memberships (N,) of scores x that sum to k, or their logarithms, and the thresholds; tau is alpha times scale."""
    found, out = Thresholds.of(place, given), given.empty(place, x.size)
    each = (given.lengths, given.ks, given.alphas, scales)
    given.each(place, _summing, x, *each, given.log, found.b, found.anchors, found.steps, found.taus, out)
    return out, (found, scales)


def summing_gradient(place, given, x, state, upstream):
    """Gradients for x (N,), alpha (m,) and k (m,)."""
    (found, scales), (out, to_alpha, to_k) = state, _gradients(place, given)
    at = (x, found.anchors, found.steps, found.taus, scales, given.log)
    given.each(place, _gradient_at_sum, *at, upstream, out, to_alpha, to_k)
    return out, to_alpha, to_k


def _gradients(place, given):
    """Room for gradients for x, alpha and k."""
    return given.empty(place, given.x.size), *(given.empty(place, given.lengths.size) for _ in range(2))


@uncounted
def _summing(rankings, offsets, x, lengths, ks, alphas, scales, log, bs, anchors, steps, taus, out):
    team = join(rankings)
    for r in range(team.first, team.last):
        a, b = offsets[r], offsets[r + 1]
        anchor, step, tau = 0.0, 0.0, alphas[r] * scales[r]
        if ks[r] > 0.0 and ks[r] < lengths[r]:
            anchor, step = _threshold(team, x[a:b], lengths[r], ks[r], tau)
        _members(team, x[a:b], anchor, step, tau, log, out[a:b])
        if team.t == 0:
            bs[r], anchors[r], steps[r], taus[r] = anchor + step, anchor, step, tau


@inner
def _threshold(team, x, n, k, tau):
    """The score and the step from there at which memberships of n scores sum to k: by Newton's method in a bracket, and
    again from the score next to it; in a gap so wide that nothing is on its way, where what is missing above is there
    below.
    """
    low, high = np.inf, -np.inf
    for i in mine(team, x.size):
        low, high = min(low, x[i] if takes_part(team, x[i]) else np.inf), max(high, x[i])
    high, low = team_maxima(team, (high, -low))
    low, end = -low, -tau * math.log(k / (n - k))
    anchor, step = high, _newton(team, x, high, k, tau, low - high + end, end)
    b = anchor + step
    for i in mine(team, x.size):
        anchor = x[i] if abs(x[i] - b) < abs(anchor - b) else anchor
    (near,) = team_maxima(team, (-abs(anchor - b),))
    (anchor,) = team_maxima(team, (anchor if -abs(anchor - b) == near else -np.inf,))
    step = b - anchor
    for _ in range(3):
        excess, slope = _excess(team, x, anchor, step, k, tau)
        if slope < 1e-17 and low <= b < high:
            return _in_gap(team, x, b, tau)
        step += tau * excess / slope if slope > 0.0 else 0.0
    return anchor, step


@inner
def _newton(team, x, anchor, k, tau, low, high):
    """The step from the anchor, in a bracket, at which memberships sum to k."""
    step = 0.5 * (low + high)
    for _ in range(STEPS):
        excess, slope = _excess(team, x, anchor, step, k, tau)
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


@inner
def _excess(team, x, anchor, step, k, tau):
    """The sum of memberships less k, and that of their slopes."""
    count, tails, slope = _tails(team, x, anchor, step, tau)
    count, tails, slope = team_sums(team, (np.float64(count), tails, slope))
    return (count - k) + tails, slope


@block_sum
def _tails(team, x, anchor, step, tau):
    """Memberships above 1/2 are counted, and what they lack is summed: across a gap that is all that there is."""
    count, tails, slope = 0, 0.0, 0.0
    for i in mine(team, x.size):
        t = ((x[i] - anchor) - step) / tau
        e = exp_nonpositive(-abs(t))
        tail = e / (1.0 + e)
        count += t >= 0.0
        tails += -tail if t >= 0.0 else tail
        slope += tail / (1.0 + e)
    return count, tails, slope


@inner
def _in_gap(team, x, b, tau):
    """Between the lowest score above b and the highest one below, where tails on both sides have the same sum."""
    above, below = np.inf, -np.inf
    for i in mine(team, x.size):
        if x[i] > b:
            above = min(above, x[i])
        else:
            below = max(below, x[i])
    below, above = team_maxima(team, (below, -above))
    above, up, down = -above, 0.0, 0.0
    for i in mine(team, x.size):
        if x[i] > b:
            up += math.exp((above - x[i]) / tau)
        else:
            down += math.exp((x[i] - below) / tau)
    up, down = team_sums(team, (up, down))
    return above, 0.5 * (below - above) + 0.5 * tau * (math.log(down) - math.log(up))


@inner
def _members(team, x, anchor, step, tau, log, out):
    for i in mine(team, x.size):
        t = ((x[i] - anchor) - step) / tau
        e = exp_nonpositive(-abs(t))
        out[i] = e if log else (1.0 if t >= 0.0 else e) / (1.0 + e)
    if log:
        for i in mine(team, x.size):
            out[i] = min(((x[i] - anchor) - step) / tau, 0.0) - math.log1p(out[i])


@uncounted
def _gradient_at_sum(rankings, offsets, x, anchors, steps, taus, scales, log, upstream, out, to_alpha, to_k):
    """With s_i the slope along t_i times the upstream, and q the shares of the slopes of memberships: (s - q sum s) /
    tau for x. All of a shift goes along with the threshold, and so tau has the rest of the homogeneity.
    """
    team = join(rankings)
    for r in range(team.first, team.last):
        a, b = offsets[r], offsets[r + 1]
        if a == b:
            continue
        place = (team, x[a:b], anchors[r], steps[r], taus[r])
        nearest = _nearest(*place)
        largest = math.exp(-nearest)
        weights, mean = _shares(*place, nearest, largest, upstream[a:b], out[a:b])
        if log:
            (total,) = team_sums(team, (_sum_of_rests(*place, upstream[a:b]),))
            _less_their_share(*place, upstream[a:b], total / weights, out[a:b])
            mean = total / (weights * largest)
        else:
            for i in mine(team, b - a):
                out[a + i] *= largest * (upstream[a + i] - mean) / taus[r]
        along = _along(team, x[a:b], anchors[r], taus[r], out[a:b])
        if team.t == 0:
            to_alpha[r], to_k[r] = scales[r] * along, mean


@inner
def _nearest(team, x, anchor, step, tau):
    """The least |t_i|."""
    nearest = np.inf
    for i in mine(team, x.size):
        nearest = min(nearest, abs(((x[i] - anchor) - step) / tau))
    (nearest,) = team_maxima(team, (-nearest,))
    return -nearest


@inner
def _shares(team, x, anchor, step, tau, nearest, largest, upstream, out):
    """Slopes of memberships over e^-nearest, which are numbers however small all slopes are: their sum, and the mean
    of the upstream with these weights.
    """
    for i in mine(team, x.size):
        share = exp_nonpositive(nearest - abs(((x[i] - anchor) - step) / tau))
        above = 1.0 + share * largest
        out[i] = share / (above * above)
    weights, total = team_sums(team, (_total(team, out), _product(team, out, upstream)))
    return weights, total / weights


# What adds in lanes does nothing but add: where a loop writes too, it takes its lanes only if what it writes is seen to
# be apart in memory from what it reads, and so a last digit would depend on where arrays are.


@block_sum
def _total(team, values):
    total = 0.0
    for i in mine(team, values.size):
        total += values[i]
    return total


@block_sum
def _product(team, a, b):
    total = 0.0
    for i in mine(team, a.size):
        total += a[i] * b[i]
    return total


@inner
def _slope(t, log):
    """That of log p, which is 1 - p, or of p."""
    e = exp_nonpositive(-abs(t))
    return ((e if t >= 0.0 else 1.0) if log else e / (1.0 + e)) / (1.0 + e)


@block_sum
def _sum_of_rests(team, x, anchor, step, tau, upstream):
    total = 0.0
    for i in mine(team, x.size):
        total += _slope(((x[i] - anchor) - step) / tau, True) * upstream[i]
    return total


@inner
def _less_their_share(team, x, anchor, step, tau, upstream, each, out):
    for i in mine(team, x.size):
        out[i] = (_slope(((x[i] - anchor) - step) / tau, True) * upstream[i] - out[i] * each) / tau


@inner
def _along(team, x, anchor, tau, out):
    """The gradient for tau of what depends on scores less a threshold over tau alone. Those for scores sum to 0: so it
    is the same from wherever these are seen, and has most digits from one of them, as a threshold may be far away.
    """
    (total,) = team_sums(team, (_moment(team, x, anchor, out),))
    return -total / tau


@block_sum
def _moment(team, x, anchor, out):
    total = 0.0
    for i in mine(team, x.size):
        total += out[i] * (x[i] - anchor) if takes_part(team, x[i]) else 0.0
    return total


# --- In the middle, between two scores. -------------------------------------------------------------------------------


def middle(place, given):
    """DFTopK's memberships (N,), or their logarithms, and the two scores beside the threshold."""
    found, out = Thresholds.of(place, given), given.empty(place, given.x.size)
    given.each(place, _in_middle, given.x, given.lengths, given.ks, given.alphas, given.log, *found, out)
    return out, found


def middle_gradient(place, given, found, upstream):
    """Gradients for x (N,), alpha (m,), and for k, which is a whole number: none."""
    out, to_alpha, to_k = _gradients(place, given)
    at = (given.x, found.anchors, found.steps, found.taus, given.log, found.between)
    given.each(place, _gradient_at_middle, *at, upstream, out, to_alpha, to_k)
    return out, to_alpha, to_k


@uncounted
def _in_middle(rankings, offsets, x, lengths, ks, alphas, log, bs, anchors, steps, taus, between, out):
    team = join(rankings)
    for r in range(team.first, team.last):
        a, b, k = offsets[r], offsets[r + 1], int(ks[r])
        least, next_one = 0.0, 0.0
        if k >= 1 and k < lengths[r]:
            least, next_one = beside_place(team, x[a:b], lengths[r], k, out[a:b])
        step = 0.5 * (next_one - least)
        _members(team, x[a:b], least, step, alphas[r], log, out[a:b])
        if team.t == 0:
            bs[r], anchors[r], steps[r], taus[r] = least + step, least, step, alphas[r]
            between[r, 0], between[r, 1] = least, next_one


@uncounted
def _gradient_at_middle(rankings, offsets, x, anchors, steps, taus, log, between, upstream, out, to_alpha, to_k):
    team = join(rankings)
    for r in range(team.first, team.last):
        a, b = offsets[r], offsets[r + 1]
        place = (team, x[a:b], anchors[r], steps[r], taus[r])
        total = _slopes(*place, log, upstream[a:b], out[a:b])
        _take(team, x[a:b], between[r, 0], between[r, 1], 0.5 * total, out[a:b])
        along = _along(team, x[a:b], anchors[r], taus[r], out[a:b])
        if team.t == 0:
            to_alpha[r], to_k[r] = along, 0.0


@inner
def _slopes(team, x, anchor, step, tau, log, upstream, out):
    """Gradients for x at a fixed threshold, and their sum."""
    for i in mine(team, x.size):
        out[i] = _slope(((x[i] - anchor) - step) / tau, log) * upstream[i] / tau
    (total,) = team_sums(team, (_total(team, out),))
    return total


@inner
def _take(team, x, least, next_one, total, out):
    """From the scores on either side a total, the same from each that is one of them: it moves with none more."""
    above, below = 0.0, 0.0
    for i in mine(team, x.size):
        above += x[i] == least
        below += x[i] == next_one
    above, below = team_sums(team, (above, below))
    if above + below == 0.0:
        return
    of_above, of_below = total / above, total / below
    for i in mine(team, x.size):
        out[i] -= (of_above if x[i] == least else 0.0) + (of_below if x[i] == next_one else 0.0)
