"""The definitions, in float64 or better and without the kernels: what every kernel is compared with. If prose and this
disagree, this is right.

Soft counts, thresholds and gradients of ranks are had of 10^7 scores too, in O(n): the benchmark checks what it times
by them. All else is O(n^2), or holds that much.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

BLOCK = 1 << 15  # scores at a time: temporaries stay in the cache
Reals = np.ndarray | float


def laplace_cdf(z: Reals) -> np.ndarray:
    """F(z) = e^z / 2 for z <= 0, 1 - e^-z / 2 for z > 0."""
    tail = laplace_pdf(z)
    return np.where(z <= 0, tail, 1 - tail)


def laplace_pdf(z: Reals) -> np.ndarray:
    """f(z) = e^-|z| / 2, the derivative of F; it is also the smaller of F and 1 - F."""
    return np.exp(-np.abs(z)) / 2


def soft_count(x: np.ndarray, t: Reals, alpha: float, origin: float = 0.0, less: Reals = 0.0) -> np.ndarray:
    """How many scores are above origin + t, softly, less so many: sum over j of F((x_j - origin - t) / alpha) - less.

    x (n,), t a number or (m,), less likewise; the result is longdouble, and x is gone through in float64, or in
    longdouble if it is that. The number of scores above t has no error, and less is taken from it before the tails on
    both sides are added: across a gap of 10^4 alpha, where all of F is 0 or 1, the tails alone still tell where t is.
    """
    number = np.result_type(x, np.float64)
    t = np.asarray(t, number)
    above, tails = np.zeros(t.shape, np.int64), np.zeros(t.shape, np.longdouble)
    for start in range(0, len(x), BLOCK):
        z = (x[start : start + BLOCK].astype(number) - origin - t[..., None]) / alpha
        is_above, tail = z > 0, laplace_pdf(z)
        above += np.count_nonzero(is_above, axis=-1)
        tails += np.where(is_above, -tail, tail).sum(axis=-1)
    return above - less + tails


Count = Callable[..., np.ndarray]  # soft_count, or what computes the same elsewhere


def threshold(
    x: np.ndarray, k: ArrayLike, alpha: float, origin: float = 0.0, within: float = 1e-11, count: Count = soft_count
) -> np.ndarray:
    """b - origin such that the soft count at b is k, for 0 < k < n, by bisection to so many alpha, if x is that fine.

    x (n,) and k a number or (m,), as for soft_count; b is in float64, or in longdouble if x is that.
    """
    number = np.result_type(x, np.float64)
    k = np.asarray(k, number)
    share = np.minimum(k, len(x) - k) / len(x)
    margin = -alpha * np.log(np.maximum(share, 1e-300))  # beyond it every F is near enough to 0 or 1
    low, high = number.type(x.min()) - origin - margin, number.type(x.max()) - origin + margin
    middle = (low + high) / 2
    while np.any((high - low > within * alpha) & (low < middle) & (middle < high)):
        is_low = count(x, middle, alpha, origin, less=k) > 0
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
        middle = (low + high) / 2
    return middle


def rank(x: ArrayLike, alpha: float, descending: bool = True, base: int = 1) -> np.ndarray:
    """r_i = base + sum over j != i of F((x_j - x_i) / alpha); the sum over all j counts i itself as F(0) = 1/2."""
    x = np.asarray(x, np.float64) if descending else -np.asarray(x, np.float64)
    return np.array([soft_count(x, xi, alpha) + base - 0.5 for xi in x], np.float64)


def topk(x: np.ndarray, k: float, alpha: float, largest: bool = True) -> np.ndarray:
    """p_i = F((x_i - b) / alpha), b such that the p_i sum to k, for 0 < k < n."""
    return laplace_cdf(distances(x, [k], alpha, largest)[0]).astype(np.float64)


def log_topk(x: np.ndarray, k: float, alpha: float, largest: bool = True) -> np.ndarray:
    """log p_i, of the small tail where p_i is near 1."""
    z = distances(x, [k], alpha, largest)[0]
    return np.where(z <= 0, z - np.log(np.longdouble(2)), np.log1p(-np.exp(-np.abs(z)) / 2)).astype(np.float64)


def sort(x: np.ndarray, alpha: float, descending: bool = True) -> np.ndarray:
    """y_l, best first: the threshold of the soft top l - 1/2, l = 1 .. n."""
    z = distances(x, np.arange(len(x)) + 0.5, alpha, descending)
    return (np.longdouble(x[0]) - _up(descending) * alpha * z[:, 0]).astype(np.float64)


def quantile(x: np.ndarray, q: float, alpha: float, descending: bool = True) -> float:
    """The threshold of the soft top 1/2 + (1 - q)(n - 1), whichever end is best."""
    k = 0.5 + (len(x) - 1) - q * (len(x) - 1)
    return float(np.longdouble(x[0]) - alpha * distances(x, [k], alpha, True)[0, 0])


def permutation(x: np.ndarray, alpha: float, descending: bool = True) -> np.ndarray:
    """P[i, l]: what the membership of item i gains from the soft top l to the soft top l + 1, l = 0 .. n - 1."""
    inner = laplace_cdf(distances(x, np.arange(1, len(x)), alpha, descending))
    return np.diff(np.vstack([np.zeros(len(x)), inner, np.ones(len(x))]), axis=0).T.astype(np.float64)


def hard_rank(x: np.ndarray) -> np.ndarray:
    """Rank 1 is the largest score; equal scores share the mean of their places."""
    return np.array([1 + np.sum(x > xi) + (np.sum(x == xi) - 1) / 2 for xi in x])


def hard_topk(x: np.ndarray, k: float) -> np.ndarray:
    """1 for scores above the k-th largest; those equal to it share what is left of k."""
    above = np.array([np.sum(x > xi) for xi in x])
    ties = np.array([np.sum(x == xi) for xi in x])
    return np.clip((k - above) / ties, 0, 1)


def hard_quantile(x: np.ndarray, q: float) -> float:
    """The sorted score at place (1 - q)(n - 1) from the best, or the nearest to it; midway the mean of two."""
    place = (len(x) - 1) - q * (len(x) - 1)
    return np.mean(-np.sort(-x)[[int(np.ceil(place - 0.5)), int(np.floor(place + 0.5))]])


# Jacobians: a row for each result, a column for each score; then vectors of derivatives by k and by alpha.


def rank_jacobian(x: np.ndarray, alpha: float, descending: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """d r_i / d x_j = f_ij, the density of the difference, for j != i; r_i falls as x_i rises. Then d r / d alpha."""
    up, x = _up(descending), _centred(x)
    z = (x[None, :] - x[:, None]) / alpha
    f = laplace_pdf(z) / alpha
    np.fill_diagonal(f, 0)
    return up * (f - np.diag(f.sum(axis=1))), -up * (f * z).sum(axis=1)


def rank_gradient(x: np.ndarray, v: np.ndarray, i: int, alpha: float) -> tuple[float, float]:
    """(sum over j of v_j d r_j / d x_i, the same of its terms' sizes, which its rounding goes by), for one score i.

    d r_j / d x_i = f_ij for j != i, and r_i falls by all of them: sum over j of f_ij (v_j - v_i). x, v (n,).
    """
    total, size = np.zeros(1, np.longdouble), np.zeros(1, np.longdouble)
    for start in range(0, len(x), BLOCK):
        block, weights = (a[start : start + BLOCK].astype(np.float64) for a in (x, v))
        f = laplace_pdf((block - float(x[i])) / alpha) / alpha
        total += f @ (weights - float(v[i]))
        size += f @ (np.abs(weights) + abs(float(v[i])))
    return float(total[0]), float(size[0])


def sort_jacobian(x: np.ndarray, alpha: float, descending: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """d y_l / d x_j = softmax_j(-|y_l - x_j| / alpha); d y_l / d alpha = sum_j q_lj (y_l - x_j) / alpha."""
    z = distances(x, np.arange(len(x)) + 0.5, alpha, descending)
    q = _softmax(-np.abs(z))
    return q, -_up(descending) * (q * z).sum(axis=1)


def quantile_jacobian(
    x: np.ndarray, q: float, alpha: float, descending: bool = True
) -> tuple[np.ndarray, float, float]:
    """d b / d x_j = softmax_j(-|b - x_j| / alpha), d b / d q = (n - 1) alpha / sum f, d b / d alpha = -<softmax, z>."""
    z = distances(x, [0.5 + (len(x) - 1) - q * (len(x) - 1)], alpha, True)[0]
    s = _softmax(-np.abs(z))
    return s, float((len(x) - 1) * alpha / laplace_pdf(z).sum()), float(-s @ z)


def topk_jacobian(
    x: np.ndarray, k: float, alpha: float, largest: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d p_i / d x_j = f_i (1[i = j] - q_j), d p_i / d k = q_i, d p_i / d alpha = -f_i (z_i - <q, z>), q = f / sum f."""
    z = distances(x, [k], alpha, largest)[0]
    f, q = laplace_pdf(z) / alpha, _softmax(-np.abs(z))
    return _up(largest) * (np.diag(f) - np.outer(f, q)), q, -f * (z - q @ z)


def log_topk_jacobian(
    x: np.ndarray, k: float, alpha: float, largest: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of topk_jacobian over p_i: h_i (1[i = j] - q_j) / alpha with h = alpha f / p, 1 below the threshold."""
    z = distances(x, [k], alpha, largest)[0]
    tails, q = laplace_pdf(z), _softmax(-np.abs(z))
    h = np.where(z <= 0, 1, tails / (1 - tails))
    return _up(largest) * (np.diag(h) - np.outer(h, q)) / alpha, h / tails.sum(), -h * (z - q @ z) / alpha


# Second derivatives by pairs of scores: [result, score, score]. Of F'' at 0, where it jumps, the mean of both sides.


def rank_curvature(x: np.ndarray, alpha: float, descending: bool = True) -> np.ndarray:
    """F''(z_ij) (1[j = a] - 1[i = a]) (1[j = l] - 1[i = l]) over j, for x_a and x_l."""
    n, x = len(x), _up(descending) * _centred(x)
    z = (x[None, :] - x[:, None]) / alpha
    bends, out = -np.sign(z) * laplace_pdf(z) / alpha**2, np.zeros((n, n, n), np.longdouble)
    for i in range(n):
        of_others = np.eye(n) - np.eye(n)[i]
        out[i] = sum(bends[i, j] * np.outer(of_others[j], of_others[j]) for j in range(n))
    return out


def _threshold_curvature(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The softmax q (n,) at a threshold of which the scores are z away, and how it moves with them, (n, n): both are
    derivatives of the threshold. q_j s_j (q_l - 1[j = l]) + q_j q_l (s_l - <q, s>), s = sign of z, less what is twice.
    """
    q, signs = _softmax(-np.abs(z)), np.sign(z)
    pulled = signs * q
    return q, np.outer(pulled, q) + np.outer(q, pulled) - np.diag(pulled) - np.outer(q, q) * pulled.sum()


def sort_curvature(x: np.ndarray, alpha: float, descending: bool = True) -> np.ndarray:
    """Of every sorted score those of the threshold of its count."""
    z = distances(x, np.arange(len(x)) + 0.5, alpha, descending)
    return _up(descending) * np.array([_threshold_curvature(of_one)[1] for of_one in z]) / alpha


def topk_curvature(x: np.ndarray, k: float, alpha: float, largest: bool = True) -> np.ndarray:
    """F''(z_i) (1[i = j] - q_j) (1[i = l] - q_l) - F'(z_i) times those of the threshold."""
    z = distances(x, [k], alpha, largest)[0]
    f = laplace_pdf(z)
    return _of_distances(z, f, -np.sign(z) * f) / alpha**2


def log_topk_curvature(x: np.ndarray, k: float, alpha: float, largest: bool = True) -> np.ndarray:
    """The same of log F."""
    z = distances(x, [k], alpha, largest)[0]
    tails = laplace_pdf(z)
    h = np.where(z <= 0, 1, tails / (1 - tails))
    return _of_distances(z, h, np.where(z <= 0, 0, -h * (1 + h))) / alpha**2


def _of_distances(z: np.ndarray, slopes: np.ndarray, bends: np.ndarray) -> np.ndarray:
    q, moves = _threshold_curvature(z)
    away = np.eye(len(z)) - q
    return np.array([bends[i] * np.outer(away[i], away[i]) - slopes[i] * moves for i in range(len(z))])


# Losses of one ranking.


def spearman_loss(x: np.ndarray, target: np.ndarray, alpha: float, descending: bool = True) -> float:
    """1 - the correlation of the soft ranks with the ranks of the target."""
    return 1 - np.corrcoef(rank(x, alpha, descending), hard_rank(target))[0, 1]


def topk_loss(x: np.ndarray, target: np.ndarray, k: float, alpha: float, descending: bool = True) -> float:
    """The cross-entropy of the target's top k; who is not in the top k is in the top n - k of the other order."""
    t, inside = hard_topk(target, k), log_topk(x, k, alpha, descending)
    return -np.mean(t * inside + (1 - t) * log_topk(x, len(x) - k, alpha, not descending))


def recall_loss(x: np.ndarray, target: np.ndarray, k: float, alpha: float, descending: bool = True) -> float:
    """1 - how many of the target's top k are in the soft top k, over k."""
    return 1 - hard_topk(target, k) @ topk(x, k, alpha, descending) / k


def ndcg_loss(
    x: np.ndarray, target: ArrayLike, alpha: float, k: float | None = None, gain: str = "exp2", descending: bool = True
) -> float:
    """1 - DCG / ideal DCG; of the ideal order the best k count, the last of them for the rest of k."""
    gains = 2.0 ** np.asarray(target) - 1 if gain == "exp2" else np.asarray(target, float)
    places = np.arange(len(x))
    ideal = np.sort(gains)[::-1] / np.log2(2 + places) * (1 if k is None else np.clip(k - places, 0, 1))
    members = 1 if k is None else topk(x, k, alpha, descending)
    return 1 - np.sum(members * gains / np.log2(1 + rank(x, alpha, descending))) / ideal.sum()


def permutation_loss(x: np.ndarray, target: ArrayLike, alpha: float, descending: bool = True) -> float:
    """-(1/n) sum of log P[i, place of y_i], in the mean over the orders of equal targets."""
    y, log_p = np.asarray(target), np.log(permutation(x, alpha, descending))
    above, ties = (y > y[:, None]).sum(axis=1), (y == y[:, None]).sum(axis=1)
    return -np.mean([log_p[i, above[i] : above[i] + ties[i]].mean() for i in range(len(x))])


def distances(x: ArrayLike, ks: ArrayLike, alpha: float, descending: bool) -> np.ndarray:
    """z_kj = (x_j - b_k) / alpha, of -x where ascending, with b_k the threshold of each soft top k; in longdouble."""
    x = _up(descending) * _centred(x)
    return (x - threshold(x, ks, alpha, within=1e-24)[:, None]) / alpha


def _softmax(a: np.ndarray) -> np.ndarray:
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _up(descending: bool) -> int:
    return 1 if descending else -1


def _centred(x: ArrayLike) -> np.ndarray:
    """Extended precision about the first score: the difference of two float64 near each other is exact."""
    x = np.asarray(x).astype(np.longdouble)
    return x - x[0]
