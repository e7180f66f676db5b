"""What is known of a target from one call to the next: its places, ranks and cuts, which do not move as scores do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .rankings import frozen

MOST = 64  # things of a target that are kept: a top k of every k is one
Made = TypeVar("Made")


class Known:
    """What losses have made of one target, for the scores that took part last."""

    def __init__(self) -> None:
        self._of: tuple[np.ndarray, np.ndarray | None] | None = None
        self._made: dict[Any, Any] = {}

    def among(self, offsets: np.ndarray, taken: np.ndarray | None) -> Known:
        """Itself, with nothing of what was made for other rankings (m + 1,), or other scores (N,) that take part; taken
        None for all.
        """
        if self._of is None or not (np.array_equal(self._of[0], offsets) and _are_same(self._of[1], taken)):
            self._of, self._made = (offsets, taken), {}
        return self

    def get(self, what: Any, make: Callable[[], Made]) -> Made:
        """What was made before under this name, or is made now."""
        if what not in self._made:
            while len(self._made) >= MOST:
                del self._made[next(iter(self._made))]
            self._made[what] = make()
        found: Made = self._made[what]
        return found


def _are_same(taken: np.ndarray | None, other: np.ndarray | None) -> bool:
    if taken is None or other is None:
        return taken is other
    return np.array_equal(taken, other)


class Prepared(np.ndarray):
    """(N,) float64 targets that nobody writes to, with what is known of them. Of what is made of it, such as a slice,
    nothing is known.
    """

    known: Known | None = None

    def __reduce__(self) -> Any:
        """The numbers: another process finds by itself what is known of them."""
        return prepared, (np.array(self),)


def prepared(targets: np.ndarray) -> Prepared:
    """A copy of flat targets to be used again and again."""
    made = frozen(np.array(targets, np.float64)).view(Prepared)
    made.known = Known()
    return made
