"""Entropic transport of sorted scores to anchors in a row, at a cost of squared distances (Cuturi, NeurIPS 2013).

The first anchors take one score each and the last what is left, in the order of the scores, best first. With all
factors of the scores eliminated, how likely score s_i is at anchor j is a softmax over j whose exponents rise from an
anchor to the next by

    rate (s_i - b_j) + e_j        rate = 2 / (largest cost * epsilon) times the step of the anchors, which is negative

with b_j in the middle between the scores j and j + 1, where that of the hard solution is, and e such that anchors get
their masses. For these e Sinkhorn's iteration is slow where epsilon is small. Here it goes as far as is needed to be
near, and then Newton's method, whose linear equations conjugate gradients solve: 10 to 100 passes over the matrix, of
which a row at a time is made. Gradients follow from the same equations (as in Cuturi, Teboul, Vert, NeurIPS 2019, and
Xie et al., NeurIPS 2020), not from the iterations.
"""

import math

import numpy as np

from ..jit import inner, kernel
from ..scalars.functions import exp_nonpositive

NEAR = 1.0  # of logarithms of masses: from here on Newton's method
EXACT = 1e-14  # of masses


@inner
def _exponents(y, i, at, e, rate, out):
    """Of score i, from anchor `at` on, which is about where it goes."""
    last, total = y.size - 1, 0.0
    out[at] = 0.0
    for j in range(at, out.size - 1):
        total += rate * (y[i] - (0.5 * y[j] + 0.5 * y[min(j + 1, last)])) + e[j]
        out[j + 1] = total
    total = 0.0
    for j in range(at - 1, -1, -1):
        total -= rate * (y[i] - (0.5 * y[j] + 0.5 * y[j + 1])) + e[j]
        out[j] = total


@inner
def _normalised(p, count):
    """Exponents to probabilities, of the first so many; returns the logarithm of the sum of exponentials."""
    largest, total = -np.inf, 0.0
    for j in range(count):
        largest = max(largest, p[j])
    for j in range(count):
        p[j] = exp_nonpositive(p[j] - largest)
    for j in range(count):
        total += p[j]
    for j in range(count):
        p[j] /= total
    return largest + math.log(total)


@inner
def _start(y, i, start):
    """The first of the scores that equal the i-th, given that of the one before: what is alike has like digits."""
    return start if i > 0 and y[i] == y[i - 1] else i


@inner
def _masses(y, e, rate, p, masses):
    """What each anchor gets."""
    masses[:] = 0.0
    start = 0
    for i in range(y.size):
        start = _start(y, i, start)
        _exponents(y, i, min(start, p.size - 1), e, rate, p)
        _normalised(p, p.size)
        for j in range(p.size):
            masses[j] += p[j]


@inner
def _change(y, e, rate, p, masses, step, out):
    """How masses change along a step of the anchors' potentials."""
    start = 0
    for j in range(p.size):
        out[j] = masses[j] * step[j]
    for i in range(y.size):
        start = _start(y, i, start)
        _exponents(y, i, min(start, p.size - 1), e, rate, p)
        _normalised(p, p.size)
        mean = 0.0
        for j in range(p.size):
            mean += p[j] * step[j]
        for j in range(p.size):
            out[j] -= p[j] * mean


@inner
def _stiffness(y, e, rate, p, masses, out):
    """The diagonal of what _change multiplies by."""
    start = 0
    for j in range(p.size):
        out[j] = masses[j]
    for i in range(y.size):
        start = _start(y, i, start)
        _exponents(y, i, min(start, p.size - 1), e, rate, p)
        _normalised(p, p.size)
        for j in range(p.size):
            out[j] -= p[j] * p[j]
    for j in range(p.size):
        out[j] = out[j] if out[j] > 1e-250 else 1.0


@inner
def _inner_product(a, b):
    total = 0.0
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@inner
def _largest(a):
    largest = 0.0
    for j in range(a.size):
        largest = max(largest, abs(a[j]))
    return largest


@inner
def _potentials(y, e, rate, masses, wanted, relative, most, room, out):
    """Conjugate gradients: the step (out) of potentials along which masses change by what is wanted, to a relative
    accuracy, in at most so many passes; returns how many. room: (6, anchors).
    """
    p, rest, scaled, step, change, stiffness = room[0], room[1], room[2], room[3], room[4], room[5]
    _stiffness(y, e, rate, p, masses, stiffness)
    for j in range(p.size):
        out[j], rest[j] = 0.0, wanted[j]
        scaled[j] = step[j] = rest[j] / stiffness[j]
    bound, size = relative * _largest(wanted), _inner_product(rest, scaled)
    for passes in range(most):
        if not (size > 0.0 and _largest(rest) > bound):
            return passes + 1
        _change(y, e, rate, p, masses, step, change)
        along = _inner_product(step, change)
        if not along > 0.0:
            return passes + 2
        length = size / along
        for j in range(p.size):
            out[j] += length * step[j]
            rest[j] -= length * change[j]
            scaled[j] = rest[j] / stiffness[j]
        new_size = _inner_product(rest, scaled)
        for j in range(p.size):
            step[j] = scaled[j] + new_size / size * step[j]
        size = new_size
    return most + 1


# --- The solution. ----------------------------------------------------------------------------------------------------


@kernel
def solve(first, last, offsets, y, anchors, rates, iterations, e):
    """Fill e, of each ranking one less than it has anchors (m,), which is no ranking's where there are none."""
    for r in range(first, last):
        a, b, count = offsets[r], offsets[r + 1], anchors[r]
        e[a:b] = 0.0
        if count > 1:
            _solve(y[a:b], e[a : a + count - 1], rates[r], iterations, np.empty((10, count)))


@inner
def _solve(y, e, rate, iterations, room):
    """By Sinkhorn's steps until masses are near, and by Newton's. It stops where nothing is gained any more."""
    p, masses, lacks, step, n, count = room[0], room[6], room[7], room[8], y.size, room.shape[1]
    passes, least, idle = 0, np.inf, 0
    while passes < iterations and idle < 4:
        _masses(y, e, rate, p, masses)
        passes += 1
        wrong, far = _lacks(masses, n, lacks, step)
        idle = 0 if wrong < 0.5 * least else idle + (far <= NEAR)
        least = min(least, wrong)
        if wrong <= EXACT * n:
            return
        if far <= NEAR and idle < 4:
            accuracy = min(0.1, wrong)
            passes += _potentials(y, e, rate, masses, lacks, accuracy, 2 * count, room[:6], step)
            passes += _search(y, e, rate, lacks, step, p, masses)
        else:
            _take(step, 1.0, e)


@inner
def _lacks(masses, n, lacks, step):
    """What anchors lack; and the step of Sinkhorn's iteration. Returns the largest lack for its mass, and the largest
    part of the step.
    """
    wrong, far = 0.0, 0.0
    for j in range(masses.size):
        mass = 1.0 if j < masses.size - 1 else n - masses.size + 1.0
        lacks[j] = mass - masses[j]
        step[j] = math.log(mass / max(masses[j], 1e-300))
        wrong, far = max(wrong, abs(lacks[j]) / mass), max(far, abs(step[j]))
    return wrong, far


@inner
def _take(step, length, e):
    """Move by a step of potentials."""
    for j in range(e.size):
        e[j] += length * (step[j + 1] - step[j])


@inner
def _search(y, e, rate, lacks, step, p, masses):
    """Move along a step until the slope there is less than before, either way; returns how many passes that took."""
    slope, length, n = _inner_product(lacks, step), 1.0, y.size
    _take(step, 1.0, e)
    for passes in range(20):
        _masses(y, e, rate, p, masses)
        at_end = 0.0
        for j in range(masses.size):
            mass = 1.0 if j < masses.size - 1 else n - masses.size + 1.0
            at_end += (mass - masses[j]) * step[j]
        if at_end > -0.9 * slope:
            return passes + 1
        _take(step, -0.5 * length, e)
        length *= 0.5
    return 20


# --- What is made of it. ----------------------------------------------------------------------------------------------


@kernel
def weighted(first, last, offsets, y, anchors, rates, e, weights, out):
    """What each score has of weights of its anchors, which are in their places."""
    for r in range(first, last):
        a, b, count = offsets[r], offsets[r + 1], anchors[r]
        p, start = np.empty(count), 0
        for i in range(b - a if count > 0 else 0):
            start = _start(y[a:b], i, start)
            _exponents(y[a:b], i, min(start, count - 1), e[a:b], rates[r], p)
            _normalised(p, count)
            out[a + i] = _inner_product(p, weights[a : a + count])


@kernel
def logs_of_first(first, last, offsets, y, anchors, rates, e, out):
    """How likely each score is at any anchor but the last: logarithms."""
    for r in range(first, last):
        a, b, count = offsets[r], offsets[r + 1], anchors[r]
        p, whole, start = np.empty(count), np.empty(count), 0
        for i in range(b - a if count > 1 else 0):
            start = _start(y[a:b], i, start)
            _exponents(y[a:b], i, min(start, count - 1), e[a:b], rates[r], p)
            whole[:] = p
            of_all = _normalised(whole, count)
            out[a + i] = math.log1p(-whole[count - 1]) if whole[count - 1] < 0.5 else _of_first(p) - of_all


@inner
def _of_first(p):
    return _normalised(p, p.size - 1)


@kernel
def collected(first, last, offsets, y, anchors, rates, e, values, out):
    """What each anchor has of values of the scores."""
    for r in range(first, last):
        a, b, count = offsets[r], offsets[r + 1], anchors[r]
        p, start = np.empty(count), 0
        out[a:b] = 0.0
        for i in range(b - a if count > 0 else 0):
            start = _start(y[a:b], i, start)
            _exponents(y[a:b], i, min(start, count - 1), e[a:b], rates[r], p)
            _normalised(p, count)
            for j in range(count):
                out[a + j] += p[j] * values[a + i]


@kernel
def rows(y, e, rate, places, out):
    """How likely the scores at these places are at every anchor."""
    for row in range(places.size):
        start = places[row]
        while start > 0 and y[start - 1] == y[places[row]]:
            start -= 1
        _exponents(y, places[row], min(start, out.shape[1] - 1), e, rate, out[row])
        _normalised(out[row], out.shape[1])


# --- Gradients. -------------------------------------------------------------------------------------------------------


@kernel
def gradient(first, last, offsets, y, anchors, rates, e, left, right, of_logs, begins, origins, upstream, out):
    """For the scores, of the sum of left_i right_j p_ij; or of left_i times the logarithm of the first anchors' sum; or
    of p_ij times upstream, which has a matrix for each ranking from begins[r] on, by origins of the scores.

    A score pulls at its row's exponents, which move the masses that anchors get; potentials move them back.
    """
    for r in range(first, last):
        a, b, count = offsets[r], offsets[r + 1], anchors[r]
        n = b - a
        out[a:b] = 0.0
        if count < 2:
            continue
        room, pulls, back, masses = np.empty((8, count)), np.zeros(count), np.empty(count), np.empty(count)
        _masses(y[a:b], e[a:b], rates[r], room[0], masses)
        for round in range(2):
            start = 0
            for i in range(n):
                start = _start(y[a:b], i, start)
                at = min(start, count - 1)
                _exponents(y[a:b], i, at, e[a:b], rates[r], room[0])
                if upstream.size > 0:
                    line = begins[r] + (origins[a + i] - a) * n
                    _pull(room[0], left[a + i], upstream[line : line + n], of_logs, room[6], room[7])
                else:
                    _pull(room[0], left[a + i], right[a : a + count], of_logs, room[6], room[7])
                if round == 0:
                    for j in range(count):
                        pulls[j] += room[7, j]
                else:
                    out[a + i] = rates[r] * _moment(room[6], room[7], back, at)
            if round == 0:
                most = 4 * count + 100
                _potentials(y[a:b], e[a:b], rates[r], masses, pulls, 1e-15, most, room[:6], back)


@inner
def _pull(exponents, left, right, of_logs, p, pulls):
    """Of a row its probabilities, and the gradient for its exponents."""
    for j in range(p.size):
        p[j] = exponents[j]
    _normalised(p, p.size)
    total = 0.0
    if of_logs:
        _of_first(exponents)
        for j in range(p.size):
            pulls[j] = left * ((exponents[j] if j < p.size - 1 else 0.0) - p[j])
        return
    for j in range(p.size):
        total += p[j] * right[j]
    for j in range(p.size):
        pulls[j] = left * p[j] * (right[j] - total)


@inner
def _moment(p, pulls, back, at):
    """How much a row's exponents move with its score, whose slope along them is the number of the anchor."""
    mean, total = 0.0, 0.0
    for j in range(p.size):
        mean += p[j] * back[j]
    for j in range(p.size):
        total += (pulls[j] - p[j] * (back[j] - mean)) * (j - at)
    return total
