"""Arrays in, arrays out: the operations, and their gradients, on NumPy, Arrow, pandas and Polars data.

In all of them

x        one ranking (n,); rankings on the last axis (..., n); a list of rankings, a column of lists, or Rankings
alpha    softness in the unit of the scores: a number, one for each ranking, or in a spread of each ranking, which
         gradients hold constant: "0.1std" in standard deviations, or in what outliers do not move, "0.1iqr" in
         interquartile ranges and "0.15mad" in median absolute deviations; larger is softer
upstream the gradient of a loss with respect to the result, in its form
method   how it is computed (operations.METHODS), with options of its own (operations.choices); force=True where it
         takes n^2 steps and a ranking has more than 20,000 scores
groups   of flat x: an array or column with a group for each score, in any order, whose equal values make a ranking;
         several as a tuple. A number for each ranking is in the order in which groups come first
threads  no result depends on it
device   "cpu", "cuda" for an NVIDIA GPU (extra `cuda`), "auto" for a GPU where one works, or None for where the scores
         are. An array on a GPU (CUDA Array Interface: CuPy, PyTorch, Numba) is computed there without a copy: what has
         its form stays there, with the same interface; a number for each ranking comes back as NumPy

Results have the form and dtype of x, gradients with respect to alpha and k a number for each ranking. What cannot be
used raises OptionError or DataError, both a ValueError: alpha <= 0, k < 0, NaN. Infinite scores have gradient 0.
"""

from __future__ import annotations

from decimal import Decimal
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from .. import devices
from ..core.errors import DataError, OptionError
from ..core.quantities import Alpha, K, Q
from ..core.rankings import Rankings, is_on_card
from ..core.tensors import is_tensor
from ..operations import METHODS, suspicions
from ..operations.choices import CHOICES
from ..operations.kept import operation_of
from ..operations.operation import EACH, Operation
from ..operations.rank import Rank
from ..operations.slots import GRADIENT, Result
from ..operations.sort import Sort
from ..operations.stages import STAGE
from ..operations.topk import TopK
from ..operations.warm import warm
from .forms import Form, in_memory, option, rankings_of, refuse_nan
from .grouped import by_group

ONE = (str, float, int)  # kinds of options that are one for all rankings


class Gradients(NamedTuple):
    """Gradients with respect to the scores, in their form, and to alpha, one for each ranking."""

    scores: Any
    alpha: Any


class TopKGradients(NamedTuple):
    """Gradients with respect to the scores, in their form, and to k and alpha, one for each ranking."""

    scores: Any
    k: Any
    alpha: Any


def soft_rank(
    x: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    base: int = 1,
    method: str = "lapsum",
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> Any:
    """Soft rank of every score in its ranking: near `base` for the largest; n of them sum to n (n - 1) / 2 + n base.

    Approximates  np.argsort(np.argsort(-x)) + 1  and tends to it as alpha tends to 0; ties take their mean place.
    float16 gives float32, a ranking longer than 2^24 float64. O(n log n).
    Source: LapSum, ICML 2025, section 3.
    """
    own = own_options("soft_rank", options)
    operation = operation_of(Rank, of_all("alpha", alpha), descending, method=method, base=base, **own)
    return _result(operation, by_group(x, groups), alpha, threads, device)


def soft_rank_vjp(
    x: Any,
    upstream: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    method: str = "lapsum",
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> Gradients:
    """Gradients of sum(upstream * soft_rank(x)) with respect to the scores and alpha, in O(n) after the sort.

    (1 / 2 alpha) (sum_j e_ij v_j - v_i sum_j e_ij) over j != i, with e_ij = e^(-|x_i - x_j| / alpha), v = upstream.
    """
    own = {"gradient": True, "grad_alpha": True, **own_options("soft_rank_vjp", options)}
    operation = operation_of(Rank, of_all("alpha", alpha), descending, method=method, **own)
    return _gradients(operation, by_group(x, groups), upstream, alpha, threads, device)


def soft_sort(
    x: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    method: str = "lapsum",
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> Any:
    """Soft-sorted scores, best first: a shift of the scores shifts them alike, and their spread grows with alpha.

    Approximates  -np.sort(-x)  and tends to it as alpha tends to 0. The l-th (from 1) is the t at which the soft count
    sum_j F((x_j - t) / alpha) is l - 1/2. Infinite scores stay at their end. O(n log n).
    Source: LapSum, ICML 2025, section 4.
    """
    operation = operation_of(
        Sort, of_all("alpha", alpha), descending, method=method, **own_options("soft_sort", options)
    )
    return _result(operation, by_group(x, groups), alpha, threads, device)


def soft_sort_vjp(
    x: Any,
    upstream: Any,
    *,
    alpha: Any = "0.1std",
    descending: bool = True,
    method: str = "lapsum",
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> Gradients:
    """Gradients of sum(upstream * soft_sort(x)) with respect to the scores and alpha, in O(n) after the sort.

    The l-th result moves with the scores by softmax_j(-|y_l - x_j| / alpha); upstream goes by position.
    """
    own = {"gradient": True, "grad_alpha": True, **own_options("soft_sort_vjp", options)}
    operation = operation_of(Sort, of_all("alpha", alpha), descending, method=method, **own)
    return _gradients(operation, by_group(x, groups), upstream, alpha, threads, device)


def soft_topk(
    x: Any,
    k: Any,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    method: str = "lapsum",
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> Any:
    """Soft membership in the top k: values in [0, 1] that sum to k in every ranking.

    Approximates  x >= np.sort(x)[-k]  and tends to it as alpha tends to 0; a tie across the boundary shares its places.

    k   how many are at the top, possibly fractional: a number, one for each ranking, or "10%" of its length; k above a
        ranking's length counts as that length
    by  "magnitude" to compare |x| in place of x

    O(n). Source: LapSum, ICML 2025, section 4.
    """
    own = {"k": _k(k, method), **own_options("soft_topk", options)}
    operation = operation_of(TopK, of_all("alpha", alpha), largest, method=method, **own)
    return _result(operation, by_group(x, groups), alpha, threads, device, k)


def soft_topk_vjp(
    x: Any,
    k: Any,
    upstream: Any,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    method: str = "lapsum",
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> TopKGradients:
    """Gradients of sum(upstream * soft_topk(x, k)) with respect to the scores, k and alpha, in O(n).

    With f_j = e^(-|x_j - b| / alpha) / (2 alpha) and q = f / sum(f): f_j (v_j - <q, v>) for the scores, <q, v> for k.
    All are 0 at k = 0 and k = n.
    """
    own = {"method": method, **own_options("soft_topk_vjp", options)}
    return _topk_gradients(own, by_group(x, groups), k, upstream, alpha, largest, threads, device)


def log_soft_topk(
    x: Any,
    k: Any,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    method: str = "lapsum",
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> Any:
    """Logarithm of the soft membership in the top k, with all its digits in both tails: never the log of a rounded 1.

    x, k   as for soft_topk; -inf where the membership is 0
    """
    own = {"k": _k(k, method), "log": True, **own_options("log_soft_topk", options)}
    operation = operation_of(TopK, of_all("alpha", alpha), largest, method=method, **own)
    return _result(operation, by_group(x, groups), alpha, threads, device, k)


def log_soft_topk_vjp(
    x: Any,
    k: Any,
    upstream: Any,
    *,
    alpha: Any = "0.1std",
    largest: bool = True,
    method: str = "lapsum",
    groups: Any = None,
    threads: int = 1,
    device: str | None = None,
    **options: Any,
) -> TopKGradients:
    """Gradients of sum(upstream * log_soft_topk(x, k)) with respect to the scores, k and alpha, in O(n).

    (h_j v_j - q_j <h, v>) / alpha with h = alpha f / p, f and q as for soft_topk_vjp.
    """
    own = {"log": True, "method": method, **own_options("log_soft_topk_vjp", options)}
    return _topk_gradients(own, by_group(x, groups), k, upstream, alpha, largest, threads, device)


_PARSE = {"alpha": Alpha.parse, "k": K.parse, "q": Q.parse}


def of_all(name: str, given: Any) -> Any:
    """An option that all rankings share, alpha, k or q; EACH where they have one each."""
    if given is None or isinstance(given, str) or type(given) in (float, int):
        return given
    if _is_each(given):
        return EACH
    if type(given) is bool or (not isinstance(given, Real | Decimal | np.ndarray) and not is_tensor(given)):
        _PARSE[name](given)  # which refuses it: here, as True is 1 where options that were given before are looked up
    return option(name, in_memory(given)).item()


def _k(given: Any, method: str) -> Any:
    """k as an operation is made with it; EACH for a method that takes none, too."""
    return EACH if given is None and method in METHODS and not METHODS[method].takes_k else of_all("k", given)


def own_options(function: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of methods, and what a top-k is by; TypeError for any other, as Python would have it."""
    for name in options:
        if name not in CHOICES and name != "force" and not (name == "by" and "topk" in function):
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
    return options


def _is_each(given: Any) -> bool:
    """Whether an option is given for each ranking."""
    if given is None or isinstance(given, ONE):
        return False
    try:
        return np.ndim(given) > 0
    except (TypeError, ValueError):  # a list of lists of several lengths
        return True


def _result(operation: Operation, x: Any, alpha: Any, threads: int, device: str | None, k: Any = None) -> Any:
    form, result = compute(operation, x, alpha, threads, device, k)
    [values] = result.values.values()
    return form.scores(as_dtype(values, operation.dtype(form.dtype, form.rankings.longest)))


def _gradients(operation: Operation, x: Any, upstream: Any, alpha: Any, threads: int, device: str | None) -> Gradients:
    form, result = compute(operation, x, alpha, threads, device, upstream=upstream, results=False)
    found = {slot.name: values for slot, values in result.values.items()}
    return Gradients(form.scores(as_dtype(found[GRADIENT], form.dtype)), form.each(found[f"{GRADIENT}_alpha"]))


def _topk_gradients(
    own: dict[str, Any],
    x: Any,
    k: Any,
    upstream: Any,
    alpha: Any,
    largest: bool,
    threads: int,
    device: str | None,
) -> TopKGradients:
    gradients = {"gradient": True, "grad_alpha": True, "grad_k": True, "k": _k(k, own["method"])}
    operation = operation_of(TopK, of_all("alpha", alpha), largest, **gradients, **own)
    form, result = compute(operation, x, alpha, threads, device, k, upstream, results=False)
    found = {slot.name: values for slot, values in result.values.items()}
    to_k, to_alpha = (form.each(found[f"{GRADIENT}_{name}"]) for name in ("k", "alpha"))
    return TopKGradients(form.scores(as_dtype(found[GRADIENT], form.dtype)), to_k, to_alpha)


def as_dtype(values: Any, dtype: str) -> Any:
    """Values as this dtype; those on a card are of it."""
    return values.astype(dtype, copy=False) if isinstance(values, np.ndarray) else values


def compute(
    operation: Operation,
    x: Any,
    alpha: Any,
    threads: int,
    device: str | None = None,
    k: Any = None,
    upstream: Any = None,
    target: Any = None,
    results: bool = True,
    stage: Any = None,
) -> tuple[Form, Result]:
    """The form of x, and every slot that the operation gives for its rankings; results: whether its own is read. k: of
    a quantile q.
    """
    form, rankings, on = asked(operation, x, alpha, threads, device, k, upstream, target, stage)
    result = on.compute(operation, rankings, results)
    on.wait()
    return form, result


def asked(
    operation: Operation,
    x: Any,
    alpha: Any,
    threads: int,
    device: str | None,
    k: Any = None,
    upstream: Any = None,
    target: Any = None,
    stage: Any = None,
) -> tuple[Form, Rankings, Any]:
    """The form of x, its rankings with what is given beside them, and the device, with its kernels ready."""
    if not isinstance(threads, Integral) or threads < 1:
        raise OptionError(f"threads must be 1 or more, got {threads!r}")
    on: Any
    if is_on_card(x):
        if device == "cpu":
            raise OptionError("x is on a GPU; copy it to the host, or leave device out")
        on = devices.lane()
    else:
        on = devices.choose("cpu" if device is None else device, int(threads))
    form = rankings_of(x)
    rankings = form.rankings
    refuse_nan(rankings, "the score", on)
    own_numbers = (("alpha", alpha), (operation.at.name, k))
    each = {name: form.per_ranking(name, given) for name, given in own_numbers if _is_each(given)}
    of_scores, own = rankings.values.dtype, np.float64
    given_beside = (("upstream", upstream, of_scores), ("target", target, own), (STAGE, stage, of_scores))
    needed = {"target", "upstream"} if operation.gradient else {"target"}
    for name, given, _ in given_beside:
        if given is None and name in needed & {*operation.takes}:
            raise DataError(f"{name} is None; pass a number for every score")
    beside = {name: form.per_score(name, given, dtype, on) for name, given, dtype in given_beside if given is not None}
    if each or beside:
        rankings = rankings.with_each(each, beside)
    if not rankings.is_on_card:
        suspicions.warn(operation, rankings)
    warm(operation, rankings.dtype, on)
    return form, rankings, on
