"""Twins of the kernels for NVIDIA GPUs: what the modules of cpu compute, by the same definitions.

Scalar mathematics is that of scalars, compiled for the card; how the scores are gone through is the card's own. One
module knows numba.cuda (adapter.py, and pool.py for its memory). Arrays of scores live on the card, in rooms that a
lane uses again. What a ranking has one of, such as alpha, comes from memory or from the card, and one number for all
is one there; what is computed of it stays until it is asked for.

    pool       memory in the order of a stream
    adapter    declarations of kernels; lanes: a stream, its memory, copies to and fro
    doubts     what may be wrong with numbers on the card
    numbers    what a ranking has one of
    blocks     sums, maxima and scans by the threads of a block
    launches   what a launch costs the host, made little
    teams      a block, or some of a warp, as a team of threads, for what is written once for every device
    tiles      rankings cut into tiles, a block for each
    walks      short rankings, one for each thread of a block
    sweeps     the recurrence: sums before and behind every sorted score
    threshold  where a top-k meets its k, by a team
    passes     what a team makes of the scores of a ranking whose threshold is known
    alone      top-k of rankings that a team has alone
    narrowing  what is left of a long ranking for a block, by many
    sorted_by_team    sorting what fits into shared memory
    sorters    who sorts what is longer, where a card is
    order, rank, sort, topk, permute, losses, deviations, finite    as their namesakes
    repeating  lanes on which the same work is done again, for graphs of its launches

No result depends on the batch, and the same input gives the same bits: reductions are trees and scans of a fixed shape,
no floats are added by atomics. Between CPU and card results differ in the last digits, within the bounds of kernels.
"""

from . import (
    adapter,
    alone,
    blocks,
    deviations,
    doubts,
    finite,
    losses,
    members,
    narrowing,
    numbers,
    order,
    padding,
    passes,
    permute,
    rank,
    repeating,
    sort,
    sorted_by_team,
    sorters,
    sweeps,
    teams,
    threshold,
    tiles,
    topk,
    walks,
)

__all__ = [
    "adapter",
    "alone",
    "blocks",
    "deviations",
    "doubts",
    "finite",
    "losses",
    "members",
    "narrowing",
    "numbers",
    "order",
    "padding",
    "passes",
    "permute",
    "rank",
    "repeating",
    "sort",
    "sorted_by_team",
    "sorters",
    "sweeps",
    "teams",
    "threshold",
    "tiles",
    "topk",
    "walks",
]
