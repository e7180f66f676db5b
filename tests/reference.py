"""The definitions, O(n^2) in float64 or better: what every kernel is compared with. If prose and this disagree, this
is right.
"""

import numpy as np


def laplace_cdf(z):
    """F(z) = e^z / 2 for z <= 0, 1 - e^-z / 2 for z > 0."""
    tail = np.exp(-np.abs(z)) / 2
    return np.where(z <= 0, tail, 1 - tail)


def rank(x, alpha, descending=True, base=1):
    """r_i = base + sum over j != i of F((x_j - x_i) / alpha); the sum over all j counts i itself as F(0) = 1/2."""
    x = np.asarray(x, np.float64) if descending else -np.asarray(x, np.float64)
    return np.array([base - 0.5 + laplace_cdf((x - xi) / alpha).sum() for xi in x])


def topk(x, k, alpha, largest=True):
    """p_i = F((x_i - b) / alpha), b by bisection such that the p_i sum to k, for 0 < k < n."""
    x = _centred(x) if largest else -_centred(x)
    low, high = x.min() - 800 * np.longdouble(alpha), x.max() + 800 * np.longdouble(alpha)
    for _ in range(100):
        b = (low + high) / 2
        low, high = (b, high) if laplace_cdf((x - b) / alpha).sum() > k else (low, b)
    return laplace_cdf((x - b) / alpha).astype(np.float64)


def hard_rank(x):
    """Rank 1 is the largest score; equal scores share the mean of their places."""
    return np.array([1 + np.sum(x > xi) + (np.sum(x == xi) - 1) / 2 for xi in x])


def hard_topk(x, k):
    """1 for scores above the k-th largest; those equal to it share what is left of k."""
    above = np.array([np.sum(x > xi) for xi in x])
    ties = np.array([np.sum(x == xi) for xi in x])
    return np.clip((k - above) / ties, 0, 1)


def _centred(x):
    """Extended precision about the first score: the difference of two float64 near each other is exact."""
    x = np.asarray(x).astype(np.longdouble)
    return x - x[0]
