"""Which loss a linear scorer learns from best: the same splits, steps and search for the step size for all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...api import losses as losses_of
from ...core.rankings import Array, Rankings
from ...operations import LOSSES
from .softness import Choice, matched, undecided

SPLITS, STEPS, RATES = 5, 50, (0.02, 0.1, 0.5)
MOST = 30_000  # items: more would take many minutes
LONGEST = 20.0  # seconds of training through one loss, beyond which it is left out
HELD_BACK = 5  # one in so many of the rankings trained on tells the step size
ALPHA = 0.3  # standard deviations: what losses of ours are trained at, and all methods as soft

Slope = Callable[[Rankings, Array], Array]  # of scores and targets: the gradient for the scores


@dataclass(frozen=True)
class Scored:
    """Mean and standard deviation over splits, and what a step took."""

    ndcg: tuple[float, float]
    recall: tuple[float, float]
    milliseconds: float


@dataclass(frozen=True)
class Learned:
    """What was learned through each loss."""

    scored: dict[str, Scored]
    k: float
    rankings: int
    scores: int
    features: int
    splits: int = SPLITS
    steps: int = STEPS
    rates: tuple[float, ...] = RATES

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Data:
    """Items: features (N, d), targets (N,), and which rankings they are in."""

    features: Array
    target: Array
    offsets: np.ndarray

    def part(self, chosen: np.ndarray) -> Data:
        """These rankings alone."""
        rows = np.concatenate([np.arange(self.offsets[r], self.offsets[r + 1]) for r in chosen])
        sizes = np.diff(self.offsets)[chosen]
        return Data(self.features[rows], self.target[rows], np.concatenate([[0], np.cumsum(sizes)]))

    def scored(self, weights: Array) -> Rankings:
        """The rankings, with the scores that weights give."""
        return Rankings(self.features @ weights, self.offsets)


def learn(
    features: Array, target: Array, offsets: np.ndarray, k: float, methods: list[str], names: list[str], say: Callable
) -> Learned:
    """A linear scorer of standardized features, through the soft recall of each method and through losses by name."""
    deviations = features.std(axis=0)
    data = Data((features - features.mean(axis=0)) / np.where(deviations > 0, deviations, 1.0), target, offsets)
    has_order = np.maximum.reduceat(np.append(target, -np.inf), offsets[:-1]) > np.minimum.reduceat(
        np.append(target, np.inf), offsets[:-1]
    )
    known = np.flatnonzero(has_order & (np.diff(offsets) > 1))
    scored = {}
    for name, slope in _slopes(data, k, methods, names).items():
        seconds = _seconds(data, slope)
        if seconds > LONGEST:
            say(f"left out {name}: training takes {seconds:.0f} s; a smaller --most takes fewer rankings")
            continue
        scored[name] = _scored(data, known, k, slope)
    return Learned(scored, k, len(offsets) - 1, int(offsets[-1]), features.shape[1])


def trainable() -> list[str]:
    """The losses by name, of one score."""
    return [name for name, entry in LOSSES.items() if entry.stages == 1]


def _slopes(data: Data, k: float, methods: list[str], names: list[str]) -> dict[str, Slope]:
    first = data.scored(_begin(data.features.shape[1], 0))
    wanted = undecided(Choice("lapsum", ALPHA, 0.0).topk(first, k), first.offsets)
    found: dict[str, Slope] = {}
    for method in methods:
        if method == "hard":  # whose gradient is 0
            continue
        choice = Choice(method, ALPHA, wanted) if method == "lapsum" else matched(method, first, k, wanted)
        found[f"by {method}"] = _recall_by(choice, k)
    for name in names:
        found[name] = _loss(name, k)
    return found


def _recall_by(choice: Choice, k: float) -> Slope:
    def slope(scores: Rankings, target: Array) -> Array:
        members = Choice("hard", None, 0.0).topk(scores.with_values(target), k)
        return choice.topk_vjp(scores, k, -members / k)

    return slope


def _loss(name: str, k: float) -> Slope:
    given: dict[str, Any] = {"k": k} if LOSSES[name].k == "needed" else {}

    def slope(scores: Rankings, target: Array) -> Array:
        found: Array = losses_of.loss_vjp(
            name, scores, target, alpha=f"{ALPHA}std", reduction="sum", **given
        ).scores.values
        return found

    return slope


def _begin(count: int, seed: int) -> Array:
    """Small weights, as gradients of scores that are all alike are 0."""
    return 0.01 * np.random.default_rng(seed).standard_normal(count)


def _seconds(data: Data, slope: Slope) -> float:
    """What all training through a loss is going to take, by one step with all of its rankings."""
    scores = data.scored(_begin(data.features.shape[1], 0))
    slope(scores, data.target)
    start = time.perf_counter()
    slope(scores, data.target)
    return (time.perf_counter() - start) * STEPS * SPLITS * (1 + len(RATES)) / 2


def _scored(data: Data, known: np.ndarray, k: float, slope: Slope) -> Scored:
    found, seconds, steps = [], 0.0, 0
    for split in range(SPLITS):
        order = np.random.default_rng(split).permutation(known)
        half = len(order) // 2
        train, held_out = order[:half], data.part(order[half:])
        inner, outer = data.part(train[len(train) // HELD_BACK :]), data.part(train[: max(1, len(train) // HELD_BACK)])
        tried = {rate: _trained(inner, slope, rate, split) for rate in RATES}
        best = max(RATES, key=lambda rate: _metrics(outer, tried[rate][0], k)[0])
        weights, took = _trained(data.part(train), slope, best, split)
        seconds, steps = seconds + took, steps + STEPS
        found.append(_metrics(held_out, weights, k))
    ndcg, recall = np.array(found).T
    return Scored(
        (float(ndcg.mean()), float(ndcg.std(ddof=1))),
        (float(recall.mean()), float(recall.std(ddof=1))),
        1e3 * seconds / steps,
    )


def _trained(data: Data, slope: Slope, rate: float, seed: int) -> tuple[Array, float]:
    """Weights after the steps of Adam (Kingma, Ba, ICLR 2015), and the seconds that these took."""
    weights = _begin(data.features.shape[1], seed)
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    start, count = time.perf_counter(), max(1, len(data.offsets) - 1)
    for step in range(1, STEPS + 1):
        scores = data.scored(weights)
        gradient = data.features.T @ np.nan_to_num(slope(scores, data.target)) / count
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        weights = weights - rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-12)
    return weights, time.perf_counter() - start


def _metrics(data: Data, weights: Array, k: float) -> tuple[float, float]:
    """Mean NDCG@k with gains 2^y - 1, and recall@k of the target's top k, over rankings; ties by input order."""
    scores, ndcg, recall = data.features @ weights, [], []
    for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True):
        y, top = data.target[a:b], min(round(k), b - a)
        order, ideal = np.argsort(-scores[a:b], kind="stable")[:top], np.sort(y)[::-1][:top]
        discounts = 1 / np.log2(2 + np.arange(top))
        best = (2.0**ideal - 1) @ discounts
        ndcg.append((2.0 ** y[order] - 1) @ discounts / best if best > 0 else 0.0)
        relevant = (y > 0).sum()
        recall.append((y[order] > 0).sum() / min(relevant, top) if relevant else 0.0)
    return float(np.mean(ndcg)), float(np.mean(recall))
