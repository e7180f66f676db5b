"""Hard memberships, ranks and sorted scores: equal ones share, and nothing but sorted scores moves with the scores."""

import numpy as np

from ..jit import uncounted
from . import each, places


def topk(cores, given):
    """1 for the k best, 0 for others; a tie across the boundary shares what is left of k."""
    at, ordered = _sorted(cores, given)
    out, steps = np.empty(len(at)), np.empty(len(at))
    each(cores, given.offsets, _members, given.x, at, ordered, given.ks, out, steps)
    return out, steps


def topk_gradient(cores, given, steps, upstream):
    """0 for the scores and alpha; for k what is whoever's is next."""
    to_k = np.zeros(len(given.alphas))
    each(cores, given.offsets, _sums, steps * upstream, to_k)
    return np.zeros(len(given.x)), np.zeros(len(given.alphas)), to_k


def rank(cores, given):
    """Places from 1, the largest score first; equal ones have the mean of theirs."""
    at, ordered = _sorted(cores, given)
    numbers = np.arange(1.0, len(at) + 1) - np.repeat(given.offsets[:-1], given.lengths)
    each(cores, given.offsets, _share, ordered, numbers)
    return numbers[_by_score(given, at)], None


def rank_gradient(cores, given, state, upstream):
    """0."""
    return np.zeros(len(given.x)), np.zeros(len(given.alphas))


def sort(cores, given):
    """The scores, the largest first."""
    at, ordered = _sorted(cores, given)
    return ordered, (at, ordered)


def sort_gradient(cores, given, state, upstream):
    """Each score has the upstream of its place, equal ones the mean of theirs; alpha none."""
    (at, ordered), means = state, upstream.copy()
    each(cores, given.offsets, _share, ordered, means)
    return means[_by_score(given, at)], np.zeros(len(given.alphas))


def _sorted(cores, given):
    """Places from 0, and the scores by them."""
    at, ordered = places(cores, given), np.empty(len(given.x))
    ordered[_by_score(given, at)] = given.x
    return at, ordered


def _by_score(given, at):
    """(N,) where what goes by place has that of each score."""
    return at + np.repeat(given.offsets[:-1], given.lengths)


@uncounted
def _members(first, last, offsets, x, at, ordered, ks, out, steps):
    """Memberships, and how much of one place more each would get."""
    for r in range(first, last):
        a, b, k = offsets[r], offsets[r + 1], ks[r]
        whole = min(int(k), b - a - 1)
        boundary = ordered[a + whole] if b > a else 0.0
        above, ties = 0, 0
        for i in range(a, b):
            above += x[i] > boundary
            ties += x[i] == boundary
        for i in range(a, b):
            is_tie = x[i] == boundary
            out[i] = (k - above) / ties if is_tie else (1.0 if x[i] > boundary else 0.0)
            steps[i] = 1.0 / ties if is_tie else 0.0


@uncounted
def _share(first, last, offsets, ordered, values):
    """Values by place, of which equal scores have the mean."""
    for r in range(first, last):
        begin = offsets[r]
        while begin < offsets[r + 1]:
            end, total = begin, 0.0
            while end < offsets[r + 1] and ordered[end] == ordered[begin]:
                total, end = total + values[end], end + 1
            for j in range(begin, end):
                values[j] = total / (end - begin)
            begin = end


@uncounted
def _sums(first, last, offsets, values, out):
    for r in range(first, last):
        for i in range(offsets[r], offsets[r + 1]):
            out[r] += values[i]
