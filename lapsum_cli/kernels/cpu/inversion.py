"""Where a soft count meets targets: what sorting reads off, and where the positions of a permutation meet.

c(t) = sum over j of F((x_j - t) / alpha) falls from n to 0 as t rises. Targets first, first + 1, ... are found in one
sweep over the sorted scores: between two neighbours in closed form (LapSum, ICML 2025, section 4;
laplace.log_nearness), a thousand at a time. Short rankings are swept as one, and their targets are solved as one.

Moving the scores moves t by their softmax, q_j = e^(-|t - x_j| / alpha) / sum. For t between neighbours s > t > r that
is one weight for the scores from s up and one for those from r down, each fading along the scores as in sweeps.py: the
gradient of sum v_l t_l puts v_l times these weights down at s and at r, and sweeps up from the one, down from the
other. It stays O(n), and no exponent is positive (the authors' gradient overflows at a small alpha and is 0 in their
default direction).
"""

import math

import numpy as np

from ...core.rankings import frozen
from ..jit import inner, uncounted
from ..scalars.laplace import LARGEST_GAP, LARGEST_RATE, log_nearness, to_neighbours
from ..scalars.summary import merged, nearer, soft_count, softmax_parts
from .sweeps import (
    approach,
    blocks_of,
    both_sums,
    each_of,
    factors,
    factors_of_each,
    fade,
    finite_span,
    of_these,
    together,
)
from .vectors import BLOCK, copy


def invert_each(order, scores, first, last, alphas, which, v, found, out):
    """Where the soft counts of rankings first .. last of an order meet which = (target, less): target, target + 1, ...,
    for every finite score one, but for the last `less` of a ranking. What belongs to a target stands where the finite
    score of its number does. Returns the gradient for the scores, by position, or None.

    scores   (size,) of these rankings, as the order sorts them
    v        (size,) gradient with respect to the targets, or None
    found    (2, size) takes the score next to each target, and the step from there, in the unit of the scores
    out      (size,) takes their sum; each unless it is empty
    """
    v, moved = (None, None) if v is None else (frozen(v), order.workspace.array("moved", (2, len(scores)), np.float64))
    given = (scores, order.offsets, first, last, alphas, order.descending, *which, v, *buffers_of(order.workspace))
    _invert_block(*given, found, moved, out)
    if order.rankings.longest > BLOCK:
        ahead = order.workspace.array("ahead", (1, blocks_of(len(scores))), np.float64)
        _invert_longer(*given, ahead, np.zeros((1, 2)), found, moved, out)
    return None if moved is None else moved[0]


def buffers_of(workspace):
    """Rows for a block: factors and weights; sums before and behind and the scores themselves, one longer at the front,
    and these at the end too; what waits; the alpha and the rate of every target. And how many targets each score
    reaches, and the gap of each target.
    """
    buffers = workspace.array("buffers", (14, BLOCK + 2), np.float64)
    buffers[1] = 1.0
    return buffers, workspace.array("marks", (2, BLOCK + 2), np.int64)


@inner
def _columns(values, here):
    """Columns of two rows, or None of None."""
    if values is None:
        return None
    return values[:, here]


@uncounted
def _invert_block(y, offsets, first, last, alphas, descending, target, less, v, buffers, marks, found, moved, out):
    """`invert_each` of the rankings that are no longer than a block."""
    begin, r = offsets[first], first
    while r < last:
        stop = together(offsets, r, last)
        here = slice(offsets[r] - begin, offsets[stop] - begin)
        if here.stop - here.start <= BLOCK:
            at, values = found[:, here] if found.size > 0 else found, out[here] if out.size > 0 else out
            given = (target, less, of_these(v, here), buffers, marks[1], at, _columns(moved, here), values)
            _invert_short(y[here], offsets, r, stop, alphas, descending, *given)
        r = stop


@uncounted
def _invert_longer(
    y, offsets, first, last, alphas, descending, target, less, v, buffers, marks, ahead, outside, found, moved, out
):
    """`invert_each` of the others, each as one part."""
    for r in range(first, last):
        if offsets[r + 1] - offsets[r] > BLOCK:
            at, start, stop, end = finite_span(y, offsets, first, r, descending)
            finite, rate = slice(start, stop), min(1.0 / alphas[r], LARGEST_RATE)
            if out.size > 0:
                copy(y[at:start], out[at:start])
                copy(y[stop:end], out[stop:end])
            approach(y[finite], 0, stop - start, rate, None, ahead, buffers, outside[:0])
            targets, places = (target, 0, max(stop - start - less, 0)), found[:, finite] if found.size > 0 else found
            given = (of_these(v, finite), ahead, outside, buffers, marks, places, _columns(moved, finite))
            values = out[finite] if out.size > 0 else out
            invert(y[finite], 0, stop - start, alphas[r], descending, targets, *given, values)
            if v is not None:
                sweep_out(y[finite], rate, _columns(moved, finite), buffers[0])


# --- Short rankings: all targets of a block of them at once. ----------------------------------------------------------


@inner
def _invert_short(y, offsets, first, last, alphas, descending, target, less, v, buffers, gaps, found, moved, out):
    """Rankings first .. last, which are at most a block together."""
    size, factor, ones, before, behind, scores = y.size, buffers[0], buffers[1], buffers[2], buffers[3], buffers[4]
    waiting, alpha_of, rate_of = buffers[5:12], buffers[12, : y.size], buffers[13, : y.size]
    each_of(alphas, offsets, first, last, alpha_of)
    _rates(alpha_of, rate_of)
    factors_of_each(y, offsets, first, last, rate_of, factor[:size])
    both_sums(factor, ones, size, 0.0, 0.0, before[1:], behind)
    copy(y, scores[1:])
    gaps[: size + 1] = 0
    for r in range(first, last):
        _, start, stop, _ = finite_span(y, offsets, first, r, descending)
        _mark(start, stop, target, less, before[start + 1 : stop + 1], behind[start:stop], gaps)
    _wait(gaps[:size], 0, target, before, behind, scores, *_five(waiting))
    for r in range(first, last):
        at, start, stop, end = finite_span(y, offsets, first, r, descending)
        _wait_at_ends(at, end, start, stop, descending, less, gaps, *_five(waiting))
    to_below, to_above = waiting[5], waiting[6]
    _nearness(*_five(waiting), rate_of, size, to_below, to_above)
    if v is not None:
        _weights(v, waiting[1], waiting[2], to_below, to_above)
        _put_down_each(y, offsets, first, last, descending, less, waiting[1], waiting[2], gaps, moved)
        _sweep_both(factor, moved[0], moved[1])
    _steps(waiting[3], waiting[4], to_below, to_above, alpha_of, descending, waiting[0, :size], waiting[1, :size])
    _emit(waiting[0], waiting[1], size, found, out)
    if out.size > 0:
        _emit_infinite(y, offsets, first, last, descending, out)


@inner
def _rates(alphas, rates):
    for i in range(alphas.size):
        rates[i] = min(1.0 / alphas[i], LARGEST_RATE)


@inner
def _five(waiting):
    return waiting[0], waiting[1], waiting[2], waiting[3], waiting[4]


@inner
def _mark(start, stop, target, less, before, behind, gaps):
    """Every finite score of a ranking, start .. stop, marks the first of its targets that its soft count is below."""
    base, last = 1.5 - target, max(stop - start - less, 0)
    gaps[start] = start
    for i in range(before.size):
        reached = np.int64(math.floor(soft_count(base + i, before[i], behind[i])))
        gaps[np.uint64(start + min(max(reached, 0), last))] = start + i + 1


@inner
def _wait_at_ends(at, end, start, stop, descending, less, gaps, excess, above, below, higher, lower):
    """Targets of a ranking beyond all of its scores, where `_wait` has put down those of others, have nothing on that
    side; and where there is no target, what harms nothing.
    """
    none, last = (np.inf if descending else -np.inf), start + max(stop - start - less, 0)
    j = start
    while j < last and gaps[j] == start:
        above[j], higher[j] = 0.0, none
        j += 1
    j = last - 1
    while j >= start and gaps[j] == stop:
        below[j], lower[j] = 0.0, -none
        j -= 1
    for idle in (slice(at, start), slice(last, end)):
        excess[idle], above[idle], below[idle], higher[idle], lower[idle] = 1.0, 1.0, 1.0, 0.0, 0.0


@inner
def _put_down_each(y, offsets, first, last, descending, less, above, below, gaps, moved):
    """The shares of the gradient of each target to the scores on either side."""
    moved[:] = 0.0
    for r in range(first, last):
        _, start, stop, _ = finite_span(y, offsets, first, r, descending)
        for j in range(start, stop - less):
            if gaps[j] > start:
                moved[1, gaps[j] - 1] += above[j]
            if gaps[j] < stop:
                moved[0, gaps[j]] += below[j]


@inner
def _emit_infinite(y, offsets, first, last, descending, out):
    """Infinite scores keep their places."""
    for r in range(first, last):
        at, start, stop, end = finite_span(y, offsets, first, r, descending)
        copy(y[at:start], out[at:start])
        copy(y[stop:end], out[stop:end])


# --- A part of a longer ranking. --------------------------------------------------------------------------------------


@uncounted
def invert(y, begin, end, alpha, descending, targets, v, ahead, outside, buffers, marks, found, moved, out):
    """Where the soft count meets first, first + 1, ..., and of these the targets from .. to: they lie in this part.

    y        finite scores, best first; (n,)
    targets  (first, from, to); first is a multiple of 1/2, all are between 0 and n
    v        None, or a gradient with respect to all of them: moved has then what each puts down at the score behind it
             and at that before it, by position, of which sweep_out makes the gradient for the scores
    ahead, outside  as sweeps.approach and sweeps.merge leave them
    found    found[0] takes the score next to each target, found[1] the step from there, in the unit of the scores; and
    out      their sum; each unless it is empty

    Of every block it is told how many targets its scores reach, and so, filled forward, the gap of every target.
    """
    rate, (first, done, stop) = min(1.0 / alpha, LARGEST_RATE), targets
    buffers[12], buffers[13] = alpha, rate
    factor, ones, prior, behind, scores, waiting = (
        buffers[0],
        buffers[1],
        buffers[2],
        buffers[3],
        buffers[4],
        buffers[5:12],
    )
    reached, gaps = marks[0], marks[1]
    if v is not None:
        moved[:] = 0.0
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
            marked = _marks(reached, size, marked, done, held, gaps)
            gap = _wait(gaps[:held], gap, first + done - start, prior, behind, scores, *_five(waiting))
            mine = of_these(v, slice(done, done + held))
            _solve(waiting, gaps, held, start, buffers[12], buffers[13], descending, mine, moved)
            _emit(waiting[0], waiting[1], held, found[:, done : done + held], out[done : done + held])
            done += held


@inner
def _reach(base, before, behind, reached):
    """How many targets the soft count at each score of a block is at or above: floor(count - first) + 1."""
    for i in range(before.size):
        reached[i] = np.int64(math.floor(soft_count(base + i, before[i], behind[i])))


@inner
def _marks(reached, size, marked, done, held, gaps):
    """Every score of the block marks the first target beyond its reach, of targets done .. done + held; `_wait` fills
    the marks forward to the gap that each lies in. No branch depends on the scores. Returns how many have marked.
    """
    gaps[:held] = 0
    while marked < size and reached[marked] < done + held:
        gaps[np.uint64(max(reached[marked] - done, 0))] = marked + 1
        marked += 1
    return marked


@inner
def _wait(gaps, gap, target, prior, behind, scores, excess, above, below, higher, lower):
    """Put down what the closed form needs of each target, and the gap that it lies in; the last of these."""
    for j in range(gaps.size):
        gap = max(gap, gaps[j])
        i = np.uint64(gap)  # Numba lets a signed index be negative, and looks
        gaps[j], excess[j] = gap, target + (j - gap)
        above[j], below[j], higher[j], lower[j] = prior[i] + 1.0, behind[i] + 1.0, scores[i], scores[i + np.uint64(1)]
    return gap


@inner
def _solve(waiting, gaps, held, start, alphas, rates, descending, v, moved):
    """Solve the targets that wait: then waiting[0] has the score next to each, waiting[1] the step from there."""
    excess, above, below, higher, lower = _five(waiting)
    to_below, to_above = waiting[5], waiting[6]
    _nearness(excess, above, below, higher, lower, rates, held, to_below, to_above)
    if v is not None:
        _weights(v, above, below, to_below, to_above)
        _put_down(above, below, gaps, start, v.size, moved)
    _steps(higher, lower, to_below, to_above, alphas, descending, excess[:held], above[:held])


@inner
def _put_down(above, below, gaps, start, count, moved):
    for i in range(count):
        at = start + gaps[i]
        if at > 0:
            moved[1, at - 1] += above[i]
        if at < moved.shape[1]:
            moved[0, at] += below[i]


@uncounted
def sweep_out(y, rate, moved, factor):
    """Let what was put down fade along the scores, moved[0] to those behind and moved[1] to those before; into
    moved[0].
    """
    pull, blocks = 0.0, blocks_of(y.size)
    for b in range(blocks):
        start, size = b * BLOCK, min(BLOCK, y.size - b * BLOCK)
        factors(y, start, size, rate, factor)
        pull = _sweep_down(factor, moved[0, start : start + size], pull)
    pull = 0.0
    for b in range(blocks - 1, -1, -1):
        start, size = b * BLOCK, min(BLOCK, y.size - b * BLOCK)
        factors(y, start, size, rate, factor)
        pull = _sweep_up(factor, moved[1, start : start + size], moved[0, start : start + size], pull)


# --- Of both. ---------------------------------------------------------------------------------------------------------
# A loop that writes one row and reads a few: with more rows LLVM gives up proving that none overlap, and vectorises
# nothing.


@inner
def _nearness(excess, above, below, higher, lower, rates, held, to_below, to_above):
    """Logarithms of e^-distance/alpha from each target to the scores on either side."""
    gap, near = to_above, to_below
    for i in range(held):
        gap[i] = min(2.0 * (abs(0.5 * higher[i] - 0.5 * lower[i]) * rates[i]), LARGEST_GAP)
    for i in range(held):
        near[i] = log_nearness(excess[i], above[i], below[i], gap[i])
    for i in range(held):
        to_below[i], to_above[i] = to_neighbours(near[i], excess[i], gap[i])


@inner
def _steps(higher, lower, to_below, to_above, alphas, descending, anchors, steps):
    up = 1.0 if descending else -1.0
    for i in range(anchors.size):
        anchors[i] = nearer(to_above[i], to_below[i], higher[i], lower[i])
    for i in range(anchors.size):
        steps[i] = nearer(to_above[i], to_below[i], up * alphas[i] * to_above[i], -up * alphas[i] * to_below[i])


@inner
def _emit(anchors, steps, held, found, out):
    for j in range(min(held, out.size)):
        out[j] = anchors[j] + steps[j]
    if found.shape[1] > 0:
        copy(anchors[: min(held, found.shape[1])], found[0])
        copy(steps[: min(held, found.shape[1])], found[1])


@inner
def _weights(v, above, below, to_below, to_above):
    """The gradient of each target in two, for the scores on either side, by their weights in its softmax."""
    for i in range(v.size):
        above[i], below[i] = softmax_parts(v[i], above[i], below[i], to_above[i], to_below[i])


@inner
def _sweep_both(factor, down, up):
    """Sweeps down and up, side by side, into `down`: either alone waits four cycles for each step."""
    from_behind, from_before = 0.0, 0.0
    for i in range(down.size):
        j = down.size - 1 - i
        from_before = merged(down[i], from_before, factor[i])
        down[i] = from_before
        from_behind += up[j]
        up[j] = from_behind
        from_behind *= factor[j]
    for i in range(down.size):
        down[i] += up[i]


@inner
def _sweep_down(factor, down, pull):
    for i in range(down.size):
        pull = merged(down[i], pull, factor[i])
        down[i] = pull
    return pull


@inner
def _sweep_up(factor, up, down, pull):
    for i in range(up.size - 1, -1, -1):
        pull += up[i]
        down[i] += pull
        pull *= factor[i]
    return pull
