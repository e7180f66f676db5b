"""Cross-entropy of the soft permutation against the order of the targets: -(1/n) sum of log P[i, place of y_i].

Each item needs the two edges of one place, no matrix (LapSum, ICML 2025, section 4): it takes O(n) memory. Of equal
targets each takes all of their places in turn, so that it is the mean over their orders (placed.py, tied.py).
"""

from ..jit import uncounted
from ..scalars.team import join, team_sums
from .declared import InPlaces, Loss, Second
from .permutation_along import along
from .permutation_parts import edges_of_tie, of_places, of_tie, sums_of_tie
from .placed import blocks
from .tied import ITEM, ROWS


@uncounted
def permutation(rankings, offsets, read, losses, upstreams):
    """-(1/n) sum of log P, and its gradients along the distances of every item to the edges of its place, by place."""
    x, y, anchors, steps, spans, places, alphas, descending = read
    team, (upstream, work) = join(rankings), upstreams
    for r in range(team.first, team.last):
        first, length = offsets[r], offsets[r + 1] - offsets[r]
        for i in range(first + team.t, first + length, team.threads):
            work[ITEM, first + places[i]] = i
        team_sums(team, (0.0,))  # all of them are there
        given = (first, length, spans[r, 0], spans[r, 1], alphas[r], descending, upstream, work)
        total = blocks(x, y, anchors, steps, first, first + length, (team.t, team.threads), given)
        (total,) = team_sums(team, (total,))
        if team.t == 0:
            losses[r] = -total / max(length, 1)


LOSS = Loss(
    permutation,
    reads=("scores", "target", "anchors", "steps", "spans", "target_places", "alphas", "descending"),
    moves=("distances to edges",),
    sums=1,
    work=ROWS,
    card_bytes=300,
    in_parts=InPlaces(of_places, sums_of_tie, of_tie, edges_of_tie),
    second=Second(along),
)
