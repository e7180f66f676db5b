"""The one greedy cut: consecutive pieces of about so much, and never less than one item."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def sizes_before(sizes: np.ndarray) -> np.ndarray:
    """(n + 1,) how much lies before each of n items, and before the end: [3, 2, 1] gives [0, 3, 5, 6]."""
    return np.concatenate([[0], np.cumsum(sizes)])


def cut(before: np.ndarray, most: float, reaching: bool = False) -> Iterator[tuple[int, int]]:
    """Ranges (first, last) of consecutive items of at most `most` each, or of a single larger item.

    before: (n + 1,) how much lies before each item and before the end, ascending, from any number: offsets of rankings
    are such sizes. reaching: a range ends with the item that reaches `most`, instead of before the one that exceeds it.

    >>> list(cut(np.array([0, 3, 5, 6, 16, 18]), 5))
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    >>> list(cut(np.array([0, 3, 5, 6, 16, 18]), 5, reaching=True))
    [(0, 2), (2, 4), (4, 5)]
    """
    first = 0
    while first < len(before) - 1:
        last = end_of_piece(before, first, most, reaching)
        yield first, last
        first = last


def end_of_piece(before: np.ndarray, first: int, most: float, reaching: bool = False) -> int:
    """Where the range of `cut` that begins with item `first` ends, for whoever has begun to fill a piece already."""
    limit = before[first] + most
    found = int(before.searchsorted(limit)) if reaching else int(before.searchsorted(limit, side="right")) - 1
    return min(max(found, first + 1), len(before) - 1)
