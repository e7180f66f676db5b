"""SoftSort of absolute distances without its matrix: P[l, j] = e_lj / Z_l, e_lj = e^(-|y_l - y_j| / tau), in O(n).

Along scores that are sorted, best first, what is above a score decays by e^-gap from each to the next, and so does what
is below: sums over all pairs take a sweep either way (Prillo and Eisenschlos, ICML 2020, have the matrix). Equal scores
are swept together, and so get the same sum to the last bit.
"""

import math

import numpy as np

from ..jit import inner, kernel


@inner
def run_end(y, i):
    """One past the last score that equals the i-th."""
    end = i + 1
    while end < y.size and y[end] == y[i]:
        end += 1
    return end


@inner
def share_ties(y, moves):
    """Let equal scores share what moves their places: which of them has which is the order of the input."""
    i = 0
    while i < y.size:
        end = run_end(y, i)
        if end > i + 1:
            mean = 0.0
            for j in range(i, end):
                mean += moves[j]
            mean /= end - i
            for j in range(i, end):
                moves[j] = mean
        i = end


@inner
def _sweep(y, tau, weights, own, sign, out):
    """Add to out the sums over scores above and at each (own: 1; 0 without those that equal it), times the sign."""
    i, carry = 0, 0.0
    while i < y.size:
        end, total = run_end(y, i), 0.0
        for j in range(i, end):
            total += weights[j]
        if i > 0:
            carry *= math.exp(-((y[i - 1] - y[i]) / tau))
        for j in range(i, end):
            out[j] += sign * (carry + own * total)
        carry += total
        i = end


@inner
def _sweep_back(y, tau, weights, out):
    """Add to out the sums over scores below each."""
    end, carry = y.size, 0.0
    while end > 0:
        i, total = end - 1, 0.0
        while i > 0 and y[i - 1] == y[i]:
            i -= 1
        for j in range(i, end):
            total += weights[j]
        if end < y.size:
            carry *= math.exp(-((y[i] - y[end]) / tau))
        for j in range(i, end):
            out[j] += carry
        carry += total
        end = i


@inner
def _sums(y, tau, weights, out):
    """out_i = sum over j of e_ij weights_j."""
    out[:] = 0.0
    _sweep(y, tau, weights, 1.0, 1.0, out)
    _sweep_back(y, tau, weights, out)


@inner
def _signed(y, tau, weights, out):
    """out_i = sum over j of sign(y_i - y_j) e_ij weights_j."""
    out[:] = 0.0
    _sweep(y, tau, weights, 0.0, -1.0, out)
    _sweep_back(y, tau, weights, out)


@kernel
def logs_of_sums(first, last, offsets, y, taus, out):
    """log Z_l."""
    for r in range(first, last):
        part = slice(offsets[r], offsets[r + 1])
        ones = np.ones(part.stop - part.start)
        _sums(y[part], taus[r], ones, out[part])
        for i in range(part.start, part.stop):
            out[i] = math.log(out[i])


@kernel
def applied(first, last, offsets, y, taus, values, out):
    """P values, by row."""
    for r in range(first, last):
        part = slice(offsets[r], offsets[r + 1])
        ones, z = np.ones(part.stop - part.start), np.empty(part.stop - part.start)
        _sums(y[part], taus[r], ones, z)
        _sums(y[part], taus[r], values[part], out[part])
        for i in range(z.size):
            out[part.start + i] /= z[i]


@kernel
def transposed(first, last, offsets, y, taus, weights, log, out):
    """P^T weights, by column; or its logarithm, of weights that are 0 from some row on, which tells where they end."""
    for r in range(first, last):
        part = slice(offsets[r], offsets[r + 1])
        n = part.stop - part.start
        c = np.ones(n)
        _sums(y[part], taus[r], c, out[part])
        for i in range(n):
            c[i] = weights[part.start + i] / out[part.start + i]
        _sums(y[part], taus[r], c, out[part])
        if log:
            _logs(y[part], taus[r], weights[part], out[part])


@inner
def _logs(y, tau, weights, out):
    """Below the last row with a weight sums decay as e^-distance, and their logarithms fall with the distance."""
    at = y.size - 1
    while at > 0 and weights[at] <= 0.0:
        at -= 1
    at_last = math.log(out[at]) if y.size > 0 else 0.0
    for i in range(y.size):
        out[i] = math.log(out[i]) if y[i] >= y[at] else at_last - (y[at] - y[i]) / tau


@kernel
def gradient(first, last, offsets, y, taus, weights, values, to_y, to_tau):
    """Of weights^T P values: for y inside P, and for tau."""
    for r in range(first, last):
        part = slice(offsets[r], offsets[r + 1])
        _gradient(y[part], taus[r], weights[part], values[part], np.empty((6, part.stop - part.start)), to_y[part])
        to_tau[r] = _along(y[part], taus[r], to_y[part])


@inner
def _gradient(y, tau, weights, values, room, to_y):
    """With c = weights / Z and m = P values, the slope along the log of entry l, j is c_l e_lj (values_j - m_l). It
    moves score j to where it is summed, and score l from where it is the middle of its row.
    """
    c, means, ones, signed, z, moves = room[0], room[1], room[2], room[3], room[4], room[5]
    ones[:] = 1.0
    _sums(y, tau, ones, z)
    _sums(y, tau, values, means)
    for i in range(y.size):
        c[i], means[i] = weights[i] / z[i], means[i] / z[i]
    _signed(y, tau, c, signed)
    for i in range(y.size):
        to_y[i] = -values[i] * signed[i] / tau
    _signed(y, tau, values, signed)
    for i in range(y.size):
        moves[i] = -c[i] * signed[i] / tau
    _signed(y, tau, ones, signed)
    for i in range(y.size):
        moves[i] += c[i] * means[i] * signed[i] / tau
        ones[i] = c[i] * means[i]
    _signed(y, tau, ones, signed)
    share_ties(y, moves)
    for i in range(y.size):
        to_y[i] += signed[i] / tau + moves[i]


@inner
def _along(y, tau, to_y):
    """The gradient for tau of what depends on scores over tau alone."""
    total = 0.0
    for i in range(y.size):
        total += to_y[i] * y[i]
    return -total / tau


@kernel
def log_gradient(first, last, offsets, y, taus, weights, logs, upstream, to_y, to_tau):
    """Of upstream times the logarithms of P^T weights.

    Below the last row with a weight a logarithm is that of the last row's score less the distance from there. So what
    is upstream of it goes to that score, and the distance has its own slope: no membership that rounds to 0 is divided
    by.
    """
    for r in range(first, last):
        part = slice(offsets[r], offsets[r + 1])
        n = part.stop - part.start
        if n == 0:
            to_tau[r] = 0.0
            continue
        values, room = np.empty(n), np.empty((6, n))
        begin, end, below = _collected(y[part], weights[part], logs[part], upstream[part], values)
        _gradient(y[part], taus[r], weights[part], values, room, to_y[part])
        for i in range(n):
            if i >= end:
                to_y[part.start + i] += upstream[part.start + i] / taus[r]
            elif i >= begin:
                to_y[part.start + i] -= below / (end - begin) / taus[r]
        to_tau[r] = _along(y[part], taus[r], to_y[part])


@inner
def _collected(y, weights, logs, upstream, values):
    """Put into values what is upstream of memberships, that of all below the last row with that score; returns the
    first and last + 1 of those that equal it, and what is upstream below.
    """
    at = y.size - 1
    while at > 0 and weights[at] <= 0.0:
        at -= 1
    begin, end, below = at, run_end(y, at), 0.0
    while begin > 0 and y[begin - 1] == y[at]:
        begin -= 1
    for i in range(end, y.size):
        below += upstream[i]
        values[i] = 0.0
    for i in range(end):
        more = below / (end - begin) if i >= begin else 0.0
        values[i] = (upstream[i] + more) * math.exp(min(-logs[i], 690.0))
    return begin, end, below
