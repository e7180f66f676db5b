"""Rankings of several lengths, without padding: what they come as, and go back as.

    jagged         torch.nested with layout=torch.jagged, (m, j): results are nested with the same offsets
    a pair         (values, offsets), (N,) scores and (m + 1,) integers from 0 to N: results are flat
    a list         of tensors (n,): results are a list

What goes with every score, a target or a mask, has the same form, or is flat, (N,). A compiler does not see the numbers
of offsets: these are looked at when what it made runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from ..core.errors import DataError, DeviceError, OptionError
from ..core.rankings import check_offsets
from ..core.tensors import unreadable
from .tensors import as_plain, is_batched, is_transformed


class Uneven(NamedTuple):
    """Rankings in one of these forms.

    given    what was given
    values   (N,) what each score has
    offsets  (m + 1,) int64, in memory here; a tensor of integers where a compiler is to see them
    read     how what is in this form is read; None for what is not
    like     flat values (N,) in this form
    lengths  of a list: those of its tensors
    """

    given: Any
    values: torch.Tensor
    offsets: np.ndarray | torch.Tensor
    read: Callable[[Any, str], Uneven | None]
    like: Callable[[torch.Tensor], Any]
    lengths: list[int] | None = None

    def beside(self, given: Any, name: str) -> torch.Tensor:
        """(N,) what goes with every score; DataError where it is neither in this form nor flat."""
        if not torch.compiler.is_compiling() and given is self.given:
            return self.values
        if isinstance(given, torch.Tensor) and not given.is_nested:
            if given.shape == self.values.shape:
                return given
            got = f"the shape {tuple(given.shape)}"
        else:
            found = self.read(given, name)
            if found is not None and self._is_cut_as(found):
                return found.values
            got = "another form" if found is None else "other lengths"
        raise DataError(
            f"{name} must have the form and the lengths of x, or be flat, {tuple(self.values.shape)}, got {got}"
        )

    def _is_cut_as(self, other: Uneven) -> bool:
        if self.lengths is not None:
            return self.lengths == other.lengths
        if isinstance(self.offsets, np.ndarray):
            return np.array_equal(self.offsets, other.offsets)
        return self.offsets is other.offsets  # nobody sees their numbers

    def squares(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """(n, n) for each ranking."""
        lengths = np.diff(self.offsets).tolist()
        parts = _parts(flat, [n * n for n in lengths])
        return [part.view(n, n) for part, n in zip(parts, lengths, strict=True)]


def uneven(x: Any) -> Uneven | None:
    """The rankings where they are in one of these forms, None where they are not."""
    if isinstance(x, torch.Tensor) and not x.is_nested:
        return None
    for read in (_jagged, _pair, _listed):
        found = read(x, "x")
        if found is not None:
            return found
    return None


def refuse_compiled(form: Any, what: str) -> None:
    """OptionError where a compiler is to see what cannot be told of offsets without their numbers."""
    if form is not None and torch.compiler.is_compiling():
        raise OptionError(
            f"torch.compile and torch.export do not see through {what} of several lengths; "
            "pad their rankings with -inf, (m, n)"
        )


def _jagged(given: Any, name: str) -> Uneven | None:
    if getattr(given, "layout", None) != torch.jagged:
        return None
    if is_transformed():
        raise OptionError(
            f"{name} is nested, which transforms of torch.func do not see through; pass (x.values(), x.offsets())"
        )
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
    if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], torch.Tensor)):
        return None
    values, offsets = given
    if not isinstance(offsets, torch.Tensor):
        raise DataError(f"offsets beside {name} must be a tensor of integers, got {type(offsets).__name__}")
    if offsets.dtype.is_floating_point or offsets.dtype == torch.bool or offsets.is_complex():
        return None
    if values.ndim != 1:
        raise DataError(f"{name} beside offsets must be flat, (N,), got the shape {tuple(values.shape)}")
    return _read(given, values, offsets, name, _pair, lambda flat: flat)


def _read(given: Any, values: torch.Tensor, offsets: torch.Tensor, name: str, *how: Any) -> Uneven:
    """Flat values with their offsets."""
    if torch.compiler.is_compiling():
        return Uneven(given, values, offsets, *how)
    if problem := unreadable(offsets):
        raise DataError(f"the offsets {problem}")
    if offsets.device != values.device:
        raise DeviceError(f"the offsets are on {offsets.device}, {name} is on {values.device}; pass both on one device")
    return Uneven(given, values, read_offsets(offsets, values), *how)


def read_offsets(offsets: torch.Tensor, values: torch.Tensor) -> np.ndarray:
    """(m + 1,) int64, a copy: whoever passed them may change them before the way back. DataError unless they are those
    of flat values (N,); OptionError where vmap has other ones for each of a batch.
    """
    if is_transformed() and is_batched(offsets):
        raise OptionError("vmap takes one set of offsets for all of a batch; pass them with in_dims=None")
    with as_plain():
        here = offsets.detach().cpu().numpy().astype(np.int64)
    check_offsets(here, values.shape[0])
    return here


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
        return list(_parts(flat, lengths))

    return Uneven(given, torch.cat(list(given)), _offsets_of(lengths, given[0].device), _listed, like, lengths)


def _parts(flat: torch.Tensor, lengths: list[int]) -> tuple[torch.Tensor, ...]:
    """Of so many numbers each. Views of one could not be changed in place, and vmap knows nothing else."""
    return (torch.split if is_transformed() else torch.unsafe_split_with_sizes)(flat, lengths)


def _offsets_of(lengths: list[int], device: torch.device) -> np.ndarray | torch.Tensor:
    if torch.compiler.is_compiling():
        return torch.tensor([0, *itertools.accumulate(lengths)], device=device)
    return np.cumsum([0, *lengths])
