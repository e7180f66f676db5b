"""1 - the correlation of soft ranks, from 1, with the ranks of the target, whose ties take their mean."""

import math

import numpy as np

from ...core.rankings import sums_of
from ..jit import uncounted
from ..scalars.team import join, mine, team_sums
from .declared import InParts, Loss, Round
from .second import by_parts, ranks_diagonal


@uncounted
def spearman(rankings, offsets, read, losses, upstreams):
    """1 - c for c = <r, w> / (|r| |w|) of ranks r and wanted ones w, both centred; for r: (c r / |r| - w / |w|) / |r|.

    Ranks that are all alike correlate with nothing, and no direction is better than another.
    """
    team = join(rankings)
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        n = stop - start
        a, b = team_sums(team, _totals(team, r, start, stop, read, upstreams, (n,)))
        aa, bb, ab = team_sums(team, _products(team, r, start, stop, read, upstreams, (n, a, b)))
        known = n, a, b, aa, bb, ab
        _slopes(team, r, start, stop, read, upstreams, known)
        if team.t == 0:
            losses[r] = _loss(r, read, known)


@uncounted
def _totals(team, r, start, stop, read, upstreams, known):
    """Of ranks and of wanted ones."""
    ranks, wanted = read
    a, b = 0.0, 0.0
    for item in mine(team, stop - start):
        i = start + item
        a, b = a + ranks[i], b + wanted[i]
    return a, b


@uncounted
def _products(team, r, start, stop, read, upstreams, known):
    """The squares of ranks and of wanted ones, both centred, and their product."""
    (ranks, wanted), (n, total, wanted_total) = read, known
    mean, wanted_mean = total / max(n, 1), wanted_total / max(n, 1)
    aa, bb, ab = 0.0, 0.0, 0.0
    for item in mine(team, stop - start):
        i = start + item
        a, b = ranks[i] - mean, wanted[i] - wanted_mean
        aa, bb, ab = aa + a * a, bb + b * b, ab + a * b
    return aa, bb, ab


@uncounted
def _slopes(team, r, start, stop, read, upstreams, known):
    (ranks, wanted), (upstream,), (n, total, wanted_total, aa, bb, ab) = read, upstreams, known
    mean, wanted_mean = total / max(n, 1), wanted_total / max(n, 1)
    aa, bb = math.sqrt(aa), math.sqrt(bb)
    correlation = ab / (aa * bb) if aa > 0.0 else 0.0
    for item in mine(team, stop - start if upstream.size > 0 else 0):
        i = start + item
        a, b = ranks[i] - mean, wanted[i] - wanted_mean
        upstream[i] = (correlation * a / aa - b / bb) / aa if aa > 0.0 and bb > 0.0 else 0.0


@uncounted
def _loss(r, read, known):
    aa, bb, ab = math.sqrt(known[3]), math.sqrt(known[4]), known[5]
    return 1.0 - (ab / (aa * bb) if aa > 0.0 else 0.0) if bb > 0.0 else np.nan


@uncounted
def _bend(rankings, offsets, read, losses, bends):
    """How the slopes move with the ranks: with a, b centred and a' how a moves, (<a, b> a' + <a', b> a + <a, a'> b -
    3 <a, b> <a, a'> a / |a|^2) / (|a|^3 |b|).
    """
    team, (ranks, wanted, moved), (bend,) = join(rankings), read, bends
    for r in range(team.first, team.last):
        start, stop = offsets[r], offsets[r + 1]
        n, read_here, moved_sum, along, across = stop - start, (ranks, wanted), 0.0, 0.0, 0.0
        a, b = team_sums(team, _totals(team, r, start, stop, read_here, bends, (n,)))
        aa, bb, ab = team_sums(team, _products(team, r, start, stop, read_here, bends, (n, a, b)))
        mean, wanted_mean = a / max(n, 1), b / max(n, 1)
        for item in mine(team, n):
            i = start + item
            along += (ranks[i] - mean) * moved[i]
            across += (wanted[i] - wanted_mean) * moved[i]
            moved_sum += moved[i]
        along, across, moved_sum = team_sums(team, (along, across, moved_sum))
        size = aa * math.sqrt(aa) * math.sqrt(bb)
        for item in mine(team, n):
            i = start + item
            a, b = ranks[i] - mean, wanted[i] - wanted_mean
            total = ab * (moved[i] - moved_sum / max(n, 1) - 3.0 * along / aa * a) + across * a + along * b
            bend[i] = total / size if size > 0.0 else 0.0


def _diagonal(loss, parts):
    """Of c I + (a b' + b a') / s - 3 c a a' / |a|^2 for ranks, with s = |a|^3 |b|, c = <a, b> / s, at the scores."""
    rankings, ranks, wanted = parts.rankings, parts.ranks, parts.target_ranks
    a, b = (values - _each(rankings, _mean(rankings, values)) for values in (ranks, wanted))
    aa, bb, ab = (_mean(rankings, x * y) * rankings.lengths for x, y in ((a, a), (b, b), (a, b)))
    with np.errstate(invalid="ignore", divide="ignore"):
        size = aa * np.sqrt(aa * bb)
        own, across = np.where(size > 0, ab / size, 0.0), np.where(size > 0, 1.0 / size, 0.0)
        along = np.where(size > 0, -3.0 * own / aa, 0.0)
    to_a, to_b = (parts.kernels.along.ranks_along(parts.order, parts.alphas, values)[0] for values in (a, b))
    more = _each(rankings, 2.0 * across) * to_a * to_b + _each(rankings, along) * to_a * to_a
    return ranks_diagonal(parts, parts.upstreams[0], _each(rankings, own)) + more


def _each(rankings, numbers):
    return np.repeat(numbers, rankings.lengths)


def _mean(rankings, values):
    """Of the values of each ranking, which have some."""
    return sums_of(values, rankings.offsets) / np.maximum(rankings.lengths, 1)


LOSS = Loss(
    spearman,
    reads=("ranks", "target_ranks"),
    moves=("ranks",),
    sums=3,
    card_bytes=100,
    in_parts=InParts((Round(_totals), Round(_products)), _slopes, _loss),
    second=by_parts(_bend, _diagonal),
)
