"""Gates: what is let pass of sigmoid(x / alpha), of softmax(x / alpha), or of x itself, and 0 for the rest.

threshold  gates of p or more (threshold-p of MoDification: Zhang et al., NAACL 2025)
top-p      the largest gates, until they hold p of the sum; of equal ones the first (Holtzman et al., ICLR 2020)
min-p      gates of at least p times the largest one (Nguyen et al., ICLR 2025)

The choice has no gradient, and what passes that of its gate.
"""

from typing import NamedTuple

import numpy as np

from ..jit import inner, kernel, uncounted
from ..scalars.functions import exp_nonpositive
from ..scalars.team import join, mine, takes_part, team_maxima, team_sums
from . import each, places

SIGMOID, SOFTMAX, IDENTITY = range(3)
_GATES = {"sigmoid": SIGMOID, "softmax": SOFTMAX, "identity": IDENTITY}


class AtLeast(NamedTuple):
    """Gates of p or more, or of p times the largest of their ranking; default: what makes gates."""

    default: str
    is_relative: bool

    def topk(self, place, given):
        """Gates that pass, and 0."""
        gate, size = _GATES[given.choices["gate"] or self.default], given.x.size
        gates, out, leasts = (given.empty(place, n) for n in (size, size, given.lengths.size))
        how = (gate, given.choices["p"], self.is_relative)
        given.each(place, _pass, given.x, given.alphas, *how, gates, leasts, out)
        return out, (gate, gates, leasts)

    def topk_gradient(self, place, given, state, upstream):
        """For the scores, alpha, and k, of which there is none."""
        gate, gates, leasts = state
        out = given.empty(place, given.x.size)
        given.each(place, _passed, gates, leasts, upstream, out)
        return _gradients(place, given, gate, gates, out)


class TopP:
    """The largest gates that hold p of their sum, by places on a CPU."""

    def topk(self, cores, given):
        """Gates that pass, and 0."""
        gate = _GATES[given.choices["gate"] or "softmax"]
        gates, out = np.empty(len(given.x)), np.empty(len(given.x))
        given.each(cores, _all, given.x, given.alphas, gate, gates)
        each(cores, given.offsets, _first, gates, places(cores, given), given.choices["p"], out)
        return out, (gate, gates, out != 0)

    def topk_gradient(self, cores, given, state, upstream):
        """For the scores, alpha, and k, of which there is none."""
        gate, gates, passed = state
        return _gradients(cores, given, gate, gates, np.where(passed, upstream, 0.0))


THRESHOLD, TOP_P, MIN_P = AtLeast("sigmoid", False), TopP(), AtLeast("softmax", True)


def _gradients(place, given, gate, gates, out):
    """Of what depends on gates, written over the gradient for these; for the scores, alpha and k."""
    to_alpha, to_k = (given.empty(place, given.lengths.size) for _ in range(2))
    given.each(place, _gate_gradients, given.x, given.alphas, gate, gates, out, to_alpha, to_k)
    return out, to_alpha, to_k


@uncounted
def _pass(rankings, offsets, x, alphas, gate, p, is_relative, gates, leasts, out):
    team = join(rankings)
    for r in range(team.first, team.last):
        a, b, largest = offsets[r], offsets[r + 1], 0.0
        _open(team, x[a:b], alphas[r], gate, gates[a:b])
        for j in mine(team, b - a):
            largest = max(largest, gates[a + j])
        (largest,) = team_maxima(team, (largest,))
        least = p * largest if is_relative else p
        for j in mine(team, b - a):
            out[a + j] = gates[a + j] if gates[a + j] >= least else 0.0
        if team.t == 0:
            leasts[r] = least


@uncounted
def _passed(rankings, offsets, gates, leasts, upstream, out):
    """What is upstream of gates that passed."""
    team = join(rankings)
    for r in range(team.first, team.last):
        a, b = offsets[r], offsets[r + 1]
        for j in mine(team, b - a):
            out[a + j] = upstream[a + j] if gates[a + j] >= leasts[r] and gates[a + j] != 0.0 else 0.0


@uncounted
def _all(rankings, offsets, x, alphas, gate, gates):
    team = join(rankings)
    for r in range(team.first, team.last):
        a, b = offsets[r], offsets[r + 1]
        _open(team, x[a:b], alphas[r], gate, gates[a:b])


@inner
def _open(team, x, alpha, gate, out):
    if gate == SOFTMAX:
        _softmax(team, x, alpha, out)
    else:
        for i in mine(team, x.size):
            out[i] = x[i] if gate == IDENTITY else _sigmoid(x[i] / alpha)


@inner
def _sigmoid(t):
    e = exp_nonpositive(-abs(t))
    return (1.0 if t >= 0.0 else e) / (1.0 + e)


@inner
def _softmax(team, x, alpha, out):
    most, total = -np.inf, 0.0
    for i in mine(team, x.size):
        most = max(most, x[i])
    (most,) = team_maxima(team, (most,))
    for i in mine(team, x.size):
        out[i] = exp_nonpositive((x[i] - most) / alpha)
        total += out[i]
    (total,) = team_sums(team, (total,))
    for i in mine(team, x.size):
        out[i] /= total


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
def _gate_gradients(rankings, offsets, x, alphas, gate, gates, out, to_alpha, to_k):
    """Of gates, written over the upstream; of what depends on x / alpha alone, a shift not counted."""
    team = join(rankings)
    for r in range(team.first, team.last):
        a, b, mean, moved = offsets[r], offsets[r + 1], 0.0, 0.0
        origin = _first_score(team, x[a:b]) if gate == SOFTMAX else 0.0
        for j in mine(team, b - a if gate == SOFTMAX else 0):
            mean += gates[a + j] * out[a + j]
        (mean,) = team_sums(team, (mean,))
        for j in mine(team, 0 if gate == IDENTITY else b - a):
            i = a + j
            slope = gates[i] if gate == SOFTMAX else gates[i] * _sigmoid(-x[i] / alphas[r])
            out[i] = slope * (out[i] - mean) / alphas[r]
            moved -= out[i] * (x[i] - origin) / alphas[r] if takes_part(team, x[i]) else 0.0
        (moved,) = team_sums(team, (moved,))
        if team.t == 0:
            to_alpha[r], to_k[r] = moved, 0.0


@inner
def _first_score(team, x):
    """A score that takes part, from which others are seen: of a team of one the first."""
    found = -np.inf
    for i in mine(team, x.size):
        if takes_part(team, x[i]):
            found = x[i]
            break
    (found,) = team_maxima(team, (found,))
    return found
