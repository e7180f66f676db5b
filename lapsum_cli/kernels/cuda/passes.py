"""Passes of a team over the scores of a ranking whose threshold is known: memberships, pulls, gradients (members.py).

A team has the whole ranking (alone.py) or a tile of it (topk.py); its first pass is then that of every tile, and the
second begins with the sums of all of them. All arrays are slices, of what the team has.

What is the same for all scores, such as whether logarithms are wanted, is known when a pass is compiled, by closures:
in the loop it would be asked for every score. And a thread asks for its next scores before it looks at those at hand:
of what lies in memory half was waiting, on an H200.
"""

import numpy as np

from ..scalars.cut import FEW, LOGARITHM, MEMBERSHIP
from ..scalars.team import team_maxima
from .adapter import cuda, device
from .blocks import uint32
from .members import moment_of, off_by, pull_of, result_of, scaled, seen_from, settled_one, share_of
from .threshold import KEPT, read

NONE = -1  # in place of LOGARITHM, MEMBERSHIP or another slope
OF_TEAM, OF_TILE = 4, 8  # scores that a thread asks memory for at once: those of a tile are not in the cache


@device
def has_few(b, shares):
    """Whether few scores are next to the threshold: their pulls are then summed as differences."""
    return not b.is_hard and shares[5] < FEW


@device
def first_at(team, x, score):
    """The first place of a score; x.size where it is not."""
    i, step, found = uint32(team.t), uint32(team.threads), uint32(x.size)
    while i < x.size:
        if x[i] == score:
            found = i
            break
        i = uint32(i + step)
    (at,) = team_maxima(team, (-np.float64(found),))
    return -np.int64(at)


@device
def off_of(b, shares, nearest, v, slope):
    """What is taken off the pulls of a ranking; nothing where many scores are next to the threshold."""
    kind = type(b.rate)
    if v.size > 0 and has_few(b, shares):
        return off_by(b, kind(v[min(nearest, v.size - 1)]), slope)
    return kind(0), kind(0)


def _walking(at_once, gives, pulls):
    """A pass that writes memberships or their logarithms, and sums pulls, of a slope; or does not: NONE."""

    @device
    def walking(team, x, sign, b, out, v, slope, off):
        kind, threads, first, stop = x.dtype.type, uint32(team.threads), uint32(team.t), uint32(x.size)
        scores, upstream = cuda.local.array(at_once, x.dtype), cuda.local.array(at_once, x.dtype)
        scores_after, upstream_after = cuda.local.array(at_once, x.dtype), cuda.local.array(at_once, x.dtype)
        pulled, total = 0.0, 0.0
        read(x, first, threads, stop, scores)
        if pulls != NONE:
            read(v, first, threads, stop, upstream)
        while first < stop:
            part, part_total, end = kind(0), kind(0), uint32(min(first + KEPT * threads, stop))
            while first < end:
                after = uint32(first + at_once * threads)
                read(x, after, threads, stop, scores_after)
                if pulls != NONE:
                    read(v, after, threads, stop, upstream_after)
                for j in range(at_once):
                    i, score = uint32(first + j * threads), kind(sign * scores[j])
                    z, e, up = seen_from(b, score)
                    if gives != NONE:
                        result = result_of(b, score, z, e, up, gives == LOGARITHM)
                        if i < stop:
                            out[i] = result
                    if pulls != NONE:
                        e = scaled(b, e, up)
                        pull = pull_of(b, upstream[j], z, e, up, pulls if pulls == MEMBERSHIP else slope, off)
                        part, part_total = part + pull, part_total + e
                    scores[j], upstream[j] = scores_after[j], upstream_after[j]
                first = after
            pulled, total = pulled + part, total + part_total
        return pulled, total

    return walking


def _walks(at_once, with_pulls):
    """Passes that write results, that write them and sum pulls, and that sum pulls; b says of which kind."""
    give, give_log = _walking(at_once, MEMBERSHIP, NONE), _walking(at_once, LOGARITHM, NONE)
    both, both_log = _walking(with_pulls, MEMBERSHIP, MEMBERSHIP), _walking(with_pulls, LOGARITHM, LOGARITHM)
    pull, pull_other = _walking(with_pulls, NONE, MEMBERSHIP), _walking(with_pulls, NONE, LOGARITHM)

    @device
    def gives(team, x, sign, b, log, out):
        off = type(b.rate)(0), type(b.rate)(0)
        if b.is_hard:
            _share_out(team, x, sign, b, log, out)
        elif log:
            give_log(team, x, sign, b, out, x, 0, off)
        else:
            give(team, x, sign, b, out, x, 0, off)

    @device
    def walk(team, x, sign, b, log, out, v, slope, off):
        """Write memberships, unless out is empty; sums of the pulls and the scaled e_i of a thread."""
        if b.is_hard:
            if out.size > 0:
                _share_out(team, x, sign, b, log, out)
            return 0.0, 0.0
        if out.size == 0:
            if slope == MEMBERSHIP:
                return pull(team, x, sign, b, out, v, slope, off)
            return pull_other(team, x, sign, b, out, v, slope, off)
        if log:
            return both_log(team, x, sign, b, out, v, slope, off)
        return both(team, x, sign, b, out, v, slope, off)

    return gives, walk


@device
def _share_out(team, x, sign, b, log, out):
    """Write what each score gets where k takes nothing or everything."""
    i, step = uint32(team.t), uint32(team.threads)
    while i < x.size:
        out[i] = share_of(b, sign * x[i], log)
        i = uint32(i + step)


def _settling(at_once, of):
    """A pass that writes gradients, of a slope."""

    @device
    def settling(team, x, sign, b, v, slope, off, mean, factor, out):
        kind, threads, first, stop = x.dtype.type, uint32(team.threads), uint32(team.t), uint32(x.size)
        scores, upstream = cuda.local.array(at_once, x.dtype), cuda.local.array(at_once, x.dtype)
        scores_after, upstream_after = cuda.local.array(at_once, x.dtype), cuda.local.array(at_once, x.dtype)
        moment, above_b, below_b = 0.0, 0.0, 0.0
        read(x, first, threads, stop, scores)
        read(v, first, threads, stop, upstream)
        while first < stop:
            part, part_above, part_below = kind(0), kind(0), kind(0)
            end = uint32(min(first + KEPT * threads, stop))
            while first < end:
                after = uint32(first + at_once * threads)
                read(x, after, threads, stop, scores_after)
                read(v, after, threads, stop, upstream_after)
                for j in range(at_once):
                    i = uint32(first + j * threads)
                    z, e, up = seen_from(b, kind(sign * scores[j]))
                    e, own = scaled(b, e, up), of if of == MEMBERSHIP else slope
                    g = settled_one(b, upstream[j], z, e, up, own, off, mean)
                    part += moment_of(z, g)
                    part_above += g if up else kind(0)
                    part_below += kind(0) if up else g
                    if i < stop:
                        out[i] = factor * g
                    scores[j], upstream[j] = scores_after[j], upstream_after[j]
                first = after
            moment, above_b, below_b = moment + part, above_b + part_above, below_b + part_below
        return moment, above_b, below_b

    return settling


def _settles(at_once):
    of_members, of_others = _settling(at_once, MEMBERSHIP), _settling(at_once, LOGARITHM)

    @device
    def settle(team, x, sign, b, v, slope, off, mean, factor, out):
        """Write the gradient (h_i v_i - e_i mean) / alpha; and of a thread what that for alpha is made of: the sums of
        settled pulls times distances to the neighbours, and of those above and below b.
        """
        if b.is_hard:
            i, step = uint32(team.t), uint32(team.threads)
            while i < x.size:
                out[i] = 0
                i = uint32(i + step)
            return 0.0, 0.0, 0.0
        if slope == MEMBERSHIP:
            return of_members(team, x, sign, b, v, slope, off, mean, factor, out)
        return of_others(team, x, sign, b, v, slope, off, mean, factor, out)

    return settle


(give, walk), settle = _walks(OF_TEAM, OF_TEAM), _settles(OF_TEAM)
(give_tile, walk_tile), settle_tile = _walks(OF_TILE, OF_TEAM), _settles(OF_TEAM)  # of two arrays it asks for as many
