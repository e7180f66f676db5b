"""What one thing that can be computed is to the suites: an entry of the catalogue."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

import lapsum_cli

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
    curved        whether there are second derivatives, and those forward
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
    curved: bool = True
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
        if self.needs_target and reduction is not None:
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


def agree(entry, got, want, dtype, more=1.0):
    """Within what the entry allows between a result and its definition."""
    got, want = (np.asarray(a, float) for a in (got, want))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    is_same = (got == want) | np.isnan(want)
    n = want.shape[0] if want.ndim else 1
    bound = np.broadcast_to(more * entry.bound(want, max(n, 60), dtype), want.shape)
    wrong = np.abs(np.where(is_same, 0, got - np.where(is_same, 0, want))) > bound
    assert not wrong.any(), (got[wrong], want[wrong], bound[wrong])
