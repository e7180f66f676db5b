"""What is made of a transport that is solved (transport.py): sums by score and by anchor, its rows, and gradients."""

import math

import numpy as np

from ..jit import inner, kernel
from .transport import (
    EXACT,
    across,
    centred,
    count_crossings,
    exponents_of,
    inner_product,
    newton_step,
    normalised,
    relative_to,
    row_of,
    start_of,
)


@kernel
def weighted(first, last, offsets, y, anchors, rates, e, weights, out):
    """What each score has of weights of its anchors, which are in their places."""
    for r in range(first, last):
        a, b, count = offsets[r], offsets[r + 1], anchors[r]
        p, start = np.empty(count), 0
        for i in range(b - a if count > 0 else 0):
            start = start_of(y[a:b], i, start)
            exponents_of(y[a:b], i, min(start, count - 1), e[a:b], rates[r], p)
            normalised(p, count)
            out[a + i] = inner_product(p, weights[a : a + count])


@kernel
def logs_of_first(first, last, offsets, y, anchors, rates, e, out):
    """How likely each score is at any anchor but the last: logarithms."""
    for r in range(first, last):
        a, b, count = offsets[r], offsets[r + 1], anchors[r]
        p, whole, start = np.empty(count), np.empty(count), 0
        for i in range(b - a if count > 1 else 0):
            start = start_of(y[a:b], i, start)
            exponents_of(y[a:b], i, min(start, count - 1), e[a:b], rates[r], p)
            whole[:] = p
            of_all = normalised(whole, count)
            out[a + i] = math.log1p(-whole[count - 1]) if whole[count - 1] < 0.5 else _of_first(p) - of_all


@inner
def _of_first(p):
    return normalised(p, p.size - 1)


@kernel
def collected(first, last, offsets, y, anchors, rates, e, values, out):
    """What each anchor has of values of the scores."""
    for r in range(first, last):
        a, b, count = offsets[r], offsets[r + 1], anchors[r]
        p, start = np.empty(count), 0
        out[a:b] = 0.0
        for i in range(b - a if count > 0 else 0):
            start = start_of(y[a:b], i, start)
            exponents_of(y[a:b], i, min(start, count - 1), e[a:b], rates[r], p)
            normalised(p, count)
            for j in range(count):
                out[a + j] += p[j] * values[a + i]


@kernel
def rows(y, e, rate, places, out):
    """How likely the scores at these places are at every anchor."""
    for row in range(places.size):
        start = places[row]
        while start > 0 and y[start - 1] == y[places[row]]:
            start -= 1
        exponents_of(y, places[row], min(start, out.shape[1] - 1), e, rate, out[row])
        normalised(out[row], out.shape[1])


# --- Gradients. -------------------------------------------------------------------------------------------------------


@kernel
def gradient(first, last, offsets, y, anchors, rates, e, left, right, of_logs, begins, origins, upstream, out):
    """For the scores, of the sum of left_i right_j p_ij; or of left_i times the logarithm of the first anchors' sum; or
    of p_ij times upstream, which has a matrix for each ranking from begins[r] on, by origins of the scores.

    A score pulls at its row's exponents, which move what crosses the cuts; potentials move that back.
    """
    for r in range(first, last):
        a, b, count = offsets[r], offsets[r + 1], anchors[r]
        out[a:b] = 0.0
        if count < 2:
            continue
        n, cuts = b - a, count - 1
        room, pulls, back, more = np.empty((8, count)), np.zeros(cuts), np.zeros(cuts), np.empty((3, cuts))
        count_crossings(y[a:b], e[a : a + cuts], rates[r], room[0], more[0], more[1], more[2], room[6])
        for round in range(2):
            start = 0
            for i in range(n):
                start = start_of(y[a:b], i, start)
                line = upstream[begins[r] + (origins[a + i] - a) * n :] if upstream.size > 0 else right[a:]
                home = row_of(y[a:b], i, start, e[a : a + cuts], rates[r], room[0])
                _pull(room[0], home, left[a + i], line[:count], of_logs, room[7])
                if round == 0:
                    across(room[7], home, pulls)
                else:
                    relative_to(back, home, room[1])
                    centred(room[0], room[1])
                    out[a + i] = rates[r] * _moment(room[7], room[1], home)
            if round == 0:
                most = 4 * count + 100
                newton_step(y[a:b], e[a : a + cuts], rates[r], pulls, more[2], room[6], EXACT, most, room[:6], back)


@inner
def _pull(p, home, left, right, of_logs, out):
    """The gradient for the exponents of a row."""
    last = p.size - 1
    if of_logs:
        first = 0.0
        for j in range(last):
            first += p[j]
        for j in range(last):
            out[j] = left * p[last] * (p[j] / first if first > 0.0 else (1.0 if j == last - 1 else 0.0))
        out[last] = -left * p[last]
        return
    for j in range(p.size):
        out[j] = right[j] - right[home]
    centred(p, out)
    for j in range(p.size):
        out[j] *= left


@inner
def _moment(pulls, moved, home):
    """How much a row's exponents move with its score, whose slope along them is the number of the anchor."""
    total = 0.0
    for j in range(pulls.size):
        total += (pulls[j] - moved[j]) * (j - home)
    return total
