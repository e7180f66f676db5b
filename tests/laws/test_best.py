"""The soft-sorted scores of the first places are those of all places, who has them too, and so are gradients."""

import numpy as np
import pytest
from drawn import alphas, dtypes, wild
from hypothesis import given
from hypothesis import strategies as st

from lapsum_cli import (
    DataError,
    OptionError,
    Rankings,
    soft_permutation,
    soft_permutation_vjp,
    soft_sort,
    soft_sort_vjp,
    soft_topk_indices,
    soft_topk_indices_vjp,
    soft_topk_values,
    soft_topk_values_vjp,
)


@given(wild, dtypes, alphas, st.integers(0, 70), st.booleans())
def test_they_are_the_first_of_the_soft_sorted_scores(ranking, dtype, alpha, k, largest):
    x, n = ranking[0].astype(dtype), len(ranking[0])
    got = soft_topk_values(x, k, alpha=alpha, largest=largest)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, soft_sort(x, alpha=alpha, descending=largest)[:k])
    v = np.cos(np.arange(min(k, n))).astype(dtype)
    found = soft_topk_values_vjp(x, k, v, alpha=alpha, largest=largest)
    wide = np.concatenate([v, np.zeros(n - len(v), dtype)])
    for a, b in zip(found, soft_sort_vjp(x, wide, alpha=alpha, descending=largest), strict=True):
        np.testing.assert_array_equal(a, b)


def test_they_have_the_form_of_the_rankings():
    rows = [np.array([3.0, 1.0, 2.0]), np.array([5.0]), np.empty(0)]
    for got in (soft_topk_values(rows, 2, alpha=1e-6), list(soft_topk_values(Rankings.joined(rows), 2, alpha=1e-6))):
        assert [np.round(row, 3).tolist() for row in got] == [[3, 2], [5], []]
    assert soft_topk_values(np.zeros((2, 3, 5)), 2).shape == (2, 3, 2)
    assert soft_topk_values(np.zeros((2, 3)), 7).shape == (2, 3)
    assert soft_topk_values(np.zeros(4), 0).shape == (0,)
    pulls = [np.ones(2), np.ones(1), np.empty(0)]
    found = soft_topk_values_vjp(rows, 2, pulls, alpha=0.5)
    assert [len(row) for row in found.scores] == [3, 1, 0]
    assert [row.sum() for row in found.scores] == pytest.approx([2, 1, 0])
    assert soft_topk_values_vjp(np.zeros((2, 3, 5)), 2, np.ones((2, 3, 2))).scores.shape == (2, 3, 5)


def test_by_other_methods():
    x = np.array([3.0, 1.0, 2.0, 5.0])
    assert soft_topk_values(x, 2, method="hard").tolist() == [5, 3]
    assert soft_topk_values(x, 2, method="softsort", alpha=0.1) == pytest.approx([5, 3], abs=1e-3)


@pytest.mark.parametrize("k", [-1, 1.5, "10%", True, None])
def test_what_is_no_k_is_refused(k):
    with pytest.raises(OptionError, match="must be a whole number of 0 or more"):
        soft_topk_values([1.0, 2.0], k)


def test_upstream_has_the_form_of_the_result():
    for x, upstream in ((np.zeros((2, 3)), np.ones((2, 3))), ([np.zeros(3), np.zeros(2)], [np.ones(2), np.ones(3)])):
        with pytest.raises(DataError, match="upstream must have the form of the result"):
            soft_topk_values_vjp(x, 2, upstream)


# Who has the first places.

EXACT = ("lapsum", "softsort", "neuralsort", "sinkhorn")


@given(wild, dtypes, alphas, st.integers(0, 70), st.booleans())
def test_who_has_them_are_the_first_columns_of_the_permutation(ranking, dtype, alpha, k, largest):
    x, n = ranking[0].astype(dtype), len(ranking[0])
    got = soft_topk_indices(x, k, alpha=alpha, largest=largest)
    assert (got.dtype, got.shape) == (dtype, (min(k, n), n))
    whole = soft_permutation(x, alpha=alpha, descending=largest)
    np.testing.assert_array_equal(got, whole[:, :k].T)
    v = np.cos(np.arange(got.size)).reshape(got.shape)
    upstream = np.zeros((n, n))
    upstream[:, :k] = v.T
    found = soft_topk_indices_vjp(x, k, v, alpha=alpha, largest=largest)
    for a, b in zip(found, soft_permutation_vjp(x, upstream, alpha=alpha, descending=largest), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("largest", [True, False])
def test_who_has_them_by_every_method_with_infinite_scores(method, largest):
    x = np.array([[3, 1, -np.inf, 2, 5], [np.inf, np.inf, 1, 0, 2], [0, -np.inf, -np.inf, -np.inf, 1]])
    how = {"alpha": 0.4, "method": method}
    whole = soft_permutation(x, descending=largest, **how)
    for k in range(7):
        got = soft_topk_indices(x, k, largest=largest, **how)
        np.testing.assert_array_equal(got, whole.swapaxes(1, 2)[:, :k])
        assert got.sum(-1) == pytest.approx(np.ones(got.shape[:2]), abs=1e-5)
        upstream = np.zeros(whole.shape)
        upstream[:, :, :k] = 1 + np.arange(5)[:, None]
        found = soft_topk_indices_vjp(x, k, upstream.swapaxes(1, 2)[:, :k], largest=largest, **how)
        want = soft_permutation_vjp(x, upstream, descending=largest, **how)
        np.testing.assert_array_equal(found.scores, want.scores)
        np.testing.assert_array_equal(found.alpha, want.alpha)


@pytest.mark.parametrize("tolerance", [0.0, 1e-3, 0.2])
def test_entries_are_the_large_ones_of_each_place(tolerance):
    rows = [np.array([3.0, 1.0, 2.0, 1.5]), np.array([5.0]), np.empty(0)]
    found = soft_topk_indices(rows, 2, alpha=0.3, tolerance=tolerance)
    matrices = [np.zeros((min(2, len(row)), len(row))) for row in rows]
    for r, place, item, p in zip(*found, strict=True):
        assert p > 0
        matrices[r][place, item] = p
    for got, want in zip(matrices, soft_topk_indices(rows, 2, alpha=0.3), strict=True):
        assert np.array_equal(got[got > 0], want[got > 0])
        left = 1 - got.sum(axis=-1)
        assert (left <= tolerance + 1e-12).all()
        kept = np.where(got > 0, got, np.inf).min(axis=-1, initial=np.inf)
        assert (left + kept > tolerance).all()  # no further entry could be left out
    one = soft_topk_indices(np.array([3.0, 1.0, 2.0]), 2, alpha=1e-3, tolerance=0.1)
    assert (one.rankings.tolist(), one.places.tolist(), one.items.tolist()) == ([0, 0], [0, 1], [0, 2])


def test_who_has_them_has_the_form_of_the_rankings():
    rows = [np.array([3.0, 1.0, 2.0]), np.array([5.0]), np.empty(0)]
    got = soft_topk_indices(rows, 2, alpha=1e-6)
    assert [np.round(matrix).tolist() for matrix in got] == [[[1, 0, 0], [0, 0, 1]], [[1]], []]
    assert soft_topk_indices(np.zeros((2, 3, 5)), 2).shape == (2, 3, 2, 5)
    assert soft_topk_indices(np.zeros((0, 5)), 2).shape == (0, 2, 5)
    found = soft_topk_indices_vjp(rows, 2, [np.eye(2, 3), np.ones((1, 1)), np.empty((0, 0))], alpha=0.5)
    assert [len(row) for row in found.scores] == [3, 1, 0]


def test_what_cannot_be_asked_of_who_has_them_is_refused():
    with pytest.raises(OptionError, match="k of soft_topk_indices must be a whole number"):
        soft_topk_indices([1.0, 2.0], 1.5)
    with pytest.raises(OptionError, match="tolerance= must be 0 or more and below 1, got 1"):
        soft_topk_indices([1.0, 2.0], 1, tolerance=1.0)
    with pytest.raises(DataError, match=r"upstream must have the form of the result, \(k, n\) for n scores"):
        soft_topk_indices_vjp(np.zeros((2, 3)), 2, np.ones((2, 3, 2)))
    with pytest.raises(TypeError, match="places"):
        soft_topk_indices([1.0, 2.0], 1, places=2)
