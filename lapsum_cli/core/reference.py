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
    """p_i = F((x_i - b) / alpha), b such that the p_i sum to k, for 0 < k < n."""
    return laplace_cdf(distances(x, [k], alpha, largest)[0]).astype(np.float64)


def log_topk(x, k, alpha, largest=True):
    """log p_i, of the small tail where p_i is near 1."""
    z = distances(x, [k], alpha, largest)[0]
    return np.where(z <= 0, z - np.log(np.longdouble(2)), np.log1p(-np.exp(-np.abs(z)) / 2)).astype(np.float64)


def sort(x, alpha, descending=True):
    """y_l, best first: the threshold of the soft top l - 1/2, l = 1 .. n."""
    z = distances(x, np.arange(len(x)) + 0.5, alpha, descending)
    return (np.longdouble(x[0]) - _up(descending) * alpha * z[:, 0]).astype(np.float64)


def permutation(x, alpha, descending=True):
    """P[i, l]: what the membership of item i gains from the soft top l to the soft top l + 1, l = 0 .. n - 1."""
    inner = laplace_cdf(distances(x, np.arange(1, len(x)), alpha, descending))
    return np.diff(np.vstack([np.zeros(len(x)), inner, np.ones(len(x))]), axis=0).T.astype(np.float64)


def hard_rank(x):
    """Rank 1 is the largest score; equal scores share the mean of their places."""
    return np.array([1 + np.sum(x > xi) + (np.sum(x == xi) - 1) / 2 for xi in x])


def hard_topk(x, k):
    """1 for scores above the k-th largest; those equal to it share what is left of k."""
    above = np.array([np.sum(x > xi) for xi in x])
    ties = np.array([np.sum(x == xi) for xi in x])
    return np.clip((k - above) / ties, 0, 1)


# Jacobians: a row for each result, a column for each score; then vectors of derivatives by k and by alpha.


def rank_jacobian(x, alpha, descending=True):
    """d r_i / d x_j = f_ij, the density of the difference, for j != i; r_i falls as x_i rises. Then d r / d alpha."""
    up, x = _up(descending), _centred(x)
    z = (x[None, :] - x[:, None]) / alpha
    f = np.exp(-np.abs(z)) / (2 * alpha)
    np.fill_diagonal(f, 0)
    return up * (f - np.diag(f.sum(axis=1))), -up * (f * z).sum(axis=1)


def sort_jacobian(x, alpha, descending=True):
    """d y_l / d x_j = softmax_j(-|y_l - x_j| / alpha); d y_l / d alpha = sum_j q_lj (y_l - x_j) / alpha."""
    z = distances(x, np.arange(len(x)) + 0.5, alpha, descending)
    q = _softmax(-np.abs(z))
    return q, -_up(descending) * (q * z).sum(axis=1)


def topk_jacobian(x, k, alpha, largest=True):
    """d p_i / d x_j = f_i (1[i = j] - q_j), d p_i / d k = q_i, d p_i / d alpha = -f_i (z_i - <q, z>), q = f / sum f."""
    z = distances(x, [k], alpha, largest)[0]
    f, q = np.exp(-np.abs(z)) / (2 * alpha), _softmax(-np.abs(z))
    return _up(largest) * (np.diag(f) - np.outer(f, q)), q, -f * (z - q @ z)


def log_topk_jacobian(x, k, alpha, largest=True):
    """The rows of topk_jacobian over p_i: h_i (1[i = j] - q_j) / alpha with h = alpha f / p, 1 below the threshold."""
    z = distances(x, [k], alpha, largest)[0]
    tails, q = np.exp(-np.abs(z)) / 2, _softmax(-np.abs(z))
    h = np.where(z <= 0, 1, tails / (1 - tails))
    return _up(largest) * (np.diag(h) - np.outer(h, q)) / alpha, h / tails.sum(), -h * (z - q @ z) / alpha


# Losses of one ranking.


def spearman_loss(x, target, alpha, descending=True):
    """1 - the correlation of the soft ranks with the ranks of the target."""
    return 1 - np.corrcoef(rank(x, alpha, descending), hard_rank(target))[0, 1]


def topk_loss(x, target, k, alpha, descending=True):
    """The cross-entropy of the target's top k; who is not in the top k is in the top n - k of the other order."""
    t, inside = hard_topk(target, k), log_topk(x, k, alpha, descending)
    return -np.mean(t * inside + (1 - t) * log_topk(x, len(x) - k, alpha, not descending))


def recall_loss(x, target, k, alpha, descending=True):
    """1 - how many of the target's top k are in the soft top k, over k."""
    return 1 - hard_topk(target, k) @ topk(x, k, alpha, descending) / k


def ndcg_loss(x, target, alpha, at=None, gain="exp2", descending=True):
    """1 - DCG / ideal DCG; of the ideal order the best `at` count, the last of them for the rest of `at`."""
    gains = 2.0 ** np.asarray(target) - 1 if gain == "exp2" else np.asarray(target, float)
    places = np.arange(len(x))
    ideal = np.sort(gains)[::-1] / np.log2(2 + places) * (1 if at is None else np.clip(at - places, 0, 1))
    members = 1 if at is None else topk(x, at, alpha, descending)
    return 1 - np.sum(members * gains / np.log2(1 + rank(x, alpha, descending))) / ideal.sum()


def permutation_loss(x, target, alpha, descending=True):
    """-(1/n) sum of log P[i, place of y_i], ties of the target in the order of the input."""
    places = np.argsort(np.argsort(-np.asarray(target), kind="stable"))
    return -np.log(permutation(x, alpha, descending)[np.arange(len(x)), places]).mean()


def distances(x, ks, alpha, descending):
    """z_kj = (x_j - b_k) / alpha, of -x where ascending, with b_k by bisection the threshold of each soft top k.

    The soft count less k is taken as the count of scores above b less k, then tails on both sides: across a gap of 10^4
    alpha, where all of F is 0 or 1, the tails alone still tell where b is.
    """
    x, ks = _up(descending) * _centred(x), np.asarray(ks, np.longdouble)
    low, high = np.full(len(ks), x.min() - 800 * np.longdouble(alpha)), np.full(len(ks), x.max() + 800 * alpha)
    for _ in range(100):
        b = (low + high) / 2
        z = (x - b[:, None]) / alpha
        tails = np.exp(-np.abs(z)) / 2
        too_low = (z > 0).sum(axis=1) - ks + np.where(z > 0, -tails, tails).sum(axis=1) > 0
        low, high = np.where(too_low, b, low), np.where(too_low, high, b)
    return z


def _softmax(a):
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _up(descending):
    return 1 if descending else -1


def _centred(x):
    """Extended precision about the first score: the difference of two float64 near each other is exact."""
    x = np.asarray(x).astype(np.longdouble)
    return x - x[0]
