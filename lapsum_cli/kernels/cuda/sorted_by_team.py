"""Sorting rankings that fit into shared memory, on a card: a merge sort by a team of threads (teams.py).

Each thread sorts OWN scores, and runs are merged in pairs: a thread looks for where its part of the merged run begins
in both, and takes it from there ("merge path": Green, McColl and Bader, 2012). Keys that are alike stay in the order of
the input, since of two runs the first goes first. A library's sort of segments took 95 ns a ranking of 1000 on an
H200, by passes over memory; this took 47: it reads a score and writes its key and place, once.
"""

import numpy as np

from ..scalars.keys import key_of
from .adapter import Lane, cuda, device, kernel
from .teams import Blocks, Class, Lanes, by_length, launch_teams, meet, team_for

OWN = 8  # scores of a thread
PADDED = OWN + 1  # and what they take of shared memory: neighbours begin in different banks
LANES, THREADS = (1, 2, 4, 8, 16, 32), (64, 128, 256)  # of a team
LONGEST = OWN * THREADS[-1]
int32 = np.int32  # sums of two are int64 to Numba


def classes(layout) -> list[Class]:
    """Rankings that are sorted by a team, by length."""
    return by_length(layout, [(OWN * who.threads, who) for who in (*map(Lanes, LANES), *map(Blocks, THREADS))])


def sort(lane: Lane, layout, bits, order, keys, places) -> None:
    """Put keys and places of every ranking of up to LONGEST scores where they belong; bits (N,) of the scores."""
    rows = -(-PADDED * (keys.dtype.itemsize + places.dtype.itemsize) // 8)
    for numbers, who in layout.kept(classes):
        launch_teams(lane, _sort, who, numbers, layout.offsets, bits, order, keys, places, rows=rows)


@kernel
def _sort(who, numbers, offsets, bits, order, keys, places):
    team = team_for(who, numbers)
    r = team.first
    if r < 0:
        return
    s, threads = cuda.shared.array(0, keys.dtype), cuda.blockDim.x
    at = cuda.shared.array(0, places.dtype)[threads * PADDED * keys.itemsize // places.itemsize :]
    base, start, size = int32((cuda.threadIdx.x - team.t) * PADDED), offsets[r], int32(offsets[r + 1] - offsets[r])
    i, step, most = int32(team.t), int32(team.threads), int32(OWN * team.threads)
    while i < most:  # those past the end are last, and stay so
        s[padded(base, i)] = key_of(bits[np.uint64(start + i)], order) if i < size else order[0]
        i = int32(i + step)
    meet(team)
    own, own_at, mine = cuda.local.array(OWN, keys.dtype), cuda.local.array(OWN, places.dtype), int32(team.t * OWN)
    for j in range(OWN):
        own[j], own_at[j] = s[padded(base, mine + j)], mine + j
    _sort_own(own, own_at)
    width = int32(OWN)
    while width < most and width < size:
        meet(team)
        _put(s, at, base, mine, own, own_at)
        meet(team)
        _merge(s, at, base, mine, width, own, own_at)
        width = int32(2 * width)
    meet(team)
    _put(s, at, base, mine, own, own_at)
    meet(team)
    i = int32(team.t)
    while i < size:
        keys[np.uint64(start + i)], places[np.uint64(start + i)] = s[padded(base, i)], at[padded(base, i)]
        i = int32(i + step)


@device
def padded(base, i):
    """Where number i of a team is in its shared memory, which begins at `base`. Unsigned, or Numba asks whether it
    counts from the end; of 32 bits, of which a card computes twice as many.
    """
    return np.uint32(base + i + i // OWN)


@device
def _sort_own(own, own_at):
    """Sort the keys of a thread, and their places, by exchanging neighbours."""
    for turn in range(OWN):
        for j in range(turn & 1, OWN - 1, 2):
            a, b, at_a, at_b = own[j], own[j + 1], own_at[j], own_at[j + 1]
            rises = a <= b
            own[j], own[j + 1] = a if rises else b, b if rises else a
            own_at[j], own_at[j + 1] = at_a if rises else at_b, at_b if rises else at_a


@device
def _put(s, at, base, mine, own, own_at):
    for j in range(OWN):
        s[padded(base, mine + j)], at[padded(base, mine + j)] = own[j], own_at[j]


@device
def part_of(s, base, mine, width):
    """Where a thread's part of two merged runs of this width begins in both, and where they end; int32."""
    ahead = int32(mine & (2 * width - 1))
    first = int32(mine - ahead)
    second, least, most = int32(first + width), int32(max(0, ahead - width)), int32(min(ahead, width))
    while least < most:
        middle = int32((least + most) >> 1)
        if s[padded(base, first + middle)] <= s[padded(base, second + ahead - 1 - middle)]:
            least = int32(middle + 1)
        else:
            most = middle
    return int32(first + least), second, int32(second + ahead - least), int32(second + width)


@device
def _merge(s, at, base, mine, width, own, own_at):
    """What a thread's part of two merged runs is."""
    a, second, b, end = part_of(s, base, mine, width)
    for j in range(OWN):
        is_first = b >= end or (a < second and s[padded(base, a)] <= s[padded(base, b)])
        i = padded(base, a if is_first else b)
        own[j], own_at[j] = s[i], at[i]
        a, b = int32(a + is_first), int32(b + (not is_first))
