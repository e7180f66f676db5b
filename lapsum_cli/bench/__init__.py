"""`lapsum bench`: how long an operation takes here, beside its hard counterpart and a copy of the scores.

Every output is checked against the definition before its time is taken. The sides then run in turn, so that whatever
slows the machine down for a while slows all of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from .cases import Case, make_cases
from .check import check_output


@dataclass(frozen=True)
class Timing:
    """Seconds of every run of each side of a case."""

    case: Case
    soft: list[float]
    hard: list[float]
    copy: list[float]


def run_bench(operations, shapes, dtype="float32", alpha=0.1, k="10%", threads=1, runs=5) -> list[Timing]:
    """Time each operation on each shape, such as "10000x1000"; None is all of them. A wrong output is an error."""
    return [_timing(case, runs) for case in make_cases(operations, shapes, dtype, alpha, k, threads)]


def _timing(case: Case, runs: int) -> Timing:
    scores = case.scores()
    check_output(case, scores, case.soft(scores))
    copied = np.empty_like(scores)
    sides = (lambda: case.soft(scores), lambda: case.hard(scores), lambda: np.copyto(copied, scores))
    for side in sides:
        side()  # warm-up
    turns = [[_seconds(side) for side in sides] for _ in range(runs)]
    return Timing(case, *map(list, zip(*turns, strict=True)))


def _seconds(side) -> float:
    start = time.perf_counter()
    _result = side()  # held until the clock has stopped: giving its memory back is not counted
    return time.perf_counter() - start
