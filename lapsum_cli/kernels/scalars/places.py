"""Places in a soft permutation: the mass of a score between the boundaries of a place, and who has places without any.

A score x is at place j with probability F(distance to the boundary below) - F(distance to that above). A boundary is
kept as a score and a step from it, so that no offset of the scores costs a digit.
"""

import math
from typing import NamedTuple

import numpy as np

from ..jit import inner


class Boundaries(NamedTuple):
    """Where the positions of every ranking meet: found[:, offsets[r] + j] ends position j, of finite scores."""

    values: np.ndarray
    offsets: np.ndarray
    alphas: np.ndarray
    descending: bool
    found: np.ndarray  # (2, N) float64: a score, and a step from it
    spans: np.ndarray  # (m, 2): positions from .. to that finite scores take


@inner
def distance(x, anchor, step, alpha, up):
    """(x - boundary) / alpha, positive where the score is better; a difference of scores, then the step. Of halves,
    because a difference of scores may overflow.
    """
    return up * (0.5 * np.float64(x) - 0.5 * anchor - 0.5 * step) / (0.5 * alpha)


@inner
def probability(low, high):
    """F(high) - F(low) for low <= high, from tails on the side where they lie."""
    at_low, at_high = 0.5 * math.exp(-abs(low)), 0.5 * math.exp(-abs(high))
    if high <= 0.0:
        return max(at_high - at_low, 0.0)
    return max(at_low - at_high, 0.0) if low >= 0.0 else 1.0 - at_low - at_high


@inner
def shared_places(x, up, start, stop, length):
    """First and last + 1 of the places that an infinite score shares with its like; (0, 0) for a finite one.

    up: 1 where the largest scores are first, else -1. Finite scores have the places start .. stop of `length`.
    """
    if abs(x) < np.inf:
        return 0, 0
    return (0, start) if up * x > 0 else (stop, length)
