"""Diagonals of Hessians by z = scores / alpha, in O(n) after a sort; along.py has the Hessians themselves.

With E, q and s as there, v and slopes upstream of ranks and of distances from a threshold, and bends how these move,

    ranks      sum_i sign(z_j - z_i) E_ij (v_j - v_i) / 2  +  sum_i bend_i (d r_i / d z_j)^2  +  own_j d r_j / d z_j,
               d r_i / d z_j = E_ij / 2, and for i = j -sum_i E_ij / 2: a square of E is E at twice the scores
    distances  bend_j (1 - 2 q_j) + q_j^2 sum bends + sum slopes q_j (s_j (1 - 2 q_j) + q_j <s, q>)
"""

import math

import numpy as np

from ..jit import inner, uncounted
from . import parallel
from .along import mean, ordered


def of_ranks(order, alphas, upstream, bends, own):
    """(N,) of <upstream, ranks>, where upstream moves with each rank by bends; and own times the diagonal of the
    Jacobian. All (N,) float64, by item.
    """
    out = np.zeros(len(upstream))

    def work(first, last):
        block, here = ordered(order, alphas, first, last), slice(order.offsets[first], order.offsets[last])
        given = (block.z, block.places, block.spans, upstream[here], bends[here], own[here])
        _of_ranks(*given, np.empty((5, len(block.z))), out[here])

    parallel.for_each(work, order.blocks, order.cores.threads)
    return out


def of_cut(cores, offsets, cut, slopes, bends):
    """(N,) of what has these slopes along the distances from thresholds, which move with each by bends."""
    out = np.zeros(len(slopes))

    def work(first, last):
        _of_cut(offsets, first, last, cut.shares, cut.signs, slopes, bends, out)

    parallel.for_each(work, parallel.slices(offsets), cores.threads)
    return out


@uncounted
def _of_ranks(z, places, spans, upstream, bends, own, rows, out):
    for r in range(spans.shape[1]):
        start, stop = spans[0, r], spans[1, r]
        common = mean(upstream, places, start, stop)
        for i in range(start, stop):
            rows[3, i], rows[4, i] = upstream[places[i]] - common, bends[places[i]]
        _from_the_front(z, start, stop, rows)
        _from_behind(z, places, start, stop, own, rows, out)


@inner
def _from_the_front(z, start, stop, rows):
    """Sums over the scores above each: of E, E v and E^2 bends."""
    ones, pulled, squares, i = 0.0, 0.0, 0.0, start
    while i < stop:
        factor, j = math.exp(z[i] - z[i - 1]) if i > start else 0.0, i
        ones, pulled, squares = ones * factor, pulled * factor, squares * factor * factor
        while j < stop and z[j] == z[i]:
            rows[0, j], rows[1, j], rows[2, j] = ones, pulled, squares
            j += 1
        for at in range(i, j):
            ones, pulled, squares = ones + 1.0, pulled + rows[3, at], squares + rows[4, at]
        i = j


@inner
def _from_behind(z, places, start, stop, own, rows, out):
    """The same of the scores below each, and the diagonal."""
    ones, pulled, squares, j = 0.0, 0.0, 0.0, stop
    while j > start:
        factor, i, tied, tied_pulled, tied_squares = math.exp(z[j] - z[j - 1]) if j < stop else 0.0, j, 0.0, 0.0, 0.0
        ones, pulled, squares = ones * factor, pulled * factor, squares * factor * factor
        while i > start and z[i - 1] == z[j - 1]:
            i -= 1
            tied, tied_pulled, tied_squares = tied + 1.0, tied_pulled + rows[3, i], tied_squares + rows[4, i]
        for at in range(i, j):
            v, bend = rows[3, at], rows[4, at]
            others = rows[0, at] + ones + tied - 1.0
            signed = v * (ones - rows[0, at]) - (pulled - rows[1, at])
            total = rows[2, at] + squares + tied_squares - bend + bend * others * others
            out[places[at]] = 0.5 * signed + 0.25 * total - 0.5 * own[places[at]] * others
        ones, pulled, squares, j = ones + tied, pulled + tied_pulled, squares + tied_squares, i


@uncounted
def _of_cut(offsets, first, last, shares, signs, slopes, bends, out):
    for r in range(first, last):
        total, slope, signed = 0.0, 0.0, 0.0
        for i in range(offsets[r], offsets[r + 1]):
            total += bends[i]
            slope += slopes[i] if signs[i] != 0.0 else 0.0
            signed += signs[i] * shares[i]
        for i in range(offsets[r], offsets[r + 1]):
            q, own = shares[i], 1.0 - 2.0 * shares[i]
            out[i] = bends[i] * own + q * q * total + slope * q * (signs[i] * own + q * signed)
