"""Smooth top-k SVM: log(s_k e^margin + s_k-1 e^z_y) - log(s_k-1 e^z_y), y the true item, z = x / (alpha k).

Berrada, Zisserman, Kumar, Smooth loss functions for deep top-k classification, ICLR 2018; s_j is the sum over sets of
j items that are not true of the product of their e^z. Theirs is tau times it, with tau = alpha and 1 / tau for the
margin, which here is in alphas. True is the item of the largest target; of several, which do not compete, it is the
mean. k is rounded up, and 1 at least; of fewer others the loss is 0.

With rho such that items, each drawn by itself with p = rho e^z / (1 + rho e^z), are k - 1/2 on average, s_k / s_k-1 is
P(k) / P(k - 1) / rho, P the probability that so many are drawn; and what an item has of its logarithm is what it has of
being drawn where k are, less that where k - 1 are. P is a sum over angles t of the product of 1 - p + p e^it, of which
an item is left out by a division: no table, nothing cancels. As k - 1/2 is where P is large, about sqrt(90 k) angles
are as good as n (Chernoff), so that it takes n sqrt(k) steps. Fernandez and Williams, 2010, have P this way.
"""

import math

import numpy as np

from ..jit import inner, uncounted
from ..scalars.team import join, team_maxima, team_sums
from .declared import Loss
from .gains import best_of
from .pairs import apart, behind, missed
from .topk_hinge import at_place

MOST = 1.79e308  # scores beyond it are as good
HALVINGS = 12  # of log rho, between ends that are log(2 n) apart: any rho is right, and some round little
# Rows of work. By item: p and 1 - p, which are 0 and 1 of a true one. By angle: its cosine and sine, and the product.
IN, OUT, COS, SIN, RE, IM = 0, 1, 2, 3, 4, 5
ROWS = 6


@uncounted
def topk_svm(rankings, offsets, read, losses, upstreams):
    """The mean over true items, and its gradient along x / alpha."""
    x, y, ks, alphas, descending, margin = read
    team, (upstream, work), up = join(rankings), upstreams, 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, stop, true = offsets[r], offsets[r + 1], 0.0
        best = best_of(team, y, start, stop)
        for i in range(start + team.t, stop, team.threads):
            true += 1.0 if y[i] == best else 0.0
        (true,) = team_sums(team, (true,))
        others, k = stop - start - int(true), max(math.ceil(min(ks[r], np.float64(stop - start))), 1)
        total, slopes, at, fewer, level = 0.0, 0.0, start, 1.0, 0.0
        if k <= others:
            at = _reference(team, x, y, start, stop, up, best, k, work)
            log_rho = _draw(team, x, y, start, stop, up, best, alphas[r], at, k, others, work)
            at_k, fewer = _angles(team, start, stop, k, others, work)
            level = math.log(at_k / fewer) - log_rho
            for i in range(start + team.t, stop, team.threads):
                if y[i] == best:
                    cost, slope = missed(apart(x[i], x[at], up, alphas[r]) / k - level - margin)
                    total, slopes = total + cost, slopes + slope
            total, slopes = team_sums(team, (total, slopes))
        for i in range(start + team.t, stop if upstream.size > 0 else start, team.threads):
            slope = 0.0
            if k <= others and y[i] == best:
                slope = -missed(apart(x[i], x[at], up, alphas[r]) / k - level - margin)[1]
            elif k <= others:
                slope = slopes * _share(start, k, others, i, at_k, fewer, work)
            upstream[i] = slope / (k * max(true, 1.0))
        if team.t == 0:
            losses[r] = total / max(true, 1.0)


@inner
def _reference(team, x, y, start, stop, up, best, k, work):
    """Which item is at place k of those that are not true: from there the others are seen."""
    for i in range(start + team.t, stop, team.threads):
        work[IN, i] = min(max(up * np.float64(x[i]), -MOST), MOST) if y[i] != best else -MOST
    threshold, at = at_place(team, work, IN, start, stop, k), -1.0
    for i in range(start + team.t, stop, team.threads):
        if y[i] != best and work[IN, i] == threshold:
            at = max(at, np.float64(i))
    (at,) = team_maxima(team, (at,))
    return int(at)


@inner
def _draw(team, x, y, start, stop, up, best, alpha, at, k, others, work):
    """log rho, with z counted from that of the reference; fill IN and OUT.

    k of these z are 0 or more, and all but k - 1 are 0 or less, which is where its bounds are from.
    """
    for i in range(start + team.t, stop, team.threads):
        work[IN, i] = apart(x[i], x[at], up, alpha) / k if y[i] != best else -np.inf
    low, high = -math.log(2.0 * (others - k) + 1.0), math.log(2.0 * k - 1.0)
    for _ in range(HALVINGS):
        middle, drawn = 0.5 * (low + high), 0.0
        for i in range(start + team.t, stop, team.threads):
            drawn += behind(-work[IN, i] - middle)[0]
        (drawn,) = team_sums(team, (drawn,))
        low, high = (middle, high) if drawn < k - 0.5 else (low, middle)
    for i in range(start + team.t, stop, team.threads):
        z = work[IN, i] + low
        work[IN, i], work[OUT, i] = behind(-z)[0], behind(z)[0]
    team_sums(team, (0.0,))
    return low


@inner
def _count(k, others):
    """How many angles: more change nothing, as so far from k, or from others - k, nothing is drawn."""
    enough = 20 + int(math.sqrt(225.0 + 90.0 * min(k, others - k + 1)))
    return min(others + 1, enough)


@inner
def _angles(team, start, stop, k, others, work):
    """P(k) and P(k - 1); fill the rows of angles: of the product times e^-i(k - 1)t, over how many there are.

    None is pi, where 1 - p + p e^it may be 0. Those of the other half are the conjugates.
    """
    count = _count(k, others)
    at_k, fewer = 0.0, 0.0
    for m in range(team.t, (count + 1) // 2, team.threads):
        step = 2 * m + (1 if count % 2 == 0 else 0)
        cos, sin = math.cos(math.pi * step / count), math.sin(math.pi * step / count)
        turned = math.pi * ((k - 1) * step % (2 * count)) / count
        weight = (1.0 if step == 0 else 2.0) / count
        re, im = weight * math.cos(turned), -weight * math.sin(turned)
        for i in range(start, stop):
            a, b = work[OUT, i] + work[IN, i] * cos, work[IN, i] * sin
            re, im = re * a - im * b, re * b + im * a
        work[COS, start + m], work[SIN, start + m] = cos, sin
        work[RE, start + m], work[IM, start + m] = re, im
        at_k, fewer = at_k + re * cos + im * sin, fewer + re
    return team_sums(team, (at_k, fewer))


@inner
def _share(start, k, others, i, at_k, fewer, work):
    """The slope of log(s_k / s_k-1) along z of an item, by its p or 1 - p: the less of them, as that rounds less."""
    p, q, same, next_to = work[IN, i], work[OUT, i], 0.0, 0.0
    side = -1.0 if p <= q else 1.0
    for m in range(start, start + (_count(k, others) + 1) // 2):
        a, b = q + p * work[COS, m], p * work[SIN, m]
        size = a * a + b * b
        re, im = (work[RE, m] * a + work[IM, m] * b) / size, (work[IM, m] * a - work[RE, m] * b) / size
        same, next_to = same + re, next_to + re * work[COS, m] + side * im * work[SIN, m]
    return p * (same / at_k - next_to / fewer) if p <= q else q * (same / fewer - next_to / at_k)


LOSS = Loss(
    topk_svm,
    reads=("scores", "target", "ks", "alphas", "descending", "margin"),
    moves=("scores over alpha",),
    sums=2,
    work=ROWS,
    card_bytes=40 + 8 * ROWS,
)
