"""Arrays in, arrays out: the operations on NumPy, Arrow, pandas and Polars data, and `run_file`, the command as a
function.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from . import operators
from .errors import DataError, OptionError
from .operators import K, Rank, TopK
from .rankings import Rankings


def soft_rank(x, *, alpha="0.1std", descending=True, base=1, threads=1):
    """Soft rank of every score in its ranking: near `base` for the largest; n of them sum to n (n - 1) / 2 + n base.

    Approximates  np.argsort(np.argsort(-x)) + 1  and tends to it as alpha tends to 0; ties take their mean place.

    x      one ranking (n,); rankings on the last axis (..., n); a list of rankings, a column of lists, or Rankings
    alpha  softness in the unit of the scores: a number, one for each ranking, or "0.1std", in standard deviations of
           each ranking; larger is softer

    Returns float arrays of the same shape and dtype (float16: float32; longer than 2^24: float64), a list for a list.
    Raises OptionError or DataError, both a ValueError, for alpha <= 0 or NaN and for NaN scores.
    Source: LapSum, ICML 2025, section 3, in O(n log n).
    """
    option, given = _alpha(alpha)
    return _apply(Rank(option, descending, base), x, threads, alphas=given)


def soft_topk(x, k, *, alpha="0.1std", largest=True, threads=1):
    """Soft membership in the top k: values in [0, 1] that sum to k in every ranking.

    Approximates  x >= np.sort(x)[-k]  and tends to it as alpha tends to 0; a tie across the boundary shares its places.

    x      as for soft_rank
    k      how many are at the top, possibly fractional: a number, one for each ranking, or "10%" of its length;
           k above a ranking's length counts as that length
    alpha  as for soft_rank

    Returns float arrays of the same shape and dtype, a list for a list.
    Raises OptionError or DataError, both a ValueError, for k < 0, alpha <= 0 or either NaN, and for NaN scores.
    Source: LapSum, ICML 2025, section 4, in O(n).
    """
    option, given = _alpha(alpha)
    if np.ndim(k) == 0:
        return _apply(TopK((K.parse(k),), option, descending=largest), x, threads, alphas=given)
    return _apply(TopK((), option, descending=largest), x, threads, alphas=given, ks=np.asarray(k, np.float64))


def run_file(
    operation,
    source,
    sink=None,
    *,
    alpha=None,
    alpha_column=None,
    k=None,
    k_column=None,
    group=None,
    score=None,
    columns=None,
    nan="error",
    from_format=None,
    to_format=None,
    force=False,
    memory=None,
    threads=None,
    words=None,
    **options,
):
    """Apply an operation to a file of any size, as the command does; returns what was done (rows, rankings, scores).

    operation  "rank" or "topk"
    source     a path, a glob, a directory of Parquet, "-" for standard input, or a list of these
    sink       a path; None writes to standard output
    alpha, k   as the command takes them, such as 0.1, "0.1std", 10, "10%", "10,100"; or the columns that hold them
    group      a column name or several; score a column name; columns a pattern of score columns (wide tables)
    memory     a size such as "256MiB"; by default a quarter of the limit in force, at most 4 GiB
    words      who is told what was detected and how far it is: an object such as stream.Silent
    options    those of the operation: column, descending; base; strict, minimum, threshold
    Raises a LapsumError for whatever the user can fix.
    """
    from .columns import Names
    from .stream import Silent, run

    group = (group,) if isinstance(group, str) else group and tuple(group)
    names = Names(group, score, columns, alpha_column, k_column)
    sources = [str(path) for path in source] if isinstance(source, list | tuple) else [str(source)]
    return run(
        make_operation(operation, alpha, k, names, **options),
        sources,
        None if sink is None else str(sink),
        names=names,
        nan=nan,
        from_format=from_format,
        to_format=to_format,
        force=force,
        memory=memory,
        threads=threads,
        words=words or Silent(),
    )


def make_operation(name: str, alpha, k, names, **options):
    """The operation of a command, from its options; those that exclude each other are refused."""
    if name not in operators.OPERATIONS:
        raise OptionError(f"no operation {name!r}; known are {', '.join(operators.OPERATIONS)}")
    if alpha is not None and names.alpha is not None:
        raise OptionError("--alpha and --alpha-column exclude each other")
    if alpha is not None:
        options["alpha"] = operators.Alpha.parse(alpha)
    if name == "topk":
        if (k is None) == (names.k is None):
            raise OptionError("topk needs one of --k, such as --k 10 or --k 10%, and --k-column")
        options["ks"] = tuple(K.parse(part) for part in _parts(k)) if k is not None else ()
    elif k is not None or names.k is not None:
        raise OptionError(f"{name} takes no k")
    known = {field.name for field in fields(operators.OPERATIONS[name])}
    if unknown := sorted(set(options) - known):
        raise OptionError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return operators.OPERATIONS[name](**{key: value for key, value in options.items() if value is not None})


def _parts(k):
    """Several k: "10,100", or a list of them."""
    return [str(part) for part in k] if isinstance(k, list | tuple) else str(k).split(",")


def _alpha(alpha):
    """The option, and the values per ranking where an array gave them."""
    if np.ndim(alpha) == 0:
        return operators.Alpha.parse(alpha), None
    return operators.Alpha(1.0), np.asarray(alpha, np.float64)


def _apply(operation, x, threads, alphas=None, ks=None):
    if not isinstance(threads, int) or threads < 1:
        raise OptionError(f"threads must be 1 or more, got {threads!r}")
    try:
        rankings, scores_dtype, like = _rankings(x)
    except (TypeError, ValueError, NotImplementedError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{type(x).__name__} holds no rankings: {error}; pass an array, a column or a list") from None
    wrong = np.isnan(rankings.values)
    if wrong.any():
        at = int(np.argmax(wrong))
        r = int(np.searchsorted(rankings.offsets, at, side="right")) - 1
        raise DataError(
            f"ranking {r}, score {at - rankings.offsets[r]}: the score is NaN; drop it, or mask it with -inf"
        )
    alphas, ks = _per_ranking("alpha", alphas, rankings), _per_ranking("k", ks, rankings)
    operators.prepare(operation.name, rankings.values.dtype)
    dtype = operation.dtype(scores_dtype, int(rankings.lengths.max(initial=0)))
    result = operation.apply(rankings, alphas, ks, dtype=dtype, threads=threads)
    return like(next(iter(result.scores.values())).astype(dtype, copy=False))


def _per_ranking(name, values, rankings):
    if values is None:
        return None
    values = values.reshape(-1)
    if len(values) != len(rankings):
        raise OptionError(f"{name} has {len(values)} values for {len(rankings)} rankings")
    return values


def _rankings(x):
    """Any accepted input as Rankings, the dtype its scores had, and a function that gives a flat result the form of
    the input.
    """
    if isinstance(x, Rankings):
        return x, str(x.values.dtype), x.with_values
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
    half = array.dtype == np.float16
    values = np.ascontiguousarray(array, np.float32 if half or array.dtype == np.float32 else np.float64)
    rankings = Rankings.equal_length(values, int(np.prod(array.shape[:-1])), array.shape[-1])
    return rankings, "float16" if half else str(values.dtype), lambda flat: flat.reshape(array.shape)


def _rows(rows):
    rankings = Rankings.of(rows)
    return rankings, str(rankings.values.dtype), lambda flat: _split(flat, rankings)


def _arrow(x):
    """A column of another library through Arrow's C protocols: numbers are one ranking, lists a ranking each."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from .columns import floats, is_list, score_type

    column = pa.chunked_array(x) if hasattr(x, "__arrow_c_stream__") else pa.chunked_array([pa.array(x)])
    chunks = column.combine_chunks()
    lists = is_list(column.type)
    numbers = chunks.flatten() if lists else chunks
    kind = score_type(numbers.type, "x", "the column")
    values = floats(numbers, np.float64 if kind == pa.float64() else np.float32, "the column")
    if not lists:
        rankings = Rankings(values, np.array([0, len(values)]))
        return rankings, kind.to_pandas_dtype().__name__, lambda flat: flat
    lengths = np.asarray(pc.fill_null(pc.list_value_length(chunks), 0))
    rankings = Rankings(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return rankings, kind.to_pandas_dtype().__name__, lambda flat: _split(flat, rankings)


def _split(flat, rankings):
    return np.split(flat, rankings.offsets[1:-1]) if len(rankings) else []
