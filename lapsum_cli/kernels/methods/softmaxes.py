"""Soft permutations whose rows are softmaxes over the items: NeuralSort's, and SoftSort's of any power; row by row.

P[l, j] = e^(z_lj) / sum over j of it, of scores y that are sorted, best first, with the exponents

    SoftSort     z_lj = -|y_l - y_j|^power / tau                            Prillo and Eisenschlos, ICML 2020
    NeuralSort   z_lj = ((n + 1 - 2 l) y_j - sum over i of |y_j - y_i|) / tau      Grover et al., ICLR 2019

The latter is largest at j = l. From there to either side it falls by 1, 3, 5 ... times the gaps, which is how it is
computed: no large numbers cancel. Loops take power 0 for it. They need a few rows at a time, never all of P.
"""

import math

import numpy as np

from ..jit import inner, kernel
from ..scalars.functions import exp_nonpositive
from .laplace import run_end, share_ties

MOST = 1e300  # below 0, of an exponent, so that 0 times it is 0


@inner
def _exponents(y, at, tau, power, out):
    """Of row `at`; the largest is 0."""
    if power > 0.0:
        for j in range(y.size):
            out[j] = -min(abs(y[at] - y[j]) ** power / tau, MOST)
        return
    out[at], fall = 0.0, 0.0
    for j in range(at + 1, y.size):
        fall += (y[j - 1] - y[j]) * (2 * (j - at) - 1)
        out[j] = -min(fall / tau, MOST)
    fall = 0.0
    for j in range(at - 1, -1, -1):
        fall += (y[j] - y[j + 1]) * (2 * (at - j) - 1)
        out[j] = -min(fall / tau, MOST)


@inner
def _row(y, at, tau, power, z, p):
    """Exponents and probabilities of a row; returns the logarithm of the sum of exponentials."""
    _exponents(y, at, tau, power, z)
    total = 0.0
    for j in range(y.size):
        p[j] = exp_nonpositive(z[j])
    for j in range(y.size):
        total += p[j]
    for j in range(y.size):
        p[j] /= total
    return math.log(total)


@kernel
def logs_of_sums(first, last, offsets, y, taus, power, out):
    """The logarithm of what each row is divided by."""
    for r in range(first, last):
        part = y[offsets[r] : offsets[r + 1]]
        room = np.empty((2, part.size))
        for at in range(part.size):
            out[offsets[r] + at] = _row(part, at, taus[r], power, room[0], room[1])


@kernel
def applied(first, last, offsets, y, taus, values, power, out):
    """P values, by row."""
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        room = np.empty((2, b - a))
        for at in range(b - a):
            _row(y[a:b], at, taus[r], power, room[0], room[1])
            out[a + at] = _product(room[1], values[a:b])


@inner
def _product(p, values):
    total = 0.0
    for j in range(p.size):
        total += p[j] * values[j]
    return total


@kernel
def transposed(first, last, offsets, y, taus, weights, power, out):
    """P^T weights, by column."""
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        room = np.empty((2, b - a))
        out[a:b] = 0.0
        for at in range(b - a):
            weight = weights[a + at]
            if weight != 0.0:
                _row(y[a:b], at, taus[r], power, room[0], room[1])
                for j in range(b - a):
                    out[a + j] += weight * room[1, j]


@kernel
def logs_of_transposed(first, last, offsets, y, taus, weights, power, out):
    """Logarithms of P^T weights, which are 0 or more: of their largest term, and a sum relative to it."""
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        room, largest, sums = np.empty((2, b - a)), np.full(b - a, -np.inf), np.zeros(b - a)
        for at in range(b - a):
            weight = weights[a + at]
            if weight > 0.0:
                more = math.log(weight) - _row(y[a:b], at, taus[r], power, room[0], room[1])
                _add_exponentials(room[0], more, largest, sums)
        for j in range(b - a):
            out[a + j] = largest[j] + math.log(sums[j])


@inner
def _add_exponentials(z, more, largest, sums):
    for j in range(z.size):
        term = z[j] + more
        if term > largest[j]:
            sums[j] = sums[j] * math.exp(largest[j] - term) + 1.0
            largest[j] = term
        else:
            sums[j] += math.exp(term - largest[j])


@kernel
def in_row(first, last, offsets, y, taus, rows, values, logs, power, out):
    """Of one row of each ranking the sum of P times values, over memberships of which there are logarithms."""
    for r in range(first, last):
        a, b, at = offsets[r], offsets[r + 1], rows[r]
        out[r] = 0.0
        if at < b - a:
            room = np.empty((2, b - a))
            of_all = _row(y[a:b], at, taus[r], power, room[0], room[1])
            if logs.size > 0:
                for j in range(b - a):
                    room[1, j] = math.exp(min(room[0, j] - of_all - logs[a + j], 690.0))
            out[r] = _product(room[1], values[a:b])


# --- Gradients: for y inside P, and for tau. --------------------------------------------------------------------------


@kernel
def gradient(first, last, offsets, y, taus, weights, values, power, to_y, to_tau):
    """Of weights^T P values."""
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        room, total = np.zeros((4, b - a)), 0.0
        to_y[a:b] = 0.0
        for at in range(b - a):
            weight = weights[a + at]
            if weight != 0.0:
                _row(y[a:b], at, taus[r], power, room[0], room[1])
                for j in range(b - a):
                    room[2, j] = room[1, j] * weight * values[a + j]
                total += _pull(y[a:b], at, taus[r], power, room, to_y[a:b])
        _finish(y[a:b], taus[r], power, room[3], to_y[a:b])
        to_tau[r] = total / taus[r]


@kernel
def log_gradient(first, last, offsets, y, taus, weights, logs, upstream, power, to_y, to_tau):
    """Of upstream times the logarithms of P^T weights: each term's share of its membership is a number from 0 to 1."""
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        room, total = np.zeros((4, b - a)), 0.0
        to_y[a:b] = 0.0
        for at in range(b - a):
            weight = weights[a + at]
            if weight > 0.0:
                more = math.log(weight) - _row(y[a:b], at, taus[r], power, room[0], room[1])
                for j in range(b - a):
                    room[2, j] = math.exp(min(room[0, j] + more - logs[a + j], 0.0)) * upstream[a + j]
                total += _pull(y[a:b], at, taus[r], power, room, to_y[a:b])
        _finish(y[a:b], taus[r], power, room[3], to_y[a:b])
        to_tau[r] = total / taus[r]


@kernel
def matrix_gradient(first, last, offsets, y, origins, taus, squares, upstream, power, to_y, to_tau):
    """Of upstream (from squares[r] on, by item and position) times the matrix; origins: the item of each sorted one."""
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        n, room, total = b - a, np.zeros((4, b - a)), 0.0
        to_y[a:b] = 0.0
        for at in range(n):
            _row(y[a:b], at, taus[r], power, room[0], room[1])
            for j in range(n):
                room[2, j] = room[1, j] * upstream[squares[r] + (origins[a + j] - a) * n + at]
            total += _pull(y[a:b], at, taus[r], power, room, to_y[a:b])
        _finish(y[a:b], taus[r], power, room[3], to_y[a:b])
        to_tau[r] = total / taus[r]


@inner
def _pull(y, at, tau, power, room, to_y):
    """Pull at the scores by one row, of which room has exponents, probabilities, these times what is upstream, and
    what is to be finished when all rows have pulled; returns the pull at the logarithm of tau.
    """
    z, p, pulls, rest, n = room[0], room[1], room[2], room[3], y.size
    total, along, back = 0.0, 0.0, 0.0
    for j in range(n):
        total += pulls[j]
    for j in range(n):
        pulls[j] -= p[j] * total
        along -= pulls[j] * z[j]
    if power > 0.0:
        for j in range(n):
            gap = y[j] - y[at]
            if gap != 0.0 and pulls[j] != 0.0:
                move = -power * pulls[j] * abs(gap) ** (power - 1.0) / tau
                move = move if gap > 0.0 else -move
                to_y[j] += move
                back += move
        rest[at] -= back
    else:
        for j in range(n):
            to_y[j] += (n - 1 - 2 * at) * pulls[j] / tau
            rest[j] += pulls[j]
    return along


@inner
def _finish(y, tau, power, rest, to_y):
    """SoftSort: what moves the middles of rows. NeuralSort: what moves sums of distances, from above and from below."""
    if power > 0.0:
        share_ties(y, rest)
        for j in range(y.size):
            to_y[j] += rest[j]
        return
    below, above, i = 0.0, 0.0, 0
    for j in range(y.size):
        below += rest[j]
    while i < y.size:
        end = run_end(y, i)
        for j in range(i, end):
            below -= rest[j]
        for j in range(i, end):
            to_y[j] -= (rest[j] * (y.size - end - i) + (below - above)) / tau
        for j in range(i, end):
            above += rest[j]
        i = end


# --- Of the matrix itself. --------------------------------------------------------------------------------------------


@kernel
def columns(y, tau, places, logs, power, out):
    """Column by column, as rows of out: how likely the items at these places of y are at every position."""
    for c in range(places.size):
        _column(y, places[c], tau, power, out[c])
        for at in range(y.size):
            out[c, at] = math.exp(out[c, at] - logs[at])


@inner
def _column(y, j, tau, power, out):
    """Exponents of an item in all rows."""
    if power > 0.0:
        for at in range(y.size):
            out[at] = -min(abs(y[at] - y[j]) ** power / tau, MOST)
        return
    out[j], fall = 0.0, 0.0
    for at in range(j - 1, -1, -1):
        fall += (y[at] - y[at + 1]) + 2.0 * (y[at + 1] - y[j])
        out[at] = -min(fall / tau, MOST)
    fall = 0.0
    for at in range(j + 1, y.size):
        fall += (y[at - 1] - y[at]) + 2.0 * (y[j] - y[at - 1])
        out[at] = -min(fall / tau, MOST)
