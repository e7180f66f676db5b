"""What a loss can be told besides alpha and k: declared once, and refused where a loss has no use for it.

Which of them a loss has stands in its line of LOSSES; what they may be, and what its loop reads of them, here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..core.errors import OptionError
from . import LOSSES, METRICS, entry_of
from .choices import _choice, _one_of, _Rule, _whole

WEIGHTINGS: dict[str, Callable[[float], tuple[float, ...]]] = {  # by mu: the w of kernels.losses.lambda_loss
    "none": lambda mu: (1, 0, 0, 0, 0, 0),
    "ranknet": lambda mu: (1, 0, 0, 0, 0, 0),
    "ndcg1": lambda mu: (0, 1, 0, 0, 0, 0),
    "ndcg2": lambda mu: (0, 0, 0, 1, 0, 0),
    "ndcg2++": lambda mu: (0, 0, 1, mu, 0, 0),
    "lambdarank": lambda mu: (0, 0, 1, 0, 0, 0),
    "gtdiff": lambda mu: (0, 0, 0, 0, 1, 0),
    "gtdiff-powed": lambda mu: (0, 0, 0, 0, 0, 1),
}
GAINS, PAIRS = ("exp2", "linear"), ("both", "either")


@dataclass(frozen=True)
class LossChoices:
    """The options of losses, by the names of their papers."""

    gain: str = _choice("exp2", "Of ndcg and its like: 2^y - 1 or y.", _one_of(*GAINS), "|".join(GAINS))
    weighting: str = _choice(
        "lambdarank",
        f"lambda: how much a pair counts, {', '.join(WEIGHTINGS)}.",
        _one_of(*WEIGHTINGS),
        "NAME",
    )
    mu: float = _choice(
        10.0, "lambda: what ndcg2 counts for in ndcg2++.", _Rule(lambda value: 0 <= value < math.inf, "0 or more"), "M"
    )
    eps: float = _choice(
        1e-10,
        "lambda: a pair counts at most -log2 of it, and moves no more; 0 for no end.",
        _Rule(lambda value: 0 <= value < 1, "from 0 to 1"),
        "E",
    )
    pairs: str = _choice(
        "both", "lambda: with k, which of a pair must be in the first k places.", _one_of(*PAIRS), "|".join(PAIRS)
    )
    margin: float = _choice(
        1.0,
        "topk-hinge, topk-svm: alphas by which the true item is to be above the next, of topk-hinge times its target.",
        _Rule(lambda value: 0 <= value < math.inf, "0 or more"),
        "M",
    )
    draws: int = _choice(5, "topk-hinge: how often noise is drawn.", _whole(1), "N")
    seed: int = _choice(0, "topk-hinge: what noise is drawn by, with the number of the ranking.", _whole(0), "N")
    kept: str | None = _choice(
        None,
        "lcron, arf: how many each stage keeps, such as 100,20; k where it is not given.",
        _Rule(lambda value: value is None or len(_counts(value)) == 2, "a number for each stage, such as 100,20"),
        "A,B",
    )


CHOICES = {of_it.name: of_it for of_it in fields(LossChoices)}
READS: dict[str, Callable[[LossChoices], Any]] = {  # by what loops call it
    "exponential": lambda given: given.gain == "exp2",
    "weights": lambda given: _array(WEIGHTINGS[given.weighting](given.mu)),
    "margin": lambda given: float(given.margin),
    "draws": lambda given: given.draws,
    "seed": lambda given: given.seed,
    "either": lambda given: given.pairs == "either",
    "most": lambda given: -math.log(given.eps) if given.eps > 0 else math.inf,
    "kept": lambda given: _array(_counts(given.kept) if given.kept is not None else ()),
}


def _counts(given: Any) -> tuple[float, ...]:
    """Numbers of 0 or more, of "100,20" or a sequence; none where one is not."""
    try:
        found = tuple(float(part) for part in (given.split(",") if isinstance(given, str) else given))
    except (TypeError, ValueError):
        return ()
    return found if all(0 <= number < math.inf for number in found) else ()


def _array(values: tuple[float, ...]) -> Any:
    import numpy as np

    return np.array(values, np.float64)


def check(given: LossChoices, loss: str) -> None:
    """OptionError for an option that is not of the loss, or that none can use."""
    own = entry_of(loss).options
    for name, of_it in CHOICES.items():
        value, rule = getattr(given, name), of_it.metadata["rule"]
        if not _holds(rule, value):
            raise OptionError(f"⟨{name}⟩ must be {rule.words}, got {value!r}")
        if name not in own and value != of_it.default:
            users = [other for other, entry in {**LOSSES, **METRICS}.items() if name in entry.options]
            raise OptionError(f"⟨{name}⟩ is of use to {', '.join(users)}, not to {loss}")


def _holds(rule: _Rule, value: Any) -> bool:
    try:
        return bool(rule.holds(value))
    except TypeError:  # of what cannot be compared with a number
        return False


def chosen(given: LossChoices, loss: str) -> Mapping[str, Any]:
    """The options that a loss has, for a record."""
    return {name: getattr(given, name) for name in entry_of(loss).options}
