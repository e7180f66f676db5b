"""What must hold for every input, as sentences."""

import numpy as np
import reference
from hypothesis import given
from hypothesis import strategies as st

from lapsum_cli import Rankings, soft_rank, soft_topk

# Scores on a grid of 1/64, with many ties: sums and shifts of them are exact in both dtypes.
grids = st.lists(st.integers(-500, 500), min_size=1, max_size=60).map(lambda v: np.array(v) / 64)
wild = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60).map(np.array)
dtypes = st.sampled_from([np.float32, np.float64])
alphas = st.floats(1e-6, 1e4)
shares = st.floats(0, 1)


@given(wild, dtypes, alphas)
def test_ranks_sum_to_n_times_n_plus_1_over_2(x, dtype, alpha):
    n = len(x)
    assert np.isclose(soft_rank(x.astype(dtype), alpha=alpha).sum(dtype=float), n * (n + 1) / 2, rtol=1e-6)


@given(wild, dtypes, alphas, shares)
def test_memberships_lie_in_0_1_and_sum_to_k(x, dtype, alpha, share):
    k = share * len(x)
    p = soft_topk(x.astype(dtype), k, alpha=alpha)
    assert np.all((p >= 0) & (p <= 1))
    assert np.isclose(p.sum(dtype=float), k, rtol=1e-6, atol=1e-12)


@given(grids, dtypes, st.integers(-1000, 1000), alphas)
def test_shifting_every_score_changes_nothing(x, dtype, shift, alpha):
    x, k = x.astype(dtype), len(x) / 3
    moved = x + dtype(shift)
    np.testing.assert_allclose(soft_rank(moved, alpha=alpha), soft_rank(x, alpha=alpha), rtol=1e-6)
    np.testing.assert_allclose(soft_topk(moved, k, alpha=alpha), soft_topk(x, k, alpha=alpha), rtol=1e-5, atol=2e-6)


@given(grids, dtypes, st.integers(-20, 20), alphas)
def test_scaling_scores_and_alpha_together_changes_nothing(x, dtype, power, alpha):
    x, factor, k = x.astype(dtype), 2.0**power, len(x) / 3
    grown = x * dtype(factor)
    assert np.array_equal(soft_rank(grown, alpha=alpha * factor), soft_rank(x, alpha=alpha))
    np.testing.assert_allclose(soft_topk(grown, k, alpha=alpha * factor), soft_topk(x, k, alpha=alpha), rtol=1e-5)
    np.testing.assert_allclose(soft_rank(grown, alpha="0.5std"), soft_rank(x, alpha="0.5std"), rtol=1e-6)


@given(wild, dtypes, alphas, st.randoms(use_true_random=False))
def test_permuting_a_ranking_permutes_its_ranks_to_the_bit(x, dtype, alpha, random):
    x = x.astype(dtype)
    order = np.array(random.sample(range(len(x)), len(x)))
    assert np.array_equal(soft_rank(x[order], alpha=alpha), soft_rank(x, alpha=alpha)[order])


@given(grids, dtypes, alphas, shares)
def test_equal_scores_get_equal_results_and_larger_ones_no_worse(x, dtype, alpha, share):
    x = x.astype(dtype)
    order = np.argsort(-x, kind="stable")
    ranks, p = soft_rank(x, alpha=alpha)[order], soft_topk(x, share * len(x), alpha=alpha)[order]
    tied = np.diff(x[order]) == 0
    assert np.all(np.diff(ranks)[tied] == 0)
    assert np.all(np.diff(p)[tied] == 0)
    assert np.all(np.diff(ranks) >= -1e-6 * len(x))
    assert np.all(np.diff(p) <= 1e-6)


@given(wild, dtypes, alphas, shares)
def test_ascending_is_the_order_of_the_negated_scores(x, dtype, alpha, share):
    x, k = x.astype(dtype), share * len(x)
    assert np.array_equal(soft_rank(x, alpha=alpha, descending=False), soft_rank(-x, alpha=alpha))
    assert np.array_equal(soft_topk(x, k, alpha=alpha, largest=False), soft_topk(-x, k, alpha=alpha))
    both = soft_rank(x, alpha=alpha) + soft_rank(x, alpha=alpha, descending=False)
    np.testing.assert_allclose(both, len(x) + 1, rtol=1e-6)
    rest = soft_topk(x, len(x) - k, alpha=alpha, largest=False)
    np.testing.assert_allclose(soft_topk(x, k, alpha=alpha) + rest, 1, atol=2e-6)


@given(grids, dtypes, st.integers(0, 60))
def test_small_alpha_gives_the_hard_result_and_large_alpha_the_mean(x, dtype, k):
    x, k = x.astype(dtype), min(k, len(x))
    np.testing.assert_allclose(soft_rank(x, alpha=1e-5), reference.hard_rank(x), atol=1e-5)
    np.testing.assert_allclose(soft_topk(x, k, alpha=1e-5), reference.hard_topk(x, k), atol=1e-5)
    np.testing.assert_allclose(soft_rank(x, alpha=1e9), (len(x) + 1) / 2, atol=1e-4)
    np.testing.assert_allclose(soft_topk(x, k, alpha=1e9), k / len(x), atol=1e-5)


@given(st.lists(wild, max_size=8), dtypes, st.integers(1, 3))
def test_a_ranking_does_not_see_its_neighbours_nor_the_threads(rows, dtype, threads):
    rows = [row.astype(dtype) for row in rows]
    for together, alone in (
        (soft_rank(rows, threads=threads), [soft_rank(row) for row in rows]),
        (soft_topk(rows, 2, threads=threads), [soft_topk(row, 2) for row in rows]),
    ):
        assert len(together) == len(alone)
        assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


@given(wild, dtypes)
def test_inputs_are_never_modified(x, dtype):
    x = x.astype(dtype)
    before = x.copy()
    soft_rank(x)
    soft_topk(x, 1)
    soft_topk(x, 1, largest=False)
    assert np.array_equal(x, before)


def test_a_long_batch_is_the_same_on_one_thread_and_two():
    """Enough rankings for many slices and matrices, of lengths from 0 to 3000."""
    rng = np.random.default_rng(5)
    lengths = np.minimum(rng.zipf(1.3, 20_000) - 1, 3000)
    rankings = Rankings(
        rng.standard_normal(lengths.sum()).astype(np.float32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )
    for function in (soft_rank, lambda x, threads: soft_topk(x, 5, threads=threads)):
        one, two = function(rankings, threads=1), function(rankings, threads=2)
        assert np.array_equal(one.values, two.values)
        alone = function(rankings[123], threads=1)
        assert np.array_equal(one[123], alone)
