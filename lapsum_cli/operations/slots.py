"""What an operation gives: its slots, what a forward and a backward pass leave, and the result of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # NumPy
    from ..core.rankings import Array

SCORE, POSITION, RANKING, PAIR = "score", "position", "ranking", "pair"
GRADIENT = "grad"  # the slot of gradients with respect to the scores
SIGN = "sign"  # of Rankings.beside: of the scores, where magnitudes are compared


class Slot(NamedTuple):
    """One thing that an operation gives: a value for every score, position, ranking, or pair of an item and a position.

    k  of which k it is, where several were asked for
    """

    name: str
    per: str = SCORE
    k: str = ""

    @property
    def is_gradient(self) -> bool:
        """Whether it has the dtype of the scores, and not that of the result."""
        return self.name == GRADIENT


class Derivatives(NamedTuple):
    """Gradients with respect to the scores (N,), where they are; to alpha and k (m,), here or on a card."""

    scores: Array
    alpha: Any
    k: Any = None


@dataclass
class Forward:
    """What a forward pass leaves: the result where the scores are (None where nobody reads it), numbers (m,) by the
    name of their slot, and the state that `backward` takes.
    """

    values: Array | None
    state: Any
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Result:
    """What an operation computed, by slot.

    losses  (m,) what a loss was, or (m, L) what several were, NaN where it is undefined, also where its gradient was
            asked for
    alphas  (m,) that were used, in the unit of the scores; None where some rankings had a unit of their own (units.py)
    """

    values: dict[Slot, Any]
    losses: Any = None
    alphas: Any = None

    @classmethod
    def joined(cls, results: list[Result]) -> Result:
        """The results of consecutive rankings as one."""
        import numpy as np

        first, has_units = results[0], any(result.alphas is None for result in results)
        parts = {slot: [result.values[slot] for result in results] for slot in first.values}
        return cls(
            {slot: None if part[0] is None else np.concatenate(part) for slot, part in parts.items()},
            None if first.losses is None else np.concatenate([result.losses for result in results]),
            None if has_units else np.concatenate([result.alphas for result in results]),
        )
