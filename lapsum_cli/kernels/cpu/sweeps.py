"""The one recurrence: sums of weights times e^(-distance / alpha) along sorted scores, to one side of each.

    before_i = sum over j < i of w_j e^(-|y_j - y_i| / alpha)        behind_i: the same over j > i

Each moves along the scores by one step, carry = (carry + weight) e^(-gap / alpha), with a factor in [0, 1]: nothing
can overflow. Weight 1 gives ranks and what sorting inverts; an upstream gradient as weight gives theirs (LapSum, ICML
2025, section 3, whose own gradient of the rank is quadratic).

A ranking is swept in blocks, from behind to leave the carry of every block, then from the front with both sums of a
block at hand: exponentials are computed twice, and no array of the ranking's length is needed. Short rankings are swept
as one, as many as make a block: a factor of 0 where each begins lets the sums forget. A long ranking is swept in parts,
side by side: each is summarised by its own sums at both of its ends (`approach`), and those of all parts before and
behind it, faded to its ends (`merge`), are all that it needs of them.

Factors and carries are float64 for float32 scores too: a float32 chain of 10^6 factors is off by 1e-3 n at a large
alpha.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from ..jit import inner, uncounted
from ..scalars.functions import exp_nonpositive
from ..scalars.summary import merged, step
from .vectors import BLOCK, copy


@uncounted
def finite_part(y, best):
    """First and last + 1 of the finite scores of a sorted ranking; `best` is the infinity that comes first."""
    start, stop = 0, y.size
    while start < stop and y[start] == best:
        start += 1
    while stop > start and y[stop - 1] == -best:
        stop -= 1
    return start, stop


@inner
def finite_span(y, offsets, first, r, descending):
    """Of ranking r, in a sorted block y whose first is given: where it begins, its finite scores begin and end, and it
    ends.
    """
    at, end = offsets[r] - offsets[first], offsets[r + 1] - offsets[first]
    start, stop = finite_part(y[at:end], np.inf if descending else -np.inf)
    return at, at + start, at + stop, end


@inner
def of_these(values, here):
    """values[here], or None of None."""
    if values is None:
        return None
    return values[here]


# Loops run over slices: Numba lets an index such as start + i - 1 be negative, and LLVM then vectorises nothing.


@inner
def factors(y, start, size, rate, out):
    """e^(-gap / alpha) to the score before, for scores start .. start + size; the first score of all has none."""
    first = 1 if start == 0 else 0
    if start == 0:
        out[0] = 0.0
    before, here, factor = y[start + first - 1 : start + size - 1], y[start + first : start + size], out[first:size]
    for i in range(factor.size):
        factor[i] = exp_nonpositive(-abs(np.float64(before[i]) - np.float64(here[i])) * rate)


@inner
def together(offsets, first, last):
    """How far rankings from the first on make at most a block together, and are swept as one; at least one does."""
    stop = first + 1
    while stop < last and offsets[stop + 1] - offsets[first] <= BLOCK:
        stop += 1
    return stop


@inner
def each_of(numbers, offsets, first, last, out):
    """The number of a ranking for each of its scores, those of rankings first .. last."""
    for r in range(first, last):
        for i in range(offsets[r] - offsets[first], offsets[r + 1] - offsets[first]):
            out[i] = numbers[r]


@inner
def factors_of_each(y, offsets, first, last, rates, out):
    """As `factors`, of rankings first .. last, with a rate for each score: 0 where one begins, so that sums forget.

    Between infinite scores, and beside them, it is 0 of itself.
    """
    _factors(y[1:], y[:-1], rates[1:], out[1:])
    for r in range(first, last):
        if offsets[r] < offsets[last]:
            out[offsets[r] - offsets[first]] = 0.0


@inner
def _factors(y, before, rates, out):
    for i in range(y.size):
        out[i] = exp_nonpositive(-abs(np.float64(before[i]) - np.float64(y[i])) * rates[i])


@inner
def carry_behind(factor, weight, size, carry):
    """The sum behind the score before a block, given that behind its last score."""
    for i in range(size - 1, -1, -1):
        carry = step(carry, weight[i], factor[i])
    return carry


@inner
def carry_both(factor, weight, size, carry):
    """What carry_behind gives, and the sum up to and with the last score, of this block alone; side by side."""
    before = 0.0
    for i in range(size):
        j = size - 1 - i
        carry = step(carry, weight[j], factor[j])
        before = merged(weight[i], before, factor[i])
    return carry, before


@inner
def fade(y, i, j, rate):
    """e^-distance/alpha between two scores, either of which may lie beyond the end: then there is nothing to fade."""
    if i < 0 or j < 0 or i >= y.size or j >= y.size:
        return 0.0
    return math.exp(-abs(np.float64(y[i]) - np.float64(y[j])) * rate)


class Stretch(NamedTuple):
    """A part of a sorted ranking: where it begins and ends, and what a sweep from behind leaves one from the front.

    ahead  (weights, blocks) float64, as `approach` leaves it
    """

    begin: int
    end: int
    ahead: np.ndarray


def stretches(y: np.ndarray, part: int, weights: int) -> list[Stretch]:
    """Parts of about so many of the sorted scores y; no tie lies across two of them."""
    begins = [0, *(_next_rise(y, at) for at in range(part, len(y), part)), len(y)]
    spans = [(begin, end) for begin, end in itertools.pairwise(begins) if begin < end]
    return [Stretch(begin, end, np.empty((weights, blocks_of(end - begin)))) for begin, end in spans]


@uncounted
def blocks_of(length):
    """How many blocks so many scores take."""
    return -(-length // BLOCK)


@uncounted
def _next_rise(y, at):
    """The first place from `at` on whose score differs from the one before it."""
    while 0 < at < y.size and y[at] == y[at - 1]:
        at += 1
    return at


@inner
def both_sums(factor, weight, size, carry, ahead, before, behind):
    """The sums before and behind each score of a block; returns that up to and with its last score.

    carry: the same of the block before; ahead: the sum behind the last score. The two chains run side by side, as
    either alone waits four cycles for each step.
    """
    for i in range(size):
        j = size - 1 - i
        behind[j] = ahead
        ahead = step(ahead, weight[j], factor[j])
        before[i] = carry * factor[i]
        carry = merged(weight[i], carry, factor[i])
    return carry


@uncounted
def approach(y, begin, end, rate, v, ahead, buffers, sums):
    """The sums of a part of a sorted ranking, alone, with weight 1 (w = 0) and, unless it is None, weight v (w = 1).

    ahead[w, b] is the sum over the scores behind block b, seen from its last score. sums[w], unless it is empty, is
    that over the whole part, seen from its last score and from the one before its first.

    buffers: rows for a block: factors; weights, the first of which is 1.
    """
    kinds, blocks = (1 if v is None else 2), (end - begin + BLOCK - 1) // BLOCK
    for w in range(kinds):
        ahead[w, max(blocks - 1, 0)] = 0.0
    if blocks <= 1 and sums.size == 0:
        return
    factor, weights = buffers[0], buffers[1:3]
    sums[:] = 0.0
    for b in range(blocks - 1, -1 if sums.size > 0 else 0, -1):
        start, size = begin + b * BLOCK, min(BLOCK, end - begin - b * BLOCK)
        factors(y, start, size, rate, factor)
        if v is not None:
            copy(v[start : start + size], weights[1])
        for w in range(kinds):
            if sums.size == 0:
                ahead[w, b - 1] = carry_behind(factor, weights[w], size, ahead[w, b])
                continue
            sums[w, 1], own = carry_both(factor, weights[w], size, ahead[w, b])
            sums[w, 0] = merged(sums[w, 0], own, fade(y, start + size - 1, end - 1, rate))
            if b > 0:
                ahead[w, b - 1] = sums[w, 1]


class Summary(NamedTuple):
    """What the other parts see of one: its last score, and its sums as `approach` leaves them, (weights, 2)."""

    last: float
    sums: np.ndarray


def merge(summaries: list[Summary], rate: float) -> np.ndarray:
    """What every part sees of all others, (parts, weights, 2): the sum before it, seen from the last score of the part
    before, and the sum behind it, seen from its own last score.
    """
    sums = np.stack([summary.sums for summary in summaries])
    _merge(np.array([summary.last for summary in summaries], np.float64), rate, sums)
    return sums


@uncounted
def _merge(last, rate, sums):
    """`merge` in place: sums are at first those of every part alone."""
    for w in range(sums.shape[1]):
        before, behind = 0.0, 0.0
        for p in range(last.size):
            own, sums[p, w, 0] = sums[p, w, 0], before
            before = merged(own, before, fade(last, p - 1, p, rate))
        for p in range(last.size - 1, -1, -1):
            own, sums[p, w, 1] = sums[p, w, 1], behind
            behind = merged(own, behind, fade(last, p - 1, p, rate))
