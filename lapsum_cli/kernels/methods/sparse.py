"""Sparse top-k: memberships of which most are 0, exactly (Sander, Puigcerver, Djolonga, Peyre, Blondel, ICML 2023).

y = ((s - v) / l)^(q - 1) of sorted scores s and their isotonic v, 1 / p + 1 / q = 1; they sum to k. Of magnitudes, s =
|x|, each with the sign of its score, and l times (s - v) / l more, so that the large ones come through as they are.
"""

import numpy as np

from ..jit import inner, kernel
from . import each, places
from .isotonic import CUBE, MEAN, MOMENTS, SHRUNK, SHRUNK_CUBE, pool, project, shift

_KINDS = {(False, False): MEAN, (False, True): CUBE, (True, False): SHRUNK, (True, True): SHRUNK_CUBE}
_AS_GOOD_AS_EQUAL = 1e-4  # values of projections, which converge: they are those of one block


def topk(cores, given):
    """Memberships."""
    return forward(cores, given, given.x, False)


def topk_gradient(cores, given, state, upstream):
    """For the scores, alpha and k."""
    return backward(cores, given, state, upstream)


def forward(cores, given, scores, magnitudes):
    """Results (N,) of scores, or of magnitudes, and the state that `backward` takes."""
    kind = _KINDS[magnitudes, given.choices["p"] < 1.5]
    at = places(cores, given._replace(x=scores))
    out, rests, levels = np.empty((3, len(scores)))
    blocks = np.empty(len(scores), np.int64)
    iterations = given.choices["iterations"] if given.choices["solver"] == "dykstra" else 0
    arrays = (scores, at, given.ks, given.alphas, kind, iterations, out, rests, levels, blocks)
    each(cores, given.offsets, _memberships, *arrays)
    return out, (at, kind, rests, levels, blocks)


def backward(cores, given, state, upstream):
    """Gradients for what was sorted (N,), alpha (m,) and k (m,)."""
    at, kind, rests, levels, blocks = state
    out, to_alpha, to_k = np.empty(len(at)), np.empty(len(given.alphas)), np.empty(len(given.alphas))
    arrays = (at, given.ks, given.alphas, kind, rests, levels, blocks, upstream, out, to_alpha, to_k)
    each(cores, given.offsets, _gradients, *arrays)
    return out, to_alpha, to_k


@inner
def _weight(place, k):
    return min(max(k - place, 0.0), 1.0)


@kernel
def _memberships(first, last, offsets, x, at, ks, alphas, kind, iterations, out, rests, levels, blocks):
    """By place: levels are v, rests s - v, and blocks where the block of a place begins."""
    longest = 0
    for r in range(first, last):
        longest = max(longest, offsets[r + 1] - offsets[r])
    s, w, v = np.empty(longest), np.empty(longest), np.empty(longest)
    begins, moments, work = np.empty(longest + 1, np.int64), np.empty((longest, MOMENTS)), np.empty((2, longest))
    for r in range(first, last):
        a, b, strength = offsets[r], offsets[r + 1], alphas[r]
        n = b - a
        for i in range(n):
            s[at[a + i]], w[i] = x[a + i], _weight(i, ks[r])
        if iterations == 0:
            _by_blocks(s[:n], w[:n], strength, kind, begins, moments, rests[a:b], levels[a:b], blocks[a:b])
        else:
            project(s[:n], w[:n], strength, iterations, kind == SHRUNK, v[:n], work[:, :n])
            _by_values(s[:n], v[:n], rests[a:b], levels[a:b], blocks[a:b])
        for i in range(a, b):
            out[i] = _membership(rests[a + at[i]] / strength, strength, kind)


@inner
def _by_blocks(s, w, strength, kind, begins, moments, rests, levels, blocks):
    for block in range(pool(s, w, strength, kind, begins, moments)):
        down = shift(moments[block], strength, kind)
        for i in range(begins[block], begins[block + 1]):
            rests[i], levels[i] = (s[i] - moments[block, 1]) - down, moments[block, 1] + down
            blocks[i] = begins[block]


@inner
def _by_values(s, v, rests, levels, blocks):
    begin = 0
    for i in range(s.size):
        begin = i if i > 0 and abs(v[i] - v[i - 1]) > _AS_GOOD_AS_EQUAL else begin
        rests[i], levels[i], blocks[i] = s[i] - v[i], v[i], begin


@inner
def _membership(d, strength, kind):
    if kind in (MEAN, CUBE):  # which are memberships, but for what is rounded
        d = min(max(d, 0.0), 1.0)
        return d if kind == MEAN else d * d * d
    return (1.0 + strength) * d if kind == SHRUNK else d * d * d + strength * d


@inner
def _slope(d, strength, kind):
    """Of a membership, along d."""
    if kind == MEAN:
        return 1.0
    if kind == CUBE:
        return 3.0 * d * d
    return 1.0 + strength if kind == SHRUNK else 3.0 * d * d + strength


@kernel
def _gradients(first, last, offsets, at, ks, alphas, kind, rests, levels, blocks, upstream, out, to_alpha, to_k):
    longest = 0
    for r in range(first, last):
        longest = max(longest, offsets[r + 1] - offsets[r])
    u = np.empty(longest)
    for r in range(first, last):
        a, b = offsets[r], offsets[r + 1]
        for i in range(a, b):
            u[at[i]] = upstream[i]
        place = (rests[a:b], levels[a:b], blocks[a:b], ks[r], alphas[r], kind)
        to_alpha[r], to_k[r] = _along_blocks(*place, u[: b - a])
        for i in range(a, b):
            out[i] = u[at[i]]


@inner
def _along_blocks(rests, levels, blocks, k, strength, kind, u):
    """Gradients for s by place, written over the upstream, and those for the strength and k."""
    to_strength, to_k, begin = 0.0, 0.0, 0
    while begin < u.size:
        end, weight, squares = begin, 0.0, 0.0
        while end < u.size and blocks[end] == begin:
            weight += _weight(end, k)
            squares += 3.0 * rests[end] * rests[end]
            end += 1
        more_strength, more_k = _along_block(
            rests[begin:end], levels[begin], weight, squares, strength, kind, u[begin:end]
        )
        to_strength += more_strength
        to_k += more_k if begin <= k < end else 0.0
        begin = end
    return to_strength, to_k


@inner
def _along_block(rests, level, weight, squares, strength, kind, u):
    """v moves with s by its share of what holds the block, which is n + l W or by the squares of s - v, and with the
    strength and k as its equation says.
    """
    is_cube, is_shrunk = kind in (CUBE, SHRUNK_CUBE), kind in (SHRUNK, SHRUNK_CUBE)
    pull_of_one = strength * strength * strength if is_cube else strength
    held = (squares if is_cube else float(u.size)) + (pull_of_one * weight if is_shrunk else 0.0)
    total, along = 0.0, 0.0
    for i in range(u.size):
        d = rests[i] / strength
        along += u[i] * d if is_shrunk else 0.0
        u[i] *= _slope(d, strength, kind) / strength
        total, along = total + u[i], along - u[i] * d
    share = total / held if held > 0.0 else 0.0
    for i in range(u.size):
        u[i] = u[i] - share * (3.0 * rests[i] * rests[i] if is_cube else 1.0) if held > 0.0 else 0.0  # v is s
    pull = share * (level if is_shrunk else 1.0)
    return along + pull * weight * (3.0 * strength * strength if is_cube else 1.0), pull * pull_of_one
