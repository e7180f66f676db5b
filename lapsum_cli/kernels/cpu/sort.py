"""Soft sort and its gradient: the l-th value (from 0, best first) is where the soft count of scores above is l + 1/2.

c(t) = sum over j of F((x_j - t) / alpha) falls from n to 0 as t rises. `invert` finds t for targets first, first + 1,
... in one sweep over the sorted scores: between two neighbours in closed form (LapSum, ICML 2025, section 4;
laplace.log_nearness), a thousand at a time. Targets 1, 2, ... are the boundaries of the positions in a soft permutation
(permute.py).

Moving the scores moves t by their softmax, q_j = e^(-|t - x_j| / alpha) / sum. For t between neighbours s > t > r that
is one weight for the scores from s up and one for those from r down, each fading along the scores as in sweeps.py: the
gradient of sum v_l t_l puts v_l times these weights down at s and at r, and sweeps up from the one, down from the
other. It stays O(n), and no exponent is positive (the authors' gradient overflows at a small alpha and is 0 in their
default direction).
"""

import math

import numpy as np

from ...core.rankings import frozen
from .. import parts
from ..jit import kernel, uncounted
from ..scalars.laplace import LARGEST_GAP, LARGEST_RATE, log_nearness, to_neighbours
from ..scalars.summary import merged, nearer, soft_count, softmax_parts
from . import parallel
from .sweeps import Summary, approach, blocks_of, both_sums, factors, fade, finite_part, merge, stretches
from .vectors import BLOCK, copy

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

    def work(group):
        scores, places = order.sorted(group) if wanted else order.sorted_scores(group)
        given = (offsets, group, alphas, descending, upstream)
        _sort_rows(
            scores, places, *given, *room(scores.shape[1], wanted, wanted, workspace), out, gradient, alpha_gradient
        )

    def of_long(r):
        scores, _ = order.sorted_scores(np.array([r]), order.cores.threads)
        whole = slice(offsets[r], offsets[r + 1])
        _sort_of_parts(scores[0, : whole.stop - whole.start], alphas[r], descending, out[whole], order.cores)

    # The gradient of a target goes to the scores on either side, which may be another part's: then there is one part.
    cores = order.cores._replace(part=len(values)) if wanted else order.cores
    parallel.each_ranking(order.groups, offsets, cores, work, of_long)
    return (out if results else None), *((gradient, alpha_gradient) if wanted else (None, None))


def _sort_of_parts(scores, alpha, descending, out, cores):
    """One long ranking, as _sort_rows does short ones, in parts: each has the targets of the counts at its ends."""
    start, stop = finite_part(scores, np.inf if descending else -np.inf)
    out[:start], out[stop:] = scores[:start], scores[stop:]
    y, inner, rate = scores[start:stop], out[start:stop], min(1.0 / alpha, LARGEST_RATE)
    every, none, workspace = stretches(y, cores.part, 1), np.empty(0, out.dtype), parallel.Workspace()

    def begin(part, _):
        sums = np.empty((1, 2))
        approach(y, part.begin, part.end, rate, none, part.ahead, _buffers(workspace)[0], sums)
        return Summary(y[part.end - 1], sums)

    def merged_with_targets(summaries):
        sums, first = merge(summaries, rate), np.zeros(len(every) + 1, np.int64)
        _first_targets(np.array([part.end for part in every]), sums, first)
        return list(zip(sums, first[:-1].tolist(), first[1:].tolist(), strict=True))

    def finish(part, seen):
        outside, first, last = seen
        given = (part.ahead, outside, *_buffers(workspace), *_nothing())
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


def _buffers(workspace):
    """Rows for a block: factors and weights; sums before and behind and the scores themselves, one longer at the front;
    what waits. And how many targets each score reaches, and the gap of each target.
    """
    buffers = workspace.array("buffers", (12, BLOCK + 1), np.float64)
    buffers[1] = 1.0
    return buffers, workspace.array("marks", (2, BLOCK), np.int64)


def _nothing():
    """Where `invert` puts what is not asked for: places of targets, gradients."""
    return np.empty((2, 0)), np.empty((2, 0))


def room(length, found, gradient, workspace):
    """What `invert` needs for rankings of this length, which are one part: carries, sums from outside it, buffers, and
    where wanted for the places of targets and for gradients.
    """
    return (
        workspace.array("ahead", (1, blocks_of(length)), np.float64),
        np.zeros((1, 2)),
        *_buffers(workspace),
        workspace.array("found", (2, length if found else 0), np.float64),
        workspace.array("moved", (2, length if gradient else 0), np.float64),
    )


@kernel
def _sort_rows(
    scores,
    places,
    offsets,
    group,
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
    """Rankings `group` of a batch, each as one part: values, unless there is no room for them, and gradients if wanted.

    scores, places  (rows, width), best first, as order.Order gives them; a row's padding comes last
    ahead .. moved  `room` for the longest
    """
    for row in range(group.size):
        r = group[row]
        first, length, alpha = offsets[r], offsets[r + 1] - offsets[r], alphas[r]
        start, stop = finite_part(scores[row, :length], np.inf if descending else -np.inf)
        y = scores[row, start:stop]
        sorted_out, inner = out, out
        if out.size > 0:
            sorted_out = out[first : first + length]
            sorted_out[:start], sorted_out[stop:] = scores[row, :start], scores[row, stop:length]
            inner = sorted_out[start:stop]
        v = upstream[first + start : first + stop] if upstream.size > 0 else upstream
        given = (v, ahead, outside, buffers, marks, found, moved, inner)
        invert_all(y, alpha, descending, 0.5, y.size, *given)
        middle, unit, total = 0.0, 1.0, 0.0
        if y.size > 0:
            unit = _HUGE if max(abs(y[0]), abs(y[y.size - 1])) > 1e280 else 1.0
            middle = np.float64(y[y.size // 2]) * unit
        for i in range(v.size):
            g = moved[0, i]
            gradient[first + np.int64(places[row, start + i])] = g
            total += v[i] * (found[0, i] * unit - middle + found[1, i] * unit) - g * (np.float64(y[i]) * unit - middle)
        alpha_gradient[r] = total / alpha / unit


@kernel
def invert_all(y, alpha, descending, target, count, v, ahead, outside, buffers, marks, found, moved, out):
    """`invert` of a ranking as one part: `count` targets, the first of which is `target`."""
    rate, nothing, none = min(1.0 / alpha, LARGEST_RATE), outside[:0], out[:0]
    approach(y, 0, y.size, rate, none, ahead, buffers, nothing)
    invert(y, 0, y.size, alpha, descending, (target, 0, count), v, ahead, outside, buffers, marks, found, moved, out)


@kernel
def invert(y, begin, end, alpha, descending, targets, v, ahead, outside, buffers, marks, found, moved, out):
    """Where the soft count meets first, first + 1, ..., and of these the targets from .. to: they lie in this part.

    y        finite scores, best first; (n,)
    targets  (first, from, to); first is a multiple of 1/2, all are between 0 and n
    v        empty, or a gradient with respect to all of them: moved[0] is then that for the scores, by position
    ahead, outside  as sweeps.approach and sweeps.merge leave them
    found    found[0] takes the score next to each target, found[1] the step from there, in the unit of the scores; and
    out      their sum; each unless it is empty

    Of every block it is told how many targets its scores reach, and so, filled forward, the gap of every target.
    """
    rate, (first, done, stop) = min(1.0 / alpha, LARGEST_RATE), targets
    up = alpha if descending else -alpha
    factor, ones, prior, behind, scores, waiting = (
        buffers[0],
        buffers[1],
        buffers[2],
        buffers[3],
        buffers[4],
        buffers[5:],
    )
    reached, gaps = marks[0], marks[1]
    moved[:, : min(y.size, moved.shape[1])] = 0.0
    carry, blocks = outside[0, 0], (end - begin + BLOCK - 1) // BLOCK
    for b in range(blocks + (end == y.size)):  # one more, without scores, holds the targets beyond all of them
        start, size = min(begin + b * BLOCK, end), min(BLOCK, end - begin - b * BLOCK)
        prior[0], scores[0] = carry - 1.0, y[start - 1] if start > 0 else (np.inf if descending else -np.inf)
        if b < blocks:
            factors(y, start, size, rate, factor)
            to_end = fade(y, start + size - 1, end - 1, rate) if end < y.size else 0.0
            here = merged(ahead[0, b], outside[0, 1], to_end)
            carry = both_sums(factor, ones, size, carry, here, prior[1:], behind)
            copy(y[start : start + size], scores[1:])
            _reach(start - first + 1.5, prior[1 : size + 1], behind, reached)
            last = stop if b == blocks - 1 and end < y.size else max(done, min(reached[size - 1], stop))
        else:
            size, behind[0], scores[1], last = 1, -1.0, (-np.inf if descending else np.inf), stop
        reached[size - 1] = last
        marked, gap = 0, 0
        while done < last:
            held = min(BLOCK, last - done)
            marked, gap = _gaps(reached, size, marked, gap, done, held, gaps)
            _wait(gaps[:held], start, first + done - start, prior, behind, scores, waiting)
            _solve(waiting, gaps, held, start, rate, up, v[done : done + held], moved)
            _emit(waiting[0], waiting[1], held, found[:, done : done + held], out[done : done + held])
            done += held
    if v.size > 0:
        _sweep_out(y, rate, moved, factor)


@kernel
def _reach(base, before, behind, reached):
    """How many targets the soft count at each score of a block is at or above: floor(count - first) + 1."""
    for i in range(before.size):
        reached[i] = np.int64(math.floor(soft_count(base + i, before[i], behind[i])))


@kernel
def _gaps(reached, size, marked, gap, done, held, gaps):
    """For targets done .. done + held how many scores of the block do not reach them: the gap each lies in.

    Every score marks the first target beyond its reach; the marks are filled forward. No branch depends on the scores.
    Returns how many scores have marked, and the last gap.
    """
    gaps[:held] = 0
    while marked < size and reached[marked] < done + held:
        gaps[max(reached[marked] - done, 0)] = marked + 1
        marked += 1
    for j in range(held):
        gap = max(gap, gaps[j])
        gaps[j] = gap
    return marked, gap


@kernel
def _wait(gaps, start, target, prior, behind, scores, waiting):
    """Put down what the closed form needs of each target."""
    excess, above, below, higher, lower = waiting[0], waiting[1], waiting[2], waiting[3], waiting[4]
    for j in range(gaps.size):
        excess[j] = target + j - gaps[j]
    for j in range(gaps.size):
        i = gaps[j]
        above[j], below[j], higher[j], lower[j] = prior[i] + 1.0, behind[i] + 1.0, scores[i], scores[i + 1]


@kernel
def _solve(waiting, gaps, held, start, rate, up, v, moved):
    """Solve the targets that wait: then waiting[0] has the score next to each, waiting[1] the step from there."""
    excess, above, below, higher, lower = waiting[0], waiting[1], waiting[2], waiting[3], waiting[4]
    to_below, to_above = waiting[5], waiting[6]
    _nearness(excess, above, below, higher, lower, rate, held, to_below, to_above)
    if v.size > 0:
        _put_down(above, below, to_below, to_above, gaps, start, v, moved)
    _steps(higher, lower, to_below, to_above, up, excess[:held], above[:held])


@kernel
def _emit(anchors, steps, held, found, out):
    for j in range(min(held, out.size)):
        out[j] = anchors[j] + steps[j]
    for j in range(min(held, found.shape[1])):
        found[0, j], found[1, j] = anchors[j], steps[j]


# A loop that writes one row and reads a few: with more rows LLVM gives up proving that none overlap, and vectorises
# nothing.


@kernel
def _nearness(excess, above, below, higher, lower, rate, held, to_below, to_above):
    """Logarithms of e^-distance/alpha from each target to the scores on either side."""
    gap, near = to_above, to_below
    for i in range(held):
        gap[i] = min(2.0 * (abs(0.5 * higher[i] - 0.5 * lower[i]) * rate), LARGEST_GAP)
    for i in range(held):
        near[i] = log_nearness(excess[i], above[i], below[i], gap[i])
    for i in range(held):
        to_below[i], to_above[i] = to_neighbours(near[i], excess[i], gap[i])


@kernel
def _steps(higher, lower, to_below, to_above, up, anchors, steps):
    for i in range(anchors.size):
        anchors[i] = nearer(to_above[i], to_below[i], higher[i], lower[i])
    for i in range(anchors.size):
        steps[i] = nearer(to_above[i], to_below[i], up * to_above[i], -up * to_below[i])


@kernel
def _put_down(above, below, to_below, to_above, gaps, start, v, moved):
    """The gradient of each target at the scores on either side, by their weights among all in its softmax."""
    for i in range(v.size):
        above[i], below[i] = softmax_parts(v[i], above[i], below[i], to_above[i], to_below[i])
    for i in range(v.size):
        at = start + gaps[i]
        if at > 0:
            moved[1, at - 1] += above[i]
        if at < moved.shape[1]:
            moved[0, at] += below[i]


@kernel
def _sweep_out(y, rate, moved, factor):
    """Let what was put down fade along the scores, moved[0] to those behind and moved[1] to those before; into
    moved[0].
    """
    pull, blocks = 0.0, (y.size + BLOCK - 1) // BLOCK
    for b in range(blocks):
        start, size = b * BLOCK, min(BLOCK, y.size - b * BLOCK)
        factors(y, start, size, rate, factor)
        down = moved[0, start : start + size]
        for i in range(size):
            pull = merged(down[i], pull, factor[i])
            down[i] = pull
    pull = 0.0
    for b in range(blocks - 1, -1, -1):
        start, size = b * BLOCK, min(BLOCK, y.size - b * BLOCK)
        factors(y, start, size, rate, factor)
        up, down = moved[1, start : start + size], moved[0, start : start + size]
        for i in range(size - 1, -1, -1):
            pull += up[i]
            down[i] += pull
            pull *= factor[i]
