"""Definitions of losses in plain NumPy, of a single ranking: what their kernels are compared with."""

import numpy as np

from lapsum_cli.core import reference

EPS = 1e-10  # of the lambda loss, where nothing else is said


def _apart(x, alpha, descending):
    """(x_i - x_j) / alpha, larger is better."""
    x = (1 if descending else -1) * np.asarray(x).astype(np.longdouble)
    return (x[:, None] - x) / alpha


def _softplus(z):
    """log(1 + e^z)."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _sigmoid(z):
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def gains(target, gain):
    """2^y - 1, or y."""
    return 2.0 ** np.asarray(target) - 1 if gain == "exp2" else np.asarray(target, float)


def ideal_dcg(of_gains, k=None):
    """Of the best order; of the first k places, the last of them for the rest of k."""
    places = np.arange(len(of_gains))
    counts = 1 if k is None else np.clip(k - places, 0, 1)
    return np.sum(np.sort(of_gains)[::-1] * counts / np.log2(2 + places))


def places(x, descending=True):
    """From 0, ties in the order of the input."""
    x = np.asarray(x) if descending else -np.asarray(x)
    return np.argsort(np.argsort(-x, kind="stable"), kind="stable")


def graded_topk(x, target, alpha, descending=True):
    """n times the cross-entropy of the top k, over the grades but the lowest."""
    ks = [np.sum(np.asarray(target) >= grade) for grade in sorted(set(np.asarray(target).tolist()))[1:]]
    return len(x) * sum(reference.topk_loss(x, target, k, alpha, descending) for k in ks)


def bce_dftopk(x, target, k, alpha, descending=True):
    """The cross-entropy of logistic memberships about the middle of the k-th best score and the next."""
    t, k = reference.hard_topk(target, k), int(np.ceil(k))
    best = np.sort(-np.asarray(x) if descending else np.asarray(x))
    middle = (-1 if descending else 1) * (best[k - 1].astype(np.longdouble) + best[k]) / 2 if k < len(x) else 0
    z = (1 if descending else -1) * (np.asarray(x).astype(np.longdouble) - middle) / alpha
    return float(np.mean(t * _softplus(-z) + (1 - t) * _softplus(z)) if k < len(x) else 0)


def ranknet(x, target, alpha, descending=True):
    """The mean of log(1 + e^-z_ij) over pairs with y_i > y_j."""
    costs = _softplus(-_apart(x, alpha, descending))
    return float(costs[target[:, None] > target].mean())


def lambda_loss(
    x, target, alpha, k=None, weighting="lambdarank", mu=10.0, eps=EPS, gain="exp2", pairs="both", descending=True
):
    """Pairs of the first k places: log2 of a probability to the power of their weight, neither below eps."""
    y, at = np.asarray(target, float), places(x, descending)
    is_in, either = at < (np.inf if k is None else k), pairs == "either"
    g = gains(y, gain) / ideal_dcg(gains(y, gain), None if either else k)
    d = np.where(is_in | (not either), 1 / np.log2(2 + at), 0)
    steps = np.maximum(np.abs(at[:, None] - at), 1)
    of_gains, of_places = np.abs(g[:, None] - g), np.abs(d[:, None] - d)
    of_steps = 1 / np.log2(1 + steps) - 1 / np.log2(2 + steps)
    weights = {
        "none": np.ones((len(x), len(x))),
        "ranknet": np.ones((len(x), len(x))),
        "ndcg1": np.broadcast_to((g * d)[:, None], (len(x), len(x))),
        "ndcg2": of_steps * of_gains,
        "lambdarank": of_places * of_gains,
        "ndcg2++": (mu * of_steps + of_places) * of_gains,
        "gtdiff": np.abs(y[:, None] - y),
        "gtdiff-powed": np.abs(y[:, None] ** 2 - y**2),
    }[weighting]
    most = -np.log(eps) if eps else np.inf
    costs = np.minimum(weights * np.minimum(_softplus(-_apart(x, alpha, descending)), most), most)
    counts = (y[:, None] > y) | (weighting == "ndcg1")
    counts &= is_in[:, None] | is_in if either else is_in[:, None] & is_in
    return float(costs[counts].sum() / np.log(2))


def listnet(x, target, alpha, descending=True):
    """The cross-entropy of two softmaxes."""
    z, y = _apart(x, alpha, descending)[:, 0], np.asarray(target, np.longdouble)
    wanted = np.exp(y - y.max())
    return float(np.log(np.exp(z - z.max()).sum()) + z.max() - wanted @ z / wanted.sum())


def listmle(x, target, alpha, descending=True):
    """Of equal targets, so many shares of each are left when one is drawn."""
    z, y, total = _apart(x, alpha, descending)[:, 0], np.asarray(target, float), 0
    for grade in set(y.tolist()):
        ties, below = z[y == grade], z[y < grade]
        for drawn in range(len(ties)):
            total += np.logaddexp.reduce([*below, *(ties + np.log(1 - np.longdouble(drawn) / len(ties)))])
        total -= ties.sum()
    return float(total)


def approx_ndcg(x, target, alpha, gain="exp2", descending=True):
    """1 - NDCG at places by logistic steps, of which an item's own is 1/2."""
    at = 0.5 + _sigmoid(-_apart(x, alpha, descending)).sum(axis=1)
    of_gains = gains(target, gain)
    return float(1 - np.sum(of_gains / np.log2(1 + at)) / ideal_dcg(of_gains))


def neural_ndcg(x, target, alpha, k=None, gain="exp2", descending=True):
    """1 - NDCG of the gains that NeuralSort's matrix sorts, whose columns and rows are scaled to sum to 1."""
    z, n, of_gains = _apart(x, alpha, descending)[:, 0], len(x), gains(target, gain)
    exponents = (n - 1 - 2 * np.arange(n))[:, None] * z - np.abs(z[:, None] - z).sum(axis=1)
    p = np.exp(exponents - exponents.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    for _ in range(50):
        p /= p.sum(axis=0)
        p /= p.sum(axis=1, keepdims=True)
        if np.abs(p.sum(axis=0) - 1).max() < 1e-6:
            break
    counts = 1 if k is None else np.clip(k - np.arange(n), 0, 1)
    return float(1 - np.sum(counts * (p @ of_gains) / np.log2(2 + np.arange(n))) / ideal_dcg(of_gains, k))


def topk_hinge(x, target, k, alpha, noise, margin=1.0, descending=True):
    """noise: (n, draws) in alphas."""
    z = _apart(x, alpha, descending)[:, 0].astype(float)
    if np.ceil(k) >= len(z):
        return 0.0
    level = np.mean(-np.sort(-(z[:, None] + noise), axis=0)[int(np.ceil(k))])
    best = np.max(target)
    return float(np.mean(np.maximum(0, margin * best + level - z[np.asarray(target) == best])))


def topk_cross_entropy(x, target, k, alpha, descending=True):
    """Of what true items have of the first places."""
    inside = np.clip(k - np.arange(len(x)), 0, 1) @ neural_sort(x, alpha, descending)
    return float(-np.mean(np.log(inside[np.asarray(target) == np.max(target)] * (1 - 2e-7) + 1e-7)))


def topk_svm(x, target, k, alpha, margin=1.0, descending=True):
    """Of the elementary symmetric polynomials of those that are not true, one after the other."""
    is_true, k = np.asarray(target) == np.max(target), max(int(np.ceil(k)), 1)
    if k > np.sum(~is_true):
        return 0.0
    z = _apart(x, alpha, descending)[:, 0] / k
    s = np.full(k + 1, -np.inf, np.longdouble)
    s[0] = 0
    for of_one in z[~is_true]:
        s[1:] = np.logaddexp(s[1:], s[:-1] + of_one)
    return float(np.mean(_softplus(margin + s[k] - s[k - 1] - z[is_true])))


# Of a cascade: x are the scores of its stages.


def _cross_entropies(t, log_p, log_not_p):
    """Half of that of either membership, and that of their product."""
    both = sum(log_p)
    costs = [-(t * a + (1 - t) * b) for a, b in zip(log_p, log_not_p, strict=True)]
    not_both = np.logaddexp(log_not_p[0], log_p[0] + log_not_p[1])
    return float(np.mean(sum(costs) / 2 - t * both - (1 - t) * not_both))


def cascade_dftopk(x, target, k, alpha, descending=True):
    """Of logistic memberships about the middle of the k-th best score and the next."""
    up, t, k = 1 if descending else -1, reference.hard_topk(target, k), int(np.ceil(k))
    if not 0 < k < len(target):
        return 0.0
    z = []
    for of_stage in x:
        scores = up * np.asarray(of_stage).astype(np.longdouble)
        best = np.sort(scores)[::-1]
        z.append((scores - (best[k - 1] + best[k]) / 2) / alpha)
    return _cross_entropies(t, [-_softplus(-of_it) for of_it in z], [-_softplus(of_it) for of_it in z])


def cascade_lapsum(x, target, k, alpha, descending=True):
    """Of memberships that sum to k."""
    t, n = reference.hard_topk(target, k), len(target)
    inside = [reference.log_topk(of_stage, k, alpha, descending) for of_stage in x]
    outside = [reference.log_topk(of_stage, n - k, alpha, not descending) for of_stage in x]
    return _cross_entropies(t, inside, outside)


def neural_sort(x, alpha, descending=True):
    """(n, n) by place, the best first, and item."""
    z, n = _apart(x, alpha, descending)[:, 0], len(x)
    exponents = (n - 1 - 2 * np.arange(n))[:, None] * z - np.abs(z[:, None] - z).sum(axis=1)
    p = np.exp(exponents - exponents.max(axis=1, keepdims=True))
    return (p / p.sum(axis=1, keepdims=True)).astype(float)


def lcron(x, target, k, alpha, kept=None, descending=True, columns=None, e=1e-6):
    """columns: what those of either matrix sum to, where gradients hold it constant."""
    t, n, u, d = reference.hard_topk(target, k), len(target), [], []
    for stage, of_stage in enumerate(x):
        p, counts = neural_sort(of_stage, alpha, descending), np.clip((kept[stage] if kept else k) - np.arange(n), 0, 1)
        sums = (p.sum(axis=0) if columns is None else columns[stage]) + e
        u.append(counts @ p / sums)
        d.append((1 - counts) @ p / sums)
    single = [-t * np.log(a + e) - (1 - t) * np.log(b + e) for a, b in zip(u, d, strict=True)]
    joint = -t * np.log(u[0] * u[1] + e) - (1 - t) * np.log(1 - (1 - d[0]) * (1 - d[1]) + e)
    return float(np.mean(sum(single) / 2 + joint))


def arf(x, target, k, alpha, kept=None, descending=True, e=1e-6):
    """Half the cross-entropies of the matrices, and what the kept places have of the k best."""
    t, n, total, y = reference.hard_topk(target, k), len(target), 0, np.asarray(target)
    better, equal = (y > y[:, None]).sum(axis=1), (y == y[:, None]).sum(axis=1)
    place = np.arange(n)[:, None]
    wanted = ((place >= better) & (place < better + equal)) / equal
    for stage, of_stage in enumerate(x):
        p, m = neural_sort(of_stage, alpha, descending), kept[stage] if kept else k
        total -= np.sum(wanted * np.log(p + e)) / n**2 / 2
        if 0 < m < n:
            total -= np.mean(t * np.log(np.clip(m - np.arange(n), 0, 1) @ p / m + e))
    return float(total)


def hard(definition):
    """What a bounded loss tends to with alpha: itself, of logistic steps of 0, 1/2 and 1."""
    return lambda x, target, k: definition(x, target, 1e-12)


def hard_ndcg(x, target, k, gain="exp2", cut=True):
    """What a soft one tends to: at the mean of the places of equal scores; cut: of the first k."""
    gains = 2.0**target - 1 if gain == "exp2" else target
    places = np.arange(len(x))
    members, ideal = (reference.hard_topk(x, k), np.clip(k - places, 0, 1)) if cut else (1, 1)
    best = np.sum(ideal * np.sort(gains)[::-1] / np.log2(2 + places))
    return 1 - np.sum(members * gains / np.log2(1 + reference.hard_rank(x))) / best
