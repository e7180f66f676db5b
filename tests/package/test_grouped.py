"""groups=: flat scores and columns of frames, whose rankings are those of equal groups, in any order."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import lapsum_cli as lapsum

RNG = np.random.default_rng(4)
N = 300
GROUPS = RNG.integers(0, 40, N)
X, V, Y = RNG.standard_normal(N), RNG.standard_normal(N), RNG.integers(0, 4, N).astype(float)
FIRST = list(dict.fromkeys(GROUPS.tolist()))
ROWS = [np.flatnonzero(group == GROUPS) for group in FIRST]

AS = {
    "array": lambda values: np.asarray(values),
    "list": lambda values: np.asarray(values).tolist(),
    "pandas": lambda values: pd.Series(values),
    "polars": lambda values: pl.Series(values),
    "arrow": lambda values: pa.array(values),
    "chunks": lambda values: pa.chunked_array([pa.array(values[:100]), pa.array(values[100:])]),
}


def back(parts):
    flat = np.empty(N)
    for rows, part in zip(ROWS, parts, strict=True):
        flat[rows] = part
    return flat


def parts(values):
    return [values[rows] for rows in ROWS]


@pytest.mark.parametrize("kind", AS)
def test_results_are_those_of_each_group_by_itself_in_the_order_of_the_scores(kind):
    x, v, groups = (AS[kind](values) for values in (X, V, GROUPS))
    alphas, ks = np.linspace(0.1, 1, len(FIRST)), np.linspace(0, 3, len(FIRST))
    options = {"alpha": alphas, "groups": groups}
    np.testing.assert_array_equal(lapsum.soft_rank(x, **options), back(lapsum.soft_rank(parts(X), alpha=alphas)))
    got, want = lapsum.soft_topk(x, ks, **options), lapsum.soft_topk(parts(X), ks, alpha=alphas)
    np.testing.assert_array_equal(got, back(want))
    np.testing.assert_array_equal(lapsum.soft_sort(x, **options), back(lapsum.soft_sort(parts(X), alpha=alphas)))
    for function, arguments in ((lapsum.soft_rank_vjp, ()), (lapsum.log_soft_topk_vjp, (ks,))):
        got = function(x, *arguments, v, **options)
        want = function(parts(X), *arguments, parts(V), alpha=alphas)
        np.testing.assert_array_equal(got.scores, back(want.scores))
        np.testing.assert_array_equal(got.alpha, want.alpha)


@pytest.mark.parametrize("loss", ["spearman", "ndcg", "permutation"])
def test_losses_come_in_the_order_in_which_groups_come_first(loss):
    function, gradients = getattr(lapsum, f"{loss}_loss"), getattr(lapsum, f"{loss}_loss_vjp")
    got = function(X, Y, groups=GROUPS, reduction="none")
    np.testing.assert_array_equal(got, function(parts(X), parts(Y), reduction="none"))
    got, want = gradients(X, Y, groups=GROUPS), gradients(parts(X), parts(Y))
    np.testing.assert_array_equal(got.scores, back(want.scores))


def test_several_columns_and_what_is_one_group():
    days = np.arange(N) % 3
    both = [f"{group}-{day}" for group, day in zip(GROUPS, days, strict=True)]
    got = lapsum.soft_rank(X, groups=(GROUPS, days), alpha=0.1)
    np.testing.assert_array_equal(got, lapsum.soft_rank(X, groups=both, alpha=0.1))
    missing = [None, "a", None, "a", None]
    np.testing.assert_allclose(lapsum.soft_rank(X[:5], groups=missing, alpha=1e-9).sum(), 6 + 3)
    np.testing.assert_allclose(lapsum.soft_rank(X[:3], groups=[0.0, -0.0, np.nan], alpha=1e-9).sum(), 3 + 1)
    assert lapsum.soft_rank(np.empty(0), groups=[]).shape == (0,)


@pytest.mark.parametrize(
    ("x", "groups", "problem"),
    [
        (X[:3], [1, 2], "there are 2 groups for 3 scores"),
        (X[:4].reshape(2, 2), [1, 2, 1, 2], "x must have one axis"),
        (X[:2], [object(), object()], "groups cannot be told apart"),
    ],
)
def test_what_groups_cannot_be(x, groups, problem):
    with pytest.raises(lapsum.LapsumError, match=problem):
        lapsum.soft_rank(x, groups=groups)
