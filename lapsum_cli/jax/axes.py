"""Where rankings lie in what was given: along which axis or in which form, and which of their scores take part."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..core.errors import OptionError
from .arrays import is_each, mask_of, option_of, scores_of
from .uneven import Cut, Uneven, uneven


class Lying(NamedTuple):
    """How the rankings of a call lie.

    leading  the shape of what there is for each ranking
    axis     the one along which a ranking goes; the only one of flat scores
    mask     bool, of the shape of the scores: False for what takes no part; None where all do
    form     of rankings of several lengths; None for those of an array
    """

    leading: tuple[int, ...]
    axis: int
    mask: jax.Array | None
    form: Uneven | None

    @property
    def cut(self) -> Cut | None:
        """Of flat scores; None where rankings are on an axis."""
        return None if self.form is None else self.form.cut

    def beside(self, given: Any, name: str) -> Any:
        """What goes with every score, as the scores lie."""
        return given if self.form is None else self.form.beside(given, name)

    def rows(self, array: jax.Array, value: float) -> jax.Array:
        """What goes with every score, with rankings on the last axis, or flat; of those that take no part a value."""
        array = array if self.mask is None else jnp.where(self.mask, array, value)
        return jnp.moveaxis(array, self.axis, -1)

    def option(self, name: str, given: Any) -> Any:
        """(...) an alpha or k that each ranking has one of; as it was given, if it is no array."""
        return option_of(name, given, self.leading, self.axis) if is_each(given) else given

    def like(self, made: jax.Array) -> Any:
        """What there is for every score, as the scores were given."""
        return jnp.moveaxis(made, -1, self.axis) if self.form is None else self.form.like(made)

    def squares(self, made: jax.Array) -> Any:
        """What there is for every item and position, (..., n, n), or a list of such."""
        return made if self.form is None else self.form.squares(made)


def lying(x: Any, axis: Any = -1, mask: Any = None) -> tuple[jax.Array, Lying]:
    """The scores, an array or flat, and how their rankings lie."""
    form = uneven(x)
    if form is not None and axis != -1:
        raise OptionError(f"axis must be -1 for rankings of several lengths, which have one axis, got {axis!r}")
    scores = scores_of(x if form is None else form.values)
    at = axis_of(scores, axis)
    leading = scores.shape[:at] + scores.shape[at + 1 :] if form is None else (form.offsets.shape[0] - 1,)
    if mask is not None:
        mask = mask_of(mask if form is None else form.beside(mask, "mask"), scores)
    return scores, Lying(leading, at if form is None else -1, mask, form)


def axis_of(x: jax.Array, axis: Any) -> int:
    """The axis, from 0; OptionError where there is none."""
    if not isinstance(axis, int) or isinstance(axis, bool) or not -x.ndim <= axis < x.ndim:
        raise OptionError(f"axis must be from {-x.ndim} to {x.ndim - 1} for x of {x.ndim} axes, got {axis!r}")
    return axis % x.ndim
