"""The first k places alone, of arrays: their soft-sorted scores, and who has them."""

from __future__ import annotations

from typing import Any

import jax

from ..operations.permute import Permute, check_places
from ..operations.sort import Sort
from .apply import soft
from .axes import axis_of
from .uneven import uneven


def soft_topk_values(
    x: Any,
    k: int,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    axis: int = -1,
    mask: Any = None,
    straight_through: bool = False,
    method: str = "lapsum",
    **own: Any,
) -> jax.Array:
    """Soft-sorted scores of the first k places, best first; approximates  jax.lax.top_k(x, k)[0].

    k: a whole number; above the length of a ranking it counts as that
    """
    check_places("soft_topk_values", k, uneven(x) is not None)
    made = soft(Sort, x, alpha, None, largest, axis, mask, straight_through, {"method": method, **own})
    at = axis_of(made, axis)
    return jax.lax.slice_in_dim(made, 0, min(k, made.shape[at]), axis=at)


def soft_topk_indices(
    x: Any,
    k: int,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    mask: Any = None,
    method: str = "lapsum",
    **own: Any,
) -> jax.Array:
    """Soft indices of the first k places (..., k, n); approximates  jax.nn.one_hot(jax.lax.top_k(x, k)[1], n).

    The first k columns of soft_permutation, transposed, in O(n k) after the sort; each place has the sum 1. Times
    (..., n, d) they are the soft best k of n vectors.

    k: a whole number; above the length of a ranking it counts as that
    """
    check_places("soft_topk_indices", k, uneven(x) is not None)
    made = soft(Permute, x, alpha, None, largest, -1, mask, False, {"method": method, "places": k, **own})
    return made.swapaxes(-1, -2)
