"""How much of several inputs is read, told by the rows that came of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol


class Measured(Protocol):
    """An input, as far as its bytes go: how many it has, None where that is not known, and how many are read."""

    def size(self) -> int | None:
        """Bytes in all."""

    def position(self) -> int:
        """Bytes that were read."""


class Shares:
    """Parts of all bytes, where all inputs are files: by rows where an input knows how many it has, else by the bytes
    that were read of it. Who reads notes them, and whoever works on the rows asks for them later.
    """

    def __init__(self, inputs: Sequence[Measured]):
        self.inputs, self.before, self.last = inputs, 0, 0.0
        self.noted: deque[tuple[int, float]] = deque()

    @cached_property
    def sizes(self) -> dict[Measured, int]:
        """Bytes of each input, asked for once: a file may lose its name while it is read. None of any, where one is a
        pipe or gone, or nothing is in them.
        """
        try:
            sizes = {file: file.size() for file in self.inputs}
        except OSError:
            return {}
        known = {file: size for file, size in sizes.items() if size is not None}
        return known if len(known) == len(sizes) and any(known.values()) else {}

    @cached_property
    def total(self) -> int:
        """Bytes of all inputs."""
        return sum(self.sizes.values())

    def note(self, file: Measured, rows: int, of: int | None, all_rows: int) -> None:
        """So many rows are read of an input that has `of`, where that is known, and of all."""
        if self.sizes:
            size = self.sizes[file]
            read = size * rows / of if of else min(size, file.position())
            self.noted.append((all_rows, min(1.0, (self.before + read) / self.total)))

    def ended(self, file: Measured, all_rows: int) -> None:
        """An input is read to its end, with so many rows of all; what is behind them was for the reader alone."""
        if self.sizes:
            self.before += self.sizes[file]
            self.noted.append((all_rows, self.before / self.total))

    def of(self, rows: int) -> float | None:
        """The part that held the first so many rows of all; None where it is not known."""
        if not self.sizes:
            return None
        while self.noted and self.noted[0][0] <= rows:
            self.last = self.noted.popleft()[1]
        return self.last
