"""Any accepted array, column or list as Rankings, and results in the form that the input had."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..core import numbers
from ..core.errors import DataError, OptionError
from ..core.rankings import Rankings, has_nan, is_on_card
from ..core.targets import Prepared
from ..core.tensors import is_tensor


@dataclass
class Form:
    """Rankings, and how to give back what was computed from them.

    dtype   that the scores had
    scores  a flat array with a value for each score -> the form of the input
    shape   of an array with a value for each ranking: () for one ranking by itself
    array   the shape of the scores where they are an array; None for a list of rankings, and for Rankings
    takes_flat  whether what goes with every score may be flat, as the values of Rankings are
    """

    rankings: Rankings
    dtype: str
    scores: Callable[[Any], Any]
    shape: tuple[int, ...]
    array: tuple[int, ...] | None = None
    takes_flat: bool = False

    def each(self, values: np.ndarray) -> Any:
        """A value for each ranking; a single number for one ranking by itself."""
        return values.reshape(self.shape)[()]

    def per_ranking(self, name: str, values: Any) -> np.ndarray:
        """(m,) float64, an option that was given for each ranking: its shape broadcasts to theirs, or has a last axis
        of one number besides, beside that of the scores.
        """
        found = option(name, in_memory(values))
        if found.shape == (*self.shape, 1):
            found = found.reshape(self.shape)
        if not _broadcasts(found.shape, self.shape):
            if max(found.ndim, len(self.shape)) == 1:
                raise OptionError(f"{name} has {found.size} values for {len(self.rankings)} rankings")
            raise OptionError(
                f"{name} has the shape {found.shape}, which does not broadcast to that of the rankings, {self.shape}"
            )
        return np.array(np.broadcast_to(found, self.shape), np.float64).reshape(-1)

    def per_score(self, name: str, values: Any, dtype: Any, on: Any = None) -> Any:
        """What was given for each score, flat, where the scores are.

        It has the form of the scores, or is an array that broadcasts to theirs along the axes before the last; beside
        Rankings it may be flat.
        """
        kept = getattr(values, "values", None)  # of a Target
        is_prepared = isinstance(kept, Prepared)
        values = values.form if is_prepared else values
        is_on_card_too = not is_prepared and is_on_card(values)
        if is_on_card_too != self.rankings.is_on_card:
            raise DataError(f"{name} and the scores must both be on the GPU, or both not")
        form = rankings_of(values, name)
        beside = form.rankings
        if not is_prepared:
            refuse_nan(beside, name, on)
        given = beside.values
        if self._is_alike(form):
            given = kept if is_prepared else given
        elif not is_on_card_too and self._is_repeated(form):
            given = np.broadcast_to(given.reshape(form.array), self.array or ()).reshape(-1)
        elif np.array_equal(beside.offsets, self.rankings.offsets) and self.array and form.array:
            raise DataError(f"{name} has the shape {form.array}, the scores have {self.array}")
        else:
            raise DataError(f"{name} has {_sizes(beside)}, the scores have {_sizes(self.rankings)}")
        return on.cast(given, dtype) if is_on_card_too else given.astype(dtype, copy=False)

    def squares(self, name: str, values: Any) -> np.ndarray:
        """What was given for each item and position, flat, a matrix for each ranking; float64."""
        found = self.shaped(name, values, lambda n: (n, n), "of the permutation, (n, n) for n scores")
        return np.concatenate([np.empty(0), *(given.reshape(-1) for given in found)])

    def shaped(self, name: str, values: Any, of: Callable[[int], tuple[int, ...]], form: str) -> list[np.ndarray]:
        """What was given in the shape `of` the length of each ranking, called `form`: an array for each; float64."""
        lengths = self.rankings.lengths.tolist()
        wanted, of_each = [of(n) for n in lengths], values
        if self.array is not None:
            own = of(self.array[-1])
            wanted, of_each = [(*self.shape, *own)], [values]
        found = [option(name, in_memory(given)).astype(np.float64) for given in of_each]
        if [given.shape for given in found] != wanted:
            shapes = ", ".join(str(given.shape) for given in found[:3])
            raise DataError(f"{name} must have the form {form}; got the shape {shapes}")
        if any(has_nan(given.reshape(-1)) for given in found):
            raise DataError(f"{name} has NaN")
        return found if self.array is None else list(found[0].reshape(len(lengths), *own))

    def _is_alike(self, form: Form) -> bool:
        """Whether another has the form of the scores: the same shape, or the same rankings in a list, or flat."""
        if self.takes_flat and form.shape == ():
            return len(form.rankings.values) == len(self.rankings.values)
        is_same = self.array is None or form.array is None or self.array == form.array
        return is_same and self.shape == form.shape and np.array_equal(form.rankings.offsets, self.rankings.offsets)

    def _is_repeated(self, form: Form) -> bool:
        """Whether another is an array of whole rankings, each of them for several of these."""
        if not self.array or not form.array or self.array[-1] != form.array[-1]:
            return False
        return _broadcasts(form.array, self.array)


def option(name: str, given: Any) -> np.ndarray:
    """An option's number, or those that it has for each ranking, as an array; OptionError where they are none."""
    found: np.ndarray = numbers.taken(numbers.floats, given, name, OptionError)
    return found


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether an array of one shape broadcasts to another."""
    behind = to[len(to) - len(shape) :]
    return len(shape) <= len(to) and all(own in (1, other) for own, other in zip(shape, behind, strict=True))


def _sizes(rankings: Rankings) -> str:
    return f"{len(rankings)} rankings of {len(rankings.values)} values in all"


def refuse_nan(rankings: Rankings, what: str, on: Any = None) -> None:
    """DataError names the first number that is NaN; on: the device of rankings on a card."""
    if on.has_nan(rankings.values) if rankings.is_on_card else has_nan(rankings.values):
        values = on.here(rankings).values if rankings.is_on_card else rankings.values
        at = int(np.argmax(np.isnan(values)))
        r = int(np.searchsorted(rankings.offsets, at, side="right")) - 1
        hint = "; drop it, or mask it with -inf" if what == "the score" else ""
        raise DataError(f"ranking {r}, score {at - rankings.offsets[r]}: {what} is NaN{hint}")


def in_memory(values: Any) -> Any:
    """Values that may be on a card, as something NumPy reads."""
    if type(values) is np.ndarray or not is_on_card(values):
        return values
    from ..kernels.cuda import adapter

    return adapter.as_array(values).copy_to_host()


def rankings_of(x: Any, name: str = "x") -> Form:
    """The rankings in an array, a column of another library, a list of either, or Rankings; name: of the argument."""
    try:
        return _form(x, name)
    except (TypeError, ValueError, NotImplementedError) as error:
        if isinstance(error, DataError):
            raise
        line = " ".join(str(error).split())
        raise DataError(
            f"{name} is a {type(x).__name__} that holds no rankings: {line}; pass an array, a column or a list"
        ) from None


def _form(x: Any, name: str) -> Form:
    """The rankings in x by what it is; whatever NumPy and Arrow raise for what holds none comes out."""
    if isinstance(x, Form):
        return x
    if type(x) is np.ndarray and x.ndim and x.dtype.char in "fd":  # what most calls bring
        return _array(x, x.dtype)
    if isinstance(x, Rankings):
        return Form(x, str(x.values.dtype), x.with_values, (len(x),), takes_flat=True)
    if is_tensor(x) and not x.is_cuda:
        return _numbers(x, name)
    if is_on_card(x):
        return _on_card(x, name)
    if isinstance(x, list | tuple) and any(np.ndim(given) for given in x):
        return _rows(x, name)
    if _is_column(x):
        return _arrow(x, name)
    if isinstance(x, np.ndarray) and x.dtype == object and x.ndim == 1 and any(np.ndim(given) for given in x):
        return _rows(list(x), name)
    return _numbers(x, name)


def _numbers(x: Any, name: str) -> Form:
    """What NumPy reads as an array of numbers."""
    array = numbers.read(x, name)
    if array.dtype.kind not in "fiu":  # what is no number at all is told before what has no axis
        array, dtype = numbers.widened(array, name), array.dtype
    else:
        dtype = array.dtype
    if array.ndim == 0:
        raise DataError(f"{_called(name)} must have at least one dimension, got a single number")
    return _array(numbers.widened(array, name), dtype)


def _called(name: str) -> str:
    return "scores" if name == "x" else name


def _array(array: np.ndarray, dtype: np.dtype) -> Form:
    """An array of floats, its last axis a ranking; dtype: that it had before they were widened."""
    shape = array.shape
    values = np.ascontiguousarray(array, np.float32 if array.dtype == np.float32 else np.float64)
    rankings = Rankings.equal_length(values, math.prod(shape[:-1]), shape[-1])
    name = dtype.name if dtype.char == "e" or dtype.kind == "V" else rankings.dtype
    return Form(rankings, name, partial(_shaped, shape=shape), shape[:-1], shape)


def _rows(rows: Any, name: str) -> Form:
    """A list of rankings, each of which may be anything that is one."""
    held = [
        given if type(given) is np.ndarray or not _is_column(given) else _arrow(given, name).rankings.values
        for given in rows
    ]
    rankings = Rankings.joined([numbers.row(given, r, name) for r, given in enumerate(held)])
    return Form(rankings, str(rankings.values.dtype), partial(_split, rankings=rankings), (len(rankings),))


def _on_card(x: Any, name: str) -> Form:
    from ..kernels.cuda import adapter

    if is_tensor(x) and x.requires_grad:
        numbers.read(x, name)  # which refuses it
    array, called = adapter.as_array(x), _called(name)
    if array.dtype not in (np.float32, np.float64):
        raise DataError(f"{called} on a GPU must be float32 or float64, got {array.dtype}")
    if not array.ndim or not array.is_c_contiguous():
        raise DataError(f"{called} on a GPU must be contiguous, with rankings on the last axis; pass a copy")
    shape = tuple(array.shape)
    count, length = int(np.prod(shape[:-1])), shape[-1]
    rankings = Rankings.equal_length(array, count, length)

    def scores(flat: Any) -> Any:
        return (adapter.to_card(flat) if isinstance(flat, np.ndarray) else flat).reshape(shape)

    return Form(rankings, str(array.dtype), scores, shape[:-1], shape)


def _is_column(x: Any) -> bool:
    """Whether it comes through Arrow's C protocols: a column of Arrow, pandas or Polars."""
    if isinstance(x, np.ndarray | list | tuple):
        return False
    return hasattr(x, "__arrow_c_stream__") or hasattr(x, "__arrow_c_array__")


def _arrow(x: Any, name: str) -> Form:
    """A column of another library: numbers are one ranking, lists a ranking each."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from ..formats.types import floats, is_list, numpy_dtype, score_type

    column = pa.chunked_array(x) if hasattr(x, "__arrow_c_stream__") else pa.chunked_array([pa.array(x)])
    chunks = column.combine_chunks()
    lists, called = is_list(column.type), _called(name)
    held = chunks.flatten() if lists else chunks
    kind = score_type(held.type, name, "the column", called)
    values = floats(held, np.float64 if kind == pa.float64() else np.float32, "the column", called)
    dtype = numpy_dtype(kind).name
    if not lists:
        one = Rankings(values, np.array([0, len(values)]))
        return Form(one, dtype, partial(_shaped, shape=values.shape), (), values.shape)
    lengths = np.asarray(pc.fill_null(pc.list_value_length(chunks), 0))
    rankings = Rankings(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return Form(rankings, dtype, partial(_split, rankings=rankings), (len(rankings),))


def _shaped(flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return flat.reshape(shape)


def _split(flat: np.ndarray, rankings: Rankings) -> list[np.ndarray]:
    return np.split(flat, rankings.offsets[1:-1]) if len(rankings) else []
