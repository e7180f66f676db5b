"""Rankings of several lengths, without padding: what they come as, and go back as.

    a pair         (values, offsets), (N,) scores and (m + 1,) integers from 0 to N: results are flat
    a list         of arrays (n,): results are a list

What goes with every score, a target or a mask, has the same form, or is flat, (N,). Of offsets that JAX traces nobody
knows the numbers: these are looked at when what it compiled runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..core.errors import DataError, OptionError
from ..core.rankings import check_offsets, check_shape_of_offsets
from .arrays import array_of


@functools.partial(jax.tree_util.register_dataclass, data_fields=["offsets"], meta_fields=["pairs"])
@dataclass(frozen=True)
class Cut:
    """Where flat scores (N,) are cut into rankings, as callbacks take it.

    offsets  (m + 1,) integers
    pairs    the sum of the squared lengths; None where JAX traces offsets
    """

    offsets: Any
    pairs: int | None

    @property
    def size_of_squares(self) -> int:
        """How many numbers soft permutations have; OptionError where nobody knows."""
        return _known(self.pairs, "soft permutations")


class Uneven(NamedTuple):
    """Rankings in one of these forms.

    values   (N,) what each score has
    offsets  (m + 1,) int64; of JAX where it traces them
    read     how what is in this form is read; None for what is not
    like     flat values (N,) in this form
    """

    values: jax.Array
    offsets: Any
    read: Callable[[Any, str], Uneven | None]
    like: Callable[[jax.Array], Any]

    @property
    def cut(self) -> Cut:
        is_known = isinstance(self.offsets, np.ndarray)
        return Cut(self.offsets, int(np.square(np.diff(self.offsets)).sum()) if is_known else None)

    def beside(self, given: Any, name: str) -> jax.Array:
        """(N,) what goes with every score; DataError where it is neither in this form nor flat."""
        found = self.read(given, name)
        if found is not None:
            if self._is_cut_as(found):
                return found.values
            got = "other lengths"
        elif isinstance(given, list | tuple):
            got = "another form"
        else:
            array = array_of(given, name)
            if array.shape == self.values.shape:
                return array
            got = f"the shape {array.shape}"
        raise DataError(f"{name} must have the form and the lengths of x, or be flat, {self.values.shape}, got {got}")

    def _is_cut_as(self, other: Uneven) -> bool:
        if isinstance(self.offsets, np.ndarray) and isinstance(other.offsets, np.ndarray):
            return np.array_equal(self.offsets, other.offsets)
        return self.offsets is other.offsets  # nobody knows their numbers

    def known(self, what: str) -> np.ndarray:
        """The offsets; OptionError where JAX traces them, which `what` cannot do without."""
        found: np.ndarray = _known(self.offsets if isinstance(self.offsets, np.ndarray) else None, what)
        return found

    def squares(self, flat: jax.Array) -> list[jax.Array]:
        """(n, n) for each ranking."""
        lengths = np.diff(self.offsets)
        parts = _parts(flat, np.square(lengths))
        return [part.reshape(n, n) for part, n in zip(parts, lengths.tolist(), strict=True)]


def _known(of_offsets: Any, what: str) -> Any:
    if of_offsets is None:
        raise OptionError(
            f"{what} of several lengths need offsets that JAX does not trace; pass an array that is no argument of "
            "what is compiled, or pad rankings with -inf, (m, n)"
        )
    return of_offsets


def uneven(x: Any) -> Uneven | None:
    """The rankings where they are in one of these forms, None where they are not."""
    if not isinstance(x, list | tuple):
        return None
    return _pair(x, "x") or _listed(x, "x")


def _pair(given: Any, name: str) -> Uneven | None:
    if not (isinstance(given, tuple) and len(given) == 2 and _are_arrays(given[:1])):
        return None
    values, offsets = given
    if isinstance(offsets, list | tuple):
        raise DataError(f"offsets beside {name} must be an array of integers, got {type(offsets).__name__}")
    if not _are_arrays([offsets]) or not jnp.issubdtype(offsets.dtype, np.integer):
        return None
    values = array_of(values, name)
    if values.ndim != 1:
        raise DataError(f"{name} beside offsets must be flat, (N,), got the shape {values.shape}")
    if isinstance(offsets, jax.core.Tracer):
        check_shape_of_offsets(offsets.shape)
    else:
        offsets = np.array(offsets, np.int64)  # a copy: whoever passed them may change them before the way back
        check_offsets(offsets, len(values))
    return Uneven(values, offsets, _pair, lambda flat: flat)


def _listed(given: Any, name: str) -> Uneven | None:
    if not (isinstance(given, list | tuple) and given and _are_arrays(given) and any(one.ndim == 1 for one in given)):
        return None
    parts = [array_of(one, name) for one in given]
    for r, one in enumerate(parts):
        if one.ndim != 1:
            raise DataError(f"ranking {r}: {name} must be flat, (n,), got the shape {one.shape}")
        if jnp.issubdtype(one.dtype, np.floating) != jnp.issubdtype(parts[0].dtype, np.floating):
            raise DataError(f"ranking {r}: {name} is {one.dtype}, and {parts[0].dtype} in ranking 0")
    lengths = np.array([len(one) for one in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Uneven(jnp.concatenate(parts), offsets, _listed, lambda flat: _parts(flat, lengths))


def _are_arrays(given: list[Any] | tuple[Any, ...]) -> bool:
    return all(isinstance(one, jax.Array | np.ndarray) for one in given)


def _parts(flat: jax.Array, lengths: np.ndarray) -> list[jax.Array]:
    """Of so many numbers each."""
    return jnp.split(flat, np.cumsum(lengths)[:-1]) if len(lengths) else []
