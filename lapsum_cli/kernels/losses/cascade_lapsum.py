"""A loss of a cascade of LapSum's memberships, which sum to k in either stage; cascade.py has the loss."""

from ..jit import uncounted
from ..scalars.team import join, team_sums
from .cascade import costs
from .declared import Loss
from .topk import logs


@uncounted
def cascade_lapsum(rankings, offsets, read, losses, upstreams):
    """The mean over items; its gradient is along x / alpha at fixed thresholds."""
    x, members, wanted, cuts, alphas, descending = read
    team, (upstream,), up = join(rankings), upstreams, 1.0 if descending else -1.0
    for r in range(team.first, team.last):
        start, n, total = offsets[r], (offsets[r + 1] - offsets[r]) // 2, 0.0
        for i in range(start + team.t, start + n, team.threads):
            first = logs(up * x[i], members[i], cuts[2 * r], alphas[2 * r])
            second = logs(up * x[i + n], members[i + n], cuts[2 * r + 1], alphas[2 * r + 1])
            cost, to_first, to_second = costs(wanted[i], first, second)
            total += cost
            if upstream.size > 0:
                upstream[i], upstream[i + n] = to_first / n, to_second / n
        (total,) = team_sums(team, (total,))
        if team.t == 0:
            losses[r] = total / max(n, 1)


LOSS = Loss(
    cascade_lapsum,
    reads=("scores", "members", "target_members", "cuts", "alphas", "descending"),
    moves=("distances to the threshold",),
    sums=1,
    stages=2,
    card_bytes=90,
)
