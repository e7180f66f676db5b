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

import numpy as np
from numpy.typing import ArrayLike

from ...core.errors import LapsumError
from ...core.reference import BLOCK, Count, laplace_cdf, laplace_pdf, rank_gradient, soft_count, threshold
from ...operations import method_called
from .cases import Case
from .timed import TIMED

RANKINGS, ITEMS = 4, 32  # whose values are compared
MANY = 10**7  # scores of a ranking, of which a soft count takes a CPU 0.2 s, and a threshold 44 of them


class WrongResult(LapsumError):
    """An output is further from the definition than the contract allows; its time would mean nothing."""


def check_output(case: Case, inputs: list[np.ndarray], outputs: list[np.ndarray], *, count: Count = soft_count) -> None:
    """Raise WrongResult unless the outputs (m, n) are what the operation makes of the inputs (m, n).

    count: what soft counts are made by, of long rankings a card.
    """
    if case.method == "lapsum":
        CHECKS[case.operation](case, *inputs, *outputs, count=count)
    else:
        _check_promises(case, inputs[0], *outputs)


def _check_sorted(case: Case, scores: np.ndarray, values: np.ndarray, count: Count) -> None:
    """No value exceeds the one before it, and the soft count at a value, give or take its rounding, is its place."""
    rises = np.diff(values, axis=1) > 0
    if rises.any():
        r, i = np.argwhere(rises)[0]
        raise WrongResult(f"{case}: ranking {r}, value {i + 1} exceeds the one before it; no time is shown")
    positions = _some_of(case.length, ITEMS)
    for r in _some_of(case.rankings, RANKINGS):
        y = values[r, positions].astype(np.float64)
        # The count moves by at most 1 / (2 alpha) a score when a value is rounded.
        step = np.abs(y) * np.finfo(case.dtype).eps
        low, high = (count(scores[r], ends, case.alpha) for ends in (y + step, y - step))
        slack = 1e-9 * case.length
        wrong = (low - slack > positions + 0.5) | (high + slack < positions + 0.5)
        if wrong.any() or np.isnan(y).any():
            at = positions[int(np.argmax(wrong))]
            raise WrongResult(
                f"{case}: ranking {r}, value {at} is not where the soft count is its place; no time is shown"
            )


def _check_logs(case: Case, scores: np.ndarray, logs: np.ndarray, count: Count) -> None:
    """Memberships as those of topk; and below the threshold the logarithm falls with the score, to the last digit."""
    _check_memberships(case, scores, np.exp(logs), count)
    tolerance = 1e-5 if case.dtype == "float32" else 1e-9
    for r in _some_of(case.rankings, RANKINGS):
        below = logs[r] < -1
        x, found = scores[r][below].astype(np.float64), logs[r][below].astype(np.float64)
        expected = (x - x.max(initial=-np.inf)) / case.alpha + found.max(initial=-np.inf)
        what = f"{case}: ranking {r}, relative error of score"
        _compare(what, np.flatnonzero(below), (found - expected) / np.abs(expected), 0.0, tolerance)


def _check_ranks(case: Case, scores: np.ndarray, ranks: np.ndarray, count: Count) -> None:
    n = case.length
    total, tolerance = n * (n + 1) / 2, n * (2e-7 if case.dtype == "float32" else 1e-10)
    _compare(f"{case}: sum of ranking", range(case.rankings), ranks.sum(axis=1, dtype=np.float64), total, 1e-6 * total)
    items = _some_of(n, ITEMS)
    for r in _some_of(case.rankings, RANKINGS):
        expected = count(scores[r], scores[r, items].astype(np.float64), case.alpha) + 0.5
        _compare(f"{case}: ranking {r}, score", items, ranks[r, items], expected, tolerance)


def _check_rank_gradient(
    case: Case, scores: np.ndarray, upstream: np.ndarray, ranks: np.ndarray, gradient: np.ndarray, count: Count
) -> None:
    _check_ranks(case, scores, ranks, count)
    _check_balance(case, gradient, np.abs(gradient).sum(axis=1, dtype=np.float64))
    items = _some_of(case.length, ITEMS if case.length <= MANY else 2)  # a second each, of 10^8 scores
    tolerance = 1e-6 if case.dtype == "float32" else 1e-10
    for r in _some_of(case.rankings, RANKINGS):
        expected, size = np.transpose([rank_gradient(scores[r], upstream[r], i, case.alpha) for i in items])
        error = (gradient[r, items] - expected) / np.maximum(size, np.finfo(np.float64).tiny)
        _compare(f"{case}: ranking {r}, relative error of the gradient of score", items, error, 0.0, tolerance)


def _check_balance(case: Case, gradient: np.ndarray, size: np.ndarray) -> None:
    """What one item gains another loses, as the sum of ranks or memberships is given; size (m,) is what it goes by."""
    excess = np.abs(gradient.sum(axis=1, dtype=np.float64)) / np.maximum(size, np.finfo(case.dtype).tiny)
    _compare(f"{case}: relative sum of the gradient of ranking", range(case.rankings), excess, 0.0, 1e-5)


def _check_memberships(case: Case, scores: np.ndarray, memberships: np.ndarray, count: Count) -> None:
    k, tolerance = case.k, 2e-6 if case.dtype == "float32" else 1e-9
    _compare(f"{case}: sum of ranking", range(case.rankings), memberships.sum(axis=1, dtype=np.float64), k, 1e-6 * k)
    for r in _some_of(case.rankings, RANKINGS):
        x, found = scores[r], memberships[r]
        for part, z in _from_threshold(x, k, case.alpha, count):
            _compare(f"{case}: ranking {r}, score", range(x.size)[part], found[part], laplace_cdf(z), tolerance)


def _check_topk_gradient(
    case: Case, scores: np.ndarray, upstream: np.ndarray, memberships: np.ndarray, gradient: np.ndarray, count: Count
) -> None:
    """Errors count relative to the largest that a gradient can be."""
    _check_memberships(case, scores, memberships, count)
    # From e^-distance/alpha, which is twice the smaller of p and 1 - p. Gradients cancel where one score has all of it.
    tails = np.minimum(memberships, 1 - memberships).sum(axis=1, dtype=np.float64)
    _check_balance(case, gradient, tails * np.abs(upstream).max(axis=1) / case.alpha)
    tolerance = 2e-6 if case.dtype == "float32" else 1e-9
    for r in _some_of(case.rankings, RANKINGS):
        v, what = upstream[r], f"{case}: ranking {r}, relative error of the gradient of score"
        distances = _from_threshold(scores[r], case.k, case.alpha, count)
        densities = [(part, laplace_pdf(z) / case.alpha) for part, z in distances]
        total = math.fsum(f.sum() for _, f in densities)
        mean = math.fsum(f @ v[part] for part, f in densities) / total if total else 0.0
        largest = float(np.abs(v).max()) / (2 * case.alpha)  # that a gradient can be
        for part, f in densities:
            expected = f * (v[part] - mean)
            _compare(what, range(v.size)[part], (gradient[r, part] - expected) / largest, 0.0, tolerance)


CHECKS: dict[str, Callable[..., None]] = {
    "rank": _check_ranks,
    "rank-gradient": _check_rank_gradient,
    "sort": _check_sorted,
    "topk": _check_memberships,
    "topk-gradient": _check_topk_gradient,
    "log-topk": _check_logs,
}


def _check_promises(case: Case, scores: np.ndarray, results: np.ndarray, *gradients: np.ndarray) -> None:
    """Results and gradients are numbers, one for each score, and the results are what the method promises."""
    for values in (results, *gradients):
        if values.shape != scores.shape or np.isnan(values).any():
            raise WrongResult(f"{case}: the method {case.method} gives no number for some score; no time is shown")
    for promise in method_called(case.method, TIMED[case.operation].operation).promises:
        if promise in PROMISED:
            PROMISED[promise](case, scores, results)


def _check_sums(case: Case, scores: np.ndarray, results: np.ndarray) -> None:
    """Ranks sum to n (n + 1) / 2, memberships to k."""
    total = {"rank": case.length * (case.length + 1) / 2, "topk": case.k}.get(TIMED[case.operation].operation)
    if total is not None:
        values = np.exp(results) if case.operation == "log-topk" else results
        sums = values.sum(axis=1, dtype=np.float64)
        _compare(f"{case}: sum of ranking", range(case.rankings), sums, total, 1e-6 * total)


def _check_order(case: Case, scores: np.ndarray, results: np.ndarray) -> None:
    """The larger a score, the larger its result, or the smaller its rank; sorted scores are in order."""
    best_first = results if case.operation == "sort" else np.take_along_axis(results, np.argsort(-scores, axis=1), 1)
    sign = -1 if TIMED[case.operation].operation == "rank" else 1
    with np.errstate(invalid="ignore"):  # -inf less -inf
        wrong = sign * np.diff(best_first, axis=1) > 1e-6 * case.length
    if wrong.any():
        r, i = np.argwhere(wrong)[0]
        raise WrongResult(f"{case}: ranking {r}, result {i + 1} is better than the one before it; no time is shown")


PROMISED: dict[str, Callable[[Case, np.ndarray, np.ndarray], None]] = {
    "sums_to_k": _check_sums,
    "keeps_order": _check_order,
}


def _from_threshold(x: np.ndarray, k: float, alpha: float, count: Count) -> Iterator[tuple[slice, np.ndarray]]:
    """(x - b) / alpha in float64, with the part of x that they are of, a block after another."""
    # Relative to the k-th score: the threshold of a tiny alpha needs more digits than the scores have.
    origin = float(np.partition(x, -math.ceil(k))[-math.ceil(k)])
    b = threshold(x, k, alpha, origin, count=count)
    for start in range(0, x.size, BLOCK):
        part = slice(start, start + BLOCK)
        yield part, (x[part].astype(np.float64) - origin - b) / alpha


def _some_of(size: int, count: int) -> np.ndarray:
    """At most `count` of the indices below `size`, the first and the last among them."""
    return np.unique(np.linspace(0, size - 1, count).astype(np.int64))


def _compare(
    what: str, labels: Sequence[int] | np.ndarray, got: np.ndarray, expected: ArrayLike, tolerance: float
) -> None:
    wrong = ~(np.abs(got - expected) <= tolerance)  # NaN is wrong
    if wrong.any():
        at = int(np.argmax(wrong))
        by_definition = np.broadcast_to(expected, got.shape)[at]
        raise WrongResult(
            f"{what} {labels[at]} is {got[at]:.9g}, not {by_definition:.9g} (+-{tolerance:.1g}); no time is shown"
        )
