"""Gates: what is let pass of sigmoid(x / alpha), of softmax(x / alpha), or of x itself, and 0 for the rest.

threshold  gates of p or more (threshold-p of MoDification: Zhang et al., NAACL 2025)
top-p      the largest gates, until they hold p of the sum; of equal ones the first (Holtzman et al., ICLR 2020)
min-p      gates of at least p times the largest one (Nguyen et al., ICLR 2025)

The choice has no gradient, and what passes that of its gate.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..jit import inner, kernel, uncounted
from ..scalars.functions import exp_nonpositive
from . import each, places

SIGMOID, SOFTMAX, IDENTITY = range(3)
_GATES = {"sigmoid": SIGMOID, "softmax": SOFTMAX, "identity": IDENTITY}


def threshold(cores, given):
    """Gates of p or more."""
    return _passed(cores, given, "sigmoid", lambda gates: np.full(len(given.alphas), given.choices["p"]))


def min_p(cores, given):
    """Gates of at least p times the largest one."""

    def least(gates):
        largest = np.zeros(len(given.alphas))
        each(cores, given.offsets, _largest, gates, largest)
        return given.choices["p"] * largest

    return _passed(cores, given, "softmax", least)


def top_p(cores, given):
    """The largest gates that hold p of their sum."""
    gate = _GATES[given.choices["gate"] or "softmax"]
    gates, out = np.empty(len(given.x)), np.empty(len(given.x))
    each(cores, given.offsets, _open, given.x, given.alphas, gate, gates)
    each(cores, given.offsets, _first, gates, places(cores, given), given.choices["p"], out)
    return out, (gate, gates)


def _passed(cores, given, default, least):
    gate = _GATES[given.choices["gate"] or default]
    gates = np.empty(len(given.x))
    each(cores, given.offsets, _open, given.x, given.alphas, gate, gates)
    return np.where(gates >= np.repeat(least(gates), given.lengths), gates, 0.0), (gate, gates)


class Passes(NamedTuple):
    """Of what a choice lets pass: choose(cores, given) -> values (N,), of which those that do not are 0, and gates."""

    choose: Callable[..., Any]

    def topk(self, cores, given):
        """Gates that pass, and 0."""
        values, state = self.choose(cores, given)
        return values, (*state, values != 0)

    def topk_gradient(self, cores, given, state, upstream):
        """For the scores, alpha, and k, of which there is none."""
        gate, gates, passed = state
        out, to_alpha = np.where(passed, upstream, 0.0), np.zeros(len(given.alphas))
        each(cores, given.offsets, _gate_gradients, given.x, given.alphas, gate, gates, out, to_alpha)
        return out, to_alpha, np.zeros(len(given.alphas))


THRESHOLD, TOP_P, MIN_P = Passes(threshold), Passes(top_p), Passes(min_p)


@uncounted
def _open(first, last, offsets, x, alphas, gate, out):
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        if gate == SOFTMAX:
            _softmax(x[a:b], alphas[r], out[a:b])
        else:
            for i in range(a, b):
                out[i] = x[i] if gate == IDENTITY else _sigmoid(x[i] / alphas[r])


@inner
def _sigmoid(t):
    e = exp_nonpositive(-abs(t))
    return (1.0 if t >= 0.0 else e) / (1.0 + e)


@inner
def _softmax(x, alpha, out):
    most, total = -np.inf, 0.0
    for i in range(x.size):
        most = max(most, x[i])
    for i in range(x.size):
        out[i] = exp_nonpositive((x[i] - most) / alpha)
        total += out[i]
    for i in range(x.size):
        out[i] /= total


@uncounted
def _largest(first, last, offsets, gates, largest):
    for r in range(first, last):
        for i in range(offsets[r], offsets[r + 1]):
            largest[r] = max(largest[r], gates[i])


@kernel
def _first(first, last, offsets, gates, at, p, out):
    for r in range(first, last):
        a, n = offsets[r], offsets[r + 1] - offsets[r]
        ordered, total = np.empty(n), 0.0
        for i in range(a, a + n):
            ordered[at[i]] = gates[i]
            total += gates[i]
        held, count = 0.0, 0
        while count < n and held < p * total:
            held += ordered[count]
            count += 1
        for i in range(a, a + n):
            out[i] = gates[i] if at[i] < count else 0.0


@uncounted
def _gate_gradients(first, last, offsets, x, alphas, gate, gates, out, to_alpha):
    """Of gates, written over the upstream; of what depends on x / alpha alone, a shift not counted."""
    for r in range(first, last):
        a, b, mean = offsets[r], offsets[r + 1], 0.0
        if gate == IDENTITY:
            continue
        if gate == SOFTMAX:
            for i in range(a, b):
                mean += gates[i] * out[i]
        for i in range(a, b):
            slope = gates[i] if gate == SOFTMAX else gates[i] * _sigmoid(-x[i] / alphas[r])
            out[i] = slope * (out[i] - mean) / alphas[r]
            to_alpha[r] -= out[i] * (x[i] - (x[a] if gate == SOFTMAX else 0.0)) / alphas[r]
