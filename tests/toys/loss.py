"""The mean square of how far soft ranks are from those of the target."""

from lapsum_cli.kernels.jit import uncounted
from lapsum_cli.kernels.losses.declared import Loss
from lapsum_cli.kernels.scalars.team import join, team_sums


@uncounted
def squares(rankings, offsets, read, losses, upstreams):
    """Sum of (r_i - w_i)^2 / n of ranks r and wanted ones w; for r: 2 (r_i - w_i) / n."""
    team, (ranks, wanted), (upstream,) = join(rankings), read, upstreams
    for r in range(team.first, team.last):
        start, stop, total = offsets[r], offsets[r + 1], 0.0
        for i in range(start + team.t, stop, team.threads):
            step = (ranks[i] - wanted[i]) / (stop - start)
            total += step * (ranks[i] - wanted[i])
            if upstream.size > 0:
                upstream[i] = 2.0 * step
        (total,) = team_sums(team, (total,))
        if team.t == 0:
            losses[r] = total


LOSS = Loss(squares, reads=("ranks", "target_ranks"), moves=("ranks",), sums=1)
