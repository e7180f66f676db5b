"""The soft-sorted scores of the first k places alone, and their gradients; arguments are those of functions.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import DataError, DeviceError, OptionError
from ..core.rankings import Rankings, is_on_card
from .forms import Form, in_memory, option, rankings_of
from .functions import Gradients, soft_sort, soft_sort_vjp


def soft_topk_values(
    x: Any,
    k: int,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    method: str = "lapsum",
    threads: int = 1,
    **options: Any,
) -> Any:
    """Soft-sorted scores of the first k places, best first: (..., k), or a list of arrays for a list.

    Approximates  -np.sort(-x)[..., :k]  and tends to it as alpha tends to 0; they are the first k of soft_sort. In
    memory here, O(n) after the sort.

    k   a whole number; above a ranking's length it counts as that
    Source: LapSum, ICML 2025, section 4.
    """
    form = _form("soft_topk_values", x, k)
    found = soft_sort(form, alpha=alpha, descending=largest, method=method, threads=threads, **options)
    if form.array is not None:
        return found[..., :k].copy()
    rows = [found[r][:k] for r in range(len(form.rankings))]
    return Rankings.joined(rows) if isinstance(x, Rankings) else rows


def soft_topk_values_vjp(
    x: Any,
    k: int,
    upstream: Any,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    method: str = "lapsum",
    threads: int = 1,
    **options: Any,
) -> Gradients:
    """Gradients of sum(upstream * soft_topk_values(x, k)) with respect to the scores and alpha, in O(n) after the sort.

    upstream  in the form of the result
    """
    form = _form("soft_topk_values_vjp", x, k)
    pulls = [upstream] if form.array is not None else list(upstream)
    wanted = (
        [(*form.shape, min(k, form.array[-1]))] if form.array is not None else [(min(k, n),) for n in _lengths(form)]
    )
    given = [option("upstream", in_memory(one)) for one in pulls]
    if [one.shape for one in given] != wanted:
        shapes = ", ".join(str(one.shape) for one in given[:3])
        raise DataError(f"upstream must have the form of the result, {', '.join(map(str, wanted[:3]))}; got {shapes}")
    of_places = [np.zeros(n) for n in _lengths(form)]
    rows = given[0].reshape(len(form.rankings), wanted[0][-1]) if form.array is not None else given
    for of_place, row in zip(of_places, rows, strict=True):
        of_place[: len(row)] = row
    flat = np.concatenate([np.empty(0), *of_places])
    beside = flat.reshape(form.array) if form.array is not None else Rankings(flat, form.rankings.offsets)
    return soft_sort_vjp(form, beside, alpha=alpha, descending=largest, method=method, threads=threads, **options)


def _form(function: str, x: Any, k: Any) -> Form:
    """The rankings of x; OptionError where k is no whole number, DeviceError for what is not in memory here."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 0:
        raise OptionError(f"k of {function} must be a whole number of 0 or more, got {k!r}")
    if is_on_card(x):
        raise DeviceError(
            f"{function} takes scores in memory here; copy them to the host, or take the first of soft_sort"
        )
    return rankings_of(x)


def _lengths(form: Form) -> list[int]:
    return [int(n) for n in form.rankings.lengths]
