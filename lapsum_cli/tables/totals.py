"""What is summed over all rankings of a run, and its mean."""

from __future__ import annotations

import numpy as np


class Total:
    """A sum of numbers that does not depend on how they arrive: added in blocks of a fixed number."""

    BLOCK = 4096

    def __init__(self) -> None:
        self.sum, self.count, self.rest = 0.0, 0, np.empty(0)
        self.weights: Total | None = None  # that the numbers were multiplied by, where they were

    def add(self, values: np.ndarray, weights: np.ndarray | None = None) -> None:
        """More of them, in order."""
        self.count += len(values)
        if weights is not None:
            self.weights = self.weights or Total()
            self.weights.add(weights)
        self.rest = np.concatenate([self.rest, values])
        while len(self.rest) >= self.BLOCK:
            self.sum += float(self.rest[: self.BLOCK].sum())
            self.rest = self.rest[self.BLOCK :]

    def __float__(self) -> float:
        return self.sum + float(self.rest.sum())

    @property
    def of(self) -> float:
        """What a mean divides by: how many there are, or the sum of their weights."""
        return self.count if self.weights is None else float(self.weights)

    @property
    def mean(self) -> float | None:
        """None where nothing counts."""
        return float(self) / self.of if self.of > 0 else None
