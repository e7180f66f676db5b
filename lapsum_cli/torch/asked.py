"""An operation as it is asked for: of options some of which may be tensors, which are none of the operation's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..core.errors import OptionError
from ..operations import asked
from ..operations.operation import EACH, Operation

TENSOR = "a tensor"  # in place of one, where an operation is put in words


def operation_asked(kind: type[Operation], alpha: Any, k: Any, descending: bool, options: dict[str, Any]) -> Operation:
    """The operation. alpha, k: numbers, texts, or tensors; k is None where there is none, and of a quantile its q."""
    for name, given in (("alpha", alpha), (kind.at.name, k)):
        if isinstance(given, list | tuple | np.ndarray):
            raise OptionError(
                f"{name} for each ranking must be a tensor, got {type(given).__name__}; pass torch.as_tensor({name})"
            )
    return asked.operation_asked(kind, _constant(alpha), None if k is None else _constant(k), descending, options)


def _constant(given: Any) -> Any:
    """An alpha or k that all rankings share; EACH for a tensor."""
    return EACH if isinstance(given, torch.Tensor) or (type(given) is str and given == TENSOR) else given
