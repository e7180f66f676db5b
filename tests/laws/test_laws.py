"""What must hold for every input, as sentences: each for every entry of the catalogue, but for those that it names."""

import numpy as np
import pytest
from catalogue import (
    entries,
    every,
    has,
    has_definition,
    is_no_loss,
    is_of_scores,
    named,
    promised,
)
from drawn import alphas, dtypes, grids, shares, softness, wild
from entry import Entry, agree
from hypothesis import given
from hypothesis import strategies as st

import lapsum_cli
from lapsum_cli import log_soft_topk, soft_permutation, soft_rank, soft_topk


def has_a_sum(entry):
    return is_no_loss(entry) and promised("sums_to_k")(entry)


def is_ordered(entry):
    return is_of_scores(entry) and promised("keeps_order")(entry) and has("symmetric")(entry)


def is_symmetric(entry):
    return entry.per in ("score", "pair") and has("symmetric")(entry)


def has_a_flat_limit(entry):
    return is_no_loss(entry) and has_definition(entry)


# What results are like.


@every(
    has_a_sum,
    sort="sorted scores sum to nothing that is known before",
    log_topk="logarithms sum to nothing that is known before",
    quantile="a single number is no sum",
    median="a single number is no sum",
    max="a single number is no sum",
    min="a single number is no sum",
)
@given(wild, dtypes, alphas, shares)
def test_results_sum_to_what_is_known_before(entry, ranking, dtype, alpha, share):
    x, n = ranking[0].astype(dtype), len(ranking[0])
    results = entry(x, alpha=alpha, k=share * n)
    assert np.isclose(results.sum(dtype=float), entry.total(n, share * n), rtol=1e-6, atol=1e-12)


TWO_SIDED = pytest.mark.parametrize("descending", [True, False])


@every(
    has("members", "bounds"),
    topk_loss="a cross-entropy grows without bound",
    permutation_loss="a cross-entropy grows without bound",
    graded_topk_loss="a cross-entropy grows without bound",
    bce_dftopk_loss="a cross-entropy grows without bound",
    ranknet_loss="a logistic loss grows without bound",
    lambda_loss="a logistic loss grows without bound",
    lambda_loss_at_k="a logistic loss grows without bound",
    lambda_loss_of_either="a logistic loss grows without bound",
    listnet_loss="a cross-entropy grows without bound",
    listmle_loss="a cross-entropy grows without bound",
    cascade_dftopk_loss="a cross-entropy grows without bound",
    cascade_lapsum_loss="a cross-entropy grows without bound",
    lcron_loss="a cross-entropy grows without bound",
    arf_loss="a cross-entropy grows without bound",
    topk_cross_entropy_loss="a cross-entropy grows without bound",
    topk_svm_loss="a logistic loss grows without bound",
    neural_ndcg_loss="its permutation is doubly stochastic within 1e-6, or not yet",
)
@given(wild, dtypes, alphas, shares)
def test_results_lie_between_their_bounds(entry, ranking, dtype, alpha, share):
    x, target, n = ranking[0].astype(dtype), ranking[1], len(ranking[0])
    k = max(share * n, 1e-3)
    results = entry(x, target, alpha=alpha, k=k)
    spread = x.astype(float)
    low, high = {
        "rank": (1, n),
        "log topk": (-np.inf, 0),
        "spearman loss": (0, 2),
    }.get(entry.name, (0, 1))
    if entry.moves:
        low, high = spread.min() - alpha * np.log(2 * n), spread.max() + alpha * np.log(2 * n)
    rounding = 4e-6 * max(1, abs(low) if np.isfinite(low) else 1, abs(high))
    known = np.asarray(results)[~np.isnan(results)]
    assert ((known >= low - rounding) & (known <= high + rounding)).all()
    if entry.name in ("topk", "smallest", "permutation"):  # these to the bit
        assert ((known >= 0) & (known <= 1)).all()


@every(is_symmetric)
@given(grids, dtypes, alphas, shares)
def test_equal_scores_get_equal_results_to_the_bit(entry, ranking, dtype, alpha, share):
    x = ranking[0].astype(dtype)
    order = np.argsort(-x, kind="stable")
    results = entry(x, alpha=alpha, k=share * len(x))[order]
    tied = np.diff(x[order]) == 0
    assert np.array_equal(results[:-1][tied], results[1:][tied])


@every(is_ordered)
@given(grids, dtypes, alphas, shares)
def test_larger_scores_get_no_worse_results(entry, ranking, dtype, alpha, share):
    x = ranking[0].astype(dtype)
    worse_first = np.argsort(-x if entry.reverse else x, kind="stable")
    results = entry(x, alpha=alpha, k=share * len(x))[worse_first].astype(float)
    with np.errstate(invalid="ignore"):  # -inf less -inf, of no k
        steps = np.diff(results if entry.name != "rank" else -results)
    assert not (steps < -1e-6 * max(1, len(x))).any()


@TWO_SIDED
@given(grids, dtypes, alphas)
def test_sorted_scores_fall_or_rise(descending, ranking, dtype, alpha):
    steps = np.diff(named("sort")(ranking[0].astype(dtype), alpha=alpha, descending=descending))
    assert np.all(steps <= 0 if descending else steps >= 0)


# What results depend on, and what they do not.


@every(promised("shift_invariant"))
@given(grids, dtypes, st.integers(-1000, 1000), softness)
def test_a_shift_of_every_score_shifts_sorted_scores_and_nothing_else(entry, ranking, dtype, shift, alpha):
    x, target = ranking[0].astype(dtype), ranking[1]
    want, got = (entry(values, target, alpha=alpha) for values in (x, x + dtype(shift)))
    if entry.moves:
        digits = 4 * np.finfo(dtype).eps * (abs(shift) + np.abs(want).max())
        np.testing.assert_allclose(got, want + dtype(shift), rtol=0, atol=digits)
    else:
        agree(entry, got, want, dtype, 5)


@every(promised("scale_invariant"))
@given(grids, dtypes, st.integers(-20, 20), alphas)
def test_scaling_scores_and_alpha_together_scales_sorted_scores_and_nothing_else(entry, ranking, dtype, power, alpha):
    (x, target), factor = ranking, 2.0**power
    x, grown = x.astype(dtype), (x * factor).astype(dtype)
    want, got = entry(x, target, alpha=alpha), entry(grown, target, alpha=alpha * factor)
    agree(entry, got / factor if entry.moves else got, want, dtype)
    want, got = entry(x, target, alpha="0.5std"), entry(grown, target, alpha="0.5std")
    agree(entry, got / factor if entry.moves else got, want, dtype)


def test_ranks_do_not_see_a_power_of_two_to_the_bit():
    x = np.random.default_rng(0).standard_normal(500)
    assert np.array_equal(soft_rank(x * 2.0**9, alpha=2.0**7), soft_rank(x, alpha=0.25))


@every(
    has("symmetric"),
    lambda_loss="its weights are of hard places, where equal scores are in the order of the input",
    lambda_loss_at_k="the same, as above it",
    lambda_loss_of_either="the same, as above it",
    lcron_loss="NeuralSort sums distances as items come, which is seen where scores span 1e10 alphas",
    arf_loss="the same, as above it",
    topk_cross_entropy_loss="the same, as above it",
)
@given(wild, dtypes, alphas, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(entry, ranking, dtype, alpha, random):
    _order_of_the_input(entry, ranking, dtype, alpha, random)


def _order_of_the_input(entry, ranking, dtype, alpha, random):
    x, target = ranking[0].astype(dtype), ranking[1]
    order = np.array(random.sample(range(len(x)), len(x)))
    want, got = entry(x, target, alpha=alpha), entry(x[order], target[order], alpha=alpha)
    want = want[order] if entry.per in ("score", "pair") else want
    agree(entry, got, want, dtype)
    if entry.name in ("rank", "sort"):  # what is sorted first
        assert np.array_equal(got, want)


@every(
    quantile="which quantile it is does not go by the direction",
    max="which quantile it is does not go by the direction",
    min="which quantile it is does not go by the direction",
)
@given(wild, dtypes, alphas, shares)
def test_ascending_is_the_order_of_the_negated_scores_to_the_bit(entry, ranking, dtype, alpha, share):
    (x, target), k = ranking, max(1e-3, share * len(ranking[0]))
    x = x.astype(dtype)
    got, want = entry(x, target, alpha=alpha, k=k, descending=False), entry(-x, target, alpha=alpha, k=k)
    np.testing.assert_array_equal(got, -want if entry.moves else want)


@given(wild, dtypes, alphas, shares)
def test_both_directions_together_are_everything(ranking, dtype, alpha, share):
    x, k = ranking[0].astype(dtype), share * len(ranking[0])
    both = soft_rank(x, alpha=alpha) + soft_rank(x, alpha=alpha, descending=False)
    np.testing.assert_allclose(both, len(x) + 1, rtol=1e-6)
    rest = soft_topk(x, len(x) - k, alpha=alpha, largest=False)
    np.testing.assert_allclose(soft_topk(x, k, alpha=alpha) + rest, 1, atol=2e-6)


# Where alpha ends.


@every(
    promised("hard_limit"),
    topk_loss="infinite, or the size of a gap over alpha",
    permutation_loss="infinite, or the size of a gap over alpha",
    graded_topk_loss="infinite, or the size of a gap over alpha",
    bce_dftopk_loss="the size of a gap over alpha",
    ranknet_loss="the size of a gap over alpha",
    lambda_loss="the size of a gap over alpha",
    lambda_loss_at_k="the size of a gap over alpha",
    lambda_loss_of_either="the size of a gap over alpha",
    listnet_loss="the size of a gap over alpha",
    listmle_loss="the size of a gap over alpha",
    topk_hinge_loss="the size of a gap over alpha",
    topk_svm_loss="the size of a gap over alpha",
    cascade_dftopk_loss="infinite, or the size of a gap over alpha",
    cascade_lapsum_loss="infinite, or the size of a gap over alpha",
    lcron_loss="bounded by 1e-6, which its definition has at any alpha",
    arf_loss="bounded by 1e-6, which its definition has at any alpha",
    topk_cross_entropy_loss="bounded by 1e-7, which its definition has at any alpha",
)
@given(grids, dtypes, st.integers(1, 60))
def test_a_small_alpha_gives_the_hard_result(entry, ranking, dtype, k):
    (x, target), k = ranking, min(k, len(ranking[0]))
    x = x.astype(dtype)
    got = entry(x, target, alpha=1e-5, k=k)
    if np.ptp(target) == 0 and entry.needs_target:
        assert np.isnan(got)
        return
    want = np.asarray(entry.hard(x.astype(float), target, k))
    inside = want > -np.inf
    np.testing.assert_allclose(
        np.asarray(got)[inside], np.asarray(want)[inside], rtol=0, atol=1e-3 if entry.moves else 3e-5
    )
    assert np.all(np.asarray(got)[~inside] < (-500 if dtype == np.float64 else -80))


@every(has_a_flat_limit)  # a loss tends to that of its parts, a correlation to that of their roundings
@given(grids, st.integers(1, 60))
def test_a_large_alpha_makes_all_scores_alike(entry, ranking, k):
    """Sorted scores spread with alpha."""
    x, k = ranking[0], min(k, len(ranking[0]))
    alpha = 1e6 if entry.moves else 1e9
    np.testing.assert_allclose(
        entry(x, alpha=alpha, k=k), entry.flat(x, k, alpha), rtol=0, atol=1e-3 if entry.moves else 1e-4
    )


# How the results of one are those of another.


@given(grids, alphas)
def test_a_permutation_is_doubly_stochastic(ranking, alpha):
    p = soft_permutation(ranking[0], alpha=alpha)
    assert p.min() >= 0
    np.testing.assert_allclose(p.sum(axis=0), 1, atol=1e-9)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-9)


@given(grids, alphas, st.booleans())
def test_the_top_k_are_the_first_k_columns_of_the_permutation(ranking, alpha, descending):
    x = ranking[0]
    first = np.cumsum(soft_permutation(x, alpha=alpha, descending=descending), axis=1)
    for k in {1, len(x) // 2, len(x)} - {0}:
        np.testing.assert_allclose(first[:, k - 1], soft_topk(x, k, alpha=alpha, largest=descending), atol=1e-11)


@given(grids, st.floats(0.1, 1e4), shares)
def test_log_memberships_are_the_logarithms_of_memberships(ranking, alpha, share):
    x = ranking[0]
    p = soft_topk(x, share * len(x), alpha=alpha)
    log_p = log_soft_topk(x, share * len(x), alpha=alpha)
    np.testing.assert_allclose(np.exp(log_p), p, rtol=1e-12, atol=1e-300)
    small = (p > 1e-300) & (p < 0.5)  # near 1 the logarithm has more digits than the membership
    np.testing.assert_allclose(log_p[small], np.log(p[small]), rtol=1e-12)


# The catalogue.


def test_the_catalogue_has_every_function_of_the_package():
    """But for what is a part of another's result: tests/laws/test_best.py."""
    functions = {n for n in lapsum_cli.__all__ if n.startswith(("soft_", "log_soft_")) or "_loss" in n}
    functions -= {f"soft_topk_{what}{vjp}" for what in ("values", "indices") for vjp in ("", "_vjp")}
    entered = {entry.function for entry in entries()}
    assert {name for name in functions if not name.endswith("_vjp")} <= entered
    with_gradient = {f"{entry.function}_vjp" for entry in entries() if entry.differentiable}
    assert {name for name in functions if name.endswith("_vjp")} <= with_gradient


@pytest.mark.parametrize(
    ("law", "given"),
    [
        (test_results_sum_to_what_is_known_before, {"share": 0.5}),
        (test_results_lie_between_their_bounds, {"share": 0.5}),
        (test_larger_scores_get_no_worse_results, {"share": 0.5}),
        (test_a_shift_of_every_score_shifts_sorted_scores_and_nothing_else, {"shift": 3}),
        (test_scaling_scores_and_alpha_together_scales_sorted_scores_and_nothing_else, {"power": 3}),
        (test_ascending_is_the_order_of_the_negated_scores_to_the_bit, {"share": 0.5}),
        (test_a_small_alpha_gives_the_hard_result, {"k": 2, "alpha": None}),
        (test_a_large_alpha_makes_all_scores_alike, {"k": 2, "alpha": None, "dtype": None}),
    ],
)
def test_a_law_could_fail(law, given):
    """Of soft ranks that see a little of the scores themselves."""

    class Wrong(Entry):
        def __call__(self, x, target=None, **given):
            result = super().__call__(x, target, **given)
            return result + np.where(np.isfinite(x), 10 + x, 0).astype(result.dtype)

    ranking = np.array([0.5, 2.0, 0.25, 2.0, -1.0]), np.array([0.0, 1, 2, 3, 1])
    given = {"ranking": ranking, "dtype": np.float64, "alpha": 0.5, **given}
    given = {name: value for name, value in given.items() if value is not None}
    rank, law = named("rank"), law.hypothesis.inner_test
    law(rank, **given)
    with pytest.raises(AssertionError):
        law(Wrong(**vars(rank)), **given)
