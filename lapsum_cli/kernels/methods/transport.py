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

What does not go where the hard solution takes it crosses the cuts between anchors, from above or from below. All is
counted by cut, and for a score by the side of its home on which it is not: sums of small numbers, which keep their
digits however hard the solution is. No mass is subtracted from another.
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
def _row(y, i, start, e, rate, p):
    """Probabilities of score i; returns its home."""
    _exponents(y, i, min(start, p.size - 1), e, rate, p)
    _normalised(p, p.size)
    return min(i, p.size - 1)


@inner
def _across(values, home, out):
    """Add, for every cut, values on its far side from home: those below it, or those above it with the other sign."""
    total = 0.0
    for j in range(values.size - 2, home - 1, -1):
        total += values[j + 1]
        out[j] += total
    total = 0.0
    for j in range(home):
        total += values[j]
        out[j] -= total


@inner
def _count(y, e, rate, p, flows, sizes, widths, stiffness):
    """What crosses each cut from above less what does from below, and both together; and how much these, and masses,
    change with the potentials at a cut, and of an anchor.
    """
    flows[:], sizes[:], widths[:], stiffness[:] = 0.0, 0.0, 0.0, 0.0
    start = 0
    for i in range(y.size):
        start = _start(y, i, start)
        home = _row(y, i, start, e, rate, p)
        _across(p, home, flows)
        below = 0.0
        for j in range(p.size - 2, home - 1, -1):
            below += p[j + 1]
            sizes[j] += below
            widths[j] += below * (1.0 - below)
        above = 0.0
        for j in range(home):
            above += p[j]
            sizes[j] += above
            widths[j] += above * (1.0 - above)
        for j in range(p.size):
            stiffness[j] += p[j] * (1.0 - p[j]) if j != home else p[j] * (above + below)


@inner
def _relative(step, home, out):
    """Potentials of all anchors, less that of home, by their steps at cuts."""
    out[home], total = 0.0, 0.0
    for j in range(home, step.size):
        total += step[j]
        out[j + 1] = total
    total = 0.0
    for j in range(home - 1, -1, -1):
        total -= step[j]
        out[j] = total


@inner
def _centred(p, values):
    """Values, less their mean by p, times p."""
    mean = 0.0
    for j in range(p.size):
        mean += p[j] * values[j]
    for j in range(p.size):
        values[j] = p[j] * (values[j] - mean)


@inner
def _change(y, e, rate, p, potentials, step, out):
    """How flows change along a step of the potentials."""
    out[:] = 0.0
    start = 0
    for i in range(y.size):
        start = _start(y, i, start)
        home = _row(y, i, start, e, rate, p)
        _relative(step, home, potentials)
        _centred(p, potentials)
        _across(potentials, home, out)


@inner
def _inner_product(a, b):
    total = 0.0
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@inner
def _scaled(rest, widths, stiffness, out):
    """About what _change takes to the rest: where the solution is hard, cut by cut; where it is soft, by anchor."""
    last, before = rest.size - 1, 0.0
    for j in range(rest.size):
        wide = widths[j]
        out[j] = rest[j] / (wide * (1.0 + wide)) if wide > 1e-290 else 0.0
    for j in range(rest.size + 1):
        lack = (rest[j - 1] if j > 0 else 0.0) - (rest[j] if j <= last else 0.0)
        of_it = lack / stiffness[j] if stiffness[j] > 1e-290 else 0.0
        if j > 0:
            out[j - 1] += of_it - before
        before = of_it


@inner
def _step(y, e, rate, wanted, widths, stiffness, relative, most, room, out):
    """Conjugate gradients: the step (out) of potentials along which flows change by what is wanted, to a relative
    accuracy, in at most so many passes; returns how many. room: (6, anchors).
    """
    cuts = e.size
    p, potentials = room[0], room[1]
    rest, scaled, step, change = room[2, :cuts], room[3, :cuts], room[4, :cuts], room[5, :cuts]
    out[:] = 0.0
    for j in range(cuts):
        rest[j] = wanted[j]
    _scaled(rest, widths, stiffness, scaled)
    for j in range(cuts):
        step[j] = scaled[j]
    size = _inner_product(rest, scaled)
    for passes in range(most):
        _change(y, e, rate, p, potentials, step, change)
        along = _inner_product(step, change)
        if not (size > 0.0 and along > 0.0):
            return passes + 1
        length = size / along
        left = 0.0
        for j in range(cuts):
            out[j] += length * step[j]
            rest[j] -= length * change[j]
            if widths[j] > 1e-290:
                left = max(left, abs(rest[j]) / widths[j])
        if left <= relative:
            return passes + 1
        _scaled(rest, widths, stiffness, scaled)
        new_size = _inner_product(rest, scaled)
        for j in range(cuts):
            step[j] = scaled[j] + new_size / size * step[j]
        size = new_size
    return most


# --- The solution. ----------------------------------------------------------------------------------------------------


@kernel
def solve(first, last, offsets, y, anchors, rates, iterations, e):
    """Fill e, of each ranking one less than it has anchors (m,), which is no ranking's where there are none."""
    for r in range(first, last):
        a, b, count = offsets[r], offsets[r + 1], anchors[r]
        e[a:b] = 0.0
        if count > 1:
            _solve(y[a:b], e[a : a + count - 1], rates[r], iterations, np.empty((11, count)))


@inner
def _solve(y, e, rate, iterations, room):
    """By Sinkhorn's steps until masses are near, and by Newton's. It stops where nothing is gained any more."""
    n, count, cuts = y.size, room.shape[1], e.size
    p, stiffness = room[0], room[6]
    flows, sizes, widths, step = room[7, :cuts], room[8, :cuts], room[9, :cuts], room[10, :cuts]
    passes, least, idle = 0, np.inf, 0
    while passes < iterations:
        _count(y, e, rate, p, flows, sizes, widths, stiffness)
        passes += 1
        wrong = 0.0
        for j in range(cuts):
            if sizes[j] > 1e-290:
                wrong = max(wrong, abs(flows[j]) / sizes[j])
        far = _sinkhorn(flows, n, count, step)
        idle = 0 if wrong < 0.5 * least else idle + (far <= NEAR)
        least = min(least, wrong)
        if wrong <= EXACT or idle > 4:
            return
        if far <= NEAR:
            for j in range(cuts):
                flows[j] = -flows[j]
            accuracy = min(0.1, wrong)
            passes += _step(y, e, rate, flows, widths, stiffness, accuracy, 2 * count, room[:6], step)
            passes += _search(y, e, rate, flows, step, p, room[1, :cuts])
        else:
            for j in range(cuts):
                e[j] += step[j]


@inner
def _sinkhorn(flows, n, count, step):
    """The step of Sinkhorn's iteration; returns the largest logarithm of what an anchor lacks."""
    far, before = 0.0, 0.0
    for j in range(count):
        mass = 1.0 if j < count - 1 else n - count + 1.0
        more = (flows[j - 1] if j > 0 else 0.0) - (flows[j] if j < count - 1 else 0.0)
        lack = -math.log(max(1.0 + more / mass, 1e-300))
        if j > 0:
            step[j - 1] = lack - before
        before, far = lack, max(far, abs(lack))
    return far


@inner
def _search(y, e, rate, wanted, step, p, flows):
    """Move along a step until the slope there is no more than before, either way; returns how many passes that took."""
    slope, length = _inner_product(wanted, step), 1.0
    for j in range(e.size):
        e[j] += step[j]
    for passes in range(20):
        flows[:] = 0.0
        start = 0
        for i in range(y.size):
            start = _start(y, i, start)
            _across(p, _row(y, i, start, e, rate, p), flows)
        if -_inner_product(flows, step) > -0.9 * slope:
            return passes + 1
        length *= 0.5
        for j in range(e.size):
            e[j] -= length * step[j]
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

    A score pulls at its row's exponents, which move what crosses the cuts; potentials move that back.
    """
    for r in range(first, last):
        a, b, count = offsets[r], offsets[r + 1], anchors[r]
        out[a:b] = 0.0
        if count < 2:
            continue
        n, cuts = b - a, count - 1
        room, pulls, back, more = np.empty((8, count)), np.zeros(cuts), np.zeros(cuts), np.empty((3, cuts))
        _count(y[a:b], e[a : a + cuts], rates[r], room[0], more[0], more[1], more[2], room[6])
        for round in range(2):
            start = 0
            for i in range(n):
                start = _start(y[a:b], i, start)
                line = upstream[begins[r] + (origins[a + i] - a) * n :] if upstream.size > 0 else right[a:]
                home = _row(y[a:b], i, start, e[a : a + cuts], rates[r], room[0])
                _pull(room[0], home, left[a + i], line[:count], of_logs, room[7])
                if round == 0:
                    _across(room[7], home, pulls)
                else:
                    _relative(back, home, room[1])
                    _centred(room[0], room[1])
                    out[a + i] = rates[r] * _moment(room[7], room[1], home)
            if round == 0:
                most = 4 * count + 100
                _step(y[a:b], e[a : a + cuts], rates[r], pulls, more[2], room[6], EXACT, most, room[:6], back)


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
    _centred(p, out)
    for j in range(p.size):
        out[j] *= left


@inner
def _moment(pulls, moved, home):
    """How much a row's exponents move with its score, whose slope along them is the number of the anchor."""
    total = 0.0
    for j in range(pulls.size):
        total += (pulls[j] - moved[j]) * (j - home)
    return total
