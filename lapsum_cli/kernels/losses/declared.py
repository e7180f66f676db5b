"""What a loss declares: the loop over rankings that computes it, the parts that this reads, and what is known of it.

A loss is a function of soft parts of the scores, ranks or memberships, and of hard ones of the target (parts.py). It
declares which, and what it writes: a number for every ranking, and the gradient of that number for its soft parts. All
of it is float64; the scores stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ...core.rankings import Array


class Round(NamedTuple):
    """What the loop of a loss makes of items, and then of all of them: sums, or what is largest.

    of_items  (team, ranking, start, stop, read, upstreams, known) -> a tuple of numbers, of a thread's items of
              start .. stop; known: how many items a ranking has, and what the rounds before made of all of them
    """

    of_items: Callable[..., tuple[float, ...]]
    largest: bool = False


class InParts(NamedTuple):
    """The same for a ranking of which only parts are at hand: what each makes of its items is added.

    rounds  of the loop, one after the other
    slopes  called as a round is, after all of them: fills in the upstream gradients
    loss    (ranking, read, known) -> the loss
    """

    rounds: tuple[Round, ...]
    slopes: Callable[..., Any]
    loss: Callable[..., float]


class InPlaces(NamedTuple):
    """The same for a loss of items at the places of their targets, as permutation_parts.py has it: sums over some
    places, or over some places and items of a tie.
    """

    of_places: Callable[..., float]
    sums_of_tie: Callable[..., tuple[float, float, float]]
    of_tie: Callable[..., tuple[float, int, int]]
    edges_of_tie: Callable[..., None]


class Second(NamedTuple):
    """What is known of the second derivatives of a loss, of z = scores / alpha, larger being better (second.py).

    along     (loss, parts, towards) -> how the gradient moves in a direction of z, each (N,)
    diagonal  (loss, parts) -> the diagonal of its Hessian (N,), or None
    """

    along: Callable[[Any, Any, Array], Array]
    diagonal: Callable[[Any, Any], Array] | None = None


class Loss(NamedTuple):
    """A loss, as its file declares it.

    loop   (rankings, offsets, read, losses, upstreams): the loss of every ranking of a team (scalars/team.py) from
           what it reads, in the order of `reads`, and the upstream gradients in that of `moves`, unless they are empty.
           Where there is no loss it is NaN, and its gradients are numbers: those of neighbours are summed beside them
    reads  properties of Parts, or options of its own
    moves  soft parts that have a gradient, of WAYS_BACK
    sums   how many values its team adds up at once
    needs_gains   whether targets must be gains: finite, and 0 or more
    work          rows of float64, (work, N), that the loop writes and reads: the last of its upstreams
    of_constant   whether there is one where all targets are alike, also of a single score
    levels        (target, offsets) -> several ks (m,) float64: it is n times the sum of what the loop makes for each
    stages        how many rankings, one after the other, are of the same items and have one loss: the loop sees them as
                  one ranking, and numbers of rankings for each
    card_bytes    per score on a card, the scores and the results left out; measured by the tests of a card
    in_parts      what its loop consists of, where it needs no more of a ranking than sums over it, or over some of its
                  places; else None
    second        its second derivatives; None where these are not known
    """

    loop: Callable[..., None]
    reads: tuple[str, ...]
    moves: tuple[str, ...]
    sums: int
    needs_gains: bool = False
    work: int = 0
    of_constant: bool = False
    levels: Callable[[Array, np.ndarray], Iterable[np.ndarray]] | None = None
    stages: int = 1
    card_bytes: int = 240
    in_parts: InParts | InPlaces | None = None
    second: Second | None = None
