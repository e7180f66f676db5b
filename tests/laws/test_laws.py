"""What must hold for every input, as sentences: each for every entry of the catalogue, but for those that it names."""

import numpy as np
import pytest
from catalogue import (
    Entry,
    entries,
    every,
    has,
    has_definition,
    is_no_loss,
    is_of_a_moment,
    is_of_scores,
    named,
    promised,
    upstream_like,
)
from drawn import alphas, dtypes, grids, long_batch, shares, softness, wild
from hypothesis import given
from hypothesis import strategies as st

import lapsum_cli
from lapsum_cli import log_soft_topk, soft_permutation, soft_rank, soft_topk


def agree(entry, got, want, dtype, more=1.0):
    """Within what the entry allows between a result and its definition."""
    got, want = (np.asarray(a, float) for a in (got, want))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    is_same = (got == want) | np.isnan(want)
    n = want.shape[0] if want.ndim else 1
    bound = np.broadcast_to(more * entry.bound(want, max(n, 60), dtype), want.shape)
    wrong = np.abs(np.where(is_same, 0, got - np.where(is_same, 0, want))) > bound
    assert not wrong.any(), (got[wrong], want[wrong], bound[wrong])


def has_a_sum(entry):
    return is_no_loss(entry) and promised("sums_to_k")(entry)


def is_ordered(entry):
    return is_of_scores(entry) and promised("keeps_order")(entry) and has("symmetric")(entry)


def is_symmetric(entry):
    return is_no_loss(entry) and has("symmetric")(entry)


def has_a_flat_limit(entry):
    return is_no_loss(entry) and has_definition(entry)


# What results are like.


@every(
    has_a_sum,
    sort="sorted scores sum to nothing that is known before",
    log_topk="logarithms sum to nothing that is known before",
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
        "sort": (spread.min() - alpha * np.log(2 * n), spread.max() + alpha * np.log(2 * n)),
        "log topk": (-np.inf, 0),
        "spearman loss": (0, 2),
    }.get(entry.name, (0, 1))
    rounding = 4e-6 * max(1, abs(low) if np.isfinite(low) else 1, abs(high))
    known = np.asarray(results)[~np.isnan(results)]
    assert ((known >= low - rounding) & (known <= high + rounding)).all()
    if entry.name in ("topk", "smallest", "permutation"):  # these to the bit
        assert ((known >= 0) & (known <= 1)).all()


@every(is_symmetric, sort="results go by position: the law below")
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


@every()
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


@TWO_SIDED
@every()
@given(
    grids,
    dtypes,
    st.one_of(softness, st.just("0.3std")),
    st.sampled_from(["30%", "0", "100%", None]),
    st.lists(st.integers(0, 60), min_size=1, max_size=30),
)
def test_a_result_does_not_depend_on_its_padding(entry, descending, ranking, dtype, alpha, share, places):
    """Scores of -inf, anywhere: a membership of 0, the last ranks and positions, no part in a loss, gradient 0."""
    (x, target), n, more = ranking, len(ranking[0]), len(places)
    x, at = x.astype(dtype), np.minimum(places, n)
    v = 1.7 if entry.per == "ranking" else upstream_like(entry, np.cos(np.arange(n, dtype=dtype)))
    wide, targets = np.insert(x, at, -np.inf), np.insert(target, at, 9.0)
    upstream = np.insert(v, at if entry.per == "score" else n + 0 * at, 1e30) if np.ndim(v) == 1 else v
    if entry.per == "pair":
        upstream = np.insert(np.insert(v, at, 1e30, axis=0), n + 0 * at, 1e30, axis=1)
    is_padding = np.isneginf(wide)
    given = {"alpha": alpha, "k": share or 0.3 * n, "descending": descending}
    want, got = entry(x, target, **given), entry(wide, targets, **given)
    if entry.per == "score":
        assert set(got[is_padding]) == {{"rank": n + 0.5 * (more + 1), "log topk": -np.inf}.get(entry.name, 0)}
        got = got[~is_padding]
    elif entry.per == "position":
        assert set(got[n:]) == {-np.inf}
        got = got[:n]
    elif entry.per == "pair":
        assert not got[is_padding, :n].any()
        assert not got[~is_padding, n:].any()
        np.testing.assert_allclose(got[is_padding, n:], 1 / more, rtol=1e-6)
        got = got[~is_padding, :n]
    agree(entry, got, want, dtype)
    if entry.differentiable:
        want, got = entry.vjp(x, target, v, **given), entry.vjp(wide, targets, upstream, **given)
        scale = 1e-5 if dtype == np.float32 else 1e-11
        assert not got.scores[is_padding].any()
        size = np.abs(want.scores).max() + np.abs(v).sum() * (1 + 1 / (0.3 if isinstance(alpha, str) else alpha))
        np.testing.assert_allclose(got.scores[~is_padding], want.scores, rtol=scale, atol=scale * size)
        for a, b in zip(got[1:], want[1:], strict=True):
            np.testing.assert_allclose(a, b, rtol=100 * scale, atol=scale * size * (1 + np.ptp(x) * size))


@TWO_SIDED
def test_a_share_is_of_the_scores_that_are_no_padding(descending):
    x = np.array([[3, 1, 2, 0], [5, 4, -np.inf, -np.inf]])
    assert soft_topk(x, "50%", alpha=0.1, largest=descending).sum(axis=1).tolist() == pytest.approx([2, 1])


def test_infinity_wins_where_the_largest_are_first_and_is_padding_where_they_are_last():
    x = np.array([1, np.inf, 2, -np.inf])
    assert soft_rank(x, alpha=1e-6).tolist() == [3, 1, 2, 4]
    assert soft_rank(x, alpha=1e-6, descending=False).tolist() == [1, 3.5, 2, 3.5]
    assert soft_topk(x, "50%", alpha=1e-6).tolist() == pytest.approx([0, 1, 0.5, 0])
    assert soft_topk(x, "50%", alpha=1e-6, largest=False).tolist() == pytest.approx([1, 0, 0, 0])
    assert lapsum_cli.soft_sort(x, alpha=1e-6).tolist() == pytest.approx([np.inf, 2, 1, -np.inf])
    assert lapsum_cli.soft_sort(x, alpha=1e-6, descending=False).tolist() == pytest.approx([1, 2, np.inf, -np.inf])


@every(has("alone"))
@given(st.lists(wild, min_size=1, max_size=8), dtypes, st.integers(1, 3))
def test_a_ranking_does_not_see_its_neighbours_nor_the_threads(entry, rows, dtype, threads):
    scores, targets = [row.astype(dtype) for row, _ in rows], [target for _, target in rows]
    together = entry(scores, targets, threads=threads)
    alone = [entry(*row) for row in zip(scores, targets, strict=True)]
    assert len(together) == len(alone)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)


@every(has("alone"), neural_ndcg_loss="it takes a hundred times as long: the law above looks at its neighbours")
@given(st.integers(0, 2**32), st.integers(1, 40), dtypes, st.floats(1e-2, 10), shares)
def test_results_do_not_depend_on_the_place_in_the_batch_to_the_bit(entry, seed, n, dtype, alpha, share):
    """Of 153 rankings at once and of 1 to 17, which fill SIMD lanes or are left over: all alike, or of like length."""
    n = min(n, 12) if not entry.is_linear else n
    rng, one, given = np.random.default_rng(seed), entry.per == "ranking", {"alpha": alpha, "k": max(1e-3, share * n)}
    rows, targets, upstream = (
        [made(n + r % 2 * (r // 100)).astype(dtype) for r in range(153)]
        for made in (rng.standard_normal, lambda size: rng.integers(0, 5, size), rng.standard_normal)
    )

    def of(rows, targets, upstream):
        """Bytes of what is computed of each ranking."""
        found = [entry(rows, targets, **given)]
        if entry.differentiable:
            of_each = [upstream_like(entry, v) for v in upstream]
            found += entry.vjp(rows, targets, np.full(len(rows), 1.7) if one else of_each, **given)
        return [tuple(np.asarray(part[r]).tobytes() for part in found) for r in range(len(rows))]

    together = of(rows, targets, upstream)
    for count in range(1, 18):
        first = count * (count - 1) // 2
        part = slice(first, first + count)
        assert of(rows[part], targets[part], upstream[part]) == together[part]
        assert set(of([rows[0]] * count, [targets[0]] * count, [upstream[0]] * count)) == {together[0]}


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
    cascade_dftopk_loss="infinite, or the size of a gap over alpha",
    cascade_lapsum_loss="infinite, or the size of a gap over alpha",
    lcron_loss="bounded by 1e-6, which its definition has at any alpha",
    arf_loss="bounded by 1e-6, which its definition has at any alpha",
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


# What a call leaves alone.


@every()
@given(wild, dtypes)
def test_inputs_are_never_modified(entry, ranking, dtype):
    x, target = ranking[0].astype(dtype), ranking[1]
    upstream = np.abs(x[::-1])
    given = {"x": x, "target": target, "upstream": upstream, "alpha": np.array(0.7), "k": np.array(0.4 * len(x))}
    before = {name: values.copy() for name, values in given.items()}
    options = {"alpha": given["alpha"][None], **({"k": given["k"][None]} if entry.k else {})}
    entry(x[None], target[None], **options)
    if entry.differentiable:
        of_all = upstream_like(entry, upstream)[None]
        entry.vjp(x[None], target[None], np.ones(1) if entry.per == "ranking" else of_all, **options)
    for name, values in given.items():
        assert np.array_equal(values, before[name]), name


@every(
    lambda entry: has("alone")(entry) and is_of_a_moment(entry),
    neural_ndcg_loss="it takes a hundred times as long: the neighbours above have one thread and more",
)
def test_a_long_batch_is_the_same_on_one_thread_and_two(entry):
    x, target, _ = long_batch(10_000, 3000 if entry.is_linear else 100)
    one, two = (entry(x, target, threads=threads) for threads in (1, 2))
    for a, b in ((one, two),) if entry.per == "ranking" else ((one.values, two.values),):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one[123], entry(x[123], target[123]))


# The catalogue.


def test_the_catalogue_has_every_function_of_the_package():
    functions = {n for n in lapsum_cli.__all__ if n.startswith(("soft_", "log_soft_")) or "_loss" in n}
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
