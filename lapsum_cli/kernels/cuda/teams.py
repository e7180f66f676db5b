"""Teams of ..scalars.team on a card: the threads of a block, or one of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..scalars import team
from ..scalars.team import Alone
from .adapter import IS_SIMULATED, cuda, device, float64
from .blocks import block_maxima, block_sums


class Grid(NamedTuple):
    """Rankings from the first on, one for each block that is launched."""

    first: int

    def join(self) -> Block:
        return block_of(self)


class Block(NamedTuple):
    """A block of threads, as team.Alone is one thread; s: its shared memory, float64, a row for each value summed."""

    first: int
    last: int
    t: int
    threads: int
    s: Any

    def sums(self, values: tuple) -> tuple:
        block_sums(self.s, values)
        return tuple(self.s[row * self.threads] for row in range(len(values)))

    def maxima(self, values: tuple) -> tuple:
        block_maxima(self.s, values)
        return tuple(self.s[row * self.threads] for row in range(len(values)))


@device
def block_of(grid):
    """The block that asks, with its rankings."""
    return block_for(grid.first + cuda.blockIdx.x)


@device
def block_for(r):
    """The block that asks, with ranking r."""
    s = cuda.shared.array(0, float64)
    return Block(r, r + 1, cuda.threadIdx.x, cuda.blockDim.x, s)  # of one: the loop over them costs no register


@device
def alone_for(r):
    """The thread that asks, with ranking r."""
    return Alone(r, r + 1, 0, 1)


if not IS_SIMULATED:  # the same three for the compiler, which knows no methods
    from .adapter import overload

    @device
    def _one(s, threads):
        return (s[0],)

    @device
    def _two(s, threads):
        return s[0], s[threads]

    @device
    def _three(s, threads):
        return s[0], s[threads], s[2 * threads]

    def _as_they_are(team, values):
        return values

    _FOUND = {1: _one, 2: _two, 3: _three}

    @overload(team.join)
    def _join(rankings):
        return lambda rankings: block_of(rankings)

    @overload(team.team_sums)
    def _sums(team, values):
        if team.instance_class is Alone:
            return _as_they_are
        found = _FOUND[len(values)]

        def sums(team, values):
            block_sums(team.s, values)
            return found(team.s, team.threads)

        return sums

    @overload(team.team_maxima)
    def _maxima(team, values):
        if team.instance_class is Alone:
            return _as_they_are
        found = _FOUND[len(values)]

        def maxima(team, values):
            block_maxima(team.s, values)
            return found(team.s, team.threads)

        return maxima
