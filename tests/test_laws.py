"""What must hold for every input, as sentences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapsum_cli import (
    Rankings,
    log_soft_topk,
    log_soft_topk_vjp,
    ndcg_loss_vjp,
    permutation_loss_vjp,
    soft_permutation,
    soft_rank,
    soft_rank_vjp,
    soft_sort,
    soft_sort_vjp,
    soft_topk,
    soft_topk_vjp,
    spearman_loss_vjp,
    topk_loss_vjp,
)
from lapsum_cli.core import reference

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


# Sorted scores, permutations, logarithms.


@given(grids, dtypes, alphas)
def test_sorted_scores_fall_and_their_order_in_the_input_does_not_matter(x, dtype, alpha):
    x = x.astype(dtype)
    y = soft_sort(x, alpha=alpha)
    assert np.all(np.diff(y) <= 0)
    assert np.array_equal(soft_sort(np.sort(x), alpha=alpha), y)
    assert np.array_equal(soft_sort(-x, alpha=alpha, descending=False), -y)
    moved, digits = soft_sort(x + dtype(100), alpha=alpha), 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(moved, y + dtype(100), rtol=0, atol=digits * (100 + np.abs(y).max()))


@given(grids, alphas)
def test_a_permutation_is_doubly_stochastic(x, alpha):
    p = soft_permutation(x, alpha=alpha)
    assert p.min() >= 0
    np.testing.assert_allclose(p.sum(axis=0), 1, atol=1e-9)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-9)


@given(grids, alphas, st.booleans())
def test_the_top_k_are_the_first_k_columns_of_the_permutation(x, alpha, descending):
    first = np.cumsum(soft_permutation(x, alpha=alpha, descending=descending), axis=1)
    for k in {1, len(x) // 2, len(x)} - {0}:
        np.testing.assert_allclose(first[:, k - 1], soft_topk(x, k, alpha=alpha, largest=descending), atol=1e-11)


@given(grids, st.floats(0.1, 1e4), shares)
def test_log_memberships_are_the_logarithms_of_memberships(x, alpha, share):
    p = soft_topk(x, share * len(x), alpha=alpha)
    log_p = log_soft_topk(x, share * len(x), alpha=alpha)
    np.testing.assert_allclose(np.exp(log_p), p, rtol=1e-12, atol=1e-300)
    small = (p > 1e-300) & (p < 0.5)  # near 1 the logarithm has more digits than the membership
    np.testing.assert_allclose(log_p[small], np.log(p[small]), rtol=1e-12)


@given(grids, st.integers(1, 60))
def test_small_alpha_gives_the_hard_order_and_large_alpha_its_limits(x, k):
    n, k = len(x), min(k, len(x))
    hard = np.diff([reference.hard_topk(x, j) for j in range(n + 1)], axis=0).T  # ties share their places
    np.testing.assert_allclose(soft_permutation(x, alpha=1e-5), hard, atol=1e-5)
    np.testing.assert_allclose(soft_sort(x, alpha=1e-5), -np.sort(-x), atol=1e-3)
    with np.errstate(divide="ignore"):
        log_members = np.log(reference.hard_topk(x, k))
    inside = log_members > -np.inf
    log_p = log_soft_topk(x, k, alpha=1e-5)
    np.testing.assert_allclose(log_p[inside], log_members[inside], atol=1e-9)
    assert np.all(log_p[~inside] < -500)
    np.testing.assert_allclose(soft_permutation(x, alpha=1e9), 1 / n, atol=1e-6)
    np.testing.assert_allclose(log_soft_topk(x, k, alpha=1e9), np.log(k / n), atol=1e-6)
    u = 1 - (np.arange(n) + 0.5) / n
    quantiles = np.where(u <= 0.5, np.log(2 * u), -np.log(2 - 2 * u))  # F(quantile) = u
    np.testing.assert_allclose(soft_sort(x, alpha=1e6), x.mean() + 1e6 * quantiles, atol=1e-3)


# Gradients of the sum of v times the results.

pairs = (
    st.integers(1, 40)
    .flatmap(lambda n: st.tuples(*[st.lists(st.integers(-500, 500), min_size=n, max_size=n).map(np.array)] * 2))
    .map(lambda pair: (pair[0] / 64, pair[1] / 100))
)
softness = st.floats(0.05, 100)


def gradients(x, v, alpha):
    """Of every operation: (result, gradients)."""
    k = 0.4 * len(x)
    yield "rank", soft_rank(x, alpha=alpha), soft_rank_vjp(x, v, alpha=alpha)
    yield "sort", soft_sort(x, alpha=alpha), soft_sort_vjp(x, v, alpha=alpha)
    yield "topk", soft_topk(x, k, alpha=alpha), soft_topk_vjp(x, k, v, alpha=alpha)
    yield "log", log_soft_topk(x, k, alpha=alpha), log_soft_topk_vjp(x, k, v, alpha=alpha)


@given(pairs, softness)
def test_gradients_sum_to_how_results_move_with_a_shift(pair, alpha):
    """Not at all, but for sorted scores, which shift alike."""
    x, v = pair
    for name, _, g in gradients(x, v, alpha):
        scale = np.abs(g.scores).sum() + np.abs(v).sum() / alpha
        assert abs(g.scores.sum() - (v.sum() if name == "sort" else 0)) <= 1e-12 * scale


@given(pairs, softness, st.integers(-1000, 1000))
def test_gradients_do_not_see_a_shift(pair, alpha, shift):
    x, v = pair
    for (_, _, g), (_, _, moved) in zip(gradients(x, v, alpha), gradients(x + shift, v, alpha), strict=True):
        for a, b in zip(g, moved, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * (1 + np.abs(v).sum() * np.abs(x).max() / alpha))


@given(pairs, softness)
def test_scaling_scores_and_alpha_together_moves_nothing_but_sorted_scores(pair, alpha):
    """So alpha's gradient is -<gradient, x> / alpha, for sorted scores (<v, y> - <gradient, x>) / alpha, x and y about
    one of the scores.
    """
    x, v = pair
    for name, y, g in gradients(x, v, alpha):
        terms = np.concatenate([v * (y - x[0]) if name == "sort" else 0 * v, -g.scores * (x - x[0])])
        assert abs(alpha * g.alpha - terms.sum()) <= 1e-11 * (np.abs(terms).sum() + np.abs(v).sum())


@given(grids, softness)
def test_the_jacobian_of_the_ranks_is_symmetric(x, alpha):
    jacobian = soft_rank_vjp(np.broadcast_to(x, (len(x), len(x))), np.eye(len(x)), alpha=alpha).scores
    np.testing.assert_allclose(jacobian, jacobian.T, rtol=1e-11, atol=1e-16 / alpha)


# Every function.

FUNCTIONS = {
    "soft_rank": soft_rank,
    "soft_sort": soft_sort,
    "soft_topk": lambda x, **o: soft_topk(x, 5, **o),
    "smallest": lambda x, **o: soft_topk(x, 5, largest=False, **o),
    "log_soft_topk": lambda x, **o: log_soft_topk(x, 5, **o),
}
OF_TWO = {
    "soft_rank_vjp": soft_rank_vjp,
    "soft_sort_vjp": soft_sort_vjp,
    "soft_topk_vjp": lambda x, v, **o: soft_topk_vjp(x, 5, v, **o),
    "log_soft_topk_vjp": lambda x, v, **o: log_soft_topk_vjp(x, 5, v, **o),
    "spearman_loss_vjp": spearman_loss_vjp,
    "topk_loss_vjp": lambda x, y, **o: topk_loss_vjp(x, y, 5, **o),
    "ndcg_loss_vjp": lambda x, y, **o: ndcg_loss_vjp(x, y, at=5, **o),
    "permutation_loss_vjp": permutation_loss_vjp,
}


@given(wild, dtypes)
def test_inputs_are_never_modified(x, dtype):
    x = x.astype(dtype)
    v = np.abs(x[::-1])
    before = x.copy(), v.copy()
    for function in (*FUNCTIONS.values(), soft_permutation):
        function(x)
    for function in OF_TWO.values():
        function(x, v)
    assert np.array_equal(x, before[0])
    assert np.array_equal(v, before[1])


def long_batch(rankings):
    """Enough of them for many slices and matrices, of lengths from 0 to 3000, and values for each score."""
    rng = np.random.default_rng(5)
    lengths = np.minimum(rng.zipf(1.3, rankings) - 1, 3000)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    x, v = rng.standard_normal(offsets[-1]), rng.integers(0, 4, offsets[-1])
    return [Rankings(values.astype(np.float32), offsets) for values in (x, v)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_long_batch_is_the_same_on_one_thread_and_two(name):
    x, _ = long_batch(20_000)
    one, two = (FUNCTIONS[name](x, threads=threads) for threads in (1, 2))
    assert np.array_equal(one.values, two.values)
    assert np.array_equal(one[123], FUNCTIONS[name](x[123]))


@pytest.mark.parametrize("name", OF_TWO)
def test_the_gradients_of_a_long_batch_are_the_same_on_one_thread_and_two(name):
    x, v = long_batch(5000)
    options = {"reduction": "sum"} if "loss" in name else {}
    one, two = (OF_TWO[name](x, v, threads=threads, **options) for threads in (1, 2))
    assert np.array_equal(one.scores.values, two.scores.values)
    assert all(np.array_equal(a, b) for a, b in zip(one[1:], two[1:], strict=True))
    assert np.array_equal(one.scores[123], OF_TWO[name](x[123], v[123], **options).scores)
