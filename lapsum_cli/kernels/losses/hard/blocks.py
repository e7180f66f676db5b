"""Scores by place, in blocks of equal ones."""

from ...jit import inner
from ...scalars.team import team_sums


@inner
def put_in_order(team, start, stop, places, items):
    """Which item is at every place, for all of a team to see."""
    for i in range(start + team.t, stop, team.threads):
        items[start + places[i]] = i
    team_sums(team, (0.0,))


@inner
def block_from(x, y, items, first, stop):
    """Where the block ends whose first place this is, and how many of it are relevant."""
    last, relevant = first, 0.0
    while last < stop and x[int(items[last])] == x[int(items[first])]:
        relevant += 1.0 if y[int(items[last])] > 0.0 else 0.0
        last += 1
    return last, relevant
