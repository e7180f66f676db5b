"""Soft sort and its gradient: the l-th value (from 0, best first) is where the soft count of scores above is l + 1/2.

inversion.py finds where that is, and what it does to the scores. A long ranking is sorted in parts.
"""

import math

import numpy as np

from ...core.rankings import frozen
from .. import parts
from ..jit import uncounted
from ..scalars.laplace import LARGEST_RATE
from ..scalars.summary import soft_count
from . import parallel
from .inversion import buffers_of, invert, invert_each
from .sweeps import Summary, approach, finite_part, finite_span, merge, stretches

MOST, HUGE = 1e280, 2.0**-64  # the unit of scores beyond it, whose differences and sums may overflow


def soft_sort(order, alphas, upstream=None, results=True):
    """Soft-sorted scores (N,), best first in every ranking; with `upstream` also gradients for scores and alpha.

    order, alphas   as for rank.soft_rank; infinite scores keep their end
    upstream        (N,) gradient of a loss with respect to the results, by position
    results         False where nobody reads the values: then they are None

    The gradient for alpha is that of y(c x, c alpha) = c y(x, alpha): (sum v_l y_l - sum gradient_i x_i) / alpha.
    """
    values, offsets, descending = order.values, order.offsets, order.descending
    out = np.empty(len(values) if results else 0, values.dtype)
    gradient = alpha_gradient = None
    if upstream is not None:
        upstream = frozen(upstream)
        gradient, alpha_gradient = np.zeros(len(upstream), upstream.dtype), np.zeros(len(alphas))

    def work(first, last):
        here = slice(offsets[first], offsets[last])
        given = (first, last, alphas, (0.5, 0))
        if upstream is None:
            invert_each(order, order.sorted_scores(first, last), *given, None, np.empty((2, 0)), out[here])
            return
        (scores, places), v = order.sorted(first, last), upstream[here]
        found = order.workspace.array("found", (2, len(scores)), np.float64)
        moved = invert_each(order, scores, *given, v, found, out[here] if results else out)
        given = (offsets, first, last, alphas, descending, v, found, moved)
        _gradients(scores, places, *given, gradient[here], alpha_gradient)

    def of_long(r):
        scores = order.sorted_scores(r, r + 1, order.cores.threads)
        whole = slice(offsets[r], offsets[r + 1])
        _sort_of_parts(scores, alphas[r], descending, out[whole], order.cores)

    # The gradient of a target goes to the scores on either side, which may be another part's: then there is one part.
    cores = order.cores if upstream is None else order.cores._replace(part=len(values))
    parallel.each_ranking(order.blocks, offsets, cores, work, of_long)
    return (out if results else None), gradient, alpha_gradient


def _sort_of_parts(scores, alpha, descending, out, cores):
    """One long ranking, as `invert_each` does others, in parts: each has the targets of the counts at its ends."""
    start, stop = finite_part(scores, np.inf if descending else -np.inf)
    out[:start], out[stop:] = scores[:start], scores[stop:]
    y, inner, rate = scores[start:stop], out[start:stop], min(1.0 / alpha, LARGEST_RATE)
    every, workspace = stretches(y, cores.part, 1), parallel.Scratch()

    def begin(part, _):
        sums = np.empty((1, 2))
        approach(y, part.begin, part.end, rate, None, part.ahead, buffers_of(workspace)[0], sums)
        return Summary(y[part.end - 1], sums)

    def merged_with_targets(summaries):
        sums, first = merge(summaries, rate), np.zeros(len(every) + 1, np.int64)
        _first_targets(np.array([part.end for part in every]), sums, first)
        return list(zip(sums, first[:-1].tolist(), first[1:].tolist(), strict=True))

    def finish(part, seen):
        outside, first, last = seen
        given = (part.ahead, outside, *buffers_of(workspace), np.empty((2, 0)), None)
        invert(y, part.begin, part.end, alpha, descending, (0.5, first, last), None, *given, inner)

    parts.run(every, [parts.Round(begin, merged_with_targets)], finish, parallel.each(cores.threads))


@uncounted
def _first_targets(ends, sums, first):
    """Of every part, and one past the last: from the soft count at the last score of the part before, whose own two
    halves are in the sums on either side of the cut. Rounding may not make them fall.
    """
    n = ends[ends.size - 1]
    for p in range(ends.size - 1):
        count = soft_count(ends[p], sums[p + 1, 0, 0], sums[p, 0, 1])
        first[p + 1] = min(max(np.int64(math.floor(count + 0.5)), first[p]), n)
    first[ends.size] = n


@uncounted
def _gradients(scores, places, offsets, begin, end, alphas, descending, v, found, moved, gradient, alpha_gradient):
    """Gradients for the scores (size,) of rankings begin .. end, and for alpha, from what `invert_each` gives."""
    for r in range(begin, end):
        _, start, stop, _ = finite_span(scores, offsets, begin, r, descending)
        y, pulled, middle, unit, total = scores[start:stop], moved[start:], 0.0, 1.0, 0.0
        if y.size > 0:
            unit = HUGE if max(abs(y[0]), abs(y[y.size - 1])) > MOST else 1.0
            middle = np.float64(y[y.size // 2]) * unit
        for i in range(y.size):
            j, g = start + i, pulled[i]
            gradient[np.int64(places[j])] = g
            total += v[j] * (found[0, j] * unit - middle + found[1, j] * unit) - g * (np.float64(y[i]) * unit - middle)
        alpha_gradient[r] = total / alphas[r] / unit
