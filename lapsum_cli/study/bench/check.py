"""Is an output right? It is compared with the definitions (core/reference.py), in O(n) memory.

rank            r_i = c(x_i) + 1/2, with c the soft count: from 1, without the score itself, whose F is 1/2
rank-gradient   g_i = sum over j of f_ij (v_j - v_i), v upstream
sort            y_l: c(y_l) = l + 1/2, and no value exceeds the one before it
topk            p_i = F((x_i - b) / alpha), where c(b) = k
topk-gradient   g_i = f_i (v_i - sum f_j v_j / sum f_j), with f_i the density at x_i - b, v upstream
log-topk        log p_i

Sums are compared in every ranking, values in a few. These are the definitions of the method lapsum; of any other what
is looked at is what it promises of its results (PROMISED).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...core.errors import LapsumError
from ...core.reference import BLOCK, Count, laplace_cdf, laplace_pdf, rank_gradient, soft_count, threshold
from ...operations import method_called
from .cases import Case
from .shapes import Even
from .timed import TIMED

RANKINGS, ITEMS = 4, 32  # whose values are compared
MANY = 10**7  # scores of a ranking, of which a soft count takes a CPU 0.2 s, and a threshold 44 of them


class WrongResult(LapsumError):
    """An output is further from the definition than the contract allows; its time would mean nothing."""


def check_output(case: Case, inputs: list[np.ndarray], outputs: list[np.ndarray], *, count: Count = soft_count) -> None:
    """Raise WrongResult unless the outputs are what the operation makes of the inputs, all in the form of the case.

    count: what soft counts are made by, of long rankings a card.
    """
    if case.method == "lapsum":
        flat = [array.reshape(-1) for array in (*inputs, *outputs)]
        CHECKS[case.operation](case, *flat, count=count)
    else:
        _check_promises(case, inputs[0], *outputs)


def check_peer(case: Case, side: str, scores: np.ndarray, found: Any) -> None:
    """Raise WrongResult unless a peer has found, for each score of uneven rankings, what the operation tends to.

    Of a matrix it gives what it is quickest at, such as indices, lowest first: there is no one answer.
    """
    if isinstance(case.shape, Even):
        return
    values = np.asarray(found)
    if values.shape != scores.shape:
        raise WrongResult(f"{case}: {side} gives the shape {values.shape}, not {scores.shape}; no time is shown")
    HARD[case.operation](case, f"{case}: {side}, ", scores, values)


def _check_sorted(case: Case, scores: np.ndarray, values: np.ndarray, count: Count) -> None:
    """No value exceeds the one before it, and the soft count at a value, give or take its rounding, is its place."""
    _check_falling(case, values, "ranking {}, value {} exceeds")
    for r, part in _looked_at(case):
        x, positions = scores[part], _some_of(part.stop - part.start, ITEMS)
        y = values[part][positions].astype(np.float64)
        # The count moves by at most 1 / (2 alpha) a score when a value is rounded.
        step = np.abs(y) * np.finfo(case.dtype).eps
        low, high = (count(x, ends, case.alpha) for ends in (y + step, y - step))
        slack = 1e-9 * x.size
        wrong = (low - slack > positions + 0.5) | (high + slack < positions + 0.5)
        if wrong.any() or np.isnan(y).any():
            at = positions[int(np.argmax(wrong))]
            raise WrongResult(
                f"{case}: ranking {r}, value {at} is not where the soft count is its place; no time is shown"
            )


def _check_falling(case: Case, values: np.ndarray, words: str, slack: float = 0.0) -> None:
    """No value (N,) exceeds the one before it in its ranking by more than the slack; words: to say so."""
    with np.errstate(invalid="ignore"):  # -inf less -inf
        rises = np.diff(values) > slack
    rises[case.shape.offsets[1:-1] - 1] = False  # from one ranking to the next
    if rises.any():
        r, i = _place(case, int(np.argmax(rises)))
        raise WrongResult(f"{case}: {words.format(r, i + 1)} the one before it; no time is shown")


def _place(case: Case, at: int) -> tuple[int, int]:
    """The ranking of a score by its number among all, and its number there."""
    r = int(np.searchsorted(case.shape.offsets, at, side="right")) - 1
    return r, at - int(case.shape.offsets[r])


def _check_logs(case: Case, scores: np.ndarray, logs: np.ndarray, count: Count) -> None:
    """Memberships as those of topk; and below the threshold the logarithm falls with the score, to the last digit."""
    _check_memberships(case, scores, np.exp(logs), count)
    tolerance = 1e-5 if case.dtype == "float32" else 1e-9
    for r, part in _looked_at(case):
        below = logs[part] < -1
        x, found = scores[part][below].astype(np.float64), logs[part][below].astype(np.float64)
        expected = (x - x.max(initial=-np.inf)) / case.alpha + found.max(initial=-np.inf)
        what = f"{case}: ranking {r}, relative error of score"
        _compare(what, np.flatnonzero(below), (found - expected) / np.abs(expected), 0.0, tolerance)


def _check_ranks(case: Case, scores: np.ndarray, ranks: np.ndarray, count: Count) -> None:
    _check_sum_of_ranks(case, ranks)
    for r, part in _looked_at(case):
        x = scores[part]
        items, tolerance = _some_of(x.size, ITEMS), x.size * (2e-7 if case.dtype == "float32" else 1e-10)
        expected = count(x, x[items].astype(np.float64), case.alpha) + 0.5
        _compare(f"{case}: ranking {r}, score", items, ranks[part][items], expected, tolerance)


def _check_sum_of_ranks(case: Case, ranks: np.ndarray, what: str = "") -> None:
    n = case.shape.sizes.astype(np.float64)
    total = n * (n + 1) / 2
    sums = case.shape.sums(ranks)
    _compare(f"{what or f'{case}: '}sum of ranking", range(case.rankings), sums, total, 1e-6 * total)


def _check_rank_gradient(
    case: Case, scores: np.ndarray, upstream: np.ndarray, ranks: np.ndarray, gradient: np.ndarray, count: Count
) -> None:
    _check_ranks(case, scores, ranks, count)
    # Two scores whose upstreams are nearly equal have a gradient of little else than rounding.
    rounded = case.shape.maxima(np.abs(upstream)) / (10 * case.alpha)
    _check_balance(case, gradient, np.maximum(case.shape.sums(np.abs(gradient)), rounded))
    tolerance = 1e-6 if case.dtype == "float32" else 1e-10
    for r, part in _looked_at(case):
        x, v = scores[part], upstream[part]
        items = _some_of(x.size, ITEMS if x.size <= MANY else 2)  # a second each, of 10^8 scores
        expected, size = np.transpose([rank_gradient(x, v, i, case.alpha) for i in items])
        error = (gradient[part][items] - expected) / np.maximum(size, np.finfo(np.float64).tiny)
        _compare(f"{case}: ranking {r}, relative error of the gradient of score", items, error, 0.0, tolerance)


def _check_balance(case: Case, gradient: np.ndarray, size: np.ndarray) -> None:
    """What one item gains another loses, as the sum of ranks or memberships is given; size (m,) is what it goes by."""
    excess = np.abs(case.shape.sums(gradient)) / np.maximum(size, np.finfo(case.dtype).tiny)
    _compare(f"{case}: relative sum of the gradient of ranking", range(case.rankings), excess, 0.0, 1e-5)


def _check_memberships(case: Case, scores: np.ndarray, memberships: np.ndarray, count: Count) -> None:
    ks, tolerance = case.ks, 2e-6 if case.dtype == "float32" else 1e-9
    _compare(f"{case}: sum of ranking", range(case.rankings), case.shape.sums(memberships), ks, 1e-6 * ks)
    for r, whole in _looked_at(case):
        x, found = scores[whole], memberships[whole]
        for part, z in _from_threshold(x, ks[r], case.alpha, count):
            _compare(f"{case}: ranking {r}, score", range(x.size)[part], found[part], laplace_cdf(z), tolerance)


def _check_topk_gradient(
    case: Case, scores: np.ndarray, upstream: np.ndarray, memberships: np.ndarray, gradient: np.ndarray, count: Count
) -> None:
    """Errors count relative to the largest that a gradient can be."""
    _check_memberships(case, scores, memberships, count)
    # From e^-distance/alpha, which is twice the smaller of p and 1 - p. Gradients cancel where one score has all of it.
    tails = case.shape.sums(np.minimum(memberships, 1 - memberships))
    _check_balance(case, gradient, tails * case.shape.maxima(np.abs(upstream)) / case.alpha)
    ks, tolerance = case.ks, 2e-6 if case.dtype == "float32" else 1e-9
    for r, whole in _looked_at(case):
        v, what = upstream[whole], f"{case}: ranking {r}, relative error of the gradient of score"
        distances = _from_threshold(scores[whole], ks[r], case.alpha, count)
        densities = [(part, laplace_pdf(z) / case.alpha) for part, z in distances]
        total = math.fsum(f.sum() for _, f in densities)
        mean = math.fsum(f @ v[part] for part, f in densities) / total if total else 0.0
        largest = float(np.abs(v).max()) / (2 * case.alpha)  # that a gradient can be
        for part, f in densities:
            expected = f * (v[part] - mean)
            _compare(what, range(v.size)[part], (gradient[whole][part] - expected) / largest, 0.0, tolerance)


CHECKS: dict[str, Callable[..., None]] = {
    "rank": _check_ranks,
    "rank-gradient": _check_rank_gradient,
    "sort": _check_sorted,
    "topk": _check_memberships,
    "topk-gradient": _check_topk_gradient,
    "log-topk": _check_logs,
}


def _check_hard_ranks(case: Case, what: str, scores: np.ndarray, ranks: np.ndarray) -> None:
    """From 1 for the largest; equal scores have a place each, or share the mean of their places."""
    _check_sum_of_ranks(case, ranks, what)
    for r, part in _looked_at(case):
        x, items = scores[part], _some_of(part.stop - part.start, ITEMS)
        first, last = np.transpose([(np.count_nonzero(x > x[i]) + 1, np.count_nonzero(x >= x[i])) for i in items])
        _compare(f"{what}ranking {r}, score", items, ranks[part][items], (first + last) / 2, (last - first) / 2)


def _check_hard_sorted(case: Case, what: str, scores: np.ndarray, values: np.ndarray) -> None:
    for r, part in _looked_at(case):
        _compare(f"{what}ranking {r}, value", range(values[part].size), values[part], -np.sort(-scores[part]), 0.0)


def _check_hard_members(case: Case, what: str, scores: np.ndarray, members: np.ndarray) -> None:
    """As many as k has it, a share of one being one; and none of them has a smaller score than any other."""
    sums, ks = case.shape.sums(members), np.ceil(case.ks)
    _compare(f"{what}members of ranking", range(case.rankings), sums, ks, 0.0)
    for r, part in _looked_at(case):
        x, is_in = scores[part], members[part].astype(bool)
        if x[is_in].min(initial=np.inf) < x[~is_in].max(initial=-np.inf):
            raise WrongResult(f"{what}ranking {r} has members below others; no time is shown")


HARD: dict[str, Callable[[Case, str, np.ndarray, np.ndarray], None]] = {
    "rank": _check_hard_ranks,
    "sort": _check_hard_sorted,
    "topk": _check_hard_members,
    "log-topk": _check_hard_members,
}


def _check_promises(case: Case, scores: np.ndarray, results: np.ndarray, *gradients: np.ndarray) -> None:
    """Results and gradients are numbers, one for each score, and the results are what the method promises."""
    for values in (results, *gradients):
        if values.shape != scores.shape or np.isnan(values).any():
            raise WrongResult(f"{case}: the method {case.method} gives no number for some score; no time is shown")
    for promise in method_called(case.method, TIMED[case.operation].operation).promises:
        if promise in PROMISED:
            PROMISED[promise](case, scores.reshape(-1), results.reshape(-1))


def _check_sums(case: Case, scores: np.ndarray, results: np.ndarray) -> None:
    """Ranks sum to n (n + 1) / 2, memberships to k."""
    operation = TIMED[case.operation].operation
    if operation == "rank":
        _check_sum_of_ranks(case, results)
    elif operation == "topk":
        sums = case.shape.sums(np.exp(results) if case.operation == "log-topk" else results)
        _compare(f"{case}: sum of ranking", range(case.rankings), sums, case.ks, 1e-6 * case.ks)


def _check_order(case: Case, scores: np.ndarray, results: np.ndarray) -> None:
    """The larger a score, the larger its result, or the smaller its rank; sorted scores are in order."""
    best_first = results if case.operation == "sort" else results[np.lexsort((-scores, case.shape.queries))]
    sign = -1 if TIMED[case.operation].operation == "rank" else 1
    slack = 1e-6 * case.shape.longest
    _check_falling(case, sign * best_first, "ranking {}, result {} is better than", slack)


PROMISED: dict[str, Callable[[Case, np.ndarray, np.ndarray], None]] = {
    "sums_to_k": _check_sums,
    "keeps_order": _check_order,
}


def _from_threshold(x: np.ndarray, k: float, alpha: float, count: Count) -> Iterator[tuple[slice, np.ndarray]]:
    """(x - b) / alpha in float64, with the part of x that they are of, a block after another."""
    if k >= x.size:  # all are above
        yield slice(0, x.size), np.full(x.size, np.inf)
        return
    # Relative to the k-th score: the threshold of a tiny alpha needs more digits than the scores have.
    origin = float(np.partition(x, -math.ceil(k))[-math.ceil(k)])
    b = threshold(x, k, alpha, origin, count=count)
    for start in range(0, x.size, BLOCK):
        part = slice(start, start + BLOCK)
        yield part, (x[part].astype(np.float64) - origin - b) / alpha


def _some_of(size: int, count: int) -> np.ndarray:
    """At most `count` of the indices below `size`, the first and the last among them."""
    return np.unique(np.linspace(0, size - 1, count).astype(np.int64))


def _looked_at(case: Case) -> Iterator[tuple[int, slice]]:
    """The number of each ranking whose values are compared, and its part of all scores; the longest is among them."""
    offsets = case.shape.offsets
    for r in sorted({*_some_of(case.rankings, RANKINGS).tolist(), int(np.argmax(case.shape.sizes))}):
        yield r, slice(int(offsets[r]), int(offsets[r + 1]))


def _compare(
    what: str, labels: Sequence[int] | np.ndarray, got: np.ndarray, expected: ArrayLike, tolerance: ArrayLike
) -> None:
    """Raise WrongResult with the first that is further from what is expected than the tolerance."""
    wrong = ~(np.abs(got - expected) <= tolerance)  # NaN is wrong
    if wrong.any():
        at = int(np.argmax(wrong))
        by_definition, allowed = (np.broadcast_to(number, got.shape)[at] for number in (expected, tolerance))
        raise WrongResult(
            f"{what} {labels[at]} is {got[at]:.9g}, not {by_definition:.9g} (+-{allowed:.1g}); no time is shown"
        )
