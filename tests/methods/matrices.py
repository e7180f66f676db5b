"""Soft permutation matrices by their definitions, of one ranking: P[l, j], position l (best first), item j; O(n^2)."""

import math

import numpy as np


def _softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def neuralsort(x, alpha):
    """Grover et al. 2019, equation 5: row l is the softmax of ((n + 1 - 2 l) x_j - sum over i of |x_j - x_i|) / tau."""
    n = len(x)
    rows = n + 1 - 2 * np.arange(1, n + 1)
    return _softmax((np.outer(rows, x) - np.abs(x[:, None] - x).sum(axis=0)) / alpha)


def softsort(x, alpha, power=1.0):
    """Prillo and Eisenschlos 2020, equation 3: row l is the softmax of -|x_[l] - x_j|^power / tau."""
    return _softmax(-(np.abs(-np.sort(-x)[:, None] - x) ** power) / alpha)


STEPS = {
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "gaussian": lambda z: 0.5 + 0.5 * math.erf(z / math.sqrt(2)),
    "reciprocal": lambda z: 0.5 * (z / (2 + abs(z)) + 1),
    "cauchy": lambda z: np.arctan(z) / np.pi + 0.5,
    "optimal": lambda z: 0.5 + z if abs(z) <= 0.25 else 0.5 + np.sign(z) * (0.5 - 1 / (16 * abs(z))),
}


def _layers(network, wires):
    """Pairs of wires (low, high), layer by layer."""
    if network == "odd_even":
        return [[(i, i + 1) for i in range(layer % 2, wires - 1, 2)] for layer in range(wires)]
    layers = []
    for block in range(wires.bit_length() - 1):
        for step in range(block, -1, -1):
            pairs = [(i, i + 2**step) for i in range(wires) if not i & 2**step]
            layers.append([pair[::-1] if pair[0] >> (block + 1) & 1 else pair for pair in pairs])
    return layers


def _share(low, high, alpha, step):
    """By which a comparison takes what is at the second wire for the larger."""
    if -np.inf in (low, high):
        return float(high >= low)
    gap = high - low
    if step == "logistic_phi":
        return STEPS["logistic"](gap / alpha / (abs(gap) + 1e-10) ** 0.25)
    return STEPS[step](gap / alpha)


def sortnet(x, alpha, network="bitonic", step="cauchy"):
    """Petersen et al. 2021: what all comparisons do together, as a product of matrices; -inf fills 2^b wires."""
    n = len(x)
    missing = 2 ** int(np.ceil(np.log2(n))) - n if network == "bitonic" else 0
    x = np.append(np.full(missing, -np.inf), x.astype(float))
    whole = np.eye(len(x))
    for layer in _layers(network, len(x)):
        for i, j in layer:
            f = _share(x[i], x[j], alpha, step)
            if 0 < f < 1:
                x[[i, j]] = x[j] - f * (x[j] - x[i]), x[i] + f * (x[j] - x[i])
            else:
                x[[i, j]] = (x[i], x[j]) if f else (x[j], x[i])
            whole[[i, j]] = f * whole[i] + (1 - f) * whole[j], (1 - f) * whole[i] + f * whole[j]
    return whole[::-1][:n, missing:]


def _transport(s, y, masses, epsilon):
    """Sinkhorn's iteration (Cuturi 2013) between scores s, of mass 1 each, and anchors y: (anchors, scores)."""
    cost, g = (y[:, None] - s) ** 2 / epsilon, np.zeros(len(y))
    for _ in range(200_000):
        p = _softmax((g[:, None] - cost).T).T
        step = np.log(masses / p.sum(axis=1))
        g += step
        if np.abs(step).max() < 1e-13:
            break
    return p


def sinkhorn(x, alpha):
    """Cuturi, Teboul, Vert 2019, as OTT squashes scores."""
    s = 1 / (1 + np.exp(-(x - x.mean()) / (x.std() + 1e-10)))
    return _transport(s, np.linspace(1, 0, len(x)), np.ones(len(x)), alpha)


def ot_sorted(x, k, alpha, most=None):
    """Xie et al. 2020: (k + 1, n), of which the first k are the top; most: the largest cost, where it is held."""
    y, n = np.arange(k, -1.0, -1.0), len(x)
    most = ((x - y[:, None]) ** 2).max() if most is None else most
    scale = np.sqrt(most)
    return _transport(x / scale, y / scale, np.append(np.ones(k), n - k), alpha)


MATRICES = {"neuralsort": neuralsort, "softsort": softsort, "sortnet": sortnet, "sinkhorn": sinkhorn}
WAYS = [  # methods with options of theirs
    ("neuralsort", {}),
    ("softsort", {}),
    ("softsort", {"power": 2.0}),
    ("softsort", {"power": 1.5}),
    *[("sortnet", {"network": network, "step": step}) for network in ("odd_even", "bitonic") for step in STEPS],
    ("sortnet", {"network": "bitonic", "step": "logistic_phi"}),
    ("sinkhorn", {}),
]
IDS = [" ".join([method, *map(str, options.values())]) for method, options in WAYS]


def results(p, x, k):
    """Ranks, sorted scores and memberships by a matrix: the first rows, and a part of the next."""
    weights = np.clip(k - np.arange(len(x)), 0, 1)
    return np.arange(1, len(x) + 1) @ p, p @ x, weights @ p
