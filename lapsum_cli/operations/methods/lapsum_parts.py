"""LapSum of a ranking that no memory holds: top-k by looks at brackets, ranks and sorts by bands of value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...core.rankings import Rankings, frozen
from ..giant import LastPass, Ranking
from ..operation import GRADIENT

SAMPLE = 1 << 18  # scores of a sample, at most
_BYTES_OF_A_SAMPLE = 32  # a score: itself, and what is summed at it


def topk(operation: Any, ranking: Ranking) -> LastPass:
    """As Way.in_parts has it: one look at a sample, one at a bracket, and what a gradient takes."""
    from ...kernels.cpu import topk as kernels
    from ...kernels.cpu.topk_parts import Whole
    from ...kernels.scalars import cut as cuts

    dtype = ranking.dtype
    if dtype == np.float32 and not cuts.LEAST_ALPHA_32 <= ranking.alpha <= 1 / cuts.LEAST_ALPHA_32:
        dtype = np.dtype(np.float64)
    sign, k = dtype.type(1 if operation.descending else -1), float(ranking.each["k"][0])
    pieces, rate = ranking.pieces, cuts.rates_of(np.array([ranking.alpha]), dtype)[0]
    sample = min(SAMPLE, ranking.length, pieces.room(_BYTES_OF_A_SAMPLE, 0.1))
    whole = Whole(ranking.length, dtype, pieces.room(2 * dtype.itemsize, 0.5), sample)

    def scores(rankings: Rankings) -> Any:
        return frozen(rankings.values.astype(dtype, copy=False))

    def of_parts(function: Any) -> Iterator[Any]:
        return _numbered(ranking, operation, lambda first, rankings: function(first, scores(rankings)))

    cut, top, finite = kernels.cut_of_parts(of_parts, whole, k, ranking.alpha, sign)
    numbers = {}
    if operation.threshold:
        found = cuts.thresholds_of(cut[None], np.array([ranking.alpha]), operation.descending)
        numbers["threshold"] = float(found[0])
    made = None
    if operation.gradient:
        made = _gradient(operation, ranking, scores, cut, rate, sign, numbers)
    logs = True if operation.log else None

    def look(rankings: Rankings) -> dict[str, Any]:
        x = scores(rankings)
        p = np.empty(len(x), dtype)
        kernels.write_part(x, sign, k, top, finite, cut, rate, logs, p)
        found = {operation.result: p.astype(ranking.dtype, copy=False)}
        if operation.gradient:
            v = frozen(rankings.beside["upstream"])
            slopes = np.zeros(len(x), dtype) if made is None else made.of_part(x, _as(v, dtype))[0]
            found[GRADIENT] = _signed(slopes.astype(ranking.dtype, copy=False), rankings)
        return found

    return LastPass(look, lambda first, rankings, found: found, numbers)


def _gradient(operation: Any, ranking: Ranking, scores: Any, cut: Any, rate: Any, sign: Any, numbers: Any) -> Any:
    """What gradients are made of, and those for alpha and k among the numbers."""
    from ...kernels.cpu.topk_gradient import gradient_of_parts
    from ...kernels.scalars import cut as cuts

    def of_parts(function: Any) -> Iterator[Any]:
        def of_piece(first: int, rankings: Rankings) -> Any:
            x = scores(rankings)
            return function(first, x, _as(frozen(rankings.beside["upstream"]), x.dtype))

        return _numbered(ranking, operation, of_piece)

    slope = cuts.LOGARITHM if operation.log else cuts.MEMBERSHIP
    made = gradient_of_parts(of_parts, cut, rate, sign, slope)
    if operation.grad_k:
        numbers["grad_k"] = made.to_k if made is not None else 0.0
    if operation.grad_alpha:
        moments = of_parts(lambda _, x, v: made.of_part(x, v)[1]) if made is not None else ()
        numbers["grad_alpha"] = 0.0 if ranking.constant else float(sum(moments))
    return made


def rank(operation: Any, ranking: Ranking) -> LastPass:
    """As Way.in_parts has it: a sample, every score into its band on the disk, and every band sorted."""
    from ...kernels.cpu import rank_parts

    sign = 1 if operation.descending else -1
    dtype = np.dtype(operation.dtype(ranking.dtype.name, ranking.length))
    weights = ranking.dtype if operation.gradient else None
    common = _common(ranking) if operation.gradient else 0.0
    spilled = ranking.length * (ranking.dtype.itemsize * (3 if operation.gradient else 1) + dtype.itemsize)
    work, bands, rate = _bands(operation, ranking, weights, common, spilled)
    ranked = rank_parts.rank_bands(work, bands, rate, float(operation.base), operation.descending, dtype, common)
    bands.close()
    numbers = {}
    if operation.grad_alpha:
        numbers["grad_alpha"] = 0.0 if ranking.constant else -ranked.total * rate

    def look(rankings: Rankings) -> Any:
        return rank_parts.places_of(ranked, rankings.values, sign)

    def give(first: int, rankings: Rankings, seen: Any) -> dict[str, Any]:
        v = rankings.beside["upstream"] if operation.gradient else None
        ranks, gradient = rank_parts.take(ranked, rankings.values, v, sign, *seen)
        return {operation.result: ranks, GRADIENT: gradient}

    return LastPass(look, give, numbers)


def sort(operation: Any, ranking: Ranking) -> LastPass:
    """As Way.in_parts has it: the same, and soft-sorted scores as they come, best first."""
    from ...kernels.cpu.sort_parts import sort_bands

    work, bands, _ = _bands(operation, ranking, None, 0.0, ranking.length * ranking.dtype.itemsize)
    coming, rest = sort_bands(work, bands, ranking.alpha, operation.descending), [np.empty(0, ranking.dtype)]

    def give(first: int, rankings: Rankings, seen: Any) -> dict[str, Any]:
        count = len(rankings.values)
        while sum(map(len, rest)) < count:
            rest.append(next(coming))
        together = np.concatenate(rest)
        rest[:] = [together[count:]]
        values = together[:count]
        values[max(0, ranking.length - ranking.moved - first) :] = -np.inf  # as padding came
        return {operation.result: values}

    return LastPass(lambda rankings: None, give, {})


def _bands(operation: Any, ranking: Ranking, weights: Any, common: float, spilled: int) -> Any:
    """The work on it, its bands, and 1 / alpha; spilled: bytes that will be on the disk."""
    from ...kernels.cpu import bands
    from ...kernels.cpu.topk_parts import sample_of_part
    from ...kernels.scalars.laplace import LARGEST_RATE

    pieces, dtype, sign = ranking.pieces, ranking.dtype, 1 if operation.descending else -1
    rate = min(1.0 / ranking.alpha, LARGEST_RATE)
    # A band is read, sorted with its places to and fro, padded, swept, and given in float64.
    each = 6 * dtype.itemsize + 20 + (4 * dtype.itemsize if weights is not None else 0)
    room = pieces.room_of_a_band(each, ranking.length, 2 if weights is None else 4)

    pieces.will_spill(spilled)

    def of_parts(function: Any) -> Iterator[Any]:
        def of_piece(first: int, rankings: Rankings) -> Any:
            v = frozen(rankings.beside["upstream"]) if weights is not None else None
            return function(first, rankings.values, v)

        return _numbered(ranking, operation, of_piece)

    work = bands.Work(of_parts, pieces.over, pieces.store, ranking.length, dtype, weights, room)
    size = min(SAMPLE, ranking.length, pieces.room(_BYTES_OF_A_SAMPLE, 0.1))
    some = np.concatenate(list(of_parts(lambda first, x, v: sample_of_part(first, x, ranking.length, size, sign))))
    cuts = bands.cuts_of(some, ranking.length, room)
    found = bands.part(work, cuts, rate, sign, common)
    while found.sizes.max() > room:  # of a band of which the sample had fewer than its share
        cuts = bands.more_cuts(found, room, size)
        found.close()
        found = bands.part(work, cuts, rate, sign, common)
    return work, found, rate


def _numbered(ranking: Ranking, operation: Any, function: Any) -> Iterator[Any]:
    """function(first, rankings) for every piece, first: how many scores came before it."""
    return ranking.pieces.of_parts(lambda first, rankings: function(first, operation.seen(rankings)))


def _common(ranking: Ranking) -> float:
    """What is taken off an upstream gradient, as kernels.cpu.rank has it."""
    near, far = (ranking.least, ranking.most) if ranking.least > 0 else (ranking.most, ranking.least)
    return near if near * far > 0 and abs(far) <= abs(near + near) else 0.0


def _as(v: Any, dtype: Any) -> Any:
    return v if v.dtype == dtype else frozen(v.astype(dtype))


def _signed(slopes: Any, rankings: Rankings) -> Any:
    """Gradients for scores of which magnitudes were compared."""
    from ..topk import SIGN

    return slopes * rankings.beside[SIGN] if SIGN in rankings.beside else slopes
