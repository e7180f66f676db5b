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
from .parts import WAYS_BACK, Parts, forward

Curves = Callable[[Array, Array], Array]  # (upstream, bend) -> (N,) derivatives by z


def _of_ranks(parts: Parts, towards: Array) -> tuple[Array, Curves]:
    """Ranks are to scores as scores to ranks: their Jacobian is symmetric."""
    along, order = parts.kernels.along.ranks_along, (parts.order, parts.alphas)
    return along(*order, towards)[0], lambda v, bend: along(*order, towards, v)[1] + along(*order, bend)[0]


def _cut(parts: Parts, towards: Array) -> Any:
    given = (parts.members_and_cuts[1], parts.alphas, parts.descending, towards, np.zeros(len(parts.alphas)))
    return parts.kernels.along.cut_along(parts.place, parts.wide, *given)


def _of_members(parts: Parts, towards: Array) -> tuple[Array, Curves]:
    along, cut, offsets = parts.kernels.along, _cut(parts, towards), parts.rankings.offsets
    slope, curve = along.of_distances(cut, False)

    def curves(v: Array, bend: Array) -> Array:
        found: Array = along.cut_curves(parts.place, offsets, cut, v * slope, v * curve * cut.moved + bend * slope)[0]
        return found

    return slope * cut.moved, curves


def _of_distances(parts: Parts, towards: Array) -> tuple[Array, Curves]:
    along, cut, offsets = parts.kernels.along, _cut(parts, towards), parts.rankings.offsets
    return cut.moved, lambda v, bend: along.cut_curves(parts.place, offsets, cut, v, bend)[0]


ALONG = {"ranks": _of_ranks, "members": _of_members, "distances to the threshold": _of_distances}


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
    if loss.levels is not None:
        of_one, offsets, total = loss._replace(levels=None), rankings.offsets, np.zeros(len(target))
        for ks in loss.levels(target, offsets):
            found = along(kernels, place, name, of_one, *given, ks, how, descending, towards)
            total += np.where(np.repeat(ks > 0, rankings.lengths), found, 0.0) * np.repeat(rankings.lengths, rankings.lengths)
        return total
    if loss.bend is None:
        raise NotDifferentiable(f"loss {name} has no second derivatives; of one of lapsum's own they are computed")
    _, parts = forward(kernels, place, loss, *given, ks, how, descending, True)
    names = [part for part in loss.moves if parts.depends_on(part)]
    moves = {part: ALONG[part](parts, towards) for part in names}
    read = {part: parts.read(part) for part in loss.reads}
    moved = {f"moved {part}": moves[part][0] if part in moves else np.empty(0) for part in loss.moves}
    size = len(target)
    shapes = [(*WAYS_BACK[part].shape, size * (part in moves)) for part in loss.moves]
    bending = loss._replace(loop=loss.bend)
    _, bends = kernels.losses.each_ranking(place, bending, rankings.offsets, {**read, **moved}, shapes)
    found = [moves[part][1](v, bend) for part, v, bend in zip(loss.moves, parts.upstreams, bends, strict=True) if part in moves]
    return np.sum(found, axis=0)
