"""The permutation loss of one ranking of which only some places are at hand: those from `place` on, whose edges (2, 1 +
places), anchors and steps, begin with that above them.

ranking  (length, start, stop): of all its scores, and the places from .. to that finite ones have
upstream (2, 1 + places), or (2, 0): the gradients along the distances to edges above and below each
work     (ROWS, 1 + places)
"""

import numpy as np

from ..jit import uncounted
from ..scalars.places import distance
from .placed import blocks, log_shared, of_tied
from .tied import FAR, REST, pull, sum_up


@uncounted
def of_places(x, y, edges, place, ranking, alpha, descending, upstream, work):
    """The sum of log P over the items of all these places, of which work has the item of each."""
    length, start, stop = ranking
    given = (1 - place, length, start, stop, alpha, descending, upstream, work)
    return blocks(x, y, edges[0], edges[1], 1, edges.shape[1], (0, 1), given)


@uncounted
def sums_of_tie(edges, place, ranking, origin, sums, alpha, descending, work):
    """As `sum_up`, of some places of a tie; the first column of work has the sums before them."""
    (_, start, stop), shift, up = ranking, 1 - place, 1.0 if descending else -1.0
    work[REST, 0], work[FAR, 0] = sums[0], sums[1]
    return sum_up(edges[0], edges[1], 1, edges.shape[1], origin, (start + shift, stop + shift), alpha, up, sums, work)


@uncounted
def of_tie(x, edges, place, tie, ranking, origin, sums, alpha, descending, work, own):
    """The sum of log P over some items of a tie, which lie in these of its places, in the mean over all; and how many
    lie below them, and above. What moves each goes to `own`, and what they pull at edges is put down.
    """
    length, start, stop = ranking
    shift, total, before, behind = 1 - place, 0.0, 0, 0
    given = (shift, length, start, stop, alpha, descending, work, work)
    first, last = tie[0] + shift, tie[1] + shift
    if tie[0] < start or tie[1] > stop:
        for i in range(x.size):
            total, own[i] = total + log_shared(x[i], first, last, given), 0.0
        return total, 0, 0
    scale = -1.0 / (length * np.float64(last - first))
    for i in range(x.size):
        here = (1, edges.shape[1])
        log_p, slope, at = of_tied(x[i], edges[0], edges[1], here, (first, last), origin, sums, given)
        total, own[i] = total + log_p, scale * slope
        before, behind = before + (at == last), behind + (at == first - 1)
    return total / (last - first), before, behind


@uncounted
def edges_of_tie(edges, place, tie, ranking, others, alpha, descending, work, upstream):
    """What all items of a tie pull at the edges of some of its places, as `pull` has it."""
    (length, start, stop), shift, up = ranking, 1 - place, 1.0 if descending else -1.0
    ends, scale = (start + shift, stop + shift), -1.0 / (length * np.float64(tie[1] - tie[0]))
    pull(edges[0], edges[1], 1, edges.shape[1], ends, alpha, up, others, scale, work, upstream)


@uncounted
def part_of_tie(x, anchors, steps, alpha, descending, out):
    """In which part of the places of a tie scores lie, by the edges between the parts, which fall."""
    up = 1.0 if descending else -1.0
    for i in range(x.size):
        low, high = 0, anchors.size
        while low < high:
            middle = (low + high) // 2
            if distance(x[i], anchors[middle], steps[middle], alpha, up) > 0.0:
                high = middle
            else:
                low = middle + 1
        out[i] = low
