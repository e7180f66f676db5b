"""Everything that can be computed, an entry each: what the suites of laws, definitions, gradients, devices and tensors
go through.

A law is a test parametrised with `every(...)`, which names the entries for which it does not hold, each with the
reason; whatever else is in the catalogue it must hold for. So a new operation, loss or method is one entry here, and
every law looks at it: a method with its name among the options, what has no name in lapsum_cli with its functions. A
law is a function too: `law(entry=toy)` holds a toy to it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import loss_definitions as of_losses
import numpy as np
import pytest

import lapsum_cli
from lapsum_cli.core import reference
from lapsum_cli.operations import METHODS, MethodEntry
from lapsum_cli.operations.choices import Choices, chosen

SHARE = 0.4  # of each ranking's scores are at the top, where no other k is given


@dataclass(frozen=True)
class Entry:
    """One thing that can be computed, its definition, and what is known of it in advance.

    function      its name in lapsum_cli, and in lapsum_cli.torch if `tensors`: (x, [target], [k], alpha=, ...); or the
                  function itself, and then `gradient` is the one of gradients
    definition    the same in core.reference, for a single ranking
    per           what has a result: a "score", a "position" (best first), a "pair" of these, or a "ranking"
    k             how k is passed: "positional", by "keyword", or "" where there is none
    direction     the keyword whose True is best first, and `reverse` where the entry is the other way round
    options       of the function and of the definition alike, such as gain="linear"
    differentiable   whether there are gradients: `function_vjp`, or `gradient`
    jacobian      of core.reference: (d results / d scores, [d results / d k], d results / d alpha)
    moves         whether results move and grow with the scores (True for sorted scores), or do not see either
    total         (n, k) -> what the results of a ranking sum to
    hard          (x, target, k) -> the results as alpha tends to 0
    flat          (x, k, alpha) -> the results as alpha tends to infinity
    error         float32, float64: what a result may differ by from the definition, see `bound`; without a definition,
                  from what a law has of it
    promises      of a method whose results are not those of the definition: what it does promise; None where they are
    is_linear     whether steps and results grow with the scores, and not with their square
    lacks         what does not hold for a method, as it says
    stages        how many scores of each item a loss is of: here they are alike, and its gradient the sum of theirs
    of            what `error` is relative to: "1", "n", "largest" or "each" result
    """

    name: str
    function: str | Callable
    definition: Callable | None
    per: str
    error: tuple[float, float]
    of: str = "1"
    k: str = ""
    direction: str = "descending"
    reverse: bool = False
    needs_target: bool = False
    options: dict = field(default_factory=dict)
    differentiable: bool = True
    gradient: Callable | None = None
    tensors: bool = True
    jacobian: Callable | None = None
    moves: bool = False
    total: Callable | None = None
    hard: Callable | None = None
    flat: Callable | None = None
    devices: tuple[str, ...] = ("cpu", "cuda")
    promises: tuple[str, ...] | None = None
    is_linear: bool = True
    lacks: tuple[str, ...] = ()
    stages: int = 1

    def __str__(self) -> str:
        return " by ".join([self.name, *([self.options["method"]] if "method" in self.options else [])])

    def __call__(self, x, target=None, *, on: ModuleType = lapsum_cli, **given):
        """The results; of a loss those of each ranking, whatever the reduction would be."""
        function = getattr(on, self.function) if isinstance(self.function, str) else self.function
        return self._call(function, x, target, (), f"{SHARE:%}", **given)

    def vjp(self, x, target=None, upstream=1.0, **given):
        """The gradients of the sum of upstream times the results."""
        function = self.gradient or getattr(lapsum_cli, f"{self.function}_vjp")
        found = self._call(function, x, target, (upstream,), f"{SHARE:%}", **given)
        if self.stages == 1:
            return found
        first, second = found.scores
        with np.errstate(over="ignore"):
            if isinstance(first, list):
                scores = [a + b for a, b in zip(first, second, strict=True)]
            else:
                scores = first.with_values(first.values + second.values) if hasattr(first, "values") else first + second
            return found._replace(scores=scores, alpha=sum(found.alpha))

    def define(self, x, target=None, **given) -> np.ndarray:
        """The results by the definition, of one ranking."""
        assert self.definition is not None
        return self._by_reference(self.definition, x, target, **given)

    def dense(self, x, **given) -> tuple[np.ndarray, ...]:
        """The Jacobian by the definition, of one ranking."""
        assert self.jacobian is not None
        return self._by_reference(self.jacobian, x, None, **given)

    def _by_reference(self, function, x, target, **given):
        k = SHARE * len(x) if self.k else None
        return self._call(function, x, target, (), k, **{"reduction": None, **given})

    def _call(self, function, x, target, after, default, *, k=None, descending=True, reduction="none", **given) -> Any:
        k = default if k is None else k
        positional = [
            x if self.stages == 1 else (x,) * self.stages,
            *([target] if self.needs_target else []),
            *([k] if self.k == "positional" else []),
            *after,
        ]
        named = {self.direction: descending != self.reverse, **self.options, **given}
        if self.k == "keyword":
            named["k"] = k
        if self.per == "ranking" and reduction is not None:
            named["reduction"] = reduction
        return function(*positional, **named)

    def bound(self, want, n: int, dtype) -> np.ndarray:
        """What each result of a ranking of n scores may differ by from what the definition wants."""
        error = self.error[np.dtype(dtype).itemsize // 8]
        size = np.abs(np.where(np.isfinite(want), want, 0))
        scale = {"1": 1.0, "n": n, "largest": size.max(initial=0), "each": size}[self.of]
        return error * scale + np.finfo(dtype).tiny

    def results(self, n: int) -> tuple[int, ...]:
        """The shape of the results of a ranking of n scores."""
        return {"score": (n,), "position": (n,), "pair": (n, n), "ranking": ()}[self.per]


def _hard_log_topk(x, target, k):
    with np.errstate(divide="ignore"):
        return np.log(reference.hard_topk(x, k))


def _hard_permutation(x, *_):
    """Equal scores share their places."""
    return np.diff([reference.hard_topk(x, k) for k in range(len(x) + 1)], axis=0).T


def _flat_sort(x, k, alpha):
    """The mean, and alpha times the quantiles of the Laplace distribution."""
    u = 1 - (np.arange(len(x)) + 0.5) / len(x)
    return x.mean() + alpha * np.where(u <= 0.5, np.log(2 * u), -np.log(2 - 2 * u))


def _hard_spearman(x, target, k):
    ranks = [reference.hard_rank(values) for values in (x, target)]
    if np.ptp(x) == 0:
        return 1.0
    return 1 - np.corrcoef(*ranks)[0, 1]


def _hard_recall(x, target, k):
    return 1 - reference.hard_topk(target, k) @ reference.hard_topk(x, k) / k


_MEMBERSHIP = {
    "per": "score",
    "k": "positional",
    "direction": "largest",
    "total": lambda n, k: k,
    "flat": lambda x, k, alpha: np.full(len(x), k / len(x)),
    "error": (2e-6, 1e-12),
}
# In float32 the scores of a loss are float32, and all else float64: an error is that of memberships and ranks.
_LOSS = {"per": "ranking", "needs_target": True, "of": "1"}
_GROWS = {**_LOSS, "of": "each"}
_HINGE = {**_GROWS, "k": "positional"}
_CASCADE = {**_GROWS, "k": "positional", "stages": 2}

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
    Entry(
        "permutation",
        "soft_permutation",
        reference.permutation,
        per="pair",
        error=(2e-6, 1e-12),
        tensors=False,
        is_linear=False,
        total=lambda n, k: n,
        hard=_hard_permutation,
        flat=lambda x, k, alpha: np.full((len(x), len(x)), 1 / len(x)),
    ),
]

LOSSES = [
    Entry("spearman loss", "spearman_loss", reference.spearman_loss, error=(2e-6, 1e-11), hard=_hard_spearman, **_LOSS),
    Entry(
        "topk loss", "topk_loss", reference.topk_loss, error=(2e-6, 1e-11), k="positional", **{**_LOSS, "of": "each"}
    ),
    Entry(
        "recall loss",
        "recall_loss",
        reference.recall_loss,
        error=(2e-6, 1e-11),
        k="positional",
        hard=_hard_recall,
        **_LOSS,
    ),
    Entry(
        "ndcg loss",
        "ndcg_loss",
        reference.ndcg_loss,
        error=(2e-6, 1e-11),
        hard=partial(of_losses.hard_ndcg, cut=False),
        **_LOSS,
    ),
    Entry(
        "ndcg loss at k",
        "ndcg_loss",
        reference.ndcg_loss,
        error=(2e-6, 1e-11),
        k="keyword",
        options={"gain": "linear"},
        hard=partial(of_losses.hard_ndcg, gain="linear"),
        **_LOSS,
    ),
    Entry(
        "permutation loss",
        "permutation_loss",
        reference.permutation_loss,
        error=(2e-6, 1e-11),
        **{**_LOSS, "of": "each"},
    ),
    Entry("graded topk loss", "graded_topk_loss", of_losses.graded_topk, error=(2e-6, 1e-11), **_GROWS),
    Entry("bce dftopk loss", "bce_dftopk_loss", of_losses.bce_dftopk, error=(2e-6, 1e-11), k="positional", **_GROWS),
    Entry("ranknet loss", "ranknet_loss", of_losses.ranknet, error=(2e-6, 1e-11), is_linear=False, **_GROWS),
    Entry("lambda loss", "lambda_loss", of_losses.lambda_loss, error=(2e-6, 1e-11), is_linear=False, **_GROWS),
    Entry(
        "lambda loss at k",
        "lambda_loss",
        of_losses.lambda_loss,
        error=(2e-6, 1e-11),
        k="keyword",
        options={"weighting": "ndcg2++", "mu": 3.0, "eps": 0.0},
        is_linear=False,
        **_GROWS,
    ),
    Entry(
        "lambda loss of either",
        "lambda_loss",
        of_losses.lambda_loss,
        error=(2e-6, 1e-11),
        k="keyword",
        options={"weighting": "ndcg2++", "mu": 1.0, "gain": "linear", "pairs": "either"},
        is_linear=False,
        **_GROWS,
    ),
    Entry("listnet loss", "listnet_loss", of_losses.listnet, error=(2e-6, 1e-11), **_GROWS),
    Entry("listmle loss", "listmle_loss", of_losses.listmle, error=(2e-6, 1e-11), **_GROWS),
    Entry(
        "approx ndcg loss",
        "approx_ndcg_loss",
        of_losses.approx_ndcg,
        error=(2e-6, 1e-11),
        hard=of_losses.hard(of_losses.approx_ndcg),
        is_linear=False,
        **_LOSS,
    ),
    Entry(
        "neural ndcg loss",
        "neural_ndcg_loss",
        of_losses.neural_ndcg,
        error=(2e-6, 1e-10),
        hard=lambda x, target, k: 1 - lapsum_cli.metric("ndcg@100%", x, target),
        is_linear=False,
        **_LOSS,
    ),
    Entry(
        "topk hinge loss",
        "topk_hinge_loss",
        None,
        error=(2e-6, 1e-11),
        lacks=("symmetric", "alone", "bounds"),
        **_HINGE,
    ),
    Entry("cascade dftopk loss", "cascade_dftopk_loss", of_losses.cascade_dftopk, error=(2e-6, 1e-11), **_CASCADE),
    Entry("cascade lapsum loss", "cascade_lapsum_loss", of_losses.cascade_lapsum, error=(2e-6, 1e-11), **_CASCADE),
    Entry("lcron loss", "lcron_loss", of_losses.lcron, error=(2e-6, 1e-11), is_linear=False, **_CASCADE),
    Entry("arf loss", "arf_loss", of_losses.arf, error=(2e-6, 1e-11), is_linear=False, **_CASCADE),
]


OF_THE_MENU = {  # functions, as operations
    "soft_rank": "rank",
    "soft_sort": "sort",
    "soft_topk": "topk",
    "log_soft_topk": "topk",
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
            without = {"definition": None, "jacobian": None, "flat": None, "tensors": False}
            if "fractions" in method.lacks:
                without["total"] = entry.total and (lambda n, k, of=entry.total: of(n, np.ceil(k)))
            known = {"promises": method.promises, "lacks": method.lacks, "devices": method.devices}
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


def is_smooth(entry: Entry) -> bool:
    """Whether results move with every score: where they may be exactly 0, they may also stay so."""
    return entry.differentiable and "exact_zeros" not in (entry.promises or ())


def has_jacobian(entry: Entry) -> bool:
    return entry.jacobian is not None


def is_no_loss(entry: Entry) -> bool:
    return entry.per != "ranking"


def is_of_scores(entry: Entry) -> bool:
    return entry.per == "score"


def is_loss(entry: Entry) -> bool:
    return entry.per == "ranking"
