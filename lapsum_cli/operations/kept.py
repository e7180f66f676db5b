"""Operations as they are asked for: each is made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..core.errors import OptionError
from ..core.quantities import Alpha
from .operation import EACH, Operation


def operation_of(kind: type[Operation], alpha: Any, descending: bool, *, k: Any = EACH, **options: Any) -> Operation:
    """An operation, which is made once for the same options, so that it knows its kernels and slots from then on.

    alpha, k  as a user gave them, or parsed; EACH where they are none of the operation's; k of a quantile is its q
    """
    try:
        return _kept(kind, alpha, descending, k, **options)
    except TypeError:  # of an option that cannot be looked up, which is refused for what it is
        for name in options:
            if name not in kind.__dataclass_fields__:
                raise TypeError(f"{kind.name} got an unexpected keyword argument {name!r}") from None
        return _make(kind, alpha, descending, k, **options)


def _make(kind: type[Operation], alpha: Any, descending: bool, k: Any, **options: Any) -> Operation:
    if descending not in (True, False):  # "no" would be as good as True
        raise OptionError(f"⟨{kind.direction}⟩ must be True or False, got {descending!r}")
    if k is not EACH:
        options[f"{kind.at.name}s"] = (k if isinstance(k, kind.at) else kind.at.parse(k),)
    of_all = Alpha(1.0) if alpha is EACH else alpha
    return kind(of_all if isinstance(of_all, Alpha) else Alpha.parse(of_all), descending, **options)


_kept: Callable[..., Operation] = lru_cache(1024)(_make)
