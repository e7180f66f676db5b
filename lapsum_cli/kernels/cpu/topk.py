"""Soft top-k and its gradients: memberships in [0, 1] that sum to k, or their logarithms.

p_i = F((x_i - b) / alpha), with the threshold b such that the p_i sum to k (LapSum, ICML 2025, section 4). threshold.py
finds b; what is kept of it, its `cut`, are the scores on either side and the logarithms of the shares that they would
lose across it: no absolute coordinate, and nothing that underflows across a wide gap.

With e_i = e^(-|x_i - b| / alpha) / 2, q = e / sum e and h_i = d result_i / d (x_i / alpha) at a fixed b, which is e_i
for memberships and e_i / p_i for their logarithms, the gradient of sum v_i result_i is

    scores  (h_i v_i - q_i <h, v>) / alpha        k  <h, v> / sum e        alpha  -sum gradient_i (x_i - b) / alpha

Short rankings are sorted, many at a time. A long one is read twice, for its infinities and for what lies outside and
inside a bracket, and a third time as the memberships are written; what is inside, 1 or 2 %, is read a few times more. A
gradient makes 2 more passes, each reading the scores and writing it.
"""

import math

import numpy as np

from ...core.rankings import Rankings, frozen
from ..jit import kernel, uncounted
from ..scalars.cut import LOGARITHM, MEMBERSHIP, beyond_float32, rates_of, thresholds_of
from ..scalars.functions import LOG_2, exp_nonpositive, log_one_minus
from ..scalars.laplace import log_nearness, log_or_minus_inf, log_shares
from . import parallel
from .order import longest, matrices, sort_values
from .sweeps import finite_part
from .threshold import between, collapse, ends, neighbours, neighbours_in_order, pivots, sample_size
from .vectors import BLOCK, block_total, count_infinite

# Rankings up to this length are sorted, at most a block: 0.17 us for 100 scores, of 0.4 in all, where a bracket takes
# 1.3; of 300 both take 2.
_SHORT = 256


def soft_topk(cores, rankings, ks, alphas, largest=True, log=False, upstream=None, results=True):
    """Memberships (N,), or their logarithms, in the dtype of the scores; and the cut of each ranking (m, 4), float64.

    ks, alphas (m,) float64, alphas > 0. k <= 0 gives zeros, k >= the number of scores above -inf gives ones to them.
    -inf has membership 0. +inf has membership 1, or an equal share of k when there are more than k.

    upstream  of a gradient that follows: of use to a card alone
    results   False where nobody reads the memberships: then they are None
    """
    values, offsets = rankings.values, rankings.offsets
    out = np.empty(len(values) if results else 0, values.dtype)
    cuts = np.full((len(offsets) - 1, 4), -np.inf)
    sign = values.dtype.type(1 if largest else -1)
    rates, workspace = rates_of(alphas, values.dtype), parallel.Workspace()

    def work(group):
        length = longest(offsets, group)
        if length <= _SHORT:
            ordered = sort_values(values, offsets, group, largest, workspace)
            e = workspace.array("e", ordered.shape[1:], values.dtype)
            roots = workspace.array("roots", (5, len(group)), np.float64)
            _topk_of_sorted(values, offsets, group, ordered, ks, alphas, rates, sign, log, e, roots, out, cuts)
        else:
            room = _room(length, values.dtype, workspace)
            _topk_of_any(values, offsets, group, ks, alphas, rates, sign, log, *room, out, cuts)

    long, others = parallel.apart(matrices(offsets), offsets, cores.part)
    parallel.for_each(work, [(group,) for group in others], cores.threads)
    for r in long:
        whole = slice(offsets[r], offsets[r + 1])
        given = (ks[r], alphas[r], rates[r], sign, log, out[whole] if results else out, cuts[r])
        _topk_of_parts(values[whole], *given, cores.part, cores.threads)
    for r, part, whole in beyond_float32(values.dtype, offsets, alphas):
        wide = Rankings(values[part].astype(np.float64), whole)
        exact, cuts[r : r + 1] = soft_topk(cores, wide, ks[[r]], alphas[[r]], largest, log)
        if results:
            out[part] = exact
    return (out if results else None), cuts


def _topk_of_parts(x, k, alpha, rate, sign, log, p, cut, part, threads):
    """One long ranking, every pass over it in parts."""
    parts = parallel.parts(len(x), part)
    infinite, sums = np.empty((len(parts), 2), np.int64), np.empty((len(parts), 3))
    candidates, workspace = [None] * len(parts), parallel.Workspace()

    def count(i, here):
        infinite[i] = count_infinite(x[here], sign * x.dtype.type(np.inf))

    def collect(i, here):
        inside, buffers, _ = _room(here.stop - here.start, x.dtype, workspace)
        *sums[i], size = collapse(x[here], sign, low, high, rate, inside, buffers)
        candidates[i] = inside[:size].copy()

    def write(i, here):
        _write(x[here], sign, k, top, finite, cut, rate, log, p[here] if len(p) else p)

    parallel.for_each(count, parts, threads)
    top, masked = infinite.sum(axis=0).tolist()
    finite = len(x) - top - masked
    if top < k < top + finite:
        room, buffers, sample = _room(len(x), x.dtype, parallel.Workspace())
        is_found = False
        if finite == len(x):
            low, high = pivots(x, k, alpha, sign, sample)
            parallel.for_each(collect, parts, threads)
            inside, (over, above, below) = np.concatenate(candidates), sums.sum(axis=0)
            outside = (low, high, int(over), above, below)
            at_low, at_high = ends(inside, outside, alpha, rate, buffers)
            is_found = at_high < k <= at_low
        if is_found:
            found = between(inside, outside, at_low, at_high, k, alpha, rate, buffers)
        else:
            found = neighbours(x, k - top, finite, alpha, rate, sign, room, buffers, sample)
        cut[:] = _cut(found, alpha)
    parallel.for_each(write, parts, threads)


def topk_gradient(cores, rankings, upstream, cuts, alphas, largest=True, slope=MEMBERSHIP):
    """Gradients for scores (N,), for k (m,) and for alpha (m,), given the cuts.

    upstream  (N,) gradient with respect to the memberships, to their logarithms (slope=LOGARITHM), or to x / alpha at a
              fixed threshold (slope=GIVEN)

    All are 0 where k takes nothing or everything. Infinite scores have gradient 0, whatever their upstream.
    """
    values, offsets = rankings.values, rankings.offsets
    out, upstream = np.empty(len(values), values.dtype), frozen(upstream)
    ends = np.empty((2, len(offsets) - 1))
    sign = values.dtype.type(1 if largest else -1)
    rates = rates_of(alphas, values.dtype)

    def work(first, last):
        buffers = np.empty((3, BLOCK), values.dtype)
        _topk_gradient(values, offsets, first, last, upstream, cuts, rates, sign, slope, buffers, out, ends)

    parallel.for_each(work, parallel.slices(offsets), cores.threads)
    for r, part, whole in beyond_float32(values.dtype, offsets, alphas):
        wide, pull = Rankings(values[part].astype(np.float64), whole), upstream[part].astype(np.float64)
        exact, ends[:1, r], ends[1:, r] = topk_gradient(cores, wide, pull, cuts[[r]], alphas[[r]], largest, slope)
        with np.errstate(over="ignore"):  # at an alpha of 1e-40 a gradient may well be beyond float32: inf
            out[part] = exact
    return out, ends[0], ends[1]


def thresholds(cores: parallel.Cores, cuts, alphas, largest=True):
    """The threshold b of each ranking (m,): inf where k takes nothing, -inf where it takes everything."""
    return thresholds_of(cuts, alphas, largest)


def _room(length, dtype, workspace):
    """What finding the threshold needs: room for the scores in a bracket, for a block's exponentials, for a sample."""
    return (
        workspace.array("inside", (length,), dtype),
        workspace.array("buffers", (2, BLOCK), dtype),
        workspace.array("sample", (3, sample_size(length)), np.float64),
    )


@kernel
def _topk_of_any(values, offsets, group, ks, alphas, rates, sign, log, inside, buffers, sample, out, cuts):
    """Rankings in any order: the threshold in a bracket."""
    infinity = values.dtype.type(np.inf)
    for r in group:
        x, p, k = values[offsets[r] : offsets[r + 1]], out[offsets[r] : offsets[r + 1]] if out.size > 0 else out, ks[r]
        top, masked = count_infinite(x, sign * infinity)
        finite = x.size - top - masked
        if top < k < top + finite:
            found = neighbours(x, k - top, finite, alphas[r], rates[r], sign, inside, buffers, sample)
            cuts[r] = _cut(found, alphas[r])
        _write(x, sign, k, top, finite, cuts[r], rates[r], log, p)


@kernel
def _cut(found, alpha):
    """The neighbours of a threshold and the logarithms of the shares that they would lose across it."""
    below, above, excess, sum_above, sum_below = found
    gap = (above - below) / alpha
    log_below, log_above = log_shares(log_nearness(excess, sum_above, sum_below, gap), excess, gap)
    return below, above, log_below, log_above


@uncounted
def _topk_of_sorted(values, offsets, group, ordered, ks, alphas, rates, sign, log, e, roots, out, cuts):
    """Short rankings, whose scores are also given best first, as what they lack: -sign x rises, then inf.

    All find their neighbours, then all their thresholds: that is a loop without a branch, a tenth of the time.
    """
    for row in range(group.size):
        r = group[row]
        top, stop = finite_part(ordered[row, : offsets[r + 1] - offsets[r]], -np.inf)
        roots[:, row] = 1.0
        if top < ks[r] < stop:
            found = neighbours_in_order(ordered[row, top:], ks[r] - top, alphas[r], rates[r], e[top:])
            cuts[r, 0], cuts[r, 1], roots[0, row], roots[1, row], roots[2, row] = found
            roots[3, row] = (cuts[r, 1] - cuts[r, 0]) / alphas[r]
    _all_near(roots[0], roots[1], roots[2], roots[3], roots[4, : group.size])
    for row in range(group.size):
        r = group[row]
        x, p, k = values[offsets[r] : offsets[r + 1]], out[offsets[r] : offsets[r + 1]] if out.size > 0 else out, ks[r]
        top, stop = finite_part(ordered[row, : x.size], -np.inf)
        if top < k < stop:
            cuts[r, 2], cuts[r, 3] = log_shares(roots[4, row], roots[0, row], roots[3, row])
        _write(x, sign, k, top, stop - top, cuts[r], rates[r], log, p)


@uncounted
def _all_near(excess, sum_above, sum_below, gap, near):
    for i in range(near.size):
        near[i] = log_nearness(excess[i], sum_above[i], sum_below[i], gap[i])


@uncounted
def _write(x, sign, k, top, finite, cut, rate, log, p):
    """Memberships, given the cut; without one all or nothing, and the cut says which."""
    if top < k < top + finite:
        if p.size == 0:
            return
        if log:
            _log_memberships(x, sign, cut, rate, p)
        else:
            _memberships(x, sign, cut, rate, p)
        return
    # Infinite scores that are too many share k as ties do.
    share = min(1.0, max(0.0, k) / top) if top > 0 else 0.0
    others = 0.0 if k <= top else 1.0
    if log:
        _fill(x, sign, log_or_minus_inf(share), log_or_minus_inf(others), -np.inf, p)
    else:
        _fill(x, sign, share, others, 0.0, p)
    cut[:2], cut[2:] = np.inf if k <= top else -np.inf, -np.inf


@uncounted
def _fill(x, sign, infinite, finite, masked, p):
    for i in range(p.size):
        v = sign * x[i]
        p[i] = infinite if v == np.inf else (masked if v == -np.inf else finite)


@uncounted
def _memberships(x, sign, cut, rate, p):
    """p = share_below e^-(below-x) from `below` down, 1 - share_above e^-(x-above) from `above` up."""
    one, below, above = x.dtype.type(1), x.dtype.type(cut[0]), x.dtype.type(cut[1])
    share_below, share_above = x.dtype.type(math.exp(cut[2])), x.dtype.type(math.exp(cut[3]))
    for i in range(x.size):
        v = sign * x[i]
        is_above = v >= above
        e = exp_nonpositive((above - v if is_above else v - below) * rate)
        p[i] = one - share_above * e if is_above else share_below * e


@uncounted
def _log_memberships(x, sign, cut, rate, p):
    below, above = x.dtype.type(cut[0]), x.dtype.type(cut[1])
    log_below, share_above = x.dtype.type(cut[2]), x.dtype.type(math.exp(cut[3]))
    masked = x.dtype.type(-np.inf)  # also where no score is below the threshold, from which its distance would be NaN
    for i in range(x.size):
        v = sign * x[i]
        is_above = v >= above
        exponent = (above - v if is_above else v - below) * rate
        tail = share_above * exp_nonpositive(exponent if is_above else x.dtype.type(0))
        p[i] = log_one_minus(tail) if is_above else (log_below + exponent if v > masked else masked)


@kernel
def _topk_gradient(values, offsets, first, last, upstream, cuts, rates, sign, slope, buffers, out, ends):
    for r in range(first, last):
        part = slice(offsets[r], offsets[r + 1])
        x, v, g, cut = values[part], upstream[part], out[part], cuts[r]
        if cut[2] == -np.inf and cut[3] == -np.inf:
            g[:] = 0
            ends[:, r] = 0.0
            continue
        pulled, total = _pull(x, sign, cut, rates[r], v, slope, buffers, g)
        # h is e for memberships: relative to the larger share, as e is, it does not vanish across a wide gap.
        scale = math.exp(max(cut[2], cut[3]))
        unit, density = (scale, total) if slope == MEMBERSHIP else (1.0, total * scale)
        ends[0, r] = pulled / density if pulled != 0.0 else 0.0
        ends[1, r] = -_settle(x, sign, cut, rates[r], unit, pulled / total, buffers, g) * sign


@kernel
def _scaled_shares(cut, dtype):
    """The shares on both sides relative to the larger one, which may itself be too small for a float."""
    larger = max(cut[2], cut[3])
    return dtype(math.exp(cut[2] - larger)), dtype(math.exp(cut[3] - larger))


@kernel
def _pull(x, sign, cut, rate, v, slope, buffers, h):
    """h_i v_i for every score, their sum, and that of the scaled e_i; memberships have h scaled as e is."""
    scale = x.dtype.type(math.exp(max(cut[2], cut[3])))
    pulled, total = 0.0, 0.0
    distance, e, is_above = buffers[0], buffers[1], buffers[2]
    for start in range(0, x.size, BLOCK):
        size = min(BLOCK, x.size - start)
        _distances(x[start : start + size], sign, cut, rate, distance, e, is_above)
        _slopes(v[start : start + size], distance, e, is_above, scale, slope, h[start : start + size])
        total += block_total(e, size)
        pulled += block_total(h[start : start + size], size)
    return pulled, total


@kernel
def _settle(x, sign, cut, rate, unit, mean, buffers, h):
    """Turn h_i v_i, in some unit, into the gradient (h_i v_i - e_i mean) / alpha; returns sum gradient_i (x_i - b) /
    alpha.
    """
    factor, mean = sign * rate * x.dtype.type(unit), x.dtype.type(mean)
    from_neighbours, above_b, below_b = 0.0, 0.0, 0.0
    distance, e, is_above = buffers[0], buffers[1], buffers[2]
    for start in range(0, x.size, BLOCK):
        size = min(BLOCK, x.size - start)
        part = h[start : start + size]
        _distances(x[start : start + size], sign, cut, rate, distance, e, is_above)
        _gradients(part, e, mean, factor)
        _moments(part, distance, is_above, e)
        from_neighbours += block_total(e, size)
        above = block_total(is_above, size)
        above_b += above
        below_b += block_total(part, size) - above
    # From the neighbours to b it is log(2 share), which may be -inf on a side without scores.
    to_b = -above_b * (cut[3] + LOG_2) if above_b != 0.0 else 0.0
    return from_neighbours + to_b + (below_b * (cut[2] + LOG_2) if below_b != 0.0 else 0.0)


# One loop each, over rows of a buffer: LLVM vectorises these, and not one loop of all of them.


@kernel
def _distances(x, sign, cut, rate, distance, e, is_above):
    """(x - neighbour) / alpha, with the scaled e^-|x - b|/alpha, and 1 for scores above b."""
    below, above = x.dtype.type(cut[0]), x.dtype.type(cut[1])
    share_below, share_above = _scaled_shares(cut, x.dtype.type)
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(x.size):
        score = sign * x[i]
        up = score >= above
        z = (score - (above if up else below)) * rate
        distance[i] = z
        is_above[i] = one if up else zero
        e[i] = exp_nonpositive(-abs(z)) * (share_above if up else share_below)


@kernel
def _slopes(v, distance, e, is_above, scale, slope, h):
    """h_i v_i; nothing for infinite scores."""
    zero, one, infinity = h.dtype.type(0), h.dtype.type(1), h.dtype.type(np.inf)
    for i in range(h.size):
        tail = scale * e[i]
        of_log = tail / (one - tail) if is_above[i] > zero else one
        of_result = e[i] if slope == MEMBERSHIP else (of_log if slope == LOGARITHM else one)
        h[i] = of_result * v[i] if abs(distance[i]) < infinity else zero


@kernel
def _gradients(h, e, mean, factor):
    for i in range(h.size):
        h[i] = factor * (h[i] - e[i] * mean)


@kernel
def _moments(g, distance, is_above, moment):
    """g_i distance_i, and g_i for scores above b alone."""
    zero, infinity = g.dtype.type(0), g.dtype.type(np.inf)
    for i in range(g.size):
        moment[i] = distance[i] * g[i] if abs(distance[i]) < infinity else zero
        is_above[i] *= g[i]
