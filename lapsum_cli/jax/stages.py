"""Cascades: the scores that the stages of a loss give the same items, as rankings of one batch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..operations.stages import places
from .arrays import is_each, worst
from .axes import Lying
from .uneven import Cut


def together(
    stages: list[jax.Array], target: jax.Array, alpha: Any, k: Any, where: Lying, descending: bool
) -> tuple[jax.Array, jax.Array, Any, Any, Cut | None]:
    """Scores, targets, alpha, k and cut of a ranking for each stage, those of a query one after the other; what is
    masked in one stage is masked in all.
    """
    count = len(stages)
    scores = jnp.stack(stages, -2)
    is_worst = jnp.isneginf(scores) if descending else jnp.isinf(scores)
    scores = jnp.where(is_worst.any(-2, keepdims=True), worst(True), scores)
    target = jnp.stack([target] * count, -2)
    alpha, k = (jnp.stack([one] * count, -1) if is_each(one) else one for one in (alpha, k))
    if where.form is None:
        return scores, target, alpha, k, None
    offsets = where.form.known("cascades")
    at = np.argsort(np.concatenate(places(offsets)))
    scores, target = (one.reshape(-1)[at] for one in (scores, target))
    alpha, k = (one.reshape(-1) if is_each(one) else one for one in (alpha, k))
    return scores, target, alpha, k, Cut(np.cumsum([0, *np.repeat(np.diff(offsets), count)]), None)
