"""Noise by counting: numbers that depend on a seed and where they belong, and on nothing that was drawn before.

Philox4x32 with 10 rounds (Salmon, Moraes, Dror, Shaw, SC 2011), whose four words make two normal numbers (Box, Muller,
1958).
"""

import math

import numpy as np

from ..jit import inner

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_MASK, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@inner
def words(seed, a, b, c, d):
    """Four words of 32 bits for a counter of four."""
    x, y, z, w = np.uint64(a) & _MASK, np.uint64(b) & _MASK, np.uint64(c) & _MASK, np.uint64(d) & _MASK
    k, m = np.uint64(seed) & _MASK, (np.uint64(seed) >> _HALF) & _MASK
    for _ in range(10):
        p, q = _M0 * x, _M1 * z
        x, y, z, w = (q >> _HALF) ^ y ^ k, q & _MASK, (p >> _HALF) ^ w ^ m, p & _MASK
        k, m = (k + _W0) & _MASK, (m + _W1) & _MASK
    return x, y, z, w


@inner
def normal(seed, ranking, draw, column):
    """A number of the normal distribution, that of an item of a ranking in one of several draws."""
    x, y, z, w = words(seed, ranking, np.uint64(ranking) >> _HALF, draw, column)
    u = ((x << np.uint64(20)) ^ y) + np.uint64(1)
    v = (z << np.uint64(20)) ^ w
    radius = math.sqrt(-2.0 * math.log(np.float64(u) / 4503599627370497.0))
    return radius * math.cos(2.0 * math.pi * np.float64(v) / 4503599627370496.0)
