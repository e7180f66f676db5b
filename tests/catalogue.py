"""Everything that can be computed, an entry each: what the suites of laws, definitions, gradients, devices and tensors
go through.

A law is a test parametrised with `every(...)`, which names the entries for which it does not hold, each with the
reason; whatever else is in the catalogue it must hold for. So a new operation, loss or method is one entry here, and
every law looks at it: a method with its name among the options, what has no name in lapsum_cli with its functions. A
law is a function too: `law(entry=toy)` holds a toy to it.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module

import numpy as np
import pytest
from entry import Entry
from loss_entries import LOSSES

import lapsum_cli
from lapsum_cli.core import reference
from lapsum_cli.operations import METHODS, MethodEntry
from lapsum_cli.operations.choices import Choices, chosen
from lapsum_cli.operations.methods.rows import Rows


def _hard_log_topk(x, target, k):
    with np.errstate(divide="ignore"):
        return np.log(reference.hard_topk(x, k))


def _hard_permutation(x, *_):
    """Equal scores share their places."""
    return np.diff([reference.hard_topk(x, k) for k in range(len(x) + 1)], axis=0).T


def _flat_sort(x, k, alpha):
    return _flat(x, np.arange(len(x)) + 0.5, alpha)


def _flat(x, ks, alpha):
    """The mean, and alpha times the quantiles of the Laplace distribution, of thresholds at ks."""
    u = 1 - ks / len(x)
    return x.mean() + alpha * np.where(u <= 0.5, np.log(2 * u), -np.log(2 - 2 * u))


def _quantile(name, q, function="soft_quantile"):
    """The entry of one quantile, by the function that takes q, or has it."""

    def k_of(n):
        return 0.5 + (1 - q) * (n - 1)

    return Entry(
        name,
        function,
        lambda x, alpha, descending=True, **_: reference.quantile(x, q, alpha, descending),
        per="ranking",
        error=(2e-6, 1e-12),
        of="largest",
        options={"q": q} if function == "soft_quantile" else {},
        gradient=(lambda x, v=1.0, *, q=q, **given: lapsum_cli.soft_quantile_vjp(x, q, v, **given))
        if function == "soft_quantile"
        else None,
        moves=True,
        devices=("cpu",),
        hard=lambda x, target, k: reference.hard_quantile(x, q),
        flat=lambda x, k, alpha: _flat(x, k_of(len(x)), alpha),
    )


_MEMBERSHIP = {
    "per": "score",
    "k": "positional",
    "direction": "largest",
    "total": lambda n, k: k,
    "flat": lambda x, k, alpha: np.full(len(x), k / len(x)),
    "error": (2e-6, 1e-12),
}

OPERATIONS = [
    Entry(
        "rank",
        "soft_rank",
        reference.rank,
        per="score",
        error=(2e-7, 1e-12),
        of="n",
        jacobian=reference.rank_jacobian,
        total=lambda n, k: n * (n + 1) / 2,
        hard=lambda x, target, k: reference.hard_rank(x),
        flat=lambda x, k, alpha: np.full(len(x), (len(x) + 1) / 2),
    ),
    Entry(
        "sort",
        "soft_sort",
        reference.sort,
        per="position",
        error=(2e-6, 1e-12),
        of="largest",
        jacobian=reference.sort_jacobian,
        moves=True,
        hard=lambda x, target, k: -np.sort(-x),
        flat=_flat_sort,
    ),
    Entry(
        "topk",
        "soft_topk",
        reference.topk,
        jacobian=reference.topk_jacobian,
        hard=lambda x, target, k: reference.hard_topk(x, k),
        **_MEMBERSHIP,
    ),
    Entry(
        "smallest",
        "soft_topk",
        reference.topk,
        jacobian=reference.topk_jacobian,
        reverse=True,
        hard=lambda x, target, k: reference.hard_topk(-x, k),
        **_MEMBERSHIP,
    ),
    Entry(
        "log topk",
        "log_soft_topk",
        reference.log_topk,
        jacobian=reference.log_topk_jacobian,
        hard=_hard_log_topk,
        **{
            **_MEMBERSHIP,
            "error": (8e-6, 4e-12),
            "of": "each",
            "total": None,
            "flat": lambda x, k, alpha: np.full(len(x), np.log(k / len(x))),
        },
    ),
    _quantile("quantile", 0.25),
    _quantile("median", 0.5, "soft_median"),
    _quantile("max", 1.0, "soft_max"),
    _quantile("min", 0.0, "soft_min"),
    Entry(
        "permutation",
        "soft_permutation",
        reference.permutation,
        per="pair",
        error=(2e-6, 1e-12),
        is_linear=False,
        curved=False,
        total=lambda n, k: n,
        hard=_hard_permutation,
        flat=lambda x, k, alpha: np.full((len(x), len(x)), 1 / len(x)),
    ),
]

OF_THE_MENU = {  # functions, as operations
    "soft_rank": "rank",
    "soft_sort": "sort",
    "soft_topk": "topk",
    "log_soft_topk": "topk",
    "soft_quantile": "quantile",
    "soft_permutation": "permute",
}


def entries() -> Iterator[Entry]:
    """All of them, and the operations by every other method: as the definition's, less what is not promised."""
    yield from OPERATIONS
    yield from LOSSES
    for name, listed in METHODS.items():
        if name != "lapsum":
            yield from _by(name, listed)


def _by(name: str, listed: MethodEntry) -> Iterator[Entry]:
    """The operations that a method computes; of gradients laws say more than of results. The other direction is not an
    entry of its own: for all methods it is the sign of the scores, which a law looks at.
    """
    method = import_module(listed.module).METHOD
    has_logs = "exact_zeros" not in method.promises  # else there is no saying how near the log of a 0 is
    for entry in OPERATIONS:
        operation = OF_THE_MENU.get(entry.function)
        if operation in listed.operations and not entry.reverse and (has_logs or entry.name != "log topk"):
            how = {**entry.options, "method": name}
            steps, one = method.ways[operation].steps, np.ones(1)
            is_linear = entry.is_linear and (steps is None or not steps(chosen(Choices(), name), one, one).any())
            if not listed.takes_k and entry.k:
                entry = _without_k(entry)
            without = {"definition": None, "jacobian": None, "flat": None, "tensors": False, "curved": False}
            if "fractions" in method.lacks:
                without["total"] = entry.total and (lambda n, k, of=entry.total: of(n, np.ceil(k)))
            known = {"promises": method.promises, "lacks": method.lacks, "devices": method.ways[operation].devices}
            yield replace(entry, options=how, is_linear=is_linear, **known, **without)


def _without_k(entry: Entry) -> Entry:
    """A top-k of a method that goes by no k."""

    def gradient(x, upstream, **given):
        return getattr(lapsum_cli, f"{entry.function}_vjp")(x, None, upstream, **given)

    return replace(
        entry,
        function=lambda x, **given: getattr(lapsum_cli, entry.function)(x, None, **given),
        gradient=gradient,
        k="",
    )


def every(where: Callable[[Entry], bool] = lambda entry: True, **but: str):
    """Parametrise a law with every entry, or those `where` it has a meaning, but for those that it does not hold for.

    but: an entry's name, "_" for a space, and the reason, which holds by whatever method it is computed. A name that is
    not, or no longer, in the catalogue is an error, so that an exception does not outlive what it was made for.
    """
    meant = [entry for entry in entries() if where(entry)]
    for name, reason in but.items():
        left = [entry for entry in meant if name.replace("_", " ") not in (entry.name, str(entry))]
        assert len(left) < len(meant), f"{name} is no entry that this law would look at"
        assert len(reason.split()) > 2, f"why does the law not hold for {name}?"
        meant = left
    assert meant, "no entry is left"
    return pytest.mark.parametrize("entry", meant, ids=str)


def named(name: str) -> Entry:
    """The entry of this name."""
    return next(entry for entry in entries() if entry.name == name)


def upstream_like(entry: Entry, v: np.ndarray) -> np.ndarray:
    """What is upstream of the results of a ranking: v, or for pairs a matrix of it."""
    return np.outer(v, np.sin(np.arange(1, len(v) + 1))).astype(v.dtype) if entry.per == "pair" else v


# Which entries a law has a meaning for.


def has_gradient(entry: Entry) -> bool:
    return entry.differentiable


def is_by_definition(entry: Entry) -> bool:
    """Whether it is computed by the method of the definitions, or is a loss of it."""
    return entry.promises is None


def has_definition(entry: Entry) -> bool:
    return entry.definition is not None


def promised(*promises: str) -> Callable[[Entry], bool]:
    """Entries of which this is known: all that are by definition, and methods that promise it."""
    return lambda entry: entry.promises is None or set(promises) <= set(entry.promises)


def has(*properties: str) -> Callable[[Entry], bool]:
    """Entries that do not lack any of these."""
    return lambda entry: not set(properties) & set(entry.lacks)


def is_of_a_moment(entry: Entry) -> bool:
    """Whether thousands of rankings take seconds at most; of others the neighbours of a few are looked at."""
    return entry.is_linear or is_loss(entry)


def one_of_a_kind(entry: Entry) -> bool:
    """All that are by definition, and of the methods the first of every kind.

    For laws of what stands around the loops of methods, once for all: infinite scores, k at its ends, the slices that a
    batch is cut into (operations/methods/rows.py). A kind is what that code tells apart, and what a method lacks; a
    method with a way of its own is a kind.
    """
    return entry.promises is None or str(entry) in _first_of_each_kind()


@cache
def _first_of_each_kind() -> frozenset[str]:
    first: dict[tuple, str] = {}
    for entry in entries():
        if entry.promises is not None:
            first.setdefault(_kind(entry), str(entry))
    return frozenset(first.values())


def _kind(entry: Entry) -> tuple:
    name = entry.options["method"]
    operation = METHODS[name].operations[0] if callable(entry.function) else OF_THE_MENU[entry.function]
    rows = getattr(import_module(METHODS[name].module).METHOD.ways[operation].forward, "__self__", None)
    if not isinstance(rows, Rows):
        return (str(entry),)
    has_logs = entry.name == "log topk" and rows.has_logs
    is_topk = operation == "topk"
    return entry.name, entry.k, is_topk and rows.whole_k, is_topk and rows.has_members, has_logs, entry.lacks


def one_of_a_form(entry: Entry) -> bool:
    """Of what tensors have, the first of every form: for laws of calls, whichever formulas are behind them."""
    return entry.tensors and str(entry) in _first_of_each_form()


@cache
def _first_of_each_form() -> frozenset[str]:
    first: dict[tuple, str] = {}
    for entry in entries():
        if entry.tensors:
            form = entry.per, entry.needs_target, bool(entry.k), entry.stages, entry.curved
            first.setdefault(form, str(entry))
    return frozenset(first.values())


def is_curved(entry: Entry) -> bool:
    return entry.curved


def is_smooth(entry: Entry) -> bool:
    """Whether results move with every score: where they may be exactly 0, they may also stay so."""
    return entry.differentiable and "exact_zeros" not in (entry.promises or ())


def has_jacobian(entry: Entry) -> bool:
    return entry.jacobian is not None


def is_no_loss(entry: Entry) -> bool:
    return not entry.needs_target


def is_of_scores(entry: Entry) -> bool:
    return entry.per == "score"


def is_loss(entry: Entry) -> bool:
    return entry.needs_target
