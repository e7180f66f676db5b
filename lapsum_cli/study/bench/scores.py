"""How the scores of a case are distributed; all are drawn from a fixed seed. Help reads the table, without NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def _normal(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    return rng.standard_normal(shape, dtype)


def _uniform(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    return rng.random(shape, dtype)


def _heavy(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """Cauchy: the largest of n scores is about n, which float32 holds."""
    return rng.standard_cauchy(shape).astype(dtype, copy=False)


def _ties(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """Normal, in steps of 1/16: some hundred values in all."""
    return (rng.standard_normal(shape, dtype) * 16).round() / 16


def _sorted(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """Normal, lowest first: an exempt case, as an argsort that finds its input in order has next to nothing to do."""
    scores = rng.standard_normal(shape, dtype)
    scores.sort(axis=-1)
    return scores


SCORES = {  # name: how it is drawn, and what help says of it; the first is the default
    "normal": (_normal, ""),
    "uniform": (_uniform, ""),
    "heavy": (_heavy, "Cauchy"),
    "ties": (_ties, "normal in steps of 1/16"),
    "sorted": (_sorted, ""),
}


def draw(kind: str, shape: tuple[int, int], dtype: str) -> np.ndarray:
    """The scores (m, n) of a case, the same on every call."""
    import numpy as np

    distribution, _ = SCORES[kind]
    return distribution(np.random.default_rng(0), shape, dtype)
