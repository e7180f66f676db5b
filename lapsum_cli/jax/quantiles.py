"""Soft quantiles of arrays: one value for each ranking."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..operations.quantile import Quantile
from .apply import soft


def soft_quantile(
    x: Any,
    q: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    axis: int = -1,
    keepdims: bool = False,
    mask: Any = None,
    straight_through: bool = False,
    method: str = "lapsum",
    **own: Any,
) -> jax.Array:
    """Soft quantile of every ranking, q from 0 to 1; approximates  jnp.quantile(x, q, axis)."""
    options = {"method": method, **own}
    made = soft(Quantile, x, alpha, q, descending, axis, mask, straight_through, options)
    return jnp.expand_dims(made, axis) if keepdims else made


def _at(q: float, name: str, about: str) -> Callable[..., jax.Array]:
    """The quantile at one q as a function of its own; about: what it is, for its help."""

    @functools.wraps(soft_quantile)
    def found(x: Any, **options: Any) -> jax.Array:
        return soft_quantile(x, q, **options)

    signature = inspect.signature(soft_quantile)
    given = [parameter for parameter in signature.parameters.values() if parameter.name != "q"]
    found.__name__ = found.__qualname__ = name
    found.__doc__, found.__signature__ = about, signature.replace(parameters=given)  # type: ignore[attr-defined]
    return found


soft_median = _at(0.5, "soft_median", "Soft median of every ranking; approximates  jnp.median(x, -1).")
soft_max = _at(1.0, "soft_max", "Soft maximum of every ranking: alpha logsumexp(x / alpha, -1).")
soft_min = _at(0.0, "soft_min", "Soft minimum of every ranking: -alpha logsumexp(-x / alpha, -1).")
