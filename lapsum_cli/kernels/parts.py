"""The one road of a ranking that is larger than a part: summarise every part, merge, finish every part.

    seen = nothing
    for begin, merge in rounds:                            ranks and a sort take one round, a top-k two
        seen = merge([begin(part, seen) for each part])
    result = [finish(part, seen) for each part]

`begin` and `finish` read the scores of their own part alone, and side by side. `merge` reads summaries alone, a few
numbers each (scalars/summary.py), in the order of the parts, and tells each part what it sees of the others: so no
result depends on who computes a part, nor when. What is a part, and who computes it, is the caller's: stretches of an
array and threads (cpu/parallel.py); a ranking that outgrows memory brings chunks of a file, and one that outgrows a
machine brings tasks, with an `each` of their own.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol


class Each(Protocol):
    """`map` over several sequences of one length, to a list in their order; side by side, if it likes."""

    def __call__(self, function: Callable, *sequences: Iterable) -> list: ...


class Round(NamedTuple):
    """One exchange: what every part tells of itself, and what it sees of all others then."""

    begin: Callable[[Any, Any], Any]  # (part, what it saw in the round before, None in the first) -> summary
    merge: Callable[[list], Sequence]  # summaries -> what each part sees


def run(parts: Sequence, rounds: Sequence[Round], finish: Callable[[Any, Any], Any], each: Each) -> list:
    """What `finish` returns for every part, in order; a part without scores is no part, and no parts give nothing."""
    if not parts:
        return []
    seen: Sequence = [None] * len(parts)
    for begin, merge in rounds:
        seen = merge(each(begin, parts, seen))
    return each(finish, parts, seen)
