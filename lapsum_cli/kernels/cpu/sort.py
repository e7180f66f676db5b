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
from .inversion import buffers_of, invert, invert_block, no_places, room
from .sweeps import Summary, approach, finite_part, merge, stretches

_NO_PLACES = np.empty(0, np.uint32)
_HUGE = 2.0**-64  # the unit of scores whose differences and sums may overflow


def soft_sort(order, alphas, upstream=None, results=True):
    """Soft-sorted scores (N,), best first in every ranking; with `upstream` also gradients for scores and alpha.

    order, alphas   as for rank.soft_rank; infinite scores keep their end
    upstream        (N,) gradient of a loss with respect to the results, by position
    results         False where nobody reads the values: then they are None

    The gradient for alpha is that of y(c x, c alpha) = c y(x, alpha): (sum v_l y_l - sum gradient_i x_i) / alpha.
    """
    values, offsets, descending = order.values, order.offsets, order.descending
    out = np.empty(len(values) if results else 0, values.dtype)
    wanted = upstream is not None
    upstream = frozen(upstream if wanted else np.empty(0, values.dtype))
    gradient, alpha_gradient = np.zeros(len(upstream), upstream.dtype), np.zeros(len(alphas))
    workspace = parallel.Workspace()

    def work(first, last):
        scores, places = order.sorted(first, last) if wanted else (order.sorted_scores(first, last), _NO_PLACES)
        given = (offsets, first, last, alphas, descending, upstream)
        _sort_block(
            scores, places, *given, *room(len(scores), wanted, wanted, workspace), out, gradient, alpha_gradient
        )

    def of_long(r):
        scores = order.sorted_scores(r, r + 1, order.cores.threads)
        whole = slice(offsets[r], offsets[r + 1])
        _sort_of_parts(scores, alphas[r], descending, out[whole], order.cores)

    # The gradient of a target goes to the scores on either side, which may be another part's: then there is one part.
    cores = order.cores._replace(part=len(values)) if wanted else order.cores
    parallel.each_ranking(order.blocks, offsets, cores, work, of_long)
    return (out if results else None), *((gradient, alpha_gradient) if wanted else (None, None))


def _sort_of_parts(scores, alpha, descending, out, cores):
    """One long ranking, as _sort_block does short ones, in parts: each has the targets of the counts at its ends."""
    start, stop = finite_part(scores, np.inf if descending else -np.inf)
    out[:start], out[stop:] = scores[:start], scores[stop:]
    y, inner, rate = scores[start:stop], out[start:stop], min(1.0 / alpha, LARGEST_RATE)
    every, none, workspace = stretches(y, cores.part, 1), np.empty(0, out.dtype), parallel.Workspace()

    def begin(part, _):
        sums = np.empty((1, 2))
        approach(y, part.begin, part.end, rate, none, part.ahead, buffers_of(workspace)[0], sums)
        return Summary(y[part.end - 1], sums)

    def merged_with_targets(summaries):
        sums, first = merge(summaries, rate), np.zeros(len(every) + 1, np.int64)
        _first_targets(np.array([part.end for part in every]), sums, first)
        return list(zip(sums, first[:-1].tolist(), first[1:].tolist(), strict=True))

    def finish(part, seen):
        outside, first, last = seen
        given = (part.ahead, outside, *buffers_of(workspace), *no_places())
        invert(y, part.begin, part.end, alpha, descending, (0.5, first, last), none, *given, inner)

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
def _sort_block(
    scores,
    places,
    offsets,
    begin,
    end,
    alphas,
    descending,
    upstream,
    ahead,
    outside,
    buffers,
    marks,
    found,
    moved,
    out,
    gradient,
    alpha_gradient,
):
    """Rankings begin .. end of a batch: values, unless there is no room for them, and gradients if wanted.

    scores, places  (size,), as order.Order sorts a block
    ahead .. moved  `room` for them
    """
    whole = slice(offsets[begin], offsets[end])
    values, v = out[whole] if out.size > 0 else out, upstream[whole] if upstream.size > 0 else upstream
    given = (alphas, descending, 0.5, 0, v, ahead, outside, buffers, marks, found, moved, values)
    invert_block(scores, offsets, begin, end, *given)
    for r in range(begin, end if v.size > 0 else begin):
        at = offsets[r] - offsets[begin]
        start, stop = finite_part(scores[at : at + offsets[r + 1] - offsets[r]], np.inf if descending else -np.inf)
        y, pulled, middle, unit, total = scores[at + start : at + stop], moved[0, at + start :], 0.0, 1.0, 0.0
        if y.size > 0:
            unit = _HUGE if max(abs(y[0]), abs(y[y.size - 1])) > 1e280 else 1.0
            middle = np.float64(y[y.size // 2]) * unit
        for i in range(y.size):
            j, g = at + start + i, pulled[i]
            gradient[whole][np.int64(places[j])] = g
            total += v[j] * (found[0, j] * unit - middle + found[1, j] * unit) - g * (np.float64(y[i]) * unit - middle)
        alpha_gradient[r] = total / alphas[r] / unit
