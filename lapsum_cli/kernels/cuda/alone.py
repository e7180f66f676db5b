"""Soft top-k of rankings that a team of threads has alone: a thread, some of a warp, a warp or a block, by length.

A team reads its ranking from memory once, and then from the cache, until the threshold is found (threshold.py); then it
writes memberships, and where the upstream gradient is known by then the gradients too. Neighbours in a warp add up by
exchanging registers, so that small teams wait for nobody. Sums are in an order that depends on the length alone.
"""

import numpy as np

from ..scalars.team import team_sums
from . import tiles
from .adapter import cuda, device, float64, kernel, one_of
from .blocks import uint32
from .members import beside, ends_of, factor_of, nearest_to
from .passes import first_at, give, has_few, off_of, settle, walk
from .teams import Blocks, Class, Lanes, classes_of, team_for
from .threshold import find_whole_cut, put_found, put_shares


def classes(layout) -> list[Class]:
    """Rankings that a team has alone, by length."""
    of_warps = [(most, Lanes(threads)) for most, threads in tiles.TEAMS]
    return classes_of(layout, [*of_warps, (tiles.LONG, Blocks(tiles.MANY_THREADS))])


@kernel
def _topk(who, numbers, offsets, x, sign, ks, alphas, rates, log, cuts, out):
    """Cuts; and memberships, unless out is empty."""
    team = team_for(who, numbers)
    r, cut, shares = team.first, cuda.local.array(4, float64), cuda.local.array(6, float64)
    if r < 0:
        return
    start, stop = offsets[r], offsets[r + 1]
    own = x[start:stop]
    _find(team, own, sign, ks, alphas, rates, cut, shares, cuts)
    if out.size > 0:
        give(team, own, sign, beside(x, one_of(rates, r), cut, shares), log, out[start:stop])


@kernel
def _topk_and_gradient(
    who, numbers, offsets, x, sign, ks, alphas, rates, log, cuts, out, v, slope, gradient, to_k, to_alpha
):
    """The same, and the gradients of the scores, of k and of alpha. Apart: they take more registers."""
    team = team_for(who, numbers)
    r, cut, shares = team.first, cuda.local.array(4, float64), cuda.local.array(6, float64)
    if r < 0:
        return
    start, stop = offsets[r], offsets[r + 1]
    own = x[start:stop]
    _find(team, own, sign, ks, alphas, rates, cut, shares, cuts)
    given = (log, out[start:stop], v[start:stop], slope, gradient[start:stop])  # of an empty array nothing
    _gradients(team, own, sign, one_of(rates, r), cut, shares, *given, to_k, to_alpha)


@kernel
def _gradient(who, numbers, offsets, x, sign, rates, cuts, v, slope, gradient, to_k, to_alpha):
    """The gradients of the scores, of k and of alpha, given the cuts."""
    team = team_for(who, numbers)
    r, shares = team.first, cuda.local.array(6, float64)
    if r < 0:
        return
    put_shares(cuts[r], shares)
    start, stop = offsets[r], offsets[r + 1]
    given = (False, gradient[:0], v[start:stop], slope, gradient[start:stop])
    _gradients(team, x[start:stop], sign, one_of(rates, r), cuts[r], shares, *given, to_k, to_alpha)


@device
def _find(team, x, sign, ks, alphas, rates, cut, shares, cuts):
    """What is found of a ranking, for the thread that asks; and its cut where all cuts are kept."""
    r = team.first
    found = find_whole_cut(team, x, uint32(0), uint32(x.size), sign, one_of(ks, r), one_of(alphas, r), one_of(rates, r))
    put_found(found, cut, shares)
    if team.t == 0:
        for i in range(4):
            cuts[r, i] = cut[i]


@device
def _gradients(team, x, sign, rate, cut, shares, log, out, v, slope, gradient, to_k, to_alpha):
    """Memberships, unless out is empty, and the gradients of a ranking whose cut is known."""
    kind, b, nearest, mean = x.dtype.type, beside(x, rate, cut, shares), np.int64(0), 0.0
    if has_few(b, shares):
        nearest = first_at(team, x, sign * nearest_to(b))
    off = off_of(b, shares, nearest, v, slope)
    pulled, total = team_sums(team, walk(team, x, sign, b, log, out, v, slope, off))
    if not b.is_hard:
        mean = pulled / total
    factor = factor_of(b, sign, slope)
    found = team_sums(team, settle(team, x, sign, b, v, slope, off, kind(mean), factor, gradient))
    if team.t == 0:
        to_k[team.first], to_alpha[team.first] = 0.0, 0.0
        if not b.is_hard:
            to_k[team.first], to_alpha[team.first] = ends_of(b, cut, shares[4], mean, off, found, slope)
