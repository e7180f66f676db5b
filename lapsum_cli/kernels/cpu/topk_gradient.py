"""The gradients of a soft top-k, given the cut that the forward pass left: two passes over the scores.

With e_i = e^(-|x_i - b| / alpha) / 2, q = e / sum e and h_i = d result_i / d (x_i / alpha) at a fixed b, which is e_i
for memberships and e_i / p_i for their logarithms, the gradient of sum v_i result_i is

    scores  (h_i v_i - q_i <h, v>) / alpha        k  <h, v> / sum e        alpha  -sum gradient_i (x_i - b) / alpha

which is that of any h_i v_i - c e_i in place of h_i v_i. With c from the score next to the threshold, whose q is the
largest, its own term is 0: where it holds nearly all of q, nothing is left of h v - q <h, v> but differences of others.
Where many share q, c is 0: <h, v> is a mean of many, mostly smaller than one of them, and its rounding is in all terms.

The first pass sums h_i v_i - c e_i and e_i (_pull), the second makes the gradient of them (_settle).
"""

from typing import Any, NamedTuple

import numpy as np

from ...core.rankings import Rankings, frozen
from ..jit import sum_within, uncounted, within
from ..scalars.cut import FEW, MEMBERSHIP, beyond_float32, rates_of, settled, slope_of, taken_off, to_the_larger
from ..scalars.functions import LOG_2, exp_nonpositive
from . import parallel
from .order import LANES
from .vectors import BLOCK, block_total


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


@uncounted
def _topk_gradient(values, offsets, first, last, upstream, cuts, rates, sign, slope, buffers, out, ends):
    for r in range(first, last):
        n, cut = offsets[r + 1] - offsets[r], cuts[r]
        if cut[2] == -np.inf and cut[3] == -np.inf:
            out[offsets[r] : offsets[r + 1]] = 0
            ends[:, r] = 0.0
            continue
        # Loops run on to whole vectors: what they write beyond is the next ranking's, which is written after.
        part = slice(offsets[r], min(offsets[r] + (n + LANES - 1) // LANES * LANES, offsets[last]))
        x, v, g = values[part], upstream[part], out[part]
        share_below, share_above, scale = to_the_larger(cut[2], cut[3])
        shares = share_below, share_above
        least, share = x.dtype.type(0), x.dtype.type(0)
        pulled, total = 0.0, 0.0
        if n > BLOCK:
            how = scale, slope, least, share
            pulled, total = _pull(x, n, sign, cut, shares, rates[r], v, how, buffers, g)
        if total < FEW:
            least, share = _at_the_threshold(x, sign, cut, v, scale, slope)
            how = scale, slope, least, share
            pulled, total = _pull(x, n, sign, cut, shares, rates[r], v, how, buffers, g)
        # h is e for memberships: relative to the larger share, as e is, it does not vanish across a wide gap.
        unit, density = (scale, 1.0) if slope == MEMBERSHIP else (1.0, scale)
        mean = pulled / total
        to_k = mean + least + share
        ends[0, r] = to_k / density if to_k != 0.0 else 0.0
        moment = _settle(x, n, sign, cut, shares, rates[r], unit, mean, buffers, g)
        ends[1, r] = -moment * unit * rates[r]


class OfParts(NamedTuple):
    """The gradient of one ranking of which parts are at hand: what the passes over all of them have summed.

    how: scale, slope, least and share, as `_pull` takes them
    """

    cut: np.ndarray
    rate: Any
    sign: Any
    how: tuple[Any, ...]
    mean: float

    @property
    def to_k(self) -> float:
        """The gradient for k."""
        scale, slope, least, share = self.how
        to_k, density = self.mean + least + share, 1.0 if slope == MEMBERSHIP else scale
        return float(to_k / density) if to_k != 0.0 else 0.0

    def of_part(self, x, v):
        """The gradient for the scores of a part, and what these give to that for alpha."""
        out, buffers = np.empty(len(x), x.dtype), np.empty((3, BLOCK), x.dtype)
        unit = self.how[0] if self.how[1] == MEMBERSHIP else 1.0
        moment = _settle_part(x, self.sign, self.cut, self.rate, v, self.how, unit, self.mean, buffers, out)
        return out, -float(moment) * unit * float(self.rate)


def gradient_of_parts(of_parts, cut, rate, sign, slope) -> OfParts | None:
    """What the gradients of a ranking in parts are made of, given its cut; None where all are 0.

    of_parts  function(first, x, v) for every part: the place of its first score, its scores, and the upstream gradient
              beside them; what it returns, in their order
    """
    if cut[2] == -np.inf and cut[3] == -np.inf:
        return None
    _, _, scale = to_the_larger(cut[2], cut[3])
    how = scale, slope, sign.dtype.type(0), sign.dtype.type(0)
    pulled, total = _sums_of_parts(of_parts, cut, rate, sign, how)
    if total < FEW:
        is_above = cut[3] > cut[2]
        nearest = sign * sign.dtype.type(cut[1] if is_above else cut[0])
        found = [v for v in of_parts(lambda _, x, v: _beside(x, v, nearest)) if v is not None]
        how = scale, slope, *taken_off(found[0], is_above, sign.dtype.type(scale), slope)
        pulled, total = _sums_of_parts(of_parts, cut, rate, sign, how)
    return OfParts(cut, rate, sign, how, pulled / total)


def _sums_of_parts(of_parts, cut, rate, sign, how):
    def sums(_, x, v):
        return _pull_part(x, sign, cut, rate, v, how, np.empty((3, BLOCK), x.dtype), np.empty(len(x), x.dtype))

    return np.sum(list(of_parts(sums)), axis=0)


def _beside(x, v, score):
    """What is beside the first that is such a score; None where there is none."""
    at = np.flatnonzero(x == score)
    return v[at[0]] if len(at) else None


@uncounted
def _pull_part(x, sign, cut, rate, v, how, buffers, h):
    share_below, share_above, _ = to_the_larger(cut[2], cut[3])
    return _pull(x, x.size, sign, cut, (share_below, share_above), rate, v, how, buffers, h)


@uncounted
def _settle_part(x, sign, cut, rate, v, how, unit, mean, buffers, h):
    share_below, share_above, _ = to_the_larger(cut[2], cut[3])
    shares = share_below, share_above
    _pull(x, x.size, sign, cut, shares, rate, v, how, buffers, h)
    return _settle(x, x.size, sign, cut, shares, rate, unit, mean, buffers, h)


@within
def _at_the_threshold(x, sign, cut, v, scale, slope):
    """What scalars.cut says is taken off h_i v_i: `least` and `share`."""
    is_above = cut[3] > cut[2]
    nearest, i = sign * x.dtype.type(cut[1] if is_above else cut[0]), 0
    while x[i] != nearest and i < x.size - 1:
        i += 1
    return taken_off(v[i], is_above, x.dtype.type(scale), slope)


@within
def _pull(x, n, sign, cut, shares, rate, v, how, buffers, h):
    """h_i v_i for every score, less what _at_the_threshold says; their sum, and that of the scaled e_i, over the first
    n; memberships have h scaled as e is.

    shares: those on both sides relative to the larger one, which may itself be too small for a float.
    """
    pulled, total = 0.0, 0.0
    distance, e, is_above = buffers[0], buffers[1], buffers[2]
    for start in range(0, n, BLOCK):
        here = slice(start, min(start + BLOCK, x.size))
        distances(x[here], sign, cut, shares, rate, distance, e, is_above)
        _slopes(x[here], v[here], e, is_above, how, h[here])
        more_total, more_pulled = totals(e, h[here], min(BLOCK, n - start))
        total += more_total
        pulled += more_pulled
    return pulled, total


@within
def _settle(x, n, sign, cut, shares, rate, unit, mean, buffers, h):
    """Turn h_i v_i, in some unit, into the gradient (h_i v_i - e_i mean) / alpha; returns the sum of h_i v_i - e_i mean
    times (x_i - b) / alpha over the first n, which stays finite where 1 / alpha does not.
    """
    factor, mean = sign * rate * x.dtype.type(unit), x.dtype.type(mean)
    from_neighbours, above_b, below_b = 0.0, 0.0, 0.0
    distance, e, is_above = buffers[0], buffers[1], buffers[2]
    for start in range(0, n, BLOCK):
        here, size = slice(start, min(start + BLOCK, x.size)), min(BLOCK, n - start)
        part = h[here]
        if n > BLOCK:  # else they are those of `_pull`
            distances(x[here], sign, cut, shares, rate, distance, e, is_above)
        _gradients(part, e, mean)
        moments_of(part, distance, is_above, e)
        above, moments = totals(is_above, e, size)
        from_neighbours += moments
        above_b += above
        below_b += block_total(part, size) - above
        _scale(part, factor)
    return from_threshold(cut, from_neighbours, above_b, below_b)


@within
def from_threshold(cut, from_neighbours, above_b, below_b):
    """A sum of terms times (x_i - b) / alpha, of one over distances from the neighbours of b and of the terms on either
    side.
    """
    # From the neighbours to b it is log(2 share), which may be -inf on a side without scores.
    to_b = -above_b * (cut[3] + LOG_2) if above_b != 0.0 else 0.0
    total = from_neighbours + to_b + (below_b * (cut[2] + LOG_2) if below_b != 0.0 else 0.0)
    return total if total == total else np.inf  # of terms that exceed float64 on both sides


@sum_within
def totals(x, y, size):
    """The sums of the first `size` of both, at most a block."""
    of_x, of_y = x.dtype.type(0), y.dtype.type(0)
    for i in range(size):
        of_x += x[i]
        of_y += y[i]
    return of_x, of_y


# One loop each, over rows of a buffer: LLVM vectorises these, and not one loop of all of them.


@within
def distances(x, sign, cut, shares, rate, distance, e, is_above):
    """(x - neighbour) / alpha, with the scaled e^-|x - b|/alpha, and 1 for scores above b."""
    below, above = x.dtype.type(cut[0]), x.dtype.type(cut[1])
    share_below, share_above = x.dtype.type(shares[0]), x.dtype.type(shares[1])
    zero, one, half, two = x.dtype.type(0), x.dtype.type(1), x.dtype.type(0.5), x.dtype.type(2)
    half_above, half_below = half * above, half * below
    for i in range(x.size):
        score = sign * x[i]
        up = score >= above
        z = two * ((half * score - (half_above if up else half_below)) * rate)  # their difference may overflow
        distance[i] = z
        is_above[i] = one if up else zero
        e[i] = exp_nonpositive(-abs(z)) * (share_above if up else share_below)


@within
def _slopes(x, v, e, is_above, how, h):
    """h_i v_i, less what _at_the_threshold says; nothing for infinite scores."""
    scale, slope, least, share = h.dtype.type(how[0]), how[1], how[2], how[3]
    zero, infinity = h.dtype.type(0), h.dtype.type(np.inf)
    for i in range(h.size):
        of_result = slope_of(e[i], is_above[i] > zero, scale, slope)
        h[i] = of_result * (v[i] - least) - share * e[i] if abs(x[i]) < infinity else zero


@within
def _gradients(h, e, mean):
    for i in range(h.size):
        h[i] = settled(h[i], e[i], mean)


@within
def _scale(g, factor):
    for i in range(g.size):
        g[i] *= factor


@within
def moments_of(g, distance, is_above, moment):
    """g_i distance_i, and g_i for scores above b alone."""
    zero = g.dtype.type(0)
    for i in range(g.size):
        moment[i] = distance[i] * g[i] if g[i] != zero else zero
        is_above[i] *= g[i]
