"""A team of threads, so that what is made of a ranking is written once: on a CPU one thread, on a card a block.

A loop over rankings takes whose they are, `join`s, and is then one of a team, whatever the device:

    team = join(rankings)
    for r in range(team.first, team.last):               every ranking of this team
        total = 0.0
        for i in mine(team, n):                          every item of this thread
            total += ...
        (total,) = team_sums(team, (total,))             what the threads know together

cuda/teams.py has the blocks of a card. Where nothing is compiled, a team's methods say what these functions do.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

from numba.extending import overload

from ..jit import OPTIONS

Values = TypeVar("Values", bound=tuple)


class Slice(NamedTuple):
    """Rankings first .. last, one thread's."""

    first: int
    last: int

    def join(self) -> Alone:
        return Alone(self.first, self.last, 0, 1)


class Alone(NamedTuple):
    """A team of one thread, number t of so many, and the rankings first .. last that it takes one after the other."""

    first: int
    last: int
    t: int
    threads: int

    def sums(self, values: Values) -> Values:
        return values

    def maxima(self, values: Values) -> Values:
        return values


def join(rankings):
    """The team of whoever asks, with its rankings: once, at the start of a kernel."""
    return rankings.join()


def mine(team, count):
    """The numbers from 0, of so many, that are a thread's own. Those of a team of one are all, as a compiler sees."""
    return range(team.t, count, team.threads)


def takes_part(team, score):
    """Whether a score is more than -inf, where methods see such: on a card, which leaves scores where they are. To a
    CPU they are given without, and so its loops do not ask.
    """
    return score > -math.inf


def team_sums(team, values: Values) -> Values:
    """The sum of each of a tuple of up to three float64 over the threads of a team; every one of them must ask."""
    return team.sums(values)


def team_maxima(team, values: Values) -> Values:
    """The largest of each, likewise."""
    return team.maxima(values)


@overload(join, jit_options=OPTIONS, target="cpu")
def _join(rankings):
    return lambda rankings: Alone(rankings.first, rankings.last, 0, 1)  # constants: loops are those of one thread


@overload(mine, jit_options=OPTIONS, inline="always", target="cpu")
def _mine(team, count):
    return lambda team, count: range(count)


@overload(takes_part, jit_options=OPTIONS, inline="always", target="cpu")
def _takes_part(team, score):
    return lambda team, score: True


@overload(team_sums, jit_options=OPTIONS, target="cpu")
@overload(team_maxima, jit_options=OPTIONS, target="cpu")
def _as_they_are(team, values):
    return lambda team, values: values
