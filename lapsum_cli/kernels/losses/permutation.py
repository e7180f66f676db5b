"""Cross-entropy of the soft permutation against the order of the targets, and its gradients, in O(n) memory.

-(1/n) sum of log P[i, place of y_i]: each item needs the two boundaries of one position, no matrix (LapSum, ICML 2025,
section 4). Their gradients go back through the boundaries, as those of a soft sort do (sort.invert).
"""

import math

import numpy as np

from ...core.rankings import Rankings
from ..cpu import parallel
from ..cpu.order import Order
from ..cpu.permute import distance
from ..cpu.sort import invert_all, room
from ..cpu.sweeps import finite_part
from ..jit import kernel
from ..scalars.laplace import LOG_2
from .losses import positions


def permutation(values, offsets, targets, alphas, gradient=True, descending=True, threads=1):
    """A loss (m,), and if wanted the gradients for scores (N,) and alpha (m,); see losses.py beside it."""
    places = positions(targets, offsets, threads)
    losses, to_scores, to_alpha = np.empty(len(alphas)), np.empty(len(values)), np.empty(len(alphas))
    order, workspace = Order(parallel.Cores(threads), Rankings(values, offsets), descending), parallel.Workspace()

    def work(group):
        scores, origins = order.sorted(group)
        own, pull = workspace.array("own and pull", (2, scores.shape[1]), np.float64)
        _permutation_rows(
            scores,
            origins,
            offsets,
            group,
            alphas,
            descending,
            places,
            *room(scores.shape[1], True, True, workspace),
            own,
            pull,
            gradient,
            losses,
            to_scores,
            to_alpha,
        )

    parallel.for_each(work, [(group,) for group in order.groups], threads)
    return losses, *((to_scores, to_alpha) if gradient else (None, None))


@kernel
def _permutation_rows(
    scores,
    origins,
    offsets,
    group,
    alphas,
    descending,
    places,
    ahead,
    outside,
    buffers,
    marks,
    found,
    moved,
    own,
    pull,
    wanted,
    losses,
    gradient,
    alpha_gradient,
):
    none = pull[:0]
    for row in range(group.size):
        r = group[row]
        first, length, alpha = offsets[r], offsets[r + 1] - offsets[r], alphas[r]
        start, stop = finite_part(scores[row, :length], np.inf if descending else -np.inf)
        y, origin, n = scores[row, start:stop], origins[row, start:stop], stop - start
        inner = max(n - 1, 0)
        invert_all(y, alpha, descending, 1.0, inner, none, ahead, outside, buffers, marks, found, moved, none)
        total = _surprise_of_infinite(origins[row], places[first : first + length], start, stop, length)
        pull[:n] = 0.0
        for i in range(n):
            place = places[first + np.int64(origin[i])] - start
            log_p, own[i] = _surprise(y[i], found, place, n, alpha, descending, -1.0 / length, pull)
            total -= log_p
        losses[r] = total / length
        if not wanted:
            continue
        invert_all(y, alpha, descending, 1.0, inner, pull[:inner], ahead, outside, buffers, marks, found, moved, none)
        middle = np.float64(y[n // 2]) if n > 0 else 0.0
        moment = 0.0
        gradient[first : first + length] = 0.0
        for i in range(n):
            g = own[i] + (moved[0, i] if inner > 0 else 0.0)
            gradient[first + np.int64(origin[i])] = g
            moment += g * (np.float64(y[i]) - middle)
        alpha_gradient[r] = -moment / alpha


@kernel
def _surprise_of_infinite(origin, place, start, stop, length):
    """-sum log P over infinite scores, which share their places equally and have no others."""
    total = 0.0
    for i in range(length):
        from_place, to_place = (0, start) if i < start else (stop, length)
        if i < start or i >= stop:
            inside = from_place <= place[origin[i]] < to_place
            total += math.log(to_place - from_place) if inside else np.inf
    return total


@kernel
def _surprise(x, found, place, n, alpha, descending, weight, pull):
    """log P of a finite score at a place, and weight times its slope along x; pull[j] takes that along boundary j."""
    if place < 0 or place >= n:
        return -np.inf, 0.0
    low, high = max(place - 1, 0), min(place, n - 2)
    edges = (0.0, 0.0, 0.0, 0.0) if n == 1 else (found[0, low], found[1, low], found[0, high], found[1, high])
    log_p, at_low, at_high = surprise(x, edges, place, n, alpha, descending)
    at_low, at_high = at_low * weight, at_high * weight
    if place < n - 1:
        pull[place] -= at_high
    if place > 0:
        pull[place - 1] += at_low
    return log_p, at_high - at_low


@kernel
def surprise(x, edges, place, n, alpha, descending):
    """log P of a finite score at one of n places, and its slopes along the distances to the boundaries at either end.

    edges: of the boundary above the place and of that below it, a score and a step; an end without one is ignored.

    P = F(high) - F(low), with the distances to the boundaries on either side. Its logarithm keeps all digits of a
    difference: the width comes from the boundaries themselves, and never as the difference of two distances.
    """
    if n == 1:
        return 0.0, 0.0, 0.0
    up = 1.0 if descending else -1.0
    low, high = distance(x, edges[0], edges[1], alpha, up), distance(x, edges[2], edges[3], alpha, up)
    if place == 0:
        log_p, slope = _log_tail(high)
        return log_p, 0.0, slope / alpha * up
    if place == n - 1:
        log_p, slope = _log_tail(-low)
        return log_p, slope / alpha * up, 0.0
    width = up * ((edges[0] - edges[2]) + (edges[1] - edges[3])) / alpha
    log_p, at_low, at_high = _log_between(low, high, max(width, 1e-300))
    return log_p, at_low / alpha * up, at_high / alpha * up


@kernel
def _log_tail(z):
    """log F(z), and its slope."""
    if z <= 0.0:
        return z - LOG_2, 1.0
    tail = 0.5 * math.exp(-z)
    return math.log1p(-tail), tail / (1.0 - tail)


@kernel
def _log_between(low, high, width):
    """log(F(high) - F(low)), and the densities at low and at high over that difference."""
    if high <= 0.0 or low >= 0.0:
        fade = math.exp(-width)
        rest = -math.expm1(-width)
        log_p = (high if high <= 0.0 else -low) - LOG_2 + math.log(rest)
        return (log_p, fade / rest, 1.0 / rest) if high <= 0.0 else (log_p, 1.0 / rest, fade / rest)
    twice = -(math.expm1(low) + math.expm1(-high))
    return math.log(twice) - LOG_2, math.exp(low) / twice, math.exp(-high) / twice
