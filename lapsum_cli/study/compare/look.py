"""What methods make of the same rankings, as soft as each other: whom they select, whom gradients reach, how fast."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...core.rankings import Array, Rankings, sums_of
from .softness import Choice, evenly, matched, steps, undecided

MOST = 1_000_000  # scores
OF_NOISE = 24  # rankings whose gradients are compared with those of a smoothed metric
DRAWS = 4000  # of noise for these, twice
REACHED = 1e-3  # of the largest gradient of its ranking: less does not count as reaching an item
RUNS = 3
SEED = 761_349  # of random weights: scores that someone drew with a seed of 0 would be these
MOST_STEPS = 3e8  # of a pass: beyond, a method would take minutes
PLACES = 3  # times k, up to which memberships by place are shown


@dataclass(frozen=True)
class Look:
    """What one method does.

    total      the sum of memberships of the median ranking, and between which ones nine in ten are
    held       the share of memberships that the hard top k has
    reached    items that a gradient reaches, of the median ranking; size: the sum of its absolute values, per standard
               deviation
    agreement  cosine of the gradient with that of the hard metric under noise of the same softness, of the median
    forward, backward   nanoseconds a score, one thread: memberships; gradients with them
    memory     bytes a score that either holds at most, besides scores and results
    by_place   mean membership at places 1 .. PLACES k
    """

    choice: Choice
    total: float
    totals: tuple[float, float]
    held: float
    reached: float
    size: float
    agreement: float
    forward: float
    backward: float
    memory: float
    by_place: list[float]

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        found = asdict(self)
        return {**found.pop("choice"), **found}


@dataclass(frozen=True)
class Compared:
    """All methods on the same rankings: at most `limit` is what any gradient can agree with an estimate of the noisy
    one, which is itself one of two.
    """

    looks: list[Look]
    k: float
    wanted: float
    limit: float
    rankings: int
    scores: int


def compare(
    rankings: Rankings, k: float, methods: list[str], alpha: float, target: Array | None, say: Callable[[str], None]
) -> Compared:
    """All of them, at the softness that LapSum has at this alpha, in standard deviations."""
    some = evenly(rankings, 256)
    wanted = undecided(Choice("lapsum", alpha, 0.0).topk(some, k), some.offsets)
    upstream = _metric(rankings, target)
    noisy = matched("noised", rankings, k, wanted)
    few = _first_of(rankings, upstream, OF_NOISE)
    truth, again = (noisy.topk_vjp(few[0], k, few[1], draws=DRAWS, seed=seed) for seed in (1, 2))
    hard = Choice("hard", None, 0.0).topk(rankings, k)
    looks = []
    for method in methods:
        if (taken := steps(method, rankings, k)) > MOST_STEPS:
            say(f"left out {method}: a pass takes {taken:.2g} steps; a smaller --most takes fewer rankings")
            continue
        choice = Choice(method, alpha, wanted) if method == "lapsum" else matched(method, rankings, k, wanted)
        looks.append(_look(choice, rankings, k, upstream, hard, (*few, truth)))
    limit = math.sqrt(max(0.0, _cosine(truth, again, few[0].offsets)))
    return Compared(looks, k, wanted, limit, len(rankings), int(rankings.offsets[-1]))


def _metric(rankings: Rankings, target: Array | None) -> Array:
    """What is to be in the top: the target's gains over their sum, or without one random numbers."""
    if target is None:
        return np.random.default_rng(SEED).standard_normal(int(rankings.offsets[-1]))
    totals = sums_of(target, rankings.offsets)
    return target / np.repeat(np.where(totals > 0, totals, 1.0), rankings.lengths)


def _first_of(rankings: Rankings, upstream: Array, count: int) -> tuple[Rankings, Array]:
    few = rankings.with_each({}, {}).piece(0, min(count, len(rankings)))
    return few, upstream[: int(few.offsets[-1])]


def _look(
    choice: Choice, rankings: Rankings, k: float, upstream: Array, hard: Array, noise: tuple[Rankings, Array, Array]
) -> Look:
    members, forward, held = _timed(lambda: choice.topk(rankings, k))
    gradient, backward, more = _timed(lambda: choice.topk_vjp(rankings, k, upstream))
    few, weights, truth = noise
    totals = sums_of(members, rankings.offsets)
    return Look(
        choice,
        float(np.median(totals)),
        (float(np.quantile(totals, 0.05)), float(np.quantile(totals, 0.95))),
        float(np.minimum(members, hard).sum() / max(members.sum(), 1e-300)),
        _reached(gradient, rankings.offsets),
        _size(gradient, rankings),
        _cosine(choice.topk_vjp(few, k, weights), truth, few.offsets),
        forward,
        backward,
        max(held, more),
        _by_place(members, rankings, k),
    )


def _timed(run: Callable[[], Array]) -> tuple[Array, float, float]:
    """What it gives for every score, and nanoseconds and bytes a score, after a run that compiles."""
    found, times = run(), []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, sorted(times)[RUNS // 2] / found.size * 1e9, peak / found.size


def _reached(gradient: Array, offsets: np.ndarray) -> float:
    size = np.append(np.abs(gradient), 0.0)
    largest = np.where(np.diff(offsets) > 0, np.maximum.reduceat(size, offsets[:-1]), 0.0)
    reached = (size[:-1] > REACHED * np.repeat(largest, np.diff(offsets))).astype(float)
    return float(np.median(sums_of(reached, offsets)))


def _size(gradient: Array, rankings: Rankings) -> float:
    deviations = np.array([rankings[r].std() if len(rankings[r]) else 0.0 for r in range(len(rankings))])
    return float(np.median(sums_of(np.abs(gradient), rankings.offsets) * deviations))


def _cosine(a: Array, b: Array, offsets: np.ndarray) -> float:
    """Of the median ranking that has both."""
    sizes = np.sqrt(sums_of(a.astype(float) ** 2, offsets) * sums_of(b.astype(float) ** 2, offsets))
    known = sizes > 0
    return float(np.median(sums_of(a * b, offsets)[known] / sizes[known])) if known.any() else 0.0


def _by_place(members: Array, rankings: Rankings, k: float) -> list[float]:
    """Of the rankings that have as many places as are shown, the mean membership of each."""
    places = min(int(PLACES * math.ceil(k)), int(np.median(rankings.lengths)))
    total, count = np.zeros(places), 0
    for r in np.flatnonzero(rankings.lengths >= places)[:2000]:
        order = np.argsort(-rankings[int(r)], kind="stable")[:places]
        total, count = total + members[rankings.offsets[r] :][order], count + 1
    return [float(value) for value in total / max(count, 1)]
