"""What rankings count, one against the other: weights of their losses, and the mean and the sum of these."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..core.errors import OptionError


def weighted(losses: jax.Array, given: Any, reduction: str) -> jax.Array:
    """Losses (...), NaN of rankings without one, times weights that broadcast to them; or their sum, or that over the
    sum of weights. OptionError for a weight below 0 that is known.
    """
    if isinstance(given, str):
        raise OptionError(f"weights must be numbers, got {given!r}")
    weights = jnp.broadcast_to(jnp.asarray(given, losses.dtype), losses.shape)
    if not isinstance(weights, jax.core.Tracer) and bool(((weights < 0) | ~jnp.isfinite(weights)).any()):
        raise OptionError("weights must be 0 or more, and finite")
    known = ~jnp.isnan(losses)
    each = jnp.where(known & (weights != 0), losses, 0) * weights  # of a weight of 0 it is 0, though it may be infinite
    if reduction == "none":
        return jnp.where(known, each, losses)
    total = jnp.where(known, each, 0).sum()
    return total / jnp.where(known, weights, 0).sum() if reduction == "mean" else total
