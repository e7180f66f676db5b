"""How the scores of a case are distributed; all are drawn from a fixed seed."""

from __future__ import annotations

import numpy as np


def _normal(rng, shape, dtype):
    return rng.standard_normal(shape, dtype)


def _uniform(rng, shape, dtype):
    return rng.random(shape, dtype)


def _heavy(rng, shape, dtype):
    """Cauchy: the largest of n scores is about n, which float32 holds."""
    return rng.standard_cauchy(shape).astype(dtype, copy=False)


def _ties(rng, shape, dtype):
    """Normal, in steps of 1/16: some hundred values in all."""
    return np.round(rng.standard_normal(shape, dtype) * 16) / 16


def _sorted(rng, shape, dtype):
    """Normal, lowest first: an exempt case, as an argsort that finds its input in order has next to nothing to do."""
    scores = rng.standard_normal(shape, dtype)
    scores.sort(axis=-1)
    return scores


SCORES = {"normal": _normal, "uniform": _uniform, "heavy": _heavy, "ties": _ties, "sorted": _sorted}


def draw(kind: str, shape: tuple[int, int], dtype: str) -> np.ndarray:
    return SCORES[kind](np.random.default_rng(0), shape, dtype)
