"""Arrays of every kind in, arrays out; what holds no rankings is refused in one line."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lapsum_cli import (
    DataError,
    OptionError,
    Rankings,
    metric,
    ndcg_loss,
    soft_permutation,
    soft_rank,
    soft_rank_vjp,
    soft_topk,
)

X = np.array([0.3, 0.1, 0.9, 0.2])
RANKS = soft_rank(X, alpha=0.1)


@pytest.mark.parametrize(
    "x",
    [
        list(X),
        tuple(X),
        X[::-1].copy()[::-1],
        X.astype(">f8"),
        pd.Series(X),
        pl.Series(X),
        pa.array(X),
        pa.chunked_array([X[:1], X[1:]]),
        pa.array([0.0, *X])[1:],
    ],
    ids=str,
)
def test_one_ranking_of_any_kind(x):
    result = soft_rank(x, alpha=0.1)
    assert isinstance(result, np.ndarray)
    assert np.array_equal(result, RANKS)


@pytest.mark.parametrize(
    "rows",
    [
        [X, X[:2], X[:0]],
        pa.array([[9.0], list(X), list(X[:2]), None])[1:],
        pl.Series([list(X), list(X[:2]), []]),
        pd.Series([X, X[:2], X[:0]]),
    ],
    ids=["list", "arrow", "polars", "pandas"],
)
def test_ragged_rankings_of_any_kind(rows):
    result = soft_topk(rows, 1, alpha=0.1)
    assert [len(row) for row in result] == [4, 2, 0]
    assert [row.sum() for row in result] == pytest.approx([1, 1, 0])
    assert np.array_equal(result[0], soft_topk(X, 1, alpha=0.1))


def test_ragged_rankings_have_a_matrix_each():
    rows = np.empty(2, object)
    rows[:] = [X, X[:2]]
    for ragged in (rows, list(rows)):
        assert [matrix.shape for matrix in soft_permutation(ragged, alpha=0.1)] == [(4, 4), (2, 2)]


def test_the_last_axis_is_a_ranking():
    x = np.random.default_rng(0).standard_normal((2, 3, 5))
    assert np.array_equal(soft_rank(x, alpha=0.3)[1, 2], soft_rank(x[1, 2], alpha=0.3))
    assert np.array_equal(soft_rank(np.asfortranarray(x), alpha=0.3), soft_rank(x, alpha=0.3))
    for shape in ((0, 5), (5, 0), (2, 0, 3)):
        assert soft_rank(np.empty(shape), alpha=1).shape == shape


def test_rankings_give_rankings():
    rankings = Rankings.of([X, X[:2]])
    result = soft_rank(rankings, alpha=0.1)
    assert isinstance(result, Rankings)
    assert np.array_equal(result[0], RANKS)


def test_options_may_be_one_for_each_ranking():
    x = np.stack([X, X])
    assert np.array_equal(soft_rank(x, alpha=[0.1, 5.0])[0], RANKS)
    assert soft_topk(x, [1, 2.5], alpha=[0.1, 5.0]).sum(axis=1) == pytest.approx([1, 2.5])
    assert soft_topk(x, "50%").sum(axis=1) == pytest.approx([2, 2])


@pytest.mark.parametrize(
    ("dtype", "ranks", "memberships"),
    [("float16", "float32", "float16"), ("float32",) * 3, ("float64",) * 3, ("int32", "float64", "float64")],
)
def test_results_have_the_dtype_of_the_scores(dtype, ranks, memberships):
    x = (10 * X).astype(dtype)
    assert soft_rank(x).dtype == ranks
    assert soft_topk(x, 2).dtype == memberships


def test_ranks_beyond_2_to_the_24_are_float64():
    n = (1 << 24) + 2
    ranks = soft_rank(np.arange(n, dtype=np.float64).astype(np.float32), alpha=1e-3)
    assert ranks.dtype == np.float64
    assert ranks.max() > 1 << 24


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ([1.0, None], "x is a list that holds no rankings"),
        ([[1.0, 2.0], 3.0], "x is a list that holds no rankings"),
        (pa.array([[5, None, -7]]), "ranking 0, score 1: the score is NaN"),
        (pa.array([1.0, None]), "ranking 0, score 1: the score is NaN"),
        (pa.array(["a"]), 'column "x" has type string; scores must be numbers'),
        (pa.table({"a": [1.0]}), "has type struct<a: double>; scores"),
        (pd.DataFrame({"a": [1.0]}), "has type struct<a: double>; scores"),
        (np.ma.masked_array([1.0, 2.0], [False, True]), "the array is masked; put -inf where its mask is"),
        (np.array([1.0, np.nan]), "score 1: the score is NaN; drop it, or mask it with -inf"),
        (np.array([True, False]), "scores must be numbers, got bool"),
        ("abc", "scores must be numbers, got <U3"),
        (3.0, "at least one dimension, got a single number"),
    ],
    ids=str,
)
def test_what_holds_no_rankings_is_refused(x, words):
    with pytest.raises(DataError, match=words) as refused:
        soft_rank(x, alpha=0.1)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (
            {"alpha": 0},
            OptionError,
            "alpha must be positive and finite, got 0; for the hard limit use one such",
        ),
        ({"alpha": None}, OptionError, "alpha must be a number such as 0.1, or 0.1std, 0.1iqr or 0.1mad, got None"),
        ({"alpha": [1.0, 2.0]}, OptionError, "alpha has 2 values for 1 rankings"),
        ({"alpha": [-1.0]}, DataError, "ranking 0: alpha must be positive and finite, got -1"),
        ({"k": -1}, OptionError, "k must be 0 or more and finite, got -1"),
        ({"k": None}, OptionError, "k must be a number such as 10, or a share such as 10%, got None"),
        ({"k": [np.nan]}, DataError, "ranking 0: k must be 0 or more, got nan"),
        ({"threads": 0}, OptionError, "threads must be 1 or more, got 0"),
        ({"largest": "no"}, OptionError, "largest= must be True or False, got 'no'"),
    ],
)
def test_a_bad_option_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        soft_topk(X, **{"k": 1, **options})


def test_what_is_missing_is_told():
    with pytest.raises(DataError, match="upstream is None; pass a number for every score"):
        soft_rank_vjp(X, None)
    with pytest.raises(DataError, match="target is None"):
        ndcg_loss(X, None)
    with pytest.raises(OptionError, match="asked for by its name, got None"):
        metric(None, X, X)
    with pytest.raises(TypeError, match=r"ndcg_loss\(\) too many positional arguments"):
        ndcg_loss(X, X, 2)


def test_threads_may_be_an_integer_of_numpy():
    assert np.array_equal(soft_rank(X, alpha=0.1, threads=np.int64(2)), RANKS)
