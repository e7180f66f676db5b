"""Arrays in, arrays out: the operations, and their gradients, on NumPy, Arrow, pandas and Polars data.

In all of them

x        one ranking (n,); rankings on the last axis (..., n); a list of rankings, a column of lists, or Rankings
alpha    softness in the unit of the scores: a number, one for each ranking, or "0.1std", in standard deviations of each
         ranking, which gradients hold constant; larger is softer
upstream the gradient of a loss with respect to the result, in its form
threads  no result depends on it
device   "cpu", "cuda" for an NVIDIA GPU (extra `cuda`), "auto" for a GPU where one works, or None for where the scores
         are. An array on a GPU (CUDA Array Interface: CuPy, PyTorch, Numba) is computed there without a copy: what has
         its form stays there, with the same interface; a number for each ranking comes back as NumPy

Results have the form and dtype of x, gradients with respect to alpha and k a number for each ranking. What cannot be
used raises OptionError or DataError, both a ValueError: alpha <= 0, k < 0, NaN. Infinite scores have gradient 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .. import devices
from ..core.errors import OptionError
from ..core.quantities import Alpha, K
from ..operations.menu import Permute, Rank, Sort, TopK
from ..operations.operation import GRADIENT, Given, Operation, Result, prepare
from .forms import Form, is_on_card, rankings_of, refuse_nan


class Gradients(NamedTuple):
    """Gradients with respect to the scores, in their form, and to alpha, one for each ranking."""

    scores: object
    alpha: object


class TopKGradients(NamedTuple):
    """Gradients with respect to the scores, in their form, and to k and alpha, one for each ranking."""

    scores: object
    k: object
    alpha: object


def soft_rank(x, *, alpha="0.1std", descending=True, base=1, threads=1, device=None):
    """Soft rank of every score in its ranking: near `base` for the largest; n of them sum to n (n - 1) / 2 + n base.

    Approximates  np.argsort(np.argsort(-x)) + 1  and tends to it as alpha tends to 0; ties take their mean place.
    float16 gives float32, a ranking longer than 2^24 float64. O(n log n).
    Source: LapSum, ICML 2025, section 3.
    """
    return _result(Rank(**softness(alpha), descending=descending, base=base), x, alpha, threads, device)


def soft_rank_vjp(x, upstream, *, alpha="0.1std", descending=True, threads=1, device=None) -> Gradients:
    """Gradients of sum(upstream * soft_rank(x)) with respect to the scores and alpha, in O(n) after the sort.

    (1 / 2 alpha) (sum_j e_ij v_j - v_i sum_j e_ij) over j != i, with e_ij = e^(-|x_i - x_j| / alpha), v = upstream.
    """
    return _gradients(Rank(**softness(alpha), descending=descending), x, upstream, alpha, threads, device)


def soft_sort(x, *, alpha="0.1std", descending=True, threads=1, device=None):
    """Soft-sorted scores, best first: a shift of the scores shifts them alike, and their spread grows with alpha.

    Approximates  -np.sort(-x)  and tends to it as alpha tends to 0. The l-th (from 1) is the t at which the soft count
    sum_j F((x_j - t) / alpha) is l - 1/2. Infinite scores stay at their end. O(n log n).
    Source: LapSum, ICML 2025, section 4.
    """
    return _result(Sort(**softness(alpha), descending=descending), x, alpha, threads, device)


def soft_sort_vjp(x, upstream, *, alpha="0.1std", descending=True, threads=1, device=None) -> Gradients:
    """Gradients of sum(upstream * soft_sort(x)) with respect to the scores and alpha, in O(n) after the sort.

    The l-th result moves with the scores by softmax_j(-|y_l - x_j| / alpha); upstream goes by position.
    """
    return _gradients(Sort(**softness(alpha), descending=descending), x, upstream, alpha, threads, device)


def soft_topk(x, k, *, alpha="0.1std", largest=True, threads=1, device=None):
    """Soft membership in the top k: values in [0, 1] that sum to k in every ranking.

    Approximates  x >= np.sort(x)[-k]  and tends to it as alpha tends to 0; a tie across the boundary shares its places.

    k   how many are at the top, possibly fractional: a number, one for each ranking, or "10%" of its length; k above a
        ranking's length counts as that length

    O(n). Source: LapSum, ICML 2025, section 4.
    """
    return _result(_topk(k, alpha, largest), x, alpha, threads, device, k)


def soft_topk_vjp(x, k, upstream, *, alpha="0.1std", largest=True, threads=1, device=None) -> TopKGradients:
    """Gradients of sum(upstream * soft_topk(x, k)) with respect to the scores, k and alpha, in O(n).

    With f_j = e^(-|x_j - b| / alpha) / (2 alpha) and q = f / sum(f): f_j (v_j - <q, v>) for the scores, <q, v> for k.
    All are 0 at k = 0 and k = n.
    """
    return _topk_gradients(_topk(k, alpha, largest), x, k, upstream, alpha, threads, device)


def log_soft_topk(x, k, *, alpha="0.1std", largest=True, threads=1, device=None):
    """Logarithm of the soft membership in the top k, with all its digits in both tails: never the log of a rounded 1.

    x, k   as for soft_topk; -inf where the membership is 0
    """
    return _result(_topk(k, alpha, largest, log=True), x, alpha, threads, device, k)


def log_soft_topk_vjp(x, k, upstream, *, alpha="0.1std", largest=True, threads=1, device=None) -> TopKGradients:
    """Gradients of sum(upstream * log_soft_topk(x, k)) with respect to the scores, k and alpha, in O(n).

    (h_j v_j - q_j <h, v>) / alpha with h = alpha f / p, f and q as for soft_topk_vjp.
    """
    return _topk_gradients(_topk(k, alpha, largest, log=True), x, k, upstream, alpha, threads, device)


def soft_permutation(x, *, alpha="0.1std", descending=True, threads=1, device=None):
    """The soft permutation matrix: how likely each item (row) is at each position (column, best first).

    Approximates  np.eye(n)[np.argsort(np.argsort(-x))]  and tends to it as alpha tends to 0. Rows and columns sum to 1.

    Returns (..., n, n), or a list of matrices for a list: O(n^2). `lapsum permute` writes its large entries alone.
    Source: LapSum, ICML 2025, section 4.
    """
    from ..kernels.cpu import permute

    operation = Permute(**softness(alpha), descending=descending)
    if is_on_card(x):
        form, on, given = _asked(operation, x, alpha, threads, device)
        matrices = on.dense_permutation(*operation.best_first(form.rankings, given, on))
        on.wait()
        return matrices.reshape((*form.shape, *matrices.shape[1:]))
    form, at = compute(operation, x, alpha, threads, device)
    lengths = form.rankings.lengths.tolist()
    matrices = [permute.dense(at, r, 0, n).astype(form.dtype, copy=False) for r, n in enumerate(lengths)]
    if len(form.shape) == 1 and not (isinstance(x, np.ndarray) and x.dtype != object):
        return matrices
    n = lengths[0] if lengths else np.shape(x)[-1]
    return np.concatenate(matrices or [np.empty((0, n), form.dtype)]).reshape(*form.shape, n, n)


def softness(alpha) -> dict:
    """The option alpha; where an array gives it for each ranking, that does not matter."""
    return {"alpha": Alpha.parse(alpha) if np.ndim(alpha) == 0 else Alpha(1.0)}


def _topk(k, alpha, largest, log=False) -> TopK:
    ks = (K.parse(k),) if np.ndim(k) == 0 else ()
    return TopK(**softness(alpha), ks=ks, descending=largest, log=log)


def _result(operation: Operation, x, alpha, threads, device, k=None):
    form, result = compute(operation, x, alpha, threads, device, k)
    dtype = operation.dtype(form.dtype, int(form.rankings.lengths.max(initial=0)))
    return form.scores(_as(result.scores[operation.column], dtype))


def _gradients(operation: Operation, x, upstream, alpha, threads, device) -> Gradients:
    operation = replace(operation, gradient=True, grad_alpha=True)
    form, result = compute(operation, x, alpha, threads, device, upstream=upstream)
    return Gradients(_scores_gradient(form, result), form.each(result.rankings[f"{GRADIENT}_alpha"]))


def _topk_gradients(operation, x, k, upstream, alpha, threads, device) -> TopKGradients:
    operation = replace(operation, gradient=True, grad_alpha=True, grad_k=True)
    form, result = compute(operation, x, alpha, threads, device, k, upstream)
    to_k, to_alpha = (form.each(result.rankings[f"{GRADIENT}_{name}"]) for name in ("k", "alpha"))
    return TopKGradients(_scores_gradient(form, result), to_k, to_alpha)


def _scores_gradient(form: Form, result: Result):
    return form.scores(_as(result.scores[GRADIENT], form.dtype))


def _as(values, dtype):
    """Values as this dtype; those on a card are of it."""
    return values.astype(dtype, copy=False) if isinstance(values, np.ndarray) else values


def compute(operation: Operation, x, alpha, threads, device=None, k=None, upstream=None, target=None):
    """The form of x, and what the operation makes of its rankings."""
    form, on, given = _asked(operation, x, alpha, threads, device, k, upstream, target)
    longest = int(form.rankings.lengths.max(initial=0))
    result = on.run(operation, form.rankings, given, _computed(operation.dtype(form.dtype, longest)))
    on.wait()  # nothing tells another library's stream to do so
    return form, result


def _asked(operation: Operation, x, alpha, threads, device, k=None, upstream=None, target=None):
    """The form of x, the processor that computes it, with its kernels ready, and what is given beside it."""
    if not isinstance(threads, int) or threads < 1:
        raise OptionError(f"threads must be 1 or more, got {threads!r}")
    if is_on_card(x):
        if device == "cpu":
            raise OptionError("x is on a GPU; copy it to the host, or leave device out")
        on = devices.lane()
    else:
        on = devices.choose("cpu" if device is None else device, threads)
    form = rankings_of(x)
    rankings = form.rankings
    refuse_nan(rankings, "the score", on)
    given = Given(
        form.per_ranking("alpha", None if np.ndim(alpha) == 0 else alpha),
        form.per_ranking("k", None if np.ndim(k) == 0 else k),
        None if upstream is None else form.per_score("upstream", upstream, rankings.values.dtype, on),
        None if target is None else form.per_score("target", target, np.float64, on),
    )
    prepare(operation, rankings.values.dtype, on)
    return form, on, given


def _computed(dtype: str):
    """What the kernels compute for results of this dtype: float16 is rounded from float32 at the end."""
    return np.float64 if dtype == "float64" else np.float32
