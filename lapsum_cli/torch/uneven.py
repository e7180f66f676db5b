"""Rankings of several lengths, without padding: what they come as, and go back as.

    jagged         torch.nested with layout=torch.jagged, (m, j): results are nested with the same offsets
    a pair         (values, offsets), (N,) scores and (m + 1,) integers from 0 to N: results are flat
    a list         of tensors (n,): results are a list

What goes with every score, a target or a mask, has the same form, or is flat, (N,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from ..core.errors import DataError, DeviceError, OptionError
from ..core.rankings import check_offsets
from ..core.tensors import unreadable
from .tensors import is_transformed


class Uneven(NamedTuple):
    """Rankings in one of these forms.

    given    what was given
    values   (N,) what each score has
    offsets  (m + 1,) int64, in memory here
    read     how what is in this form is read; None for what is not
    like     flat values (N,) in this form
    """

    given: Any
    values: torch.Tensor
    offsets: np.ndarray
    read: Callable[[Any, str], Uneven | None]
    like: Callable[[torch.Tensor], Any]

    def beside(self, given: Any, name: str) -> torch.Tensor:
        """(N,) what goes with every score; DataError where it is neither in this form nor flat."""
        if given is self.given:
            return self.values
        if isinstance(given, torch.Tensor) and not given.is_nested:
            if given.shape == self.values.shape:
                return given
            got = f"the shape {tuple(given.shape)}"
        else:
            found = self.read(given, name)
            if found is not None and np.array_equal(found.offsets, self.offsets):
                return found.values
            got = "another form" if found is None else "other lengths"
        raise DataError(
            f"{name} must have the form and the lengths of x, or be flat, {tuple(self.values.shape)}, got {got}"
        )

    def squares(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """(n, n) for each ranking."""
        lengths = np.diff(self.offsets).tolist()
        parts = torch.unsafe_split_with_sizes(flat, [n * n for n in lengths])
        return [part.view(n, n) for part, n in zip(parts, lengths, strict=True)]


def uneven(x: Any) -> Uneven | None:
    """The rankings where they are in one of these forms, None where they are not; OptionError where nobody is to see
    their numbers.
    """
    if isinstance(x, torch.Tensor) and not x.is_nested:
        return None
    if torch.compiler.is_compiling():
        refuse_uneven(_is_any(x) or None, "torch.compile and torch.export")
        return None
    found = next(filter(None, (read(x, "x") for read in (_jagged, _pair, _listed))), None)
    if is_transformed():
        refuse_uneven(found, "transforms of torch.func")
    return found


def _is_any(x: Any) -> bool:
    return isinstance(x, list | tuple) or getattr(x, "is_nested", False)


def refuse_uneven(given: Any, whom: str) -> None:
    """OptionError where there are rankings of several lengths, through which somebody cannot see."""
    if given is not None:
        raise OptionError(f"{whom} do not see through rankings of several lengths; pad them with -inf, (m, n)")


def _jagged(given: Any, name: str) -> Uneven | None:
    if getattr(given, "layout", None) != torch.jagged:
        return None
    if given.ndim != 2:
        raise DataError(f"{name} is nested with {given.ndim} axes; rankings have two, (m, j)")
    if given.lengths() is not None:
        raise DataError(f"{name} is nested with gaps between its rankings; pass it as .contiguous()")
    offsets = given.offsets()

    def like(flat: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = torch.nested.nested_tensor_from_jagged(flat, offsets=offsets)
        return made

    return _read(given, given.values(), offsets, name, _jagged, like)


def _pair(given: Any, name: str) -> Uneven | None:
    if not (isinstance(given, tuple) and len(given) == 2 and all(isinstance(one, torch.Tensor) for one in given)):
        return None
    values, offsets = given
    if offsets.dtype.is_floating_point or offsets.dtype == torch.bool or offsets.is_complex():
        return None
    if values.ndim != 1:
        raise DataError(f"{name} beside offsets must be flat, (N,), got the shape {tuple(values.shape)}")
    return _read(given, values, offsets, name, _pair, lambda flat: flat)


def _read(given: Any, values: torch.Tensor, offsets: torch.Tensor, name: str, *how: Any) -> Uneven:
    """Flat values with their offsets, which are copied: whoever passed them may change them before the way back."""
    if problem := unreadable(offsets):
        raise DataError(f"the offsets {problem}")
    if offsets.device != values.device:
        raise DeviceError(f"the offsets are on {offsets.device}, {name} is on {values.device}; pass both on one device")
    here = offsets.detach().cpu().numpy().astype(np.int64)
    check_offsets(here, len(values))
    return Uneven(given, values, here, *how)


def _listed(given: Any, name: str) -> Uneven | None:
    if not (isinstance(given, list | tuple) and given and all(isinstance(one, torch.Tensor) for one in given)):
        return None
    for r, one in enumerate(given):
        if problem := unreadable(one):
            raise DataError(f"ranking {r}: {name} {problem}")
        if one.ndim != 1:
            raise DataError(f"ranking {r}: {name} must be flat, (n,), got the shape {tuple(one.shape)}")
        if one.dtype.is_floating_point != given[0].dtype.is_floating_point:
            raise DataError(f"ranking {r}: {name} is {one.dtype}, and {given[0].dtype} in ranking 0")
        if one.device != given[0].device:
            raise DeviceError(f"ranking {r}: {name} is on {one.device}, and on {given[0].device} in ranking 0")
    lengths = [len(one) for one in given]

    def like(flat: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.unsafe_split_with_sizes(flat, lengths))  # views of one could not be changed in place

    return Uneven(given, torch.cat(list(given)), np.cumsum([0, *lengths]), _listed, like)
