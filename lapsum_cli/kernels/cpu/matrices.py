"""Rankings of like length as the rows of one matrix, so that one call serves thousands."""

import functools

import numpy as np

# Scores in one matrix: 2^17 packed keys are 1 MiB, an L2 cache; Python's share of a call is then below 1 %.
_MATRIX = 1 << 17
# Rankings of which those of like length are gathered: near each other, where each is short and would wait for memory.
_SPAN = 1 << 15
_WIDTHS_PER_DOUBLING = 8  # padding wastes at most 1/8; more widths would mean more, smaller matrices


def matrices(offsets: np.ndarray) -> list[np.ndarray]:
    """The rankings in groups of like length, each group to be sorted as one matrix; empty rankings are left out.

    Deterministic, and without bearing on the result: padding sorts last. Lengths rise in a group.
    """
    if len(offsets) == 2:
        return [np.zeros(1, np.int64)] if offsets[1] else []
    lengths = offsets[1:] - offsets[:-1]
    if len(lengths) and lengths.min() == lengths.max():  # as in an array, whose rows need no sort by length
        return _groups(np.arange(len(lengths)), _padded_length(int(lengths[0]))) if lengths[0] else []
    return [group for first in range(0, len(lengths), _SPAN) for group in _of_like_length(lengths, first)]


def _of_like_length(lengths: np.ndarray, first: int) -> list[np.ndarray]:
    """_SPAN rankings from the first on, in groups of like length."""
    here = lengths[first : first + _SPAN]
    if here.max(initial=0) < 1 << 16:  # which NumPy sorts by bytes
        here = here.astype(np.uint16)
    by_length = first + np.argsort(here, kind="stable")
    rising = lengths[by_length]
    starts = np.flatnonzero(np.diff(rising, prepend=0))  # of each length above 0
    widths = _padded(rising[starts])
    of_width = np.flatnonzero(np.diff(widths, prepend=0))
    starts, widths = starts[of_width].tolist(), widths[of_width].tolist()
    spans = zip(starts, (*starts, len(by_length))[1:], widths, strict=True)
    return [group for start, stop, width in spans for group in _groups(by_length[start:stop], width)]


def _groups(rankings: np.ndarray, width: int) -> list[np.ndarray]:
    """Rankings padded to one width, in as many as make a matrix."""
    step = max(1, _MATRIX // width)
    return [rankings[at : at + step] for at in range(0, len(rankings), step)]


def longest(offsets: np.ndarray, group: np.ndarray) -> int:
    """Scores of the longest ranking of a group, which is its last."""
    return int(offsets[group[-1] + 1] - offsets[group[-1]])


@functools.lru_cache(4096)
def _padded_length(length: int) -> int:
    return int(_padded(np.array([length]))[0])


def _padded(lengths: np.ndarray) -> np.ndarray:
    """Lengths rounded up to one of eight widths per doubling; from a whole matrix up a ranking is its own width."""
    step = np.exp2(np.maximum(0, np.ceil(np.log2(np.maximum(lengths, 1))) - np.log2(2 * _WIDTHS_PER_DOUBLING)))
    rounded = (np.ceil(lengths / step) * step).astype(np.int64)
    return np.where(lengths >= _MATRIX, lengths, rounded)
