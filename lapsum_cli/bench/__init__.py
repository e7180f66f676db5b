"""`lapsum bench`: how long an operation takes here, beside its hard counterparts and a copy of the scores.

Every output is checked against the definition before its time is taken. The sides then run in turn, so that whatever
slows the machine down for a while slows all of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from .cases import Case, find_peers, make_cases
from .check import check_output


@dataclass(frozen=True)
class Timing:
    """Seconds of every run of each side of a case; `peers` by library."""

    case: Case
    soft: list[float]
    peers: dict[str, list[float]]
    copy: list[float]


def run_bench(
    operations, shapes, dtype="float32", alpha=0.1, k="10%", threads=1, runs=5, peers=None, notice=lambda line: None
) -> list[Timing]:
    """Time each operation on each shape, such as "10000x1000"; None is all of them. A wrong output is an error.

    peers: libraries such as "numpy,torch"; by default those that are installed. notice: is told what runs.
    """
    cases, names = make_cases(operations, shapes, dtype, alpha, k, threads), find_peers(peers)
    if "torch" in names:
        import torch

        torch.set_num_threads(threads)
    return [_timing(case, runs, names, notice) for case in cases]


def _timing(case: Case, runs: int, names: list[str], notice) -> Timing:
    notice(f"{case}")
    scores = case.scores()
    check_output(case, scores, case.soft(scores))
    copied = np.empty_like(scores)
    peers = [name for name in names if hasattr(case, name)]
    sides = [lambda: case.soft(scores), lambda: np.copyto(copied, scores)]
    sides += [lambda name=name: getattr(case, name)(scores) for name in peers]
    for side in sides:
        side()  # warm-up
    turns = [[_seconds(side) for side in sides] for _ in range(runs)]
    soft, copy, *others = map(list, zip(*turns, strict=True))
    return Timing(case, soft, dict(zip(peers, others, strict=True)), copy)


def _seconds(side) -> float:
    start = time.perf_counter()
    _result = side()  # held until the clock has stopped: giving its memory back is not counted
    return time.perf_counter() - start
