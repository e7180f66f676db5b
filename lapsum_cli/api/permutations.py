"""Soft permutation matrices of arrays, and their gradients; arguments are those of functions.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import DeviceError
from ..core.rankings import Rankings, is_on_card
from ..operations.kept import operation_of
from ..operations.operation import Operation
from ..operations.permute import Permute
from .forms import Form
from .functions import Gradients, as_dtype, asked, compute, of_all, own_options


def soft_permutation(
    x: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    method: str = "lapsum",
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> Any:
    """The soft permutation matrix: how likely each item (row) is at each position (column, best first).

    Approximates  np.eye(n)[np.argsort(np.argsort(-x))]  and tends to it as alpha tends to 0. Rows and columns sum to 1.

    Returns (..., n, n), or a list of matrices for a list: O(n^2). `lapsum permute` writes its large entries alone.
    Source: LapSum, ICML 2025, section 4.
    """
    own = own_options("soft_permutation", options)
    operation = operation_of(Permute, of_all("alpha", alpha), descending, method=method, **own)
    if is_on_card(x):
        form, rankings, on = asked(operation, x, alpha, threads, device)
        with on.alone(operation, rankings):
            ready = operation.ready(rankings, on)
            order = on.kernels.order.Order(on.place, ready, descending)
            matrices = on.kernels.permute.dense(order, ready.each["alpha"])
        on.wait()
        return matrices.reshape((*form.shape, *matrices.shape[1:]))
    form, result = compute(operation, x, alpha, threads, device)
    [rows] = result.values.values()
    lengths = form.rankings.lengths.tolist()
    matrices = [rows.dense(r, 0, n).astype(form.dtype, copy=False) for r, n in enumerate(lengths)]
    if form.array is None:
        return matrices
    n = form.array[-1]
    return np.concatenate(matrices or [np.empty((0, n), form.dtype)]).reshape(*form.shape, n, n)


def soft_permutation_vjp(
    x: Any,
    upstream: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    method: str = "lapsum",
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> Gradients:
    """Gradients of sum(upstream * soft_permutation(x)) with respect to the scores and alpha, in O(n^2).

    upstream  in the form of the result: (..., n, n), or a list of matrices for a list
    """
    if is_on_card(x) or device not in (None, "cpu", "auto"):
        raise DeviceError("gradients of a permutation matrix are computed on a CPU, from scores in its memory")
    own = own_options("soft_permutation_vjp", options)
    operation = operation_of(Permute, of_all("alpha", alpha), descending, method=method, **own)
    form, rankings, on = asked(operation, x, alpha, threads, "cpu")
    return gradients_of_matrices(operation, form, rankings, form.squares("upstream", upstream), on)


def gradients_of_matrices(operation: Operation, form: Form, rankings: Rankings, upstream: Any, on: Any) -> Gradients:
    """For the scores and alpha, given what is upstream of matrices, flat."""
    ready = operation.ready(rankings, on)
    state = operation.forward(ready, on, keep=True).state
    found = operation.backward(ready, state, upstream, on)
    with np.errstate(over="ignore"):
        return Gradients(form.scores(as_dtype(found.scores, form.dtype)), form.each(found.alpha))
