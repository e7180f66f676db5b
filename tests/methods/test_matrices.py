"""Methods that are soft permutation matrices: results are those of the definition, at ties, masks and ends too."""

import numpy as np
import pytest
from matrices import IDS, MATRICES, WAYS, ot_sorted, results

import lapsum_cli as lapsum

RNG = np.random.default_rng(7)
X, TIED = RNG.standard_normal(11), np.round(RNG.standard_normal(11) * 2) / 2
EACH = pytest.mark.parametrize(("method", "options"), WAYS, ids=IDS)


def computed(x, k, **given):
    return lapsum.soft_rank(x, **given), lapsum.soft_sort(x, **given), lapsum.soft_topk(x, k, **given)


@pytest.mark.parametrize(
    "x", [X, X + 1e3, TIED, X[:2], X[:7], X[:1]], ids=["plain", "far", "tied", "two", "seven", "one"]
)
@pytest.mark.parametrize("alpha", [0.05, 0.4, 3.0])
@EACH
def test_results_are_those_of_the_definition(method, options, alpha, x):
    k = 0.43 * len(x)
    p = MATRICES[method](x, alpha, **options)
    want = results(p, x, k)
    got = computed(x, k, alpha=alpha, method=method, **options)
    near = 1e-9 if x[0] > 100 or method == "sinkhorn" else 1e-12
    np.testing.assert_allclose(got[0], want[0], rtol=near)
    np.testing.assert_allclose(got[1], want[1], rtol=near, atol=near)
    if method != "sinkhorn":  # whose memberships are of two anchors, not of its matrix
        np.testing.assert_allclose(got[2], want[2], rtol=near, atol=near)
        logs = lapsum.log_soft_topk(x, k, alpha=alpha, method=method, **options)
        np.testing.assert_allclose(np.exp(logs), want[2], rtol=1e-9, atol=1e-14 if method == "sortnet" else 0)
    matrix = lapsum.soft_permutation(x, alpha=alpha, method=method, **options)
    np.testing.assert_allclose(matrix, p.T, rtol=0, atol=near)
    if alpha > 0.1 and len(x) > 1:
        assert np.abs(want[0] - np.argsort(np.argsort(-x)) - 1).max() > 1e-4  # it matters how soft they are


@pytest.mark.parametrize("x", [X, TIED, 30 * X], ids=["plain", "tied", "large"])
@pytest.mark.parametrize("alpha", [0.03, 0.1, 1.0])
@pytest.mark.parametrize("k", [1, 4, 10])
def test_sorted_transport_is_that_of_the_definition(k, alpha, x):
    want = ot_sorted(x, k, alpha)[:k].sum(axis=0)
    got = lapsum.soft_topk(x, k, alpha=alpha, method="ot-sorted")
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)
    assert got.sum() == pytest.approx(k, rel=1e-11)
    np.testing.assert_allclose(np.exp(lapsum.log_soft_topk(x, k, alpha=alpha, method="ot-sorted")), got, rtol=1e-9)


@pytest.mark.parametrize("method", ["neuralsort", "softsort", "ot-sorted"])
def test_logarithms_have_all_digits_where_memberships_round_to_nothing(method):
    x = np.array([3.0, 2.0, 1.0, 0.0])
    logs = lapsum.log_soft_topk(x, 2, alpha=1e-3, method=method)
    steps = {"neuralsort": -1 / 1e-3, "softsort": -1 / 1e-3, "ot-sorted": None}[method]
    if steps:
        np.testing.assert_allclose(logs[2:], [steps, {"neuralsort": 4, "softsort": 2}[method] * steps], rtol=1e-3)
    assert (np.diff(logs) <= 0).all()
    assert logs[3] < logs[2] < -100
    found = lapsum.log_soft_topk_vjp(x, 2, np.array([0.0, 0, 0, 1]), alpha=1e-3, method=method)
    assert np.isfinite(found.scores).all()
    assert found.scores[3] > 100
    assert found.scores.sum() == pytest.approx(0, abs=1e-9 * np.abs(found.scores).max())


@pytest.mark.parametrize("alpha", [1e-140, 1e-6, 1.0, 1e9, 1e140])
@pytest.mark.parametrize("x", [[], [0.3], [0.3] * 5, [1e140, -1e140, 0, 0], [1e-140, 0, 2e-140]])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(("method", "options"), [*WAYS, ("ot-sorted", {})], ids=[*IDS, "ot-sorted"])
def test_nothing_is_nan_wherever_scores_and_alpha_are(method, options, log, x, alpha):
    x, given = np.array(x, float), {"alpha": alpha, "method": method, **options}
    n = len(x)
    v, found = np.cos(np.arange(n)), []
    topk = (lapsum.log_soft_topk, lapsum.log_soft_topk_vjp) if log else (lapsum.soft_topk, lapsum.soft_topk_vjp)
    for k in (0, 1, 1.5, n):
        found += [topk[0](x, k, **given), *topk[1](x, k, v, **given)]
    if method != "ot-sorted" and not log:
        found += [lapsum.soft_rank(x, **given), *lapsum.soft_rank_vjp(x, v, **given)]
        found += [lapsum.soft_sort(x, **given), *lapsum.soft_sort_vjp(x, v, **given)]
        found += [lapsum.soft_permutation(x, **given)]
        found += lapsum.soft_permutation_vjp(x, np.outer(v, v), **given)
    assert not any(np.isnan(array).any() for array in found)


@pytest.mark.parametrize("descending", [True, False])
@EACH
def test_masked_items_share_the_last_positions_and_the_infinite_the_first(method, options, descending):
    given = {"alpha": 0.5, "method": method, "descending": descending, **options}
    inside = lapsum.soft_permutation(X[:4], **given)
    best, padding = (np.inf, -np.inf) if descending else (-np.inf, np.inf)
    x = np.array([X[0], padding, X[1], X[2], best, X[3], best, padding, padding])
    if not descending:
        x[x == -np.inf] = np.inf  # in ascending order all infinities are padding
    p = lapsum.soft_permutation(x, **given)
    finite, top = np.isfinite(x), (x == np.inf) & descending
    first, rest = int(top.sum()), ~finite & ~top
    np.testing.assert_allclose(p[finite][:, first : first + 4], inside, rtol=1e-12)
    assert (p[top][:, :first] == 0.5).all()
    np.testing.assert_allclose(p[rest][:, first + 4 :], 1 / rest.sum())
    np.testing.assert_allclose(p.sum(axis=1)[~finite], 1)
    v = RNG.standard_normal((9, 9))
    found = lapsum.soft_permutation_vjp(x, v, **given)
    want = lapsum.soft_permutation_vjp(X[:4], v[finite][:, first : first + 4].copy(), **given)
    np.testing.assert_allclose(found.scores[finite], want.scores, rtol=1e-12)
    assert found.alpha == pytest.approx(want.alpha, rel=1e-12)
    assert not found.scores[~finite].any()


@EACH
def test_an_array_a_list_and_rankings_have_the_same_matrices(method, options):
    x, given = np.stack([X, TIED]), {"alpha": 0.5, "method": method, **options}
    alone = [lapsum.soft_permutation(row, **given) for row in x]
    assert np.array_equal(lapsum.soft_permutation(x, **given), alone)
    listed = lapsum.soft_permutation([X, TIED[:5]], **given)
    assert np.array_equal(listed[0], alone[0])
    assert listed[1].shape == (5, 5)
    v = [np.ones((11, 11)), RNG.standard_normal((5, 5))]
    found = lapsum.soft_permutation_vjp([X, TIED[:5]], v, **given)
    want = lapsum.soft_permutation_vjp(TIED[:5], v[1], **given)
    assert np.array_equal(found.scores[1], want.scores)
    assert found.alpha[1] == want.alpha


@pytest.mark.parametrize("upstream", [np.ones(3), np.ones((2, 2)), [np.ones((3, 3))], np.full((3, 3), np.nan)])
def test_what_is_upstream_of_a_matrix_has_its_form(upstream):
    with pytest.raises(lapsum.DataError, match="upstream"):
        lapsum.soft_permutation_vjp(np.arange(3.0), upstream, alpha=1.0)


@pytest.mark.parametrize("tolerance", [0.0, 1e-3, 0.2])
@EACH
def test_sparse_rows_are_the_most_probable_of_the_matrix(method, options, tolerance, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"score": TIED}), tmp_path / "in.parquet")
    given = {"alpha": 0.5, "method": method, **options}
    lapsum.run_file("permute", tmp_path / "in.parquet", tmp_path / "out.parquet", tolerance=tolerance, **given)
    table, whole = pq.read_table(tmp_path / "out.parquet"), lapsum.soft_permutation(TIED, **given)
    found = np.zeros_like(whole)
    found[table["item"].to_numpy() - 1, table["position"].to_numpy() - 1] = table["probability"].to_numpy()
    kept = found > 0
    np.testing.assert_allclose(found[kept], whole[kept], rtol=1e-12)
    assert (np.where(kept, 0, whole).sum(axis=1) <= tolerance * (1 + 1e-9)).all()
    for row, keeps in zip(whole, kept, strict=True):  # nothing that is left out is more probable than what is kept
        assert row[keeps].min() >= row[~keeps].max(initial=0)
        if tolerance:
            assert row[~keeps].sum() + row[keeps].min() > tolerance


def test_a_long_ranking_must_be_forced_where_steps_are_quadratic():
    x = np.zeros(20_001)
    for method, options in [("neuralsort", {}), ("softsort", {"power": 2.0}), ("sortnet", {"network": "odd_even"})]:
        with pytest.raises(lapsum.DataError, match="force=True"):
            lapsum.soft_rank(x, alpha=1.0, method=method, **options)
    with pytest.raises(lapsum.DataError, match="steps"):
        lapsum.soft_topk(x, 20_000, alpha=1.0, method="ot-sorted")
    assert lapsum.soft_rank(x, alpha=1.0, method="softsort")[0] == pytest.approx(10_001)


def test_sums_of_softsort_take_no_square_of_a_million_scores():
    x = np.random.default_rng(0).standard_normal(1_000_000)
    ranks = lapsum.soft_rank(x, alpha=0.01, method="softsort")
    assert ranks.sum() == pytest.approx(len(x) * (len(x) + 1) / 2, rel=1e-9)
    assert lapsum.soft_topk(x, 1000, alpha=0.01, method="softsort").sum() == pytest.approx(1000, rel=1e-9)


def test_every_length_is_sorted_by_both_networks():
    """Of a bitonic one also those, such as 38, that are not where pairs with missing wires are left out."""
    for n in range(1, 130):
        x = np.random.default_rng(n).permutation(n).astype(float)
        for network in ("odd_even", "bitonic"):
            got = lapsum.soft_sort(x, alpha=1e-9, method="sortnet", network=network, step="logistic")
            np.testing.assert_allclose(got, np.arange(n)[::-1], atol=1e-12)


def test_more_iterations_are_taken_only_as_far_as_they_are_of_use():
    """A transport of a small epsilon, too, gives every position its mass."""
    x = np.random.default_rng(1).standard_normal(40)
    for alpha in (1.0, 0.1, 0.01, 1e-3):
        p = lapsum.soft_permutation(x, alpha=alpha, method="sinkhorn", iterations=4000)
        np.testing.assert_allclose(p.sum(axis=0), 1, atol=1e-10)
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    rough = lapsum.soft_permutation(x, alpha=0.1, method="sinkhorn", iterations=1)
    assert np.abs(rough.sum(axis=0) - 1).max() > 1e-3
