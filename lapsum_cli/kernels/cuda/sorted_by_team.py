"""Sorting rankings that fit into shared memory, on a card: a merge sort by a team of threads (teams.py).

Each thread sorts OWN scores, and runs are merged in pairs: a thread looks for where its part of the merged run begins
in both, and takes it from there ("merge path": Green, McColl and Bader, 2012). Keys that are alike stay in the order of
the input, since of two runs the first goes first. A library's sort of segments took 95 ns a ranking of 1000 on an
H200, by passes over memory; this takes 14: it reads a score and writes its key and place, once.
"""

from ..scalars.keys import key_of
from .adapter import Lane, cuda, device, kernel
from .blocks import uint32
from .teams import Blocks, Class, Lanes, classes_of, launch_teams, meet, team_for

OWN_BITS = 3
OWN = 1 << OWN_BITS  # scores of a thread
PADDED = OWN + 1  # and what they take of shared memory: neighbours begin in different banks
LANES, THREADS = (1, 2, 4, 8, 16, 32), (64, 128, 256)  # of a team
LONGEST = OWN * THREADS[-1]


def classes(layout) -> list[Class]:
    """Rankings that are sorted by a team, by length."""
    return classes_of(layout, [(OWN * who.threads, who) for who in (*map(Lanes, LANES), *map(Blocks, THREADS))])


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
    start, stop = offsets[r], offsets[r + 1]
    own_bits, own_keys, own_places = bits[start:stop], keys[start:stop], places[start:stop]
    base, size = uint32((cuda.threadIdx.x - team.t) * PADDED), uint32(stop - start)
    t, step, most, mine = uint32(team.t), uint32(team.threads), uint32(OWN * team.threads), uint32(team.t * OWN)
    own, own_at = cuda.local.array(OWN, keys.dtype), cuda.local.array(OWN, places.dtype)
    for j in range(OWN):  # all are asked for before one is waited for
        i = uint32(t + uint32(j) * step)
        own[j] = own_bits[i] if i < size else order[0]
    for j in range(OWN):  # those past the end are last, and stay so
        i = uint32(t + uint32(j) * step)
        s[padded(base, i)] = key_of(own[j], order) if i < size else order[0]
    meet(team)
    for j in range(OWN):
        own_at[j] = uint32(mine + uint32(j))
        own[j] = s[padded(base, own_at[j])]
    _sort_own(own, own_at)
    width = uint32(OWN)
    while width < most and width < size:
        meet(team)
        _put(s, at, base, mine, own, own_at)
        meet(team)
        _merge(s, at, base, mine, width, own, own_at)
        width = uint32(width + width)
    meet(team)
    _put(s, at, base, mine, own, own_at)
    meet(team)
    for j in range(OWN):
        i = uint32(t + uint32(j) * step)
        if i < size:
            own_keys[i], own_places[i] = s[padded(base, i)], at[padded(base, i)]


@device
def padded(base, i):
    """Where number i of a team is in its shared memory, which begins at `base`."""
    return uint32(base + i + (i >> uint32(OWN_BITS)))


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
        i = padded(base, uint32(mine + uint32(j)))
        s[i], at[i] = own[j], own_at[j]


@device
def part_of(s, base, mine, width):
    """Where a thread's part of two merged runs of this width begins in both, and where they end."""
    ahead = uint32(mine & uint32(width + width - uint32(1)))
    first = uint32(mine - ahead)
    second, end = uint32(first + width), uint32(first + width + width)
    least, most = uint32(ahead - width) if ahead > width else uint32(0), uint32(min(ahead, width))
    opposite = uint32(second + ahead - uint32(1))
    while least < most:
        middle = uint32(uint32(least + most) >> uint32(1))
        if s[padded(base, uint32(first + middle))] <= s[padded(base, uint32(opposite - middle))]:
            least = uint32(middle + uint32(1))
        else:
            most = middle
    return uint32(first + least), second, uint32(second + ahead - least), end


@device
def next_of(s, base, a, second, b, end, key_a, key_b):
    """Which of two runs has the next of both, whose first left are a and b: whether it is the first, where it is, and
    a and b and their keys thereafter. A run at its end has some key, which is not looked at: a branch costs more.
    """
    is_first = (b >= end) | ((a < second) & (key_a <= key_b))
    here = a if is_first else b
    a, b = uint32(a + uint32(is_first)), uint32(b + uint32(not is_first))
    key = s[padded(base, a if is_first else uint32(min(b, uint32(end - uint32(1)))))]
    return is_first, here, a, b, key if is_first else key_a, key_b if is_first else key


@device
def _merge(s, at, base, mine, width, own, own_at):
    """What a thread's part of two merged runs is."""
    a, second, b, end = part_of(s, base, mine, width)
    key_a, key_b = s[padded(base, a)], s[padded(base, uint32(min(b, uint32(end - uint32(1)))))]
    for j in range(OWN):
        before_a, before_b = key_a, key_b
        is_first, here, a, b, key_a, key_b = next_of(s, base, a, second, b, end, key_a, key_b)
        own[j], own_at[j] = before_a if is_first else before_b, at[padded(base, here)]
