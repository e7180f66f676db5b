"""What rankings look like when they are not what their owner thinks: said, and never changed.

Padding by a number, such as the lowest of a dtype or -1e9, is a score like any other: where alpha is in standard
deviations, it sets them. Scores of shape (n, 1) are n rankings of one score each. Scores that are all alike, as those
of a scorer that starts at zero, have no deviation that alpha could be in, and a loss of them no gradient.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..core import errors
from .operation import Operation

if TYPE_CHECKING:
    from ..core.rankings import Rankings

LARGE = 1e3  # from here on a number may be padding, if it is so many times what other scores are
ENOUGH = 1 << 16  # scores that are looked at
RANKINGS = 16  # of the others, that many, whole or from both ends
LOWEST = (65504.0, 3.3895313892515355e38, 3.4028234663852886e38, 1.7976931348623157e308)  # of a dtype, without the sign


def warn(operation: Operation, rankings: Rankings) -> None:
    """LapsumWarning of a suspicion, at the line that called this package."""
    line = suspicion(operation, rankings)
    if line is not None:
        errors.warn(line)


def warn_of_start(operation: Operation, rankings: Rankings, losses: Any) -> None:
    """LapsumWarning where gradients of losses (m,) are 0 since all scores are the same number."""
    if (
        operation.alpha.relative
        and not rankings.is_on_card
        and _are_alike(rankings.values)
        and (losses == losses).any()
    ):
        errors.warn(
            f"all scores are alike, and have no deviation that alpha = {operation.alpha} could be in, so the gradient "
            "is 0 and nothing is learnt; start from scores that differ, as of random weights"
            + ("" if getattr(operation, "loss", "") == "spearman" else ", or give alpha in the unit of the scores")
        )


def _are_alike(scores: Any) -> bool:
    """Whether all that are finite are the same number; where not, the first few tell as a rule."""
    import numpy as np

    few = scores[:RANKINGS]
    known = few[np.isfinite(few)]
    if not len(known) or (known != known[0]).any():
        return False
    return not np.isfinite(scores[scores != known[0]]).any()


def suspicion(operation: Operation, rankings: Rankings) -> str | None:
    """What is to be said of rankings in this machine's memory, in a line; None where they look sound."""
    count, scores = len(rankings.offsets) - 1, len(rankings.values)
    if scores == count > 1 and rankings.longest == 1:
        return one_each(count)
    return of_padding(operation, rankings)


def one_each(count: int) -> str:
    """What is to be said of so many rankings that have a single score."""
    return (
        f"{count} rankings have one score each, so nothing is ranked: a ranking is the last axis of an array, so pass "
        "(n, 1) as (n,); in a table it is a group"
    )


def of_padding(operation: Operation, rankings: Rankings) -> str | None:
    """What is to be said of padding that sets the unit of alpha; None where there seems to be none."""
    if not operation.alpha.relative or "alpha" in rankings.each or not len(rankings.values):
        return None
    number = padding_number(rankings, operation.descending)
    if number is None:
        return None
    return (
        f"scores of {number:g} look like padding, and set the deviations that alpha = {operation.alpha} is in; pad "
        "with -inf, which takes no part, or give alpha in the unit of the scores"
    )


def padding_number(rankings: Rankings, descending: bool = True) -> float | None:
    """The number that looks like padding, None where none does: the worst of most rankings that are looked at, at one
    of their ends, more than once, and a thousand times as large as their other scores; or the lowest of a dtype.
    """
    values, seen = rankings.values, None
    if len(values) > ENOUGH:
        import numpy as np

        seen = _some(rankings)
        values = np.concatenate([values[:0], *seen])
    if not len(values):
        return None
    worst = values.item(values.argmin() if descending else values.argmax())
    if not LARGE <= (-worst if descending else worst) < math.inf:
        return None
    seen = seen if seen is not None else _some(rankings)
    kinds = [_kind(x, worst) for x in seen]
    if abs(worst) in LOWEST and any(kind is not None for kind in kinds):
        return worst
    at_ends = [kind for kind in kinds if kind is not None and kind[1]]
    is_usual = 2 * len(at_ends) > len(seen) and sum(times for times, _ in at_ends) > 1
    return worst if is_usual else None


def _some(rankings: Rankings) -> list[Any]:
    """Some rankings of two scores or more, evenly spread, each whole or its two ends."""
    import numpy as np

    numbers = range(len(rankings))
    if len(numbers) > RANKINGS:
        numbers = np.linspace(0, len(rankings) - 1, RANKINGS).astype(int).tolist()
    most, found = ENOUGH // RANKINGS, []
    for r in numbers:
        x = rankings[r]
        if len(x) > 1:
            found.append(x if len(x) <= most else np.concatenate([x[: most // 2], x[-(most // 2) :]]))
    return found


def _kind(x: Any, worst: float) -> tuple[int, bool] | None:
    """How often the worst number is in a ranking, and whether that is at one of its ends; None where it is not there,
    or the other scores are not so much smaller.
    """
    import numpy as np

    is_worst = x == worst
    others = np.abs(x[~is_worst & np.isfinite(x)])
    if not is_worst.any() or not len(others) or others.max() > abs(worst) / LARGE:
        return None
    return int(is_worst.sum()), bool(is_worst[0] or is_worst[-1])
