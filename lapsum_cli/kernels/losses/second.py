"""Second derivatives of losses, in O(n) after a sort: the Hessian times a direction of the scores, and its diagonal.

A loss is a function of soft parts. Along a direction z' of z = scores / alpha each part moves (cpu/along.py), and with
the parts the upstream gradients that the loss has for them, by its `bend`. So the Hessian times z' is

    sum over parts of  how the gradient of <upstream, part> moves  +  the gradient of <bend, part>

and its diagonal, as the upstream gradients at a score move with the parts of that score alone, by bends,

    sum over parts of  that of <upstream, part>  +  sum over i of bend_i (d part_i / d z_j)^2

and for ranks and memberships, of which either's gradient moves with the other by mixed_i, twice

    sum over i of mixed_i (d rank_i / d z_j) (d member_i / d z_j),    d member_i / d z_j = F'_i ([i = j] - q_j)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...core.errors import NotDifferentiable
from ...core.rankings import Array
from .declared import Second
from .parts import Parts, forward

_Curves = Callable[[Array, Array], Array]  # (upstream, bend) -> (N,) derivatives by z


def _of_ranks(parts: Parts, towards: Array) -> tuple[Array, _Curves]:
    """Ranks are to scores as scores to ranks: their Jacobian is symmetric."""
    along, order = parts.kernels.along.ranks_along, (parts.order, parts.alphas)
    return along(*order, towards)[0], lambda v, bend: along(*order, towards, v)[1] + along(*order, bend)[0]


def _cut(parts: Parts, towards: Array) -> Any:
    given = (parts.members_and_cuts[1], parts.alphas, parts.descending, towards, np.zeros(len(parts.alphas)))
    return parts.kernels.along.cut_along(parts.place, parts.wide, *given)


def _of_members(parts: Parts, towards: Array) -> tuple[Array, _Curves]:
    along, cut, offsets = parts.kernels.along, _cut(parts, towards), parts.rankings.offsets
    slope, curve = along.of_distances(cut, False)

    def curves(v: Array, bend: Array) -> Array:
        found: Array = along.cut_curves(parts.place, offsets, cut, v * slope, v * curve * cut.moved + bend * slope)[0]
        return found

    return slope * cut.moved, curves


def _of_distances(parts: Parts, towards: Array) -> tuple[Array, _Curves]:
    along, cut, offsets = parts.kernels.along, _cut(parts, towards), parts.rankings.offsets
    return cut.moved, lambda v, bend: along.cut_curves(parts.place, offsets, cut, v, bend)[0]


def ranks_diagonal(parts: Parts, v: Array, bend: Array) -> Array:
    """Of <v, ranks>, and sum over i of bend_i times the square of how the i-th rank moves with each score."""
    found: Array = parts.kernels.diagonal.of_ranks(parts.order, parts.alphas, v, bend, np.zeros(len(v)))
    return found


def _mixed_diagonal(parts: Parts, mixed: Array) -> Array:
    """Of ranks and memberships: how both move, times mixed."""
    nothing, order = np.zeros(len(mixed)), (parts.order, parts.alphas)
    cut = _cut(parts, nothing)
    pulled = mixed * parts.kernels.along.of_distances(cut, False)[0]
    own: Array = parts.kernels.diagonal.of_ranks(*order, nothing, nothing, pulled)
    return own - cut.shares * parts.kernels.along.ranks_along(*order, pulled)[0]


def _members_diagonal(parts: Parts, v: Array, bend: Array) -> Array:
    """Those of the bends alone, which by the memberships are F' squared times those by the distances."""
    cut = _cut(parts, np.zeros(len(v)))
    slope, curve = parts.kernels.along.of_distances(cut, False)
    return _of_cut(parts, cut, v * slope, v * curve + bend * slope * slope)


def _distances_diagonal(parts: Parts, v: Array, bend: Array) -> Array:
    return _of_cut(parts, _cut(parts, np.zeros(len(v))), v, bend)


def _of_cut(parts: Parts, cut: Any, slopes: Array, bends: Array) -> Array:
    found: Array = parts.kernels.diagonal.of_cut(parts.place, parts.rankings.offsets, cut, slopes, bends)
    return found


class _Part(NamedTuple):
    """A soft part: how it and its gradient move along a direction, and the diagonal of its Hessian."""

    along: Callable[[Parts, Array], tuple[Array, _Curves]]
    diagonal: Callable[[Parts, Array, Array], Array]


PARTS = {
    "ranks": _Part(_of_ranks, ranks_diagonal),
    "members": _Part(_of_members, _members_diagonal),
    "distances to the threshold": _Part(_of_distances, _distances_diagonal),
}


def by_parts(bend: Callable[..., None], diagonal: Callable[[Any, Parts], Array] | None = None) -> Second:
    """Of a loss that is a function of parts.

    bend      as its loop, of what it reads with how each of `moves` moves behind that: how the upstream gradients do
    diagonal  where upstream gradients move with other scores too
    """

    def pulls(loss: Any, parts: Parts, moved: dict[str, Array]) -> dict[str, tuple[Array, Array]]:
        """For the parts that move, upstream and how it does."""
        read, size = {name: parts.read(name) for name in loss.reads}, len(parts.target)
        read |= {f"moved {name}": moved.get(name, np.empty(0)) for name in loss.moves}
        given = (loss._replace(loop=bend), parts.rankings.offsets, read, [(size * (n in moved),) for n in loss.moves])
        _, bends = parts.kernels.losses.each_ranking(parts.place, *given)
        return dict(zip(loss.moves, zip(parts.upstreams, bends, strict=True), strict=True))

    def along(loss: Any, parts: Parts, towards: Array) -> Array:
        moves = {name: PARTS[name].along(parts, towards) for name in loss.moves if parts.depends_on(name)}
        pulled = pulls(loss, parts, {name: moved for name, (moved, _) in moves.items()})
        total: Array = sum(curves(*pulled[name]) for name, (_, curves) in moves.items())
        return total

    def of_parts(loss: Any, parts: Parts) -> Array:
        names, size = [name for name in loss.moves if parts.depends_on(name)], len(parts.target)
        of_each = {name: {other: np.full(size, float(other == name)) for other in names} for name in names}
        pulled = {name: pulls(loss, parts, moved) for name, moved in of_each.items()}
        total: Array = sum(PARTS[name].diagonal(parts, *pulled[name][name]) for name in names)
        if len(names) > 1:
            total += 2.0 * _mixed_diagonal(parts, pulled["ranks"]["members"][1])
        return total

    return Second(along, diagonal or of_parts)


def second(
    make: Callable[[Second, Any, Parts], Array | None],
    kernels: Any,
    place: Any,
    name: str,
    loss: Any,
    rankings: Any,
    target: Array,
    alphas: Array,
    ks: Array | None,
    how: Any,
    descending: bool,
) -> Array:
    """What is made (N,) float64 of the second derivatives of a loss of this name, given as to `parts.forward`.

    NotDifferentiable where it is not known.
    """
    given, found = (rankings, target, alphas), None
    if loss.second is not None and loss.levels is None:
        parts: Any = forward(kernels, place, loss, *given, ks, how, descending, True)[1]
        found = make(loss.second, loss, parts)
    elif loss.second is not None:
        of_one, found = loss._replace(levels=None), np.zeros(len(target))
        for of_level in loss.levels(target, rankings.offsets):
            weights = np.where(of_level > 0, rankings.lengths, 0.0).repeat(rankings.lengths)
            more: Array = second(make, kernels, place, name, of_one, *given, of_level, how, descending)
            found += np.where(weights > 0, more * weights, 0.0)
    if found is None:
        raise NotDifferentiable(f"loss {name} has no second derivatives")
    return found
