"""The threshold of one long ranking, in passes over parts of it: stretches of an array, or pieces that are read again.

A look at a bracket tells of every part what lies outside it, as sums, and what lies inside: the scores themselves, or
some of them where all are more than there is room for. What is outside is known exactly then, so that a sample only
ever says where to look next: another bracket inside, or the side on which the exact soft counts put the threshold. Two
looks are usual, the first of which is at a sample alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import parallel
from .threshold import collapse, counts_at_ends, neighbours_within, pivots_among, sample_size
from .vectors import BLOCK, count_infinite

EVERYTHING = 1 << 62

# function(first, x), for every part: the place of its first score, and its scores; a list, in their order.
OfParts = Callable[[Callable[[int, np.ndarray], Any]], list]


class Whole(NamedTuple):
    """A ranking of which only parts are at hand: its scores, their dtype, how many of them there is room for at once,
    and how many make a sample.
    """

    length: int
    dtype: np.dtype
    room: int = EVERYTHING
    sample: int = 0

    @property
    def sampled(self) -> int:
        """Scores of a sample."""
        return self.sample or sample_size(self.length)


class _Outside(NamedTuple):
    """What lies outside a bracket, as threshold.collapse has it."""

    low: float
    high: float
    over: float
    above: float
    below: float


class _Look(NamedTuple):
    """What all parts have told of a bracket: what is outside, how many scores are inside, these or every `stride`-th,
    and the soft counts at both ends.
    """

    outside: _Outside
    inside: int
    some: np.ndarray
    is_all: bool
    at_low: float
    at_high: float


def neighbours_of_parts(of_parts: OfParts, whole: Whole, k, alpha, rate, sign):
    """As threshold.neighbours, None where k takes no finite score or all of them; and how many scores are +inf, times
    the sign, and how many are finite.
    """
    counts, samples = zip(*of_parts(lambda first, x: _first_look(first, x, whole, sign)), strict=True)
    top, masked = np.sum(counts, axis=0).tolist()
    finite = whole.length - top - masked
    if not top < k < top + finite:
        return None, top, finite
    ends = (-np.inf, np.inf)
    if finite < whole.length:  # whose distance from an infinite end is none
        ends = (float(np.finfo(whole.dtype).min), float(np.finfo(whole.dtype).max))
    outside = _Outside(*ends, top, 0.0, 0.0)
    some, inside = np.concatenate(samples), finite
    bracket, is_sure = _propose(some, inside, outside, k, alpha), False
    while True:
        expected = np.count_nonzero((some > bracket[0]) & (some < bracket[1])) * inside // max(len(some), 1)
        look = _look(of_parts, whole, bracket, max(1, expected // whole.sampled), alpha, rate, sign)
        is_one = bracket[0] == bracket[1]  # then it holds nothing, and tells the sides apart
        if look.is_all and (is_sure or not is_one):
            buffers = np.empty((2, BLOCK), whole.dtype)
            given = (look.some, tuple(look.outside), k, alpha, rate, is_sure, buffers)
            is_found, found, _, _ = neighbours_within(*given)
            if is_found:
                return _without_ends(found, ends), top, finite
        if is_sure or (look.at_high < k <= look.at_low and not is_one):
            outside, some, inside, is_sure = look.outside, look.some, look.inside, False
            bracket = _propose(some, inside, outside, k, alpha)
        else:
            is_above, is_sure = look.at_high >= k, True
            bracket = (bracket[1], outside.high) if is_above else (outside.low, bracket[0])


def _first_look(first, x, whole, sign):
    """How many scores of a part are either infinity, and what it has of a sample."""
    some = sample_of_part(first, x, whole.length, whole.sampled, sign)
    return count_infinite(x, sign * x.dtype.type(np.inf)), some


def sample_of_part(first, x, length, size, sign):
    """Of a sample of this size of all scores, times the sign, those of a part that are finite; first: its first."""
    stride = max(1, length // size)
    i = np.arange(max(first * size // length - 1, 0), min((first + len(x)) * size // length + 2, size))
    at = i * length // size + (i * 2654435761 >> 8) % stride - first  # a jitter against periodic data
    some = x.dtype.type(sign) * x[at[(at >= 0) & (at < len(x))]]
    return some[np.isfinite(some)]


def _propose(some, n, outside, k, alpha):
    """A bracket in the one of which so much is known, from a sample of the n scores inside."""
    if not len(some):
        return outside.low, outside.high
    rows = np.empty((3, len(some)))
    rows[0] = np.sort(some)
    low, high = pivots_among(rows, len(some), n, tuple(outside), k, alpha)
    return max(low, outside.low), min(high, outside.high)


def _look(of_parts, whole, bracket, stride, alpha, rate, sign):
    """Two ends, of which both are scores or infinite, and what is between them."""
    low, high = bracket
    if low == high:  # ties at the pivot belong above either end
        low = float(np.nextafter(whole.dtype.type(high), whole.dtype.type(-np.inf)))
    held, workspace = [0], parallel.Workspace()

    def of_part(_, x):
        inside = workspace.array("inside", (len(x),), x.dtype)
        buffers = workspace.array("buffers", (2, BLOCK), x.dtype)
        *sums, size = collapse(x, sign, low, high, rate, inside, buffers)
        at_ends = counts_at_ends(inside[:size], (low, high, *sums), alpha, rate, buffers)
        held[0] += size
        fits = held[0] <= whole.room
        return sums, size, (inside[:size] if fits else inside[stride // 2 : size : stride]).copy(), fits, at_ends

    sums, sizes, some, fits, at_ends = zip(*of_parts(of_part), strict=True)
    inside, is_all = sum(sizes), sum(sizes) <= whole.room
    if not is_all:
        some = [own[stride // 2 :: stride] if whole_part else own for own, whole_part in zip(some, fits, strict=True)]
    over, above, below = np.sum(sums, axis=0)
    outside = _Outside(low, high, int(over), above, below)
    return _Look(outside, inside, np.concatenate(some), is_all, *np.sum(at_ends, axis=0))


def _without_ends(found, ends):
    """The neighbours of a threshold, of which one that is no score is infinite."""
    below, above, excess, sum_above, sum_below = found
    below = -np.inf if below == ends[0] and sum_below == 0.0 else below
    above = np.inf if above == ends[1] and sum_above == 0.0 else above
    return below, above, excess, sum_above, sum_below
