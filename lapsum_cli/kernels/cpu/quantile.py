"""The gradients of a soft quantile, which is the threshold b of a soft top-k, given the cut that the forward pass left.

With e_i = e^(-|x_i - b| / alpha) and q = e / sum e they are

    scores  q_i        k  -2 alpha / sum e        alpha  -sum q_i (x_i - b) / alpha

As in topk_gradient.py the e_i are taken relative to the larger one of the two next to the threshold: across a gap of
thousands of alphas q is what it is, and not 0 / 0. One pass over the scores sums the e_i, the other one writes.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ...core.rankings import Rankings
from ..jit import uncounted, within
from ..scalars.cut import beyond_float32, rates_of, to_the_larger
from . import parallel
from .topk_gradient import distances, from_threshold, moments_of, totals
from .vectors import BLOCK, block_total

LEAST = 1e-290  # of a share that has all its digits


def quantile_gradient(cores, rankings, upstream, cuts, alphas, largest=True):
    """Gradients for scores (N,), for k (m,) and for alpha (m,) of thresholds, given the cuts; upstream (m,) float64.

    All are 0 where k takes nothing or everything. Infinite scores have gradient 0.
    """
    values, offsets = rankings.values, rankings.offsets
    out, ends = np.empty(len(values), values.dtype), np.empty((2, len(offsets) - 1))
    sign, rates = values.dtype.type(1 if largest else -1), rates_of(alphas, values.dtype)

    def work(first, last):
        buffers = np.empty((3, BLOCK), values.dtype)
        _gradients(values, offsets, first, last, upstream, cuts, alphas, rates, sign, buffers, out, ends)

    parallel.for_each(work, parallel.slices(offsets), cores.threads)
    for r, part, whole in beyond_float32(values.dtype, offsets, alphas):
        wide = Rankings(values[part].astype(np.float64), whole)
        out[part], ends[:1, r], ends[1:, r] = quantile_gradient(
            cores, wide, upstream[[r]], cuts[[r]], alphas[[r]], largest
        )
    return out, ends[0], ends[1]


@uncounted
def _gradients(values, offsets, first, last, upstream, cuts, alphas, rates, sign, buffers, out, ends):
    for r in range(first, last):
        part, cut = slice(offsets[r], offsets[r + 1]), cuts[r]
        x, g, v = values[part], out[part], upstream[r]
        if cut[2] == -np.inf and cut[3] == -np.inf:
            g[:] = 0
            ends[:, r] = 0.0
            continue
        total = _sum(x, sign, cut, rates[r], buffers)
        moment = _write(x, sign, cut, rates[r], v / total, x.size <= BLOCK, buffers, g)
        ends[0, r] = _to_k(cut, alphas[r], sign, total) * v if v != 0.0 else 0.0
        ends[1, r] = -sign * moment if moment != 0.0 else 0.0


class OfParts(NamedTuple):
    """The gradients of one ranking of which parts are at hand, once all of them were summed."""

    cut: np.ndarray
    alpha: float
    rate: Any
    sign: Any
    total: float

    @property
    def to_k(self) -> float:
        """The gradient for k."""
        return float(_to_k(self.cut, self.alpha, self.sign, self.total))

    def of_part(self, x):
        """The gradient for the scores of a part, and what these give to that for alpha."""
        out = np.empty(len(x), x.dtype)
        moment = _write_part(x, self.sign, self.cut, self.rate, 1 / self.total, np.empty((3, BLOCK), x.dtype), out)
        return out, -float(self.sign * moment)


def gradient_of_parts(of_parts, cut, alpha, rate, sign) -> OfParts | None:
    """What the gradients of a ranking in parts are made of, given its cut; None where all are 0.

    of_parts  function(first, x) for every part, as cpu.topk has it
    """
    if cut[2] == -np.inf and cut[3] == -np.inf:
        return None
    total = sum(of_parts(lambda _, x: _sum_part(x, sign, cut, rate, np.empty((3, BLOCK), x.dtype))))
    return OfParts(cut, alpha, rate, sign, total)


@uncounted
def _sum_part(x, sign, cut, rate, buffers):
    return _sum(x, sign, cut, rate, buffers)


@uncounted
def _write_part(x, sign, cut, rate, factor, buffers, g):
    return _write(x, sign, cut, rate, factor, False, buffers, g)


@uncounted
def _to_k(cut, alpha, sign, total):
    """How the threshold moves with k: -alpha / (scale total), infinite where that is beyond floats."""
    larger = max(cut[2], cut[3])
    scale = math.exp(larger)
    return -sign * (alpha / scale if scale > LEAST else np.exp(math.log(alpha) - larger)) / total


@within
def _sum(x, sign, cut, rate, buffers):
    """The sum of the scaled e_i; of a block they are in the buffers then."""
    share_below, share_above, _ = to_the_larger(cut[2], cut[3])
    total = 0.0
    for start in range(0, x.size, BLOCK):
        here = x[start : start + BLOCK]
        distances(here, sign, cut, (share_below, share_above), rate, buffers[0], buffers[1], buffers[2])
        total += block_total(buffers[1], here.size)
    return total


@within
def _write(x, sign, cut, rate, factor, is_there, buffers, g):
    """The scaled e_i times a factor, and the sum of these times (x_i - b) / alpha; is_there: what `_sum` leaves."""
    share_below, share_above, _ = to_the_larger(cut[2], cut[3])
    distance, e, is_above = buffers[0], buffers[1], buffers[2]
    from_neighbours, above_b, below_b = 0.0, 0.0, 0.0
    for start in range(0, x.size, BLOCK):
        here, part = x[start : start + BLOCK], g[start : start + BLOCK]
        if not is_there:
            distances(here, sign, cut, (share_below, share_above), rate, distance, e, is_above)
        _times(e, x.dtype.type(factor), part)
        moments_of(part, distance, is_above, e)
        above, moments = totals(is_above, e, part.size)
        from_neighbours += moments
        above_b += above
        below_b += block_total(part, part.size) - above
    return from_threshold(cut, from_neighbours, above_b, below_b)


@within
def _times(e, factor, g):
    for i in range(g.size):
        g[i] = e[i] * factor
