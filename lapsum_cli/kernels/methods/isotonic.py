"""Isotonic regression by pool adjacent violators: the one step of sparse top-k and of fast soft ranks and sorts.

Along sorted s, largest first, the v of a block of neighbours solves one equation, and v falls from block to block. What
it solves is a kind, l the strength alpha, W the sum of weights w of a block B of n:

    MEAN        v = mean s - l W / n                         (Blondel et al., ICML 2020, l2; sparse at p = 2)
    CUBE        sum (s - v)^3 = l^3 W                        (Sander et al., ICML 2023, sparse at p = 4/3)
    SHRUNK      v = sum s / (n + l W)                        (the same of magnitudes, p = 2)
    SHRUNK_CUBE sum (s - v)^3 = l^3 W v                      (of magnitudes, p = 4/3)
    ENTROPY     v = logsumexp s - logsumexp w                (Blondel et al., kl)

A block is its size, mean and central moments, which merge without loss of digits; sums of powers of scores of 1000 at a
strength of 0.01 lose all of them.
"""

import math

from ..jit import inner

MEAN, CUBE, SHRUNK, SHRUNK_CUBE, ENTROPY = range(5)
MOMENTS, V = 6, 5  # numbers of a block, of which the last is its v


@inner
def pool(s, w, strength, kind, begins, moments):
    """How many blocks there are; begins (n + 1,): where each does; moments (n, MOMENTS): of each n, mean, M2, M3 and W,
    or n, logsumexp s, 0, 0 and logsumexp w; and v.
    """
    count = 0
    for i in range(s.size):
        begins[count] = i
        _set(moments[count], 1.0, s[i], 0.0, 0.0, w[i])
        moments[count, V] = value(moments[count], strength, kind)
        count += 1
        while count > 1 and moments[count - 2, V] <= moments[count - 1, V]:
            count -= 1
            _merge(moments[count - 1], moments[count], kind)
            moments[count - 1, V] = value(moments[count - 1], strength, kind)
    begins[count] = s.size
    return count


@inner
def _set(block, n, m, second, third, weight):
    block[0], block[1], block[2], block[3], block[4] = n, m, second, third, weight


@inner
def _merge(a, b, kind):
    """Add block b to a."""
    n = a[0] + b[0]
    if kind == ENTROPY:
        _set(a, n, _log_sum(a[1], b[1]), 0.0, 0.0, _log_sum(a[4], b[4]))
        return
    d = b[1] - a[1]
    if kind in (MEAN, SHRUNK):  # whose v asks for no more
        _set(a, n, a[1] + d * b[0] / n, 0.0, 0.0, a[4] + b[4])
        return
    pairs = a[0] * b[0] / n
    third = a[3] + b[3] + d * d * d * pairs * (a[0] - b[0]) / n + 3.0 * d * (a[0] * b[2] - b[0] * a[2]) / n
    _set(a, n, a[1] + d * b[0] / n, a[2] + b[2] + d * d * pairs, third, a[4] + b[4])


@inner
def _log_sum(a, b):
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


@inner
def value(block, strength, kind):
    """v of a block."""
    return block[1] + shift(block, strength, kind)


@inner
def shift(block, strength, kind):
    """v less the mean, which has digits of its own; less logsumexp s, of entropies."""
    n, m, second, third, weight = block[0], block[1], block[2], block[3], block[4]
    if kind == MEAN:
        return -strength * weight / n
    if kind == SHRUNK:
        return -m * (strength * weight / (n + strength * weight))
    if kind == ENTROPY:
        return -weight
    cube = strength * strength * strength * weight
    if kind == CUBE:
        return _root(n, 3.0 * second, cube - third)
    return _root(n, 3.0 * second + cube, cube * m - third)


@inner
def _root(n, linear, constant):
    """The root of n t^3 + linear t + constant, linear >= 0."""
    half, third = constant / (2.0 * n), linear / (3.0 * n)
    scale = math.sqrt(third)
    cubed = third * scale
    if cubed <= 1e-290:
        return -math.copysign((2.0 * abs(half)) ** (1.0 / 3.0), half)
    ratio = half / cubed
    if abs(ratio) < 1e150:
        return -2.0 * scale * math.sinh(math.asinh(ratio) / 3.0)
    return -math.copysign((2.0 * abs(half)) ** (1.0 / 3.0), half)


@inner
def project(s, w, strength, iterations, magnitudes, v, work):
    """v by Dykstra's projections, of p = 2 alone: pairs of neighbours that rise take their mean, those from even places
    and those from odd ones in turn, each less what it was moved by the last time. work (2, n).
    """
    work[:] = 0.0
    for i in range(s.size):
        v[i] = s[i] / (1.0 + strength * w[i]) if magnitudes else s[i] - strength * w[i]
    for step in range(iterations):
        moved = work[step % 2]
        for i in range(s.size):
            v[i] += moved[i]
            moved[i] = v[i]
        for i in range(step % 2, s.size - 1, 2):
            if v[i] < v[i + 1]:
                a, b = (1.0 + strength * w[i], 1.0 + strength * w[i + 1]) if magnitudes else (1.0, 1.0)
                v[i] = v[i + 1] = (a * v[i] + b * v[i + 1]) / (a + b)
        for i in range(s.size):
            moved[i] -= v[i]
