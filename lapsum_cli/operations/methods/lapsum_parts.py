"""LapSum of a ranking that no memory holds: top-k by looks at brackets, ranks and sorts by bands of value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...core.rankings import Rankings, frozen
from ..giant_ranking import LastPass, Ranking
from ..giant_scores import Scores, Weights, common_of, rate_of
from ..slots import GRADIENT

_BYTES_MOVED = 72  # of a sorted score whose gradient is made: a target met, and twice what it puts down and that fades


def topk(operation: Any, ranking: Ranking) -> LastPass:
    """As Way.in_parts has it: one look at a sample, one at a bracket, and what a gradient takes."""
    from ...kernels.cpu.topk import write_part
    from ...kernels.scalars import cut as cuts

    (scores, rate), k = _cut_scores(operation, ranking), float(ranking.each["k"][0])
    dtype = scores.dtype
    found = scores.cut(k, ranking.alpha)
    numbers = {}
    if operation.threshold:
        at = cuts.thresholds_of(found.cut[None], np.array([ranking.alpha]), operation.descending)
        numbers["threshold"] = float(at[0])
    made = None
    if operation.gradient:
        made = _gradient(operation, scores, found.cut, rate, numbers)
    logs = True if operation.log else None

    def look(first: int, rankings: Rankings) -> dict[str, Any]:
        x = scores.of_piece(first, rankings)
        p = np.empty(len(x), dtype)
        write_part(x, scores.sign, k, found.top, found.finite, found.cut, rate, logs, p)
        given = {operation.result: p.astype(ranking.dtype, copy=False)}
        if operation.gradient:
            v = _as(rankings.beside["upstream"], dtype)
            slopes = np.zeros(len(x), dtype) if made is None else made.of_part(x, v)[0]
            given[GRADIENT] = _signed(slopes.astype(ranking.dtype, copy=False), rankings)
        return given

    return LastPass(look, lambda first, rankings, given: given, numbers)


def _gradient(operation: Any, scores: Scores, cut: Any, rate: Any, numbers: Any) -> Any:
    """What gradients are made of, and those for alpha and k among the numbers."""
    from ...kernels.cpu.topk_gradient import gradient_of_parts
    from ...kernels.scalars import cut as cuts

    upstream = _upstream(scores.dtype)

    def of_parts(function: Any) -> Iterator[Any]:
        return scores.ranking.of_parts(scores.with_weights(upstream, function))

    slope = cuts.LOGARITHM if operation.log else cuts.MEMBERSHIP
    made = gradient_of_parts(of_parts, cut, rate, scores.sign, slope)
    if operation.grad_k:
        numbers["grad_k"] = made.to_k if made is not None else 0.0
    if operation.grad_alpha:
        moments = of_parts(lambda _, x, v: made.of_part(x, v)[1]) if made is not None else ()
        numbers["grad_alpha"] = 0.0 if scores.ranking.constant else float(sum(moments))
    return made


def quantile(operation: Any, ranking: Ranking) -> LastPass:
    """As Way.in_parts has it: the looks that find a threshold, and one for the sum that gradients are made of."""
    from ...kernels.cpu.quantile import gradient_of_parts
    from ...kernels.scalars import cut as cuts

    scores, rate = _cut_scores(operation, ranking)
    found, alphas = scores.cut(float(ranking.each["k"][0]), ranking.alpha).cut, np.array([ranking.alpha])
    at = float(cuts.thresholds_of(found[None], alphas, operation.descending)[0])
    numbers, made = {operation.result: at if ranking.items else np.nan}, None
    if operation.gradient:
        made = gradient_of_parts(scores.of_parts, found, ranking.alpha, rate, scores.sign)
        ends = operation.to_q(made.to_k if made else 0.0, ranking.items), 0.0
        if operation.grad_alpha and made:
            ends = ends[0], float(sum(scores.of_parts(lambda _, x: made.of_part(x)[1])))
        numbers |= {"grad_q": float(ends[0]), "grad_alpha": ends[1]}

    def look(first: int, rankings: Rankings) -> dict[str, Any]:
        if not operation.gradient:
            return {}
        x = scores.of_piece(first, rankings)
        slopes = made.of_part(x)[0] if made else np.zeros(len(x))
        return {GRADIENT: slopes.astype(ranking.dtype, copy=False)}

    return LastPass(look, lambda first, rankings, given: given, numbers)


def _cut_scores(operation: Any, ranking: Ranking) -> tuple[Scores, Any]:
    """The scores that a top-k cuts, as float64 where alpha asks for that, and 1 / alpha in their dtype."""
    from ...kernels.scalars import cut as cuts

    dtype = ranking.dtype
    if dtype == np.float32 and not cuts.LEAST_ALPHA_32 <= ranking.alpha <= 1 / cuts.LEAST_ALPHA_32:
        dtype = np.dtype(np.float64)
    scores = Scores(
        ranking, lambda _, rankings: _as(rankings.values, dtype), ranking.length, dtype, operation.descending
    )
    return scores, cuts.rates_of(np.array([ranking.alpha]), dtype)[0]


def rank(operation: Any, ranking: Ranking) -> LastPass:
    """As Way.in_parts has it: a sample, every score into its band on the disk, and every band sorted."""
    from ...kernels.cpu import rank_parts

    dtype = np.dtype(operation.dtype(ranking.dtype.name, ranking.length))
    common = common_of(ranking.least, ranking.most) if operation.gradient else 0.0
    weights = _upstream(ranking.dtype, common) if operation.gradient else None
    ranking.pieces.will_spill(
        ranking.length * (ranking.dtype.itemsize * (3 if operation.gradient else 1) + dtype.itemsize)
    )
    scores, rate = _scores(operation, ranking), rate_of(ranking.alpha)
    work, bands = scores.bands(rate, weights)
    ranked = rank_parts.rank_bands(work, bands, rate, float(operation.base), operation.descending, dtype, common)
    bands.close()
    numbers = {}
    if operation.grad_alpha:
        numbers["grad_alpha"] = 0.0 if ranking.constant else -ranked.total * rate

    def look(first: int, rankings: Rankings) -> Any:
        return rank_parts.places_of(ranked, rankings.values, scores.sign)

    def give(first: int, rankings: Rankings, seen: Any) -> dict[str, Any]:
        v = rankings.beside["upstream"] if operation.gradient else None
        ranks, gradient = rank_parts.take(ranked, rankings.values, v, scores.sign, *seen)
        return {operation.result: ranks, GRADIENT: gradient}

    return LastPass(look, give, numbers)


def sort(operation: Any, ranking: Ranking) -> LastPass:
    """As Way.in_parts has it: the same, and soft-sorted scores as they come, best first."""
    from ...kernels.cpu import rank_parts, sort_parts

    scores, moved, numbers = _scores(operation, ranking), None, {}
    ranking.pieces.will_spill(ranking.length * ranking.dtype.itemsize * (3 if operation.gradient else 1))
    work, bands = scores.bands(rate_of(ranking.alpha), more=_BYTES_MOVED if operation.gradient else 0)
    if operation.gradient:
        pulls = _by_position(ranking)
        given = work, bands, ranking.alpha, pulls.take, operation.descending
        moved, of_results, of_scores = sort_parts.sort_gradient(*given)
        numbers = {"grad_alpha": (of_results - of_scores) / ranking.alpha} if operation.grad_alpha else {}
        pulls.close()
    coming = sort_parts.sort_bands(work, bands, ranking.alpha, operation.descending)
    rest = [np.empty(0, ranking.dtype)]

    def look(first: int, rankings: Rankings) -> Any:
        return rank_parts.places_of(moved, rankings.values, scores.sign) if moved else None

    def give(first: int, rankings: Rankings, seen: Any) -> dict[str, Any]:
        count = len(rankings.values)
        while sum(map(len, rest)) < count:
            rest.append(next(coming))
        together = np.concatenate(rest)
        rest[:] = [together[count:]]
        values = together[:count]
        values[max(0, ranking.length - ranking.moved - first) :] = -np.inf  # as padding came
        found = {operation.result: values}
        if moved:
            found[GRADIENT] = rank_parts.take(moved, rankings.values, None, scores.sign, *seen)[0]
        return found

    return LastPass(look, give, numbers)


def _by_position(ranking: Ranking) -> Any:
    """The upstream gradient of sorted scores, by position, on the disk."""
    column, before = ranking.pieces.column(ranking.dtype), 0
    for v in ranking.of_parts(lambda _, rankings: rankings.beside["upstream"]):
        column.put(before, v)
        before += len(v)
    return column


def _scores(operation: Any, ranking: Ranking) -> Scores:
    """Its own, as they are."""
    return Scores(ranking, lambda _, rankings: rankings.values, ranking.length, ranking.dtype, operation.descending)


def _upstream(dtype: np.dtype, common: float = 0.0) -> Weights:
    """Its own upstream gradient."""
    return Weights(lambda _, rankings: _as(rankings.beside["upstream"], dtype), dtype, common)


def _as(values: Any, dtype: Any) -> Any:
    return frozen(values.astype(dtype, copy=False))


def _signed(slopes: Any, rankings: Rankings) -> Any:
    """Gradients for scores of which magnitudes were compared."""
    from ..slots import SIGN

    return slopes * rankings.beside[SIGN] if SIGN in rankings.beside else slopes
