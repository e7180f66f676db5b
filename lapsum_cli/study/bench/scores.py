"""How the scores of a case are distributed; all are drawn from a fixed seed. Help reads the table, without NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from .shapes import Shape


def _normal(rng: np.random.Generator, shape: Shape, dtype: Any) -> np.ndarray:
    return rng.standard_normal(shape.total, dtype)


def _uniform(rng: np.random.Generator, shape: Shape, dtype: Any) -> np.ndarray:
    return rng.random(shape.total, dtype)


def _heavy(rng: np.random.Generator, shape: Shape, dtype: Any) -> np.ndarray:
    """Cauchy: the largest of n scores is about n, which float32 holds."""
    return rng.standard_cauchy(shape.total).astype(dtype, copy=False)


def _ties(rng: np.random.Generator, shape: Shape, dtype: Any) -> np.ndarray:
    """Normal, in steps of 1/16: some hundred values in all."""
    return (rng.standard_normal(shape.total, dtype) * 16).round() / 16


def _sorted(rng: np.random.Generator, shape: Shape, dtype: Any) -> np.ndarray:
    """Normal, lowest first: an exempt case, as an argsort that finds its input in order has next to nothing to do."""
    import numpy as np

    scores = rng.standard_normal(shape.total, dtype)
    return scores[np.lexsort((scores, shape.queries))]


SCORES = {  # name: how it is drawn, and what help says of it; the first is the default
    "normal": (_normal, ""),
    "uniform": (_uniform, ""),
    "heavy": (_heavy, "Cauchy"),
    "ties": (_ties, "normal in steps of 1/16"),
    "sorted": (_sorted, ""),
}


def draw(kind: str, shape: Shape, dtype: str) -> np.ndarray:
    """The scores of a case, as its shape has them, the same on every call."""
    import numpy as np

    distribution, _ = SCORES[kind]
    return shape.formed(distribution(np.random.default_rng(0), shape, dtype))
