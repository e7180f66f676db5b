"""An operation on arrays, however its rankings lie: what all public functions call."""

from __future__ import annotations

from typing import Any

import jax

from ..core.errors import OptionError
from ..operations.asked import hardened, operation_asked
from ..operations.operation import EACH, Operation
from ..operations.permute import Permute
from ..operations.quantile import Quantile
from ..operations.rank import Rank
from .arrays import is_each, widened, worst
from .axes import lying
from .callback import computed
from .callback import straight_through as hard_with_gradient_of
from .uneven import Cut


def soft(
    kind: type[Operation],
    x: Any,
    alpha: Any,
    k: Any,
    descending: bool,
    axis: int,
    mask: Any,
    straight_through: bool,
    options: dict[str, Any],
) -> Any:
    """An operation on rankings however they lie; straight_through: its hard result, with its gradient."""
    x, where = lying(x, axis, mask)
    alpha, k = where.option("alpha", alpha), where.option(kind.at.name, k)
    rows = where.rows(x, worst(descending))
    made = applied(kind, rows, alpha, k, descending, options, cut=where.cut)
    if straight_through:
        row, a, b = (jax.lax.stop_gradient(one) if is_each(one) else one for one in (rows, alpha, k))
        hard = applied(kind, row, a, b, descending, hardened(options), cut=where.cut)
        made = hard_with_gradient_of(made, hard)
    made = made if kind is Rank else made.astype(x.dtype)
    as_given = {Permute: where.squares, Quantile: lambda each: each}.get(kind, where.like)
    return as_given(made)


def applied(
    kind: type[Operation],
    x: jax.Array,
    alpha: Any,
    k: Any,
    descending: bool,
    options: dict[str, Any],
    target: jax.Array | None = None,
    cut: Cut | None = None,
) -> jax.Array:
    """What an operation makes of rankings on the last axis, or flat with a cut; or the losses of these."""
    of_all, k_of_all = (EACH if is_each(given) else given for given in (alpha, k))
    operation = operation_asked(kind, of_all, k_of_all, descending, options)
    try:
        hash(operation)
    except TypeError:
        raise OptionError(f"{operation.name} has an option that is an array, which JAX cannot hold fixed") from None
    each = [given if is_each(given) else None for given in (alpha, k)]
    made: jax.Array = computed(operation, widened(x), *each, target, cut)
    return made
