"""What a method is: two functions for every operation that it computes, what they cost, and what their results keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Along(NamedTuple):
    """How things move along a direction of the scores and k: the result, where it is; and what becomes of the gradients
    of its product with an upstream one, scores (N,) and k (m,), None where there was none.
    """

    moved: Any
    scores: Any = None
    k: Any = None


@dataclass(frozen=True)
class Way:
    """How a method computes one operation.

    forward(operation, rankings, on, results, keep) -> slots.Forward
    backward(operation, rankings, state, upstream, on) -> slots.Derivatives
    work_bytes(itemsize, gradient), card_bytes(itemsize, gradient): bytes per score, as those of an Operation
    steps(choices, lengths, ks): (m,) how many steps rankings take where these are not linear; None where they are
    devices: by name, those that it is computed on
    in_parts(operation, ranking) -> giant_ranking.LastPass: of one that no memory holds; None where there is no way
    along(operation, rankings, state, upstream, towards, on) -> Along: on a CPU, of scores in units of alpha,
           larger being better; None where second derivatives, and those forward, are not known
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    work_bytes: Callable[[int, bool], int]
    card_bytes: Callable[[int, bool], int] = lambda itemsize, gradient: 0
    steps: Callable[..., Any] | None = None
    devices: tuple[str, ...] = ("cpu",)
    in_parts: Callable[..., Any] | None = None
    along: Callable[..., Along] | None = None


@dataclass(frozen=True)
class Method:
    """A method: its Way for each operation, and what its results keep.

    promises  laws that hold for it beyond those of all: "sums_to_k", "keeps_order", "exact_zeros", "hard_limit",
              "shift_invariant", "scale_invariant" (of scores and alpha together); the laws of the test catalogue are
              read from here
    lacks     what holds for all others: "symmetric" (equal scores have equal results, in whatever order they come),
              "alone" (a ranking is computed from its scores, and not from its number), "fractions" (k is rounded up),
              "members" (a top-k gives memberships), "bounds" (memberships lie between 0 and 1, ranks between 1 and n)
    any_unit  whether scores and alpha may be at the ends of the floats, and so be brought into another unit (units.py)
    """

    ways: Mapping[str, Way]
    promises: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    any_unit: bool = False
