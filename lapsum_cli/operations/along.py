"""Derivatives along a direction, and of gradients: what forward-mode and second derivatives are made of.

With z = x / alpha every result is f(z), or alpha f(z) where it is in the unit of the scores (Operation.in_scores). An
operation knows how f moves along z', and h, the gradient for z of how the gradient of <v, f> does (Operation.along).
The rest is the chain rule, here, once. With g the gradient for x, and z' = x' / alpha - z alpha' / alpha,

    of f(z)        moved     f'
                   by x      (h - alpha' g) / alpha
                   by alpha  -(<h, z> + <g, x'> + 2 alpha' g_alpha) / alpha
    of alpha f(z)  moved     alpha f' + alpha' f
                   by x      h
                   by alpha  -<h, z> + k' g_k / alpha
                   by k      alpha h_k + alpha' g_k / alpha

An alpha in deviations is held constant, as in gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.device import DeviceWithKernels
from . import units
from .operation import Operation
from .slots import Derivatives, Forward

if TYPE_CHECKING:
    from ..core.rankings import Array, Rankings
    from .loss import Loss


class Second(NamedTuple):
    """How the result moves, (N,) or (m,) as it is; and what becomes of its gradients, None without an upstream one."""

    moved: Array
    gradients: Derivatives | None


def derivatives(
    operation: Operation, rankings: Rankings, upstream: Array | None, towards: Derivatives, on: DeviceWithKernels
) -> Second:
    """How a result moves along `towards`; and of <towards, gradients of sum(upstream * result)> the gradients for
    scores (N,), alpha (m,) and k (m,). All in float64, and O(n) after a sort.

    rankings  in memory, as they were given, with all that goes beside and with each
    upstream  (N,) or (m,) float64, as for `backward`; None where the first alone is asked for
    towards   a direction of scores, alpha and k, each float64 or None for 0

    Of infinite scores all is 0. NotDifferentiable where the operation does not know.
    """
    import numpy as np

    wide, ready, made = _computed(operation, rankings, on)
    way = _Way(operation, wide, ready, towards)
    with np.errstate(all="ignore"):  # at an alpha of 1e-300 a derivative may well be beyond floats
        found = operation.along(ready, made.state, way.pulled(upstream), way.in_alphas(), on)
        if found.moved is None:  # as one number does: by its gradients
            moved = way.moved_numbers(operation.backward(ready, made.state, None, on))
        else:
            moved = way.moved_scores(found.moved, made.values) if way.in_scores else found.moved
        if upstream is None:
            return Second(moved, None)
        if way.in_scores and found.k is None:
            return Second(moved, way.of_scores(found))
        first = operation.backward(ready, made.state, upstream, on)
        return Second(moved, way.of_scores_and_k(found, first) if way.in_scores else way.of_numbers(found, first))


def diagonal(loss: Loss, rankings: Rankings, upstream: Array | None, on: DeviceWithKernels) -> Array:
    """The diagonals (N,) float64 of the Hessians by the scores of upstream (m,) times losses, at fixed alphas.

    As `derivatives` otherwise; of one that is not known there NotDifferentiable.
    """
    import numpy as np

    wide, ready, made = _computed(loss, rankings, on)
    way = _Way(loss, wide, ready, Derivatives(None, None))
    with np.errstate(all="ignore"):
        found = loss.diagonal(ready, made.state, upstream, on) / way.alpha_of / way.alpha_of
    return np.where(way.finite, found, 0.0)


def _computed(operation: Operation, rankings: Rankings, on: DeviceWithKernels) -> tuple[Rankings, Rankings, Forward]:
    """Rankings in float64, as they are ready, and what a forward pass makes of them."""
    import numpy as np

    wide = rankings.with_values(rankings.values.astype(np.float64, copy=False))
    wide = wide.with_each(rankings.each, rankings.beside)
    [(_, ready)] = operation.by_k(operation.ready(wide, on))
    return wide, ready, operation.forward(ready, on, keep=True)


class _Way:
    """The chain rule of a call: from x, alpha and their directions to z and its own, and back."""

    def __init__(self, operation: Operation, rankings: Rankings, ready: Rankings, towards: Derivatives):
        import numpy as np

        self.offsets, self.lengths, self.towards = rankings.offsets, rankings.lengths, towards
        self.up = 1.0 if operation.descending else -1.0
        self.in_scores = operation.result in operation.in_scores
        alphas = ready.each["alpha"]
        self.alphas = np.ldexp(alphas, -ready.each[units.ALPHA]) if units.ALPHA in ready.each else alphas
        constant = ready.each.get("constant")
        is_constant = np.zeros(len(alphas), bool) if constant is None else constant
        self.moves = (np.zeros(len(alphas)) if towards.alpha is None else towards.alpha) * ~is_constant
        # Of a constant ranking an alpha in spreads has no scale, and no direction is better than another.
        self.still = is_constant | (operation.alpha.relative & (self.alphas == operation.of_constant))
        self.finite = np.isfinite(rankings.values) & ~self.each(is_constant)
        self.alpha_of = self.each(self.alphas)
        # What is common to all scores of a ranking costs no digit then.
        self.middles = self.each(
            self.sums(np.where(np.isfinite(rankings.values), rankings.values, 0.0) / self.each(self.lengths))
        )
        self.x = np.where(self.finite, rankings.values - self.middles, 0.0)

    def each(self, numbers: Array) -> Array:
        """Numbers of rankings (m,) for every score (N,)."""
        import numpy as np

        return np.repeat(numbers, self.lengths)

    def sums(self, values: Array) -> Array:
        """Sums (m,) of values (N,)."""
        from ..core.rankings import sums_of

        return sums_of(values, self.offsets)

    def pulled(self, upstream: Array | None) -> Array | None:
        """The upstream gradient as of scores of which larger is better."""
        return upstream if upstream is None or not self.in_scores else self.up * upstream

    def in_alphas(self) -> Derivatives:
        """The direction of up z, and of k."""
        import numpy as np

        given = 0.0 if self.towards.scores is None else self.towards.scores
        along = (given - self.x * self.each(self.moves / self.alphas)) / self.alpha_of
        k = np.zeros(len(self.alphas)) if self.towards.k is None else self.towards.k
        return Derivatives(np.where(self.finite, self.up * along, 0.0), None, k)

    def moved_scores(self, moved: Array, values: Array) -> Array:
        """How alpha f moves, given f' and alpha f, from which the middle is taken as from the scores."""
        import numpy as np

        by_alpha = np.where(np.isfinite(values), values - self.middles, 0.0) if self.moves.any() else 0.0
        return self.up * self.alpha_of * moved + by_alpha * self.each(self.moves / self.alphas)

    def moved_numbers(self, first: Derivatives) -> Array:
        """How a number of each ranking (m,) moves, given its gradients."""
        import numpy as np

        along = 0.0 if self.towards.scores is None else self.towards.scores
        moved = self.sums(np.where(self.finite, first.scores * along, 0.0)) + first.alpha * self.moves
        return moved if self.towards.k is None else moved + first.k * self.towards.k

    def of_scores(self, found: Any) -> Derivatives:
        """The gradients, of a result in the unit of the scores."""
        import numpy as np

        h = np.where(self.each(self.still), 0.0, self.up * found.scores)
        return Derivatives(h, -self.sums(h * self.x) / self.alphas, found.k)

    def of_scores_and_k(self, found: Any, first: Derivatives) -> Derivatives:
        """The same, where there is a k; first: the gradients before."""
        scores, alpha, k = self.of_scores(found)
        if self.towards.k is not None:
            alpha = alpha + first.k * self.towards.k / self.alphas
        return Derivatives(scores, alpha, self.alphas * k + self.moves * first.k / self.alphas)

    def of_numbers(self, found: Any, first: Derivatives) -> Derivatives:
        """The gradients, of a result without a unit; first: those before."""
        import numpy as np

        h, moves = np.where(self.each(self.still), 0.0, self.up * found.scores), self.moves
        scores = (h - first.scores * self.each(moves)) / self.alpha_of
        total = self.sums(h * self.x) / self.alphas + 2.0 * moves * first.alpha
        if self.towards.scores is not None:
            total = total + self.sums(np.where(self.finite, first.scores * self.towards.scores, 0.0))
        return Derivatives(scores, -total / self.alphas, found.k)
