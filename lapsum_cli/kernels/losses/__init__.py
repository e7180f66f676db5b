"""Losses of soft ranks, memberships and permutations against targets, with their gradients in O(n): a file each.

A file has the formula, once for every device, and LOSS, which says what it reads and what it moves; parts.py does the
rest. Targets y are better the larger they are.
"""

import functools
from importlib import import_module

from .declared import Loss
from .ends import partaking, weighted
from .parts import backward, forward

__all__ = ["Loss", "backward", "find", "forward", "partaking", "weighted"]


@functools.cache
def find(module: str) -> Loss:
    """LOSS of a module, such as those of this folder."""
    return import_module(module).LOSS
