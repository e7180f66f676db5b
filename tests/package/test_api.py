"""Arrays of every kind in, arrays out; what holds no rankings is refused in one line."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lapsum_cli import DataError, OptionError, Rankings, soft_permutation, soft_rank, soft_topk

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
    "x",
    [
        [1.0, None],
        [[1.0, 2.0], 3.0],
        pa.array([[5, None, -7]]),
        pa.array([1.0, None]),
        pa.array(["a"]),
        pa.table({"a": [1.0]}),
        pd.DataFrame({"a": [1.0]}),
        np.ma.masked_array([1.0, 2.0], [False, True]),
        np.array([1.0, np.nan]),
        np.array([True, False]),
        "abc",
        3.0,
    ],
    ids=str,
)
def test_what_holds_no_rankings_is_refused(x):
    with pytest.raises(DataError) as refused:
        soft_rank(x, alpha=0.1)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"alpha": 0}, OptionError),
        ({"alpha": None}, OptionError),
        ({"alpha": [1.0, 2.0]}, OptionError),
        ({"alpha": [-1.0]}, DataError),
        ({"k": -1}, OptionError),
        ({"k": None}, OptionError),
        ({"k": [np.nan]}, DataError),
        ({"threads": 0}, OptionError),
    ],
)
def test_a_bad_option_is_refused(options, error):
    with pytest.raises(error):
        soft_topk(X, **{"k": 1, **options})
