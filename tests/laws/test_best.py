"""The soft-sorted scores of the first places are those of all places, and so are their gradients."""

import numpy as np
import pytest
from drawn import alphas, dtypes, wild
from hypothesis import given
from hypothesis import strategies as st

from lapsum_cli import (
    DataError,
    OptionError,
    Rankings,
    soft_sort,
    soft_sort_vjp,
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
