"""Soft top-k: memberships in [0, 1] that sum to k, or their logarithms.

p_i = F((x_i - b) / alpha), with the threshold b such that the p_i sum to k (LapSum, ICML 2025, section 4). threshold.py
finds b; what is kept of it, its `cut`, are the scores on either side and the logarithms of the shares that they would
lose across it: no absolute coordinate, and nothing that underflows across a wide gap.

Short rankings are sorted, many at a time (columns.py). A long one is read twice, for its infinities and for what lies
outside and inside a bracket (topk_parts.py), and a third time as the memberships are written; what is inside, 1 or 2 %,
is read a few times more. topk_gradient.py makes gradients of the cut.
"""

import math

import numpy as np

from ...core.rankings import Rankings
from ..jit import inner, kernel, uncounted, within
from ..scalars.cut import beyond_float32, hard_cut, log_membership, log_share, membership, rates_of, thresholds_of
from ..scalars.functions import exp_nonpositive
from ..scalars.laplace import LARGEST_GAP, log_nearness, log_or_minus_inf, log_shares
from . import parallel
from .columns import AT_ONCE, LONGEST, neighbours_of_columns, room_for
from .order import LANES
from .threshold import neighbours, sample_size
from .topk_gradient import topk_gradient
from .topk_parts import Whole, neighbours_of_parts
from .vectors import BLOCK, count_infinite

__all__ = ["soft_topk", "thresholds", "topk_gradient"]


def soft_topk(cores, rankings, ks, alphas, largest=True, log=False, upstream=None, results=True, name="scores"):
    """Memberships (N,), or their logarithms, in the dtype of the scores; and the cut of each ranking (m, 4), float64.

    ks, alphas (m,) float64, alphas > 0. k <= 0 gives zeros, k >= the number of scores above -inf gives ones to them.
    -inf has membership 0. +inf has membership 1, or an equal share of k when there are more than k.

    upstream  of a gradient that follows: of use to a card alone, as is the name
    results   False where nobody reads the memberships: then they are None
    """
    values, offsets = rankings.values, rankings.offsets
    out = np.empty(len(values) if results else 0, values.dtype)
    cuts = np.empty((len(offsets) - 1, 4))
    cuts.fill(-np.inf)
    sign = values.dtype.type(1 if largest else -1)
    rates, workspace = rates_of(alphas, values.dtype), parallel.Scratch()
    logs = True if log else None  # what is None is not compiled

    def work(first, last):
        roots = workspace.array("roots", (7, AT_ONCE), np.float64)
        given = (values, offsets, first, last, ks, alphas, rates, sign, logs)
        _topk_block(*given, room_for(workspace, values.dtype), roots, out, cuts)
        if rankings.longest > LONGEST:
            size = min(rankings.longest, int(offsets[last] - offsets[first]))
            _topk_longer(*given, *_room(size, values.dtype, workspace), _sample(size, workspace), out, cuts)

    def of_long(r):
        whole = slice(offsets[r], offsets[r + 1])
        given = (ks[r], alphas[r], rates[r], sign, logs, out[whole] if results else out, cuts[r])
        _topk_of_parts(values[whole], *given, cores)

    parallel.each_ranking(parallel.slices(offsets), offsets, cores, work, of_long)
    for r, part, whole in beyond_float32(values.dtype, offsets, alphas):
        wide = Rankings(values[part].astype(np.float64), whole)
        exact, cuts[r : r + 1] = soft_topk(cores, wide, ks[[r]], alphas[[r]], largest, log)
        if results:
            with np.errstate(over="ignore"):  # a logarithm may well be beyond float32: -inf
                out[part] = exact
    return (out if results else None), cuts


def _topk_of_parts(x, k, alpha, rate, sign, log, p, cut, cores):
    """One long ranking, every pass over it in parts; cut is filled in."""
    places, each = parallel.parts(len(x), cores.part), parallel.each(cores.threads)
    whole = Whole(len(x), x.dtype)

    def of_parts(function):
        return each(lambda at: function(at.start, x[at]), places)

    cut[:], *which = cut_of_parts(of_parts, whole, k, alpha, sign)
    each(lambda at: write_part(x[at], sign, k, *which, cut, rate, log, p[at] if len(p) else p), places)


def cut_of_parts(of_parts, whole, k, alpha, sign):
    """The cut (4,) of a ranking of which parts are at hand (topk_parts), and of its scores how many are +inf, times the
    sign, and how many finite: what write_part goes by.
    """
    rate = rates_of(np.array([alpha]), whole.dtype)[0]
    found, top, finite = neighbours_of_parts(of_parts, whole, k, alpha, rate, sign)
    cut = np.full(4, -np.inf)
    if found is None:
        cut[:2] = hard_cut(k, top)[0]
    else:
        cut[:] = _cut(found, alpha)
    return cut, top, finite


def thresholds(cores: parallel.Cores, cuts, alphas, largest=True):
    """The threshold b of each ranking (m,): inf where k takes nothing, -inf where it takes everything."""
    return thresholds_of(cuts, alphas, largest)


def _room(length, dtype, workspace):
    """What finding the threshold needs: room for the scores in a bracket, and for a block's exponentials."""
    return workspace.array("inside", (length,), dtype), workspace.array("buffers", (2, BLOCK), dtype)


def _sample(length, workspace):
    return workspace.array("sample", (3, sample_size(length)), np.float64)


@uncounted
def _topk_block(values, offsets, first, last, ks, alphas, rates, sign, log, room, roots, out, cuts):
    """Of rankings first .. last the short ones."""
    x, p = values[: offsets[last]], out[: offsets[last]] if out.size > 0 else out
    for r in range(first, last, AT_ONCE):
        stop = min(r + AT_ONCE, last)
        _topk_of_short(x, offsets, r, stop, ks, alphas, rates, sign, log, room, roots[:, : stop - r], p, cuts)


@kernel
def _topk_longer(values, offsets, first, last, ks, alphas, rates, sign, log, inside, buffers, sample, out, cuts):
    """After _topk_block, the others, in any order: the threshold in a bracket."""
    for r in range(first, last):
        if offsets[r + 1] - offsets[r] > LONGEST:
            here = slice(offsets[r], offsets[r + 1])
            x, k, cut = values[here], ks[r], cuts[r]
            top, masked = count_infinite(x, sign * x.dtype.type(np.inf))
            finite = x.size - top - masked
            if top < k < top + finite:
                given = (alphas[r], rates[r], sign, inside, buffers, sample)
                # One by one: how Numba assigns a tuple to a part of an array takes a second to compile.
                cut[0], cut[1], cut[2], cut[3] = _cut(neighbours(x, k - top, finite, *given), alphas[r])
            write_part(x, sign, k, top, finite, cut, rates[r], log, out[here] if out.size > 0 else out)


@uncounted
def write_part(x, sign, k, top, finite, cut, rate, log, p):
    """As `_write`, which is a part of its caller."""
    _write(x, sign, k, top, finite, cut, (math.exp(cut[2]), math.exp(cut[3])), rate, log, p)


@uncounted
def _cut(found, alpha):
    """The neighbours of a threshold and the logarithms of the shares that they would lose across it."""
    below, above, excess, sum_above, sum_below = found
    gap = _gap(above, below, alpha)
    log_below, log_above = log_shares(log_nearness(excess, sum_above, sum_below, gap), excess, gap)
    return below, above, log_below, log_above


@within
def _gap(above, below, alpha):
    """Between the neighbours of a threshold, in alphas; infinite where one of them is. A difference of scores may
    overflow, one of halves does not.
    """
    gap = (0.5 * above - 0.5 * below) / (0.5 * alpha)
    return LARGEST_GAP if gap == np.inf and above < np.inf and below > -np.inf else gap


@inner
def _topk_of_short(x, offsets, first, last, ks, alphas, rates, sign, log, room, roots, p, cuts):
    """Short rankings first .. last; x and p end where their block does.

    All find their neighbours, then all their thresholds: that is a loop without a branch, a tenth of the time. A loop
    over a ranking runs on to whole vectors: what it writes beyond is the next one's, which is written after.
    """
    spans, excess, sum_above, sum_below, gap, near = roots[:2], roots[2], roots[3], roots[4], roots[5], roots[6]
    log_below, log_above, share_below, share_above = sum_below, sum_above, excess, gap
    roots[2:] = 1.0
    neighbours_of_columns(x, offsets, first, last, sign, ks, rates, room, roots, cuts)
    _all_gaps(cuts[first:last], alphas[first:last], gap)
    _all_near(excess, sum_above, sum_below, gap, near)
    _all_logs(near, excess, gap, log_below, log_above)
    _all_shares(log_below, share_below)
    _all_shares(log_above, share_above)
    for r in range(first, last):
        n, row = offsets[r + 1] - offsets[r], r - first
        if 0 < n <= LONGEST:
            k, top, stop = ks[r], int(spans[0, row]), int(spans[1, row])
            if top < k < stop:
                cuts[r, 2], cuts[r, 3] = log_below[row], log_above[row]
            here = slice(offsets[r], min(offsets[r] + (n + LANES - 1) // LANES * LANES, x.size))
            mine = p[here] if p.size > 0 else p
            shares = share_below[row], share_above[row]
            _write(x[here], sign, k, top, stop - top, cuts[r], shares, rates[r], log, mine)


@inner
def _all_gaps(cuts, alphas, gap):
    for i in range(gap.size):
        gap[i] = _gap(cuts[i, 1], cuts[i, 0], alphas[i])


@inner
def _all_near(excess, sum_above, sum_below, gap, near):
    for i in range(near.size):
        near[i] = log_nearness(excess[i], sum_above[i], sum_below[i], gap[i])


@inner
def _all_logs(near, excess, gap, log_below, log_above):
    for i in range(near.size):
        log_below[i], log_above[i] = log_shares(near[i], excess[i], gap[i])


@inner
def _all_shares(logs, shares):
    for i in range(logs.size):
        shares[i] = exp_nonpositive(logs[i])


@within
def _write(x, sign, k, top, finite, cut, shares, rate, log, p):
    """Memberships, or their logarithms unless log is None, given the cut and its shares; without one all or nothing,
    and the cut says which.
    """
    if top < k < top + finite:
        if p.size == 0:
            return
        if log is None:
            _memberships(x, sign, cut, shares, rate, p)
        else:
            _log_memberships(x, sign, cut, shares[1], rate, p)
        return
    side, share, others = hard_cut(k, top)
    if log is None:
        _fill(x, sign, share, others, 0.0, p)
    else:
        _fill(x, sign, log_or_minus_inf(share), log_or_minus_inf(others), -np.inf, p)
    cut[:2], cut[2:] = side, -np.inf


@within
def _fill(x, sign, infinite, finite, masked, p):
    for i in range(p.size):
        v = sign * x[i]
        p[i] = infinite if v == np.inf else (masked if v == -np.inf else finite)


@within
def _memberships(x, sign, cut, shares, rate, p):
    """p = share_below e^-(below-x) from `below` down, 1 - share_above e^-(x-above) from `above` up."""
    below, above = x.dtype.type(cut[0]), x.dtype.type(cut[1])
    share_below, share_above = x.dtype.type(shares[0]), x.dtype.type(shares[1])
    for i in range(x.size):
        v = sign * x[i]
        is_above = v >= above
        e = exp_nonpositive((above - v if is_above else v - below) * rate)
        p[i] = membership(e, is_above, share_below, share_above)


@inner
def _log_memberships(x, sign, cut, share_above, rate, p):
    below, above = x.dtype.type(cut[0]), x.dtype.type(cut[1])
    log_below, share_above = x.dtype.type(log_share(cut[2])), x.dtype.type(share_above)
    half, two = x.dtype.type(0.5), x.dtype.type(2)
    half_above, half_below = half * above, half * below
    for i in range(x.size):
        v = sign * x[i]
        is_above = v >= above
        exponent = two * ((half_above - half * v if is_above else half * v - half_below) * rate)
        tail = share_above * exp_nonpositive(exponent if is_above else x.dtype.type(0))
        p[i] = log_membership(v, exponent, tail, is_above, log_below)
