"""Lanes on which the same work is done again and again: for graphs of its launches, and for times of kernels alone."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from ...core.rankings import Array
from . import adapter
from .pool import Supply

Made = TypeVar("Made")


class Keeping(adapter.Lane):
    """A lane on which work that is done again makes no array: its results replace those of before."""

    def __init__(self, stream: Any, supply: Supply | None = None):
        super().__init__(stream, supply)
        self._results: list[Any] = []
        self._taken = 0

    def learn(self, work: Callable[[], Any]) -> None:
        """Do the work twice: rooms are made the first time, and so only results the second."""
        for _ in range(2):
            self._results, self._taken = [], 0
            work()
        self.wait()

    def again(self, work: Callable[[], Made]) -> Made:
        """The work that was learnt, once more."""
        self._taken = 0
        return work()

    def empty(self, shape: adapter.Shape, dtype: DTypeLike) -> Any:
        """A new array, or the one that the same place of the work got before."""
        if self._taken == len(self._results):
            self._results.append(super().empty(shape, dtype))
        self._taken += 1
        return self._results[self._taken - 1]


class Repeating(Keeping):
    """One on which it copies no number to the card either: it launches, no more.

    A graph that is captured there holds nothing but kernels, on arrays that stay.
    """

    def __init__(self, stream: Any, supply: Supply | None = None):
        super().__init__(stream, supply)
        self._numbers: dict[tuple[str, tuple[int, ...], bytes], Any] = {}

    def put(self, array: Array, name: str | None = None) -> Any:
        """Numbers of this machine on the card: those that were there before are there still."""
        if not isinstance(array, np.ndarray):
            return array
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._numbers:
            self._numbers[key] = super().put(array)
        return self._numbers[key]
