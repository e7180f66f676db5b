"""How the gradients of a loss move along a direction of its scores: its Hessian times that, in O(n) after a sort.

A loss is a function of soft parts. Along a direction z' of z = scores / alpha each part moves (cpu/along.py), and with
the parts the upstream gradients that the loss has for them, by its `bend`. So

    h = sum over parts of  how the gradient of <upstream, part> moves  +  the gradient of <bend, part>
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...core.errors import NotDifferentiable
from ...core.rankings import Array
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


ALONG = {"ranks": _of_ranks, "members": _of_members, "distances to the threshold": _of_distances}


def by_parts(bend: Callable[..., None]) -> Callable[[Any, Parts, Array], Array]:
    """`along` of a loss that is a function of parts.

    bend  as its loop, of what it reads with how each of `moves` moves behind that: how the upstream gradients do
    """

    def curves(loss: Any, parts: Parts, towards: Array) -> Array:
        used = [name for name in loss.moves if parts.depends_on(name)]
        moves = {name: ALONG[name](parts, towards) for name in used}
        read = {name: parts.read(name) for name in loss.reads}
        read |= {f"moved {name}": moves[name][0] if name in moves else np.empty(0) for name in loss.moves}
        shapes = [(len(towards) * (name in moves),) for name in loss.moves]
        given = (loss._replace(loop=bend), parts.rankings.offsets, read, shapes)
        _, bends = parts.kernels.losses.each_ranking(parts.place, *given)
        pulls = dict(zip(loss.moves, zip(parts.upstreams, bends, strict=True), strict=True))
        total: Array = sum(of_part(*pulls[name]) for name, (_, of_part) in moves.items())
        return total

    return curves


def along(
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
    towards: Array,
) -> Array:
    """h (N,) float64 for z' = towards (N,): of a loss of this name, and otherwise as `parts.forward` is given it.

    NotDifferentiable for a loss whose second derivatives are not known.
    """
    given = (rankings, target, alphas)
    if loss.along is None:
        raise NotDifferentiable(f"loss {name} has no second derivatives; of one of lapsum's own they are computed")
    if loss.levels is None:
        _, parts = forward(kernels, place, loss, *given, ks, how, descending, True)
        found: Array = loss.along(loss, parts, towards)
        return found
    of_one, total = loss._replace(levels=None), np.zeros(len(target))
    for of_level in loss.levels(target, rankings.offsets):
        weights = np.where(of_level > 0, rankings.lengths, 0.0).repeat(rankings.lengths)
        found = along(kernels, place, name, of_one, *given, of_level, how, descending, towards)
        total += np.where(weights > 0, found * weights, 0.0)
    return total
