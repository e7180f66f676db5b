"""The cut of a soft top-k: all that is kept of its threshold, and what is made of it for whole rankings.

A cut is four numbers: the scores below and above the threshold, and the logarithms of the shares that they would lose
across it; both logarithms are -inf where k takes nothing (the scores are inf then) or everything (-inf).
"""

from collections.abc import Iterator

import numpy as np

from ...core.rankings import frozen
from .functions import LOG_2

# What an upstream gradient is with respect to.
MEMBERSHIP, LOGARITHM, GIVEN = 0, 1, 2

# Bounds for 1 / alpha. Beyond those of float32, z = (x - b) / alpha loses its digits there, and a ranking is computed
# as float64.
_LEAST_ALPHA_32 = 1e-30
_RATES = {np.dtype(np.float32): (1e-35, 1e35), np.dtype(np.float64): (1e-308, 1e308)}


def thresholds_of(cuts: np.ndarray, alphas: np.ndarray, largest: bool) -> np.ndarray:
    """The threshold b of each ranking (m,), given cuts (m, 4): inf where k takes nothing, -inf where everything."""
    below, above, log_below, log_above = cuts.T
    with np.errstate(invalid="ignore"):  # the farther of the two may be infinite
        from_below, from_above = below - alphas * (log_below + LOG_2), above + alphas * (log_above + LOG_2)
    b = np.where(is_hard(cuts), below, np.where(log_below >= log_above, from_below, from_above))
    return b if largest else -b


def is_hard(cuts: np.ndarray) -> np.ndarray:
    """(m,) whether k takes nothing or everything."""
    return (cuts[:, 2] == -np.inf) & (cuts[:, 3] == -np.inf)


def rates_of(alphas: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """1 / alpha in the dtype of the scores, within its bounds."""
    return np.clip(1.0 / alphas, *_RATES[dtype]).astype(dtype)


def beyond_float32(dtype, offsets: np.ndarray, alphas: np.ndarray) -> Iterator[tuple[int, slice, np.ndarray]]:
    """Rankings of float32 scores whose alpha asks for float64: their number, their scores, their offsets alone."""
    if dtype == np.float32:
        for r in np.flatnonzero((alphas < _LEAST_ALPHA_32) | (alphas > 1 / _LEAST_ALPHA_32)):
            yield int(r), slice(offsets[r], offsets[r + 1]), frozen(np.array([0, offsets[r + 1] - offsets[r]]))
