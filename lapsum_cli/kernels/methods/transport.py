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
def exponents_of(y, i, at, e, rate, out):
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
def normalised(p, count):
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
def start_of(y, i, start):
    """The first of the scores that equal the i-th, given that of the one before: what is alike has like digits."""
    return start if i > 0 and y[i] == y[i - 1] else i


@inner
def row_of(y, i, start, e, rate, p):
    """Probabilities of score i; returns its home."""
    exponents_of(y, i, min(start, p.size - 1), e, rate, p)
    normalised(p, p.size)
    return min(i, p.size - 1)


@inner
def across(values, home, out):
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
def count_crossings(y, e, rate, p, flows, sizes, widths, stiffness):
    """What crosses each cut from above less what does from below, and both together; and how much these, and masses,
    change with the potentials at a cut, and of an anchor.
    """
    flows[:], sizes[:], widths[:], stiffness[:] = 0.0, 0.0, 0.0, 0.0
    start = 0
    for i in range(y.size):
        start = start_of(y, i, start)
        home = row_of(y, i, start, e, rate, p)
        across(p, home, flows)
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
def relative_to(step, home, out):
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
def centred(p, values):
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
        start = start_of(y, i, start)
        home = row_of(y, i, start, e, rate, p)
        relative_to(step, home, potentials)
        centred(p, potentials)
        across(potentials, home, out)


@inner
def inner_product(a, b):
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
def newton_step(y, e, rate, wanted, widths, stiffness, relative, most, room, out):
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
    size = inner_product(rest, scaled)
    for passes in range(most):
        _change(y, e, rate, p, potentials, step, change)
        along = inner_product(step, change)
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
        new_size = inner_product(rest, scaled)
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
        count_crossings(y, e, rate, p, flows, sizes, widths, stiffness)
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
            passes += newton_step(y, e, rate, flows, widths, stiffness, accuracy, 2 * count, room[:6], step)
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
    slope, length = inner_product(wanted, step), 1.0
    for j in range(e.size):
        e[j] += step[j]
    for passes in range(20):
        flows[:] = 0.0
        start = 0
        for i in range(y.size):
            start = start_of(y, i, start)
            across(p, row_of(y, i, start, e, rate, p), flows)
        if -inner_product(flows, step) > -0.9 * slope:
            return passes + 1
        length *= 0.5
        for j in range(e.size):
            e[j] -= length * step[j]
    return 20
