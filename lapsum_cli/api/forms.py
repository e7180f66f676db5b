"""Any accepted array, column or list as Rankings, and results in the form that the input had."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import DataError, OptionError
from ..core.rankings import Rankings, has_nan


@dataclass(frozen=True)
class Form:
    """Rankings, and how to give back what was computed from them.

    dtype   that the scores had
    scores  a flat array with a value for each score -> the form of the input
    shape   of an array with a value for each ranking: () for one ranking by itself
    """

    rankings: Rankings
    dtype: str
    scores: Callable[[Any], Any]
    shape: tuple[int, ...]

    def each(self, values: np.ndarray) -> Any:
        """A value for each ranking; a single number for one ranking by itself."""
        return values.reshape(self.shape)[()]

    def per_ranking(self, name: str, values: Any) -> np.ndarray:
        """An option that was given for each ranking, flat."""
        values = np.array(_in_memory(values), np.float64).reshape(-1)
        if len(values) != len(self.rankings):
            raise OptionError(f"{name} has {len(values)} values for {len(self.rankings)} rankings")
        return values

    def per_score(self, name: str, values: Any, dtype: Any, on: Any = None) -> Any:
        """What was given for each score, flat, where the scores are: it must have the form of the scores."""
        is_on_card_too = is_on_card(values)
        if is_on_card_too != self.rankings.is_on_card:
            raise DataError(f"{name} and the scores must both be on the GPU, or both not")
        beside = rankings_of(values, name).rankings
        if not np.array_equal(beside.offsets, self.rankings.offsets):
            raise DataError(f"{name} has {_sizes(beside)}, the scores have {_sizes(self.rankings)}")
        refuse_nan(beside, name, on)
        return on.cast(beside.values, dtype) if is_on_card_too else beside.values.astype(dtype, copy=False)


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


def is_on_card(x: Any) -> bool:
    """Whether an array is on a GPU, by the CUDA Array Interface."""
    if type(x).__module__.startswith("torch"):
        return x.is_cuda  # PyTorch raises for a tensor that is not, instead of having no such attribute
    return hasattr(x, "__cuda_array_interface__")


def _in_memory(values: Any) -> Any:
    """Values that may be on a card, as something NumPy reads."""
    if not is_on_card(values):
        return values
    from ..kernels.cuda import adapter

    return adapter.as_array(values).copy_to_host()


def rankings_of(x: Any, name: str = "x") -> Form:
    """The rankings in an array, a column of another library, a list of either, or Rankings."""
    try:
        return _form(x)
    except (TypeError, ValueError, NotImplementedError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{name} is a {type(x).__name__} that holds no rankings: {error}; pass an array, a column or a list"
        ) from None


def _form(x: Any) -> Form:
    """The rankings in x by what it is; whatever NumPy and Arrow raise for what holds none comes out."""
    if type(x) is np.ndarray and x.ndim and x.dtype.char in "fd":  # what most calls bring
        return _array(x)
    if isinstance(x, Rankings):
        return Form(x, str(x.values.dtype), x.with_values, (len(x),))
    if is_on_card(x):
        return _on_card(x)
    if isinstance(x, list | tuple) and any(np.ndim(row) for row in x):
        return _rows(x)
    if not isinstance(x, np.ndarray) and (hasattr(x, "__arrow_c_stream__") or hasattr(x, "__arrow_c_array__")):
        return _arrow(x)
    if np.ma.is_masked(x):
        raise DataError("the array is masked; put -inf where its mask is, or take those scores out")
    array = np.asarray(x)
    if array.dtype == object and array.ndim == 1:
        return _rows(list(array))
    if array.dtype.kind not in "fiu":
        raise DataError(f"scores must be numbers, got {array.dtype}")
    if array.ndim == 0:
        raise DataError("scores must have at least one dimension, got a single number")
    return _array(array)


def _array(array: np.ndarray) -> Form:
    """An array of numbers, its last axis a ranking."""
    half, shape = array.dtype == np.float16, array.shape
    values = np.ascontiguousarray(array, np.float32 if half or array.dtype == np.float32 else np.float64)
    rankings = Rankings.equal_length(values, math.prod(shape[:-1]), shape[-1])
    return Form(rankings, "float16" if half else rankings.dtype, lambda flat: flat.reshape(shape), shape[:-1])


def _rows(rows: Any) -> Form:
    rankings = Rankings.of(rows)
    return Form(rankings, str(rankings.values.dtype), lambda flat: _split(flat, rankings), (len(rankings),))


def _on_card(x: Any) -> Form:
    from ..kernels.cuda import adapter

    array = adapter.as_array(x)
    if array.dtype not in (np.float32, np.float64):
        raise DataError(f"scores on a GPU must be float32 or float64, got {array.dtype}")
    if not array.ndim or not array.is_c_contiguous():
        raise DataError("scores on a GPU must be contiguous, with rankings on the last axis; pass a copy")
    shape = tuple(array.shape)
    count, length = int(np.prod(shape[:-1])), shape[-1]
    rankings = Rankings.equal_length(array, count, length)

    def scores(flat: Any) -> Any:
        return (adapter.to_card(flat) if isinstance(flat, np.ndarray) else flat).reshape(shape)

    return Form(rankings, str(array.dtype), scores, shape[:-1])


def _arrow(x: Any) -> Form:
    """A column of another library through Arrow's C protocols: numbers are one ranking, lists a ranking each."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from ..formats.types import floats, is_list, score_type

    column = pa.chunked_array(x) if hasattr(x, "__arrow_c_stream__") else pa.chunked_array([pa.array(x)])
    chunks = column.combine_chunks()
    lists = is_list(column.type)
    numbers = chunks.flatten() if lists else chunks
    kind = score_type(numbers.type, "x", "the column")
    values = floats(numbers, np.float64 if kind == pa.float64() else np.float32, "the column")
    dtype = kind.to_pandas_dtype().__name__
    if not lists:
        return Form(Rankings(values, np.array([0, len(values)])), dtype, lambda flat: flat, ())
    lengths = np.asarray(pc.fill_null(pc.list_value_length(chunks), 0))
    rankings = Rankings(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return Form(rankings, dtype, lambda flat: _split(flat, rankings), (len(rankings),))


def _split(flat: np.ndarray, rankings: Rankings) -> list[np.ndarray]:
    return np.split(flat, rankings.offsets[1:-1]) if len(rankings) else []
