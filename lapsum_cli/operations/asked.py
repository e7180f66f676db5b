"""An operation as it is asked for beside arrays: options that rankings have one each of are none of its own."""

from __future__ import annotations

from typing import Any

from ..core.quantities import Alpha, K, Q
from . import METHODS
from .choices import CHOICES
from .kept import operation_of
from .loss import Loss, check_k
from .operation import EACH, Operation
from .quantile import Quantile
from .topk import TopK


def operation_asked(kind: type[Operation], alpha: Any, k: Any, descending: bool, options: dict[str, Any]) -> Operation:
    """The operation. alpha, k: numbers, texts, or EACH; k is None where there is none, and of a quantile its q."""
    given = {}
    if kind is TopK:
        given["k"] = _k(k, options["method"])
    elif kind is Quantile:
        given["k"] = _constant(k, Q)
    elif kind is Loss:
        check_k(options["loss"], k)
        given["k"] = EACH if k is None else _constant(k, K)
    return operation_of(kind, _constant(alpha, Alpha), descending, **given, **options)


def hardened(options: dict[str, Any]) -> dict[str, Any]:
    """Options of an operation for its hard result, which has none of those of methods."""
    return {name: given for name, given in options.items() if name not in CHOICES} | {"method": "hard"}


def _constant(given: Any, kind: type[Alpha | K | Q]) -> Any:
    """An alpha or k that all rankings share, as operation_of takes it. What is neither a number nor a text is parsed
    here: True is 1 where options that were given before are looked up.
    """
    return given if given is EACH or type(given) in (str, float, int) else kind.parse(given)


def _k(given: Any, method: str) -> Any:
    """The same of k; EACH for a method that takes none, too."""
    return EACH if given is None and method in METHODS and not METHODS[method].takes_k else _constant(given, K)
