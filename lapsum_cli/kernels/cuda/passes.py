"""Passes of a team over the scores of a ranking whose threshold is known: memberships, pulls, gradients (members.py).

A team has the whole ranking (alone.py) or a tile of it (topk.py); its first pass is then that of every tile, and the
second begins with the sums of all of them.
"""

import numpy as np

from ..scalars.cut import FEW
from ..scalars.team import team_maxima
from .adapter import cuda, device
from .members import moment_of, off_by, pull_of, result_of, scaled, seen_from, settled_one
from .threshold import AT_ONCE, KEPT, read


@device
def has_few(b, shares):
    """Whether few scores are next to the threshold: their pulls are then summed as differences."""
    return not b.is_hard and shares[5] < FEW


@device
def first_at(team, x, start, stop, score):
    """The first place of a score from start to stop; stop where it is not."""
    place, found = type(start), stop
    i = place(start + team.t)
    while i < stop:
        if x[np.uint64(i)] == score:
            found = i
            break
        i = place(i + team.threads)
    (at,) = team_maxima(team, (-np.float64(found),))
    return -np.int64(at)


@device
def off_of(b, shares, nearest, v, slope):
    """What is taken off the pulls of a ranking; nothing where many scores are next to the threshold."""
    kind = type(b.rate)
    if v.size > 0 and has_few(b, shares):
        return off_by(b, kind(v[min(nearest, v.size - 1)]), slope)
    return kind(0), kind(0)


@device
def walk(team, x, start, stop, sign, b, log, out, v, slope, off):
    """Write memberships, unless out is empty; and sum the pulls and the scaled e_i of a thread, unless v is empty."""
    kind, place, threads, pulled, total = x.dtype.type, type(start), team.threads, 0.0, 0.0
    scores, pulls = cuda.local.array(AT_ONCE, x.dtype), cuda.local.array(AT_ONCE, x.dtype)
    first = place(start + team.t)
    while first < stop:
        part, part_total, end = kind(0), kind(0), place(min(first + KEPT * threads, stop))
        while first < end:
            read(x, first, threads, stop, scores)
            if v.size > 0:
                read(v, first, threads, stop, pulls)
            for j in range(AT_ONCE):
                i, score = place(first + j * threads), kind(sign * scores[j])
                z, e, up = seen_from(b, score)
                if out.size > 0:
                    result = result_of(b, score, z, e, up, log)
                    if i < stop:
                        out[np.uint64(i)] = result
                if v.size > 0:
                    e = scaled(b, e, up)
                    part, part_total = part + pull_of(b, pulls[j], z, e, up, slope, off), part_total + e
            first = place(first + AT_ONCE * threads)
        pulled, total = pulled + part, total + part_total
    return pulled, total


@device
def settle(team, x, start, stop, sign, b, v, slope, off, mean, factor, out):
    """Write the gradient (h_i v_i - e_i mean) / alpha; and of a thread what that for alpha is made of: the sums of
    settled pulls times distances to the neighbours, and of those above and below b.
    """
    kind, place, threads, moment, above_b, below_b = x.dtype.type, type(start), team.threads, 0.0, 0.0, 0.0
    scores, pulls = cuda.local.array(AT_ONCE, x.dtype), cuda.local.array(AT_ONCE, x.dtype)
    first = place(start + team.t)
    while first < stop:
        part, part_above, part_below, end = kind(0), kind(0), kind(0), place(min(first + KEPT * threads, stop))
        while first < end:
            read(x, first, threads, stop, scores)
            read(v, first, threads, stop, pulls)
            for j in range(AT_ONCE):
                i = place(first + j * threads)
                z, e, up = seen_from(b, kind(sign * scores[j]))
                g = settled_one(b, pulls[j], z, scaled(b, e, up), up, slope, off, mean)
                g = kind(0) if b.is_hard else g
                part += moment_of(z, g)
                part_above += g if up else kind(0)
                part_below += kind(0) if up else g
                if i < stop:
                    out[np.uint64(i)] = factor * g
            first = place(first + AT_ONCE * threads)
        moment, above_b, below_b = moment + part, above_b + part_above, below_b + part_below
    return moment, above_b, below_b
