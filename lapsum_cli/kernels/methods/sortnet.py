"""Differentiable sorting networks (Petersen, Borgelt, Kuehne, Deussen, ICML 2021 and ICLR 2022).

A comparison of a with b mixes them: with f = step((b - a) / alpha), the share by which b is the larger,

    smaller = f a + (1 - f) b        larger = (1 - f) a + f b

and mixes what else stands at their wires in the same way. What all layers do together is a matrix that sums to 1 by row
and by column. Its products with vectors go through the layers: of positions from the last to the first, of items the
other way. A tape of n numbers a layer is kept for a gradient, and the n^2 of the matrix never.

A result depends on the order of the input, as it does on paper: where scores stand decides whom they meet.
"""

import math

import numpy as np

from ..jit import inner, inner_counted, kernel
from . import each
from .matrices import SIZE, rows, squares, top_weights
from .network import network

STEPS = {"logistic": 0, "logistic_phi": 1, "gaussian": 2, "reciprocal": 3, "cauchy": 4, "optimal": 5}
LAMBDA = 0.25  # of logistic_phi
FLOOR = 1e-290  # of a membership, below which its logarithm has no gradient


# --- A comparison. ----------------------------------------------------------------------------------------------------


@inner
def _shares(v, alpha, step):
    """f of v = b - a, and 1 - f, each with all of its digits."""
    z = v / alpha
    if step == 1:
        z /= (abs(v) + 1e-10) ** LAMBDA  # whose slope at 0 is a number
    return _tail(-z, step), _tail(z, step)


@inner
def _tail(z, step):
    """The step at -z: small where z is large."""
    e = math.exp(-abs(z)) if step <= 1 else 0.0
    if step <= 1:
        return (e if z >= 0.0 else 1.0) / (1.0 + e)
    if step == 2:
        return 0.5 * math.erfc(z / math.sqrt(2.0))
    if step == 4:
        return math.atan2(1.0, z) / math.pi
    size = abs(z)
    small = 1.0 / (2.0 + size)
    if step == 5:  # linear up to a quarter, from there on with the least error that a step of this slope can have
        small = 0.5 - size if size <= 0.25 else 0.0625 / size
    return small if z >= 0.0 else 1.0 - small


@inner
def _slopes(v, alpha, step):
    """Of f along v, and along log alpha."""
    z, size = v / alpha, abs(v)
    if step == 1:
        z /= (size + 1e-10) ** LAMBDA
    if step <= 1:
        e = math.exp(-abs(z))
        slope = e / ((1.0 + e) * (1.0 + e))
    elif step == 2:
        slope = math.exp(-0.5 * min(z * z, 1500.0)) / math.sqrt(2.0 * math.pi)
    elif step == 3:
        slope = 1.0 / (2.0 + abs(z)) / (2.0 + abs(z))
    elif step == 4:
        slope = 1.0 / math.pi / (1.0 + min(z * z, 1e300))
    else:
        slope = 1.0 if abs(z) <= 0.25 else 0.0625 / abs(z) / abs(z)
    if step == 1:
        rest = 1.0 - LAMBDA * size / (size + 1e-10)
        return slope * rest / (alpha * (size + 1e-10) ** LAMBDA), -slope * z
    return slope / alpha, -slope * z


# --- Through the layers. ----------------------------------------------------------------------------------------------


@inner
def _forth(pairs, starts, kinds, alpha, step, x, tape):
    """Scores x through all layers, with what each layer gets on the tape."""
    for layer in range(kinds.size):
        for i in range(x.size):
            tape[layer, i] = x[i]
        for p in range(starts[kinds[layer]], starts[kinds[layer] + 1]):
            i, j = pairs[p, 0], pairs[p, 1]
            gap = x[j] - x[i]
            f = _shares(gap, alpha, step)[0]
            x[i], x[j] = x[j] - f * gap, x[i] + f * gap


@inner
def _through(pairs, starts, kinds, alpha, step, tape, y, tape_y):
    """Of scores that are on the tape already: what else stands beside them through all layers."""
    for layer in range(kinds.size):
        for i in range(y.size):
            tape_y[layer, i] = y[i]
        for p in range(starts[kinds[layer]], starts[kinds[layer] + 1]):
            i, j = pairs[p, 0], pairs[p, 1]
            f, g = _shares(tape[layer, j] - tape[layer, i], alpha, step)
            y[i], y[j] = f * y[i] + g * y[j], g * y[i] + f * y[j]


@inner
def _back(pairs, starts, kinds, alpha, step, tape, z):
    """Weights of positions from the last layer to the first: what each item has of them."""
    for layer in range(kinds.size - 1, -1, -1):
        for p in range(starts[kinds[layer]], starts[kinds[layer] + 1]):
            i, j = pairs[p, 0], pairs[p, 1]
            f, g = _shares(tape[layer, j] - tape[layer, i], alpha, step)
            z[i], z[j] = f * z[i] + g * z[j], g * z[i] + f * z[j]


@inner
def _pull(pairs, starts, kinds, alpha, step, tape, tape_y, z, pulls):
    """Weights z of positions back, as _back; adds what pulls at every share, with tape_y upstream of the items."""
    for layer in range(kinds.size - 1, -1, -1):
        for p in range(starts[kinds[layer]], starts[kinds[layer] + 1]):
            i, j = pairs[p, 0], pairs[p, 1]
            f, g = _shares(tape[layer, j] - tape[layer, i], alpha, step)
            pulls[layer, i] += (tape_y[layer, j] - tape_y[layer, i]) * (z[j] - z[i])
            z[i], z[j] = f * z[i] + g * z[j], g * z[i] + f * z[j]


@inner
def _pull_scores(pairs, starts, kinds, alpha, step, tape, pulls, g):
    """From gradients g for sorted scores, and what pulls at every share, to those for the scores, in g; returns that
    for the logarithm of alpha.
    """
    total = 0.0
    for layer in range(kinds.size - 1, -1, -1):
        for p in range(starts[kinds[layer]], starts[kinds[layer] + 1]):
            i, j = pairs[p, 0], pairs[p, 1]
            v = tape[layer, j] - tape[layer, i]
            (f, _), (along, along_alpha) = _shares(v, alpha, step), _slopes(v, alpha, step)
            gap = g[j] - g[i]
            pull = pulls[layer, i] + v * gap
            total += pull * along_alpha
            g[i], g[j] = g[j] - f * gap - pull * along, g[i] + f * gap + pull * along
    return total


@inner
def _put_in_order(y, order, out):
    """By position, best first; order: the place of the l-th smallest."""
    for at in range(y.size):
        out[at] = y[order[y.size - 1 - at]]


@inner
def _put_back(weights, order, out):
    """The reverse of it."""
    for at in range(out.size):
        out[order[out.size - 1 - at]] = weights[at]


# --- Loops over rankings. ---------------------------------------------------------------------------------------------


@kernel
def _sorted(first, last, offsets, x, alphas, bitonic, step, out):
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        if b == a:
            continue
        pairs, starts, kinds, order = network(bitonic, b - a)
        middle, room = x[a], np.empty((1, b - a))
        y = x[a:b] - middle
        for layer in range(kinds.size):
            _forth(pairs, starts, kinds[layer : layer + 1], alphas[r], step, y, room)
        _put_in_order(y, order, out[a:b])
        for i in range(a, b):
            out[i] += middle


@inner_counted
def _taped(x, alpha, step, pairs, starts, kinds):
    """What scores are at every layer."""
    tape, y = np.empty((kinds.size, x.size)), x - x[0]
    _forth(pairs, starts, kinds, alpha, step, y, tape)
    return tape


@kernel
def _weighted(first, last, offsets, x, alphas, bitonic, step, weights, out):
    """What each item has of weights of positions."""
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        if b > a:
            pairs, starts, kinds, order = network(bitonic, b - a)
            tape = _taped(x[a:b], alphas[r], step, pairs, starts, kinds)
            _put_back(weights[a:b], order, out[a:b])
            _back(pairs, starts, kinds, alphas[r], step, tape, out[a:b])


@kernel
def _gradient(first, last, offsets, x, alphas, bitonic, step, weights, upstream, of_sorted, out, to_alpha, by_place):
    """Of items' upstream times what they have of weights, and of_sorted times sorted scores; by_place: what each
    position has of what is upstream.
    """
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        to_alpha[r] = 0.0
        if b == a:
            continue
        pairs, starts, kinds, order = network(bitonic, b - a)
        tape = _taped(x[a:b], alphas[r], step, pairs, starts, kinds)
        pulls = np.zeros((kinds.size, b - a))
        if weights.size > 0:
            tape_y, y, z = np.empty((kinds.size, b - a)), upstream[a:b].copy(), np.empty(b - a)
            _through(pairs, starts, kinds, alphas[r], step, tape, y, tape_y)
            _put_in_order(y, order, by_place[a:b])
            _put_back(weights[a:b], order, z)
            _pull(pairs, starts, kinds, alphas[r], step, tape, tape_y, z, pulls)
        out[a:b] = 0.0
        if of_sorted.size > 0:
            _put_back(of_sorted[a:b], order, out[a:b])
        to_alpha[r] = _pull_scores(pairs, starts, kinds, alphas[r], step, tape, pulls, out[a:b]) / alphas[r]


@kernel
def _matrix_rows(x, alpha, bitonic, step, items, out):
    """Where each of these items is, position by position: it alone through all layers."""
    pairs, starts, kinds, order = network(bitonic, x.size)
    tape, y = _taped(x, alpha, step, pairs, starts, kinds), np.empty(x.size)
    for row in range(items.size):
        y[:] = 0.0
        y[items[row]] = 1.0
        _through(pairs, starts, kinds, alpha, step, tape, y, np.empty((kinds.size, x.size)))
        _put_in_order(y, order, out[row])


@kernel
def _matrix_gradient(first, last, offsets, x, alphas, bitonic, step, begins, upstream, out, to_alpha):
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        n = b - a
        to_alpha[r] = 0.0
        if n == 0:
            continue
        pairs, starts, kinds, order = network(bitonic, n)
        tape = _taped(x[a:b], alphas[r], step, pairs, starts, kinds)
        pulls, tape_y, y, z = np.zeros((kinds.size, n)), np.empty((kinds.size, n)), np.empty(n), np.empty(n)
        for i in range(n):
            y[:] = 0.0
            y[i] = 1.0
            _through(pairs, starts, kinds, alphas[r], step, tape, y, tape_y)
            _put_back(upstream[begins[r] + i * n : begins[r] + (i + 1) * n], order, z)
            _pull(pairs, starts, kinds, alphas[r], step, tape, tape_y, z, pulls)
        out[a:b] = 0.0
        to_alpha[r] = _pull_scores(pairs, starts, kinds, alphas[r], step, tape, pulls, out[a:b]) / alphas[r]


# --- What rows.py calls. ----------------------------------------------------------------------------------------------


def _of(given):
    """Scores, alphas, whether the network is bitonic, and the step."""
    return given.x, given.alphas, given.choices["network"] == "bitonic", STEPS[given.choices["step"]]


def _items(cores, given, weights):
    out = np.empty(len(given.x))
    each(cores, given.offsets, _weighted, *_of(given), weights, out, size=SIZE)
    return out


def _gradients(cores, given, weights, upstream, of_sorted):
    out, to_alpha, by_place = np.empty(len(given.x)), np.empty(len(given.alphas)), np.zeros(len(given.x))
    each(cores, given.offsets, _gradient, *_of(given), weights, upstream, of_sorted, out, to_alpha, by_place, size=SIZE)
    return out, to_alpha, by_place


_NONE = np.empty(0)


def rank(cores, given):
    """Ranks from 1."""
    return _items(cores, given, rows(given) + 1.0), None


def rank_gradient(cores, given, state, upstream):
    """For the scores and alpha."""
    return _gradients(cores, given, rows(given) + 1.0, upstream, _NONE)[:2]


def sort(cores, given):
    """Sorted scores, best first."""
    out = np.empty(len(given.x))
    each(cores, given.offsets, _sorted, *_of(given), out, size=SIZE)
    return out, None


def sort_gradient(cores, given, state, upstream):
    """For the scores and alpha."""
    return _gradients(cores, given, _NONE, _NONE, upstream)[:2]


def topk(cores, given):
    """Memberships, or their logarithms; and the memberships."""
    members = np.clip(_items(cores, given, top_weights(given)), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        return (np.log(members) if given.log else members.copy()), members


def topk_gradient(cores, given, members, upstream):
    """For the scores, alpha and k, which moves the part of a position that comes next."""
    if given.log:
        upstream = np.where(members > FLOOR, upstream / np.maximum(members, FLOOR), 0.0)
    out, to_alpha, by_place = _gradients(cores, given, top_weights(given), upstream, _NONE)
    to_k, part = np.zeros(len(given.alphas)), given.ks.astype(np.int64)
    inside = part < given.lengths
    to_k[inside] = by_place[(given.offsets[:-1] + part)[inside]]
    return out, to_alpha, to_k


def permute(cores, given):
    """Nothing: rows are made of the scores."""
    return None


def permute_rows(given, state, r, items):
    """(len(items), n): how likely these of a ranking's items are at every position."""
    x, alphas, bitonic, step = _of(given)
    x = x[given.offsets[r] : given.offsets[r + 1]]
    out = np.empty((len(items), len(x)))
    _matrix_rows(x, alphas[r], bitonic, step, items, out)
    return np.clip(out, 0.0, 1.0)


def permute_gradient(cores, given, state, upstream):
    """For the scores and alpha; upstream has a matrix for each ranking, one after the other."""
    out, to_alpha = np.empty(len(given.x)), np.empty(len(given.alphas))
    of_it = (squares(given), upstream, out, to_alpha)
    each(cores, given.offsets, _matrix_gradient, *_of(given), *of_it, size=SIZE)
    return out, to_alpha
