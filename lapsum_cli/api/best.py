"""The first k places alone, their soft-sorted scores and who has them, and gradients; arguments as in functions.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import DeviceError, OptionError
from ..core.rankings import Rankings, is_on_card
from ..operations.kept import operation_of
from ..operations.permute import Permute, check_tolerance
from .forms import Form, rankings_of
from .functions import Gradients, asked, compute, of_all, own_options, soft_sort, soft_sort_vjp
from .permutations import gradients_of_matrices


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
    given = form.shaped("upstream", upstream, lambda n: (min(k, n),), "of the result, (k) for n scores")
    of_places = [np.zeros(n) for n in form.rankings.lengths.tolist()]
    for of_place, row in zip(of_places, given, strict=True):
        of_place[: len(row)] = row
    flat = np.concatenate([np.empty(0), *of_places])
    beside = flat.reshape(form.array) if form.array is not None else Rankings(flat, form.rankings.offsets)
    return soft_sort_vjp(form, beside, alpha=alpha, descending=largest, method=method, threads=threads, **options)


class Entries(NamedTuple):
    """The large entries of matrices, one after the other: of which ranking, place (from 0) and item, and how large."""

    rankings: np.ndarray
    places: np.ndarray
    items: np.ndarray
    probabilities: np.ndarray


def soft_topk_indices(
    x: Any,
    k: int,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    tolerance: float | None = None,
    method: str = "lapsum",
    threads: int = 1,
    **options: Any,
) -> Any:
    """Soft indices of the first k places, best first: how likely each item is there, (..., k, n), or a list of (k, n).

    Approximates  np.eye(n)[np.argsort(-x)[:k]]  and tends to it as alpha tends to 0; the first k columns of
    soft_permutation, transposed, in O(n k) after the sort. Each place has the sum 1. In memory here.

    k          a whole number; above a ranking's length it counts as that
    tolerance  for Entries in place of matrices: of each place its most probable items, ascending, until those left out
               hold at most this much
    Source: LapSum, ICML 2025, section 4.
    """
    form = _form("soft_topk_indices", x, k)
    check_tolerance(tolerance)
    own = {"method": method, "places": k, **own_options("soft_topk_indices", options)}
    operation = operation_of(Permute, of_all("alpha", alpha), largest, **own)
    form, result = compute(operation, form, alpha, threads)
    [rows] = result.values.values()
    lengths = form.rankings.lengths.tolist()
    made = (rows.dense(r, 0, n, k).T.astype(form.dtype) for r, n in enumerate(lengths))
    if tolerance is not None:
        return _entries(made, tolerance, form.dtype)
    if form.array is None:
        return list(made)
    n = form.array[-1]
    return np.array(list(made), form.dtype).reshape(*form.shape, min(k, n), n)


def soft_topk_indices_vjp(
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
    """Gradients of sum(upstream * soft_topk_indices(x, k)) with respect to the scores and alpha, in O(n k).

    upstream  in the form of the result: (..., k, n), or a list of (k, n) for a list
    """
    form = _form("soft_topk_indices_vjp", x, k)
    own = {"method": method, "places": k, **own_options("soft_topk_indices_vjp", options)}
    operation = operation_of(Permute, of_all("alpha", alpha), largest, **own)
    given = form.shaped("upstream", upstream, lambda n: (min(k, n), n), "of the result, (k, n) for n scores")
    form, rankings, on = asked(operation, form, alpha, threads, "cpu")
    pulls = np.concatenate([np.empty(0), *(matrix.T.reshape(-1) for matrix in given)])
    return gradients_of_matrices(operation, form, rankings, pulls, on)


def _entries(made: Iterable[np.ndarray], tolerance: float, dtype: str) -> Entries:
    """Those of the matrices of rankings, (k, n), one after the other."""
    from ..kernels.cpu.permute import most_probable

    none = np.empty(0, np.int64)
    parts = [(none, none, none, np.empty(0, dtype))]
    for r, matrix in enumerate(made):
        places, items, found = most_probable(np.ascontiguousarray(matrix), tolerance)
        parts.append((np.full(len(found), r), places, items, found))
    return Entries(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _form(function: str, x: Any, k: Any) -> Form:
    """The rankings of x; OptionError where k is no whole number, DeviceError for what is not in memory here."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 0:
        raise OptionError(f"k of {function} must be a whole number of 0 or more, got {k!r}")
    if is_on_card(x):
        raise DeviceError(f"{function} takes scores in memory here; copy them to the host")
    return rankings_of(x)
