"""An operation as it is asked for: of options some of which may be tensors, which are none of the operation's own."""

from __future__ import annotations

from typing import Any

import torch

from ..core.quantities import Alpha, K, Q
from ..operations import METHODS
from ..operations.loss import Loss, check_k
from ..operations.operation import EACH, Operation, operation_of
from ..operations.quantile import Quantile
from ..operations.topk import TopK

TENSOR = "a tensor"  # in place of one, where an operation is put in words


def operation_asked(kind: type[Operation], alpha: Any, k: Any, descending: bool, options: dict[str, Any]) -> Operation:
    """The operation. alpha, k: numbers, texts, or tensors; k is None where there is none, and of a quantile
    its q.
    """
    given = {}
    if kind is TopK:
        given["k"] = _k(k, options["method"])
    elif kind is Quantile:
        given["k"] = _constant(k, Q)
    elif kind is Loss:
        check_k(options["loss"], k)
        given["k"] = EACH if k is None else _constant(k, K)
    return operation_of(kind, _constant(alpha, Alpha), descending, **given, **options)


def _constant(given: Any, kind: type[Alpha | K | Q]) -> Any:
    """A number that all rankings share, as operation_of takes it; EACH for a tensor. What is no number and no text is
    parsed here: True is 1 where options that were given before are looked up.
    """
    if isinstance(given, torch.Tensor) or (type(given) is str and given == TENSOR):
        return EACH
    return given if type(given) in (str, float, int) else kind.parse(given)


def _k(given: Any, method: str) -> Any:
    """The same of k; EACH for a method that takes none, too."""
    return EACH if given is None and method in METHODS and not METHODS[method].takes_k else _constant(given, K)
