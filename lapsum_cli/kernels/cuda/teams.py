"""Teams of ..scalars.team on a card: the threads of a block, or some neighbours in a warp, down to one.

How a team is chosen for a ranking is what a launch says: `Blocks`, or `Lanes` of so many threads. In the simulator,
whose threads exchange no registers, so many are a block.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..scalars import team
from . import blocks, tiles
from .adapter import IS_SIMULATED, Lane, cuda, device, float64, kernel
from .blocks import block_maxima, block_sums
from .tiles import by_length


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


class Blocks(NamedTuple):
    """A block of so many threads for each ranking."""

    threads: int


class Lanes(NamedTuple):
    """So many neighbours in a warp for each ranking, from 1 to all 32."""

    threads: int


class Some(NamedTuple):
    """Some neighbours in a warp, as team.Alone is one thread; mask: which they are. No ranking: first is -1."""

    first: int
    last: int
    t: int
    threads: int
    mask: int


TOGETHER, ROWS = 128, 3  # threads of a block of several teams; numbers of each that a block sums at once


def launch_teams(lane: Lane, function: Any, who: Blocks | Lanes, numbers: Any, *given: Any, rows: int = 0) -> None:
    """Run a kernel with a team for each of the numbers: function(who, numbers, *given).

    rows: float64 of shared memory that it has for each thread; or as many as sums take, where those go through it.
    """
    if isinstance(who, Blocks) or IS_SIMULATED:
        lane.launch(function, len(numbers), who.threads, max(rows, ROWS), who, numbers, *given)
    else:
        lane.launch(function, -(-len(numbers) * who.threads // TOGETHER), TOGETHER, rows, who, numbers, *given)


def by_teams(lane: Lane, loop: Callable[..., None], offsets: np.ndarray, *given: Any, sums: int = ROWS) -> None:
    """Run a loop that is written for teams, loop(rankings, offsets, *given), with a block for each ranking.

    sums: how many values it adds up at once
    """
    layout = tiles.OnTiles.of(lane, offsets)
    lane.launch(_compiled(loop), layout.count, tiles.THREADS, sums, Grid(0), layout.offsets, *given)


@functools.cache
def _compiled(loop: Callable[..., None]) -> Any:
    """The same loop as a kernel."""
    return kernel(getattr(loop, "py_func", loop))


def fresh(lane: Lane, shape: tuple[int, ...]) -> Any:
    """A new array of float64; an empty one, which the driver has no memory for, may be the same each time."""
    return lane.empty(shape, np.float64) if all(shape) else lane.room("nothing", shape, np.float64)


class Class(NamedTuple):
    """Rankings of like length, and who their teams are."""

    numbers: Any  # on the card
    who: Blocks | Lanes


def classes_of(layout: Any, table: Iterable[tuple[int, Blocks | Lanes]]) -> list[Class]:
    """Rankings with scores, in classes: up to how many scores a team is so, rising."""
    found = by_length(layout.lengths, [(0, None), *table])
    return [Class(layout.numbers(numbers, layout.count), who) for who, _, numbers in found]


def team_for(who: Blocks | Lanes, numbers: Any) -> Any:
    """The team of the thread that asks, with its ranking."""
    return block_for(numbers[cuda.blockIdx.x])


def meet(team: Any) -> None:
    """Wait for the other threads of a team, which then see what this one wrote to shared memory."""
    cuda.syncthreads()


if not IS_SIMULATED:  # the same for the compiler, which knows no methods
    from .adapter import overload

    @device
    def _block_at(who, numbers):
        return block_for(numbers[cuda.blockIdx.x])

    @device
    def _some_at(who, numbers):
        at, t = cuda.grid(1) // who.threads, cuda.threadIdx.x % who.threads
        r = numbers[at] if at < numbers.size else -1
        return Some(r, r + 1, t, who.threads, ((1 << who.threads) - 1) << ((cuda.threadIdx.x & 31) - t))

    @overload(team.join)
    def _join(rankings):
        return lambda rankings: block_of(rankings)

    @overload(team.mine)
    def _mine(team, count):
        return lambda team, count: range(team.t, count, team.threads)

    @overload(team.takes_part)
    def _takes_part(team, score):
        return lambda team, score: score > -math.inf

    @overload(team_for)
    def _team_for(who, numbers):
        chosen = _block_at if who.instance_class is Blocks else _some_at
        return lambda who, numbers: chosen(who, numbers)

    @overload(meet)
    def _meet(team):
        if team.instance_class is Some:
            return lambda team: cuda.syncwarp(team.mask)
        return lambda team: cuda.syncthreads()

    @device
    def _one(s, threads):
        return (s[0],)

    @device
    def _two(s, threads):
        return s[0], s[threads]

    @device
    def _three(s, threads):
        return s[0], s[threads], s[2 * threads]

    @device
    def _over(some, value, largest):
        return blocks.over_lanes(value, some.mask, some.threads, largest)

    @device
    def _one_of_some(some, values, largest):
        return (_over(some, values[0], largest),)

    @device
    def _two_of_some(some, values, largest):
        a, b = values
        return _over(some, a, largest), _over(some, b, largest)

    @device
    def _three_of_some(some, values, largest):
        a, b, c = values
        return _over(some, a, largest), _over(some, b, largest), _over(some, c, largest)

    _FOUND, _OF_SOME = {1: _one, 2: _two, 3: _three}, {1: _one_of_some, 2: _two_of_some, 3: _three_of_some}

    def _together(team, values, of_block, largest):
        """What folds values over the threads of a team of this type."""
        if team.instance_class is Some:
            of_some = _OF_SOME[len(values)]
            return lambda team, values: of_some(team, values, largest)
        found = _FOUND[len(values)]

        def folded(team, values):
            of_block(team.s, values)
            return found(team.s, team.threads)

        return folded

    @overload(team.team_sums)
    def _sums(team, values):
        return _together(team, values, block_sums, False)

    @overload(team.team_maxima)
    def _maxima(team, values):
        return _together(team, values, block_maxima, True)
