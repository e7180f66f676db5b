"""What a method can be told besides alpha: declared once, for every operation, and refused where a method has no use.

Which of them a method has stands in its line of METHODS; what they may be, here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from ..core.errors import OptionError
from . import METHODS


class _Rule(NamedTuple):
    """What an option may be: whether a value is that, and how it is said."""

    holds: Callable[[Any], bool]
    words: str


def _one_of(*names: str) -> _Rule:
    return _Rule(lambda value: value in names, f"{', '.join(names[:-1])} or {names[-1]}")


def _whole(least: int) -> _Rule:
    return _Rule(lambda value: type(value) is int and value >= least, f"a whole number of {least} or more")


def _choice(default: Any, help: str, rule: _Rule, metavar: str) -> Any:
    return field(default=default, metadata={"help": help, "flag": None, "metavar": metavar, "rule": rule})


_NORMS = _Rule(lambda value: min(abs(value - 2), abs(value - 4 / 3)) < 1e-9, "2 or 4/3")
_SHARE = _Rule(lambda value: 0 <= value <= 1, "from 0 to 1")
P = {  # by method: what p is where it is not given, and what it may be
    "sparse": ("4/3", _NORMS),
    "sparse-magnitude": ("4/3", _NORMS),
    "threshold": ("0.5", _SHARE),
    "top-p": ("0.9", _SHARE),
    "min-p": ("0.1", _SHARE),
}
SOLVERS, GATES, REGULARIZATIONS = ("pav", "dykstra"), ("sigmoid", "softmax", "identity"), ("l2", "kl")
NETWORKS = ("odd_even", "bitonic")
STEPS = ("logistic", "logistic_phi", "gaussian", "reciprocal", "cauchy", "optimal")


@dataclass(frozen=True)
class Choices:
    """The options of methods, by the names of their papers."""

    p: str | None = _choice(
        None,
        "sparse: the norm that regularizes, 2 or 4/3, the default. threshold: the least gate that is kept (0.5). "
        "top-p: the share that is kept (0.9). min-p: the least share of the best gate (0.1).",
        _Rule(lambda value: True, "a number"),
        "P",
    )
    solver: str = _choice(
        "pav", "sparse: exactly, or by Dykstra's projections, at p = 2.", _one_of(*SOLVERS), "|".join(SOLVERS)
    )
    gate: str | None = _choice(
        None,
        "threshold, top-p, min-p: what makes gates of scores; sigmoid for threshold, else softmax.",
        _one_of(*GATES),
        "|".join(GATES),
    )
    regularization: str = _choice(
        "l2", "isotonic: of what is projected, by its squares or its entropy.", _one_of(*REGULARIZATIONS), "l2|kl"
    )
    network: str = _choice("bitonic", "sortnet: which pairs are compared.", _one_of(*NETWORKS), "|".join(NETWORKS))
    step: str = _choice("cauchy", "sortnet: how soft a comparison is.", _one_of(*STEPS), "|".join(STEPS))
    power: float = _choice(
        1.0, "softsort: of distances; linear after a sort at 1.", _Rule(lambda value: value > 0, "positive"), "A"
    )
    iterations: int = _choice(500, "dykstra: how many. ot-sorted, sinkhorn: at most.", _whole(1), "N")
    draws: int = _choice(5, "noised: how often noise is drawn.", _whole(1), "N")
    seed: int = _choice(0, "noised: what noise is drawn by, with the number of the ranking.", _whole(0), "N")
    noise: Any = field(default=None, repr=False, metadata={"rule": _Rule(lambda value: True, "an array")})


CHOICES = {of_it.name: of_it for of_it in fields(Choices)}


def chosen(given: Choices, method: str) -> dict[str, Any]:
    """The options that a method has, as it takes them; OptionError for one that is not of it, or that it cannot use."""
    own = METHODS[method].options
    for name, of_it in CHOICES.items():
        if name not in own and getattr(given, name) is not of_it.default:
            users = [other for other, entry in METHODS.items() if name in entry.options]
            raise OptionError(f"⟨{name}⟩ is of use to {', '.join(users)}, not to {method}")
    return {name: _taken(given, method, name) for name in own}


def _taken(given: Choices, method: str, name: str) -> Any:
    value, rule = getattr(given, name), CHOICES[name].metadata["rule"]
    if name == "p":
        default, rule = P[method]
        if given.solver == "dykstra":
            default, rule = "2", _Rule(lambda value: value == 2, "2 where ⟨solver=dykstra⟩")
        value = _number(default if value is None else value)
    if value is None:
        return None
    if not rule.holds(value):
        raise OptionError(f"⟨{name}⟩ of {method} must be {rule.words}, got {value!r}")
    return value


def _number(given: Any) -> float:
    """A number as it may be typed: 2, or a fraction such as 4/3."""
    above, _, below = str(given).partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise OptionError(f"⟨p⟩ must be a number such as 0.5 or 4/3, got {given!r}") from None
