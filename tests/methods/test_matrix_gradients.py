"""Gradients of methods that are soft permutation matrices, against central differences in float64."""

import numpy as np
import pytest
from matrices import IDS, WAYS, ot_sorted

import lapsum_cli as lapsum

X = np.random.default_rng(2).permuted(np.linspace(0, 2.5, 9) ** 2)
V = np.cos(np.arange(9)) + 0.3
SQUARE = np.random.default_rng(3).standard_normal((9, 9))
STEP = 1e-5  # alphas


def differences(function, x, alpha):
    """d results / d scores, and d results / d alpha."""
    h = STEP * alpha
    to_scores = [(function(x + moved, alpha) - function(x - moved, alpha)) / (2 * h) for moved in h * np.eye(len(x))]
    return np.array(to_scores), (function(x, alpha + h) - function(x, alpha - h)) / (2 * h)


def assert_close(got, want, of=1.0):
    """To 1e-7 of the largest, and what rounding leaves of results of a size."""
    assert np.abs(got - want).max() <= 1e-7 * np.abs(want).max() + of * 1e-9


CASES = [("rank", V, ()), ("sort", V, ()), ("topk", V, (3,)), ("topk", V, (4.6,)), ("permutation", SQUARE, ())]
CASES += [("log_topk", V, (3,)), ("log_topk", V, (4.6,))]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("alpha", [0.3, 2.0])
@pytest.mark.parametrize(("name", "v", "k"), CASES, ids=[f"{name}{k or ''}" for name, _, k in CASES])
@pytest.mark.parametrize(("method", "options"), [("lapsum", {}), *WAYS], ids=["lapsum", *IDS])
def test_results_move_as_their_gradients_say(method, options, name, v, k, alpha, descending):
    function = "log_soft_topk" if name == "log_topk" else f"soft_{name}"
    side = {"largest" if k else "descending": descending}
    given = {"method": method, **options, **side}

    def value(x, alpha, k=k):
        return (getattr(lapsum, function)(x, *k, alpha=alpha, **given) * v).sum()

    got = getattr(lapsum, f"{function}_vjp")(X, *k, v, alpha=alpha, **given)
    to_scores, to_alpha = differences(value, X, alpha)
    assert np.abs(to_scores).max() > 1e-6
    assert_close(got.scores, to_scores, 1 / alpha)
    assert_close(got.alpha, to_alpha, 10 / alpha)
    if k and k[0] != int(k[0]):
        to_k = (value(X, alpha, (k[0] + STEP,)) - value(X, alpha, (k[0] - STEP,))) / (2 * STEP)
        assert_close(got.k, to_k, 1)


@pytest.mark.parametrize("alpha", [0.05, 0.5])
@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("log", [False, True])
def test_sorted_transport_moves_as_its_gradients_say_with_the_largest_cost_held(log, k, alpha):
    most = max(((X - k) ** 2).max(), (X**2).max())

    def value(x, alpha):
        p = ot_sorted(x, k, alpha, most)[:k].sum(axis=0)
        return (np.log(p) if log else p) @ V

    got = (lapsum.log_soft_topk_vjp if log else lapsum.soft_topk_vjp)(X, k, V, alpha=alpha, method="ot-sorted")
    to_scores, to_alpha = differences(value, X, alpha)
    np.testing.assert_allclose(got.scores, to_scores, rtol=0, atol=1e-6 * np.abs(to_scores).max())
    assert got.alpha == pytest.approx(to_alpha, rel=1e-5, abs=1e-6)
    assert got.k == 0


@pytest.mark.parametrize("method", ["neuralsort", "softsort", "sinkhorn"])
@pytest.mark.parametrize("name", ["rank", "topk", "sort"])
def test_equal_scores_have_equal_gradients_where_what_is_upstream_is_equal(method, name):
    """Which of them is sorted first is the order of the input, and no gradient sees it."""
    x, k = np.array([1.0, 0.5, 1.0, -0.3, 0.5, 0.5]), (2.5,) if name == "topk" else ()
    v = np.array([1.0, 2, 1, 0.5, 2, 2]) if name != "sort" else np.arange(6.0)
    found = getattr(lapsum, f"soft_{name}_vjp")(x, *k, v, alpha=0.4, method=method)
    assert found.scores[0] == pytest.approx(found.scores[2], rel=1e-12)
    assert found.scores[[1, 1]] == pytest.approx(found.scores[[4, 5]], rel=1e-12)
    assert found.scores.any()


@pytest.mark.parametrize("method", ["softsort", "neuralsort"])
def test_a_power_near_one_has_the_gradients_of_the_sweeps(method):
    """Row by row and in O(n): two ways of one formula. NeuralSort has one, and so agrees with itself in any unit."""
    x, v = np.round(np.random.default_rng(0).standard_normal(50) * 8) / 8, np.sin(np.arange(50))
    for log in (False, True):
        vjp = lapsum.log_soft_topk_vjp if log else lapsum.soft_topk_vjp
        given = {"power": 1 + 1e-12} if method == "softsort" else {}
        scale = 1.0 if method == "softsort" else 8.0
        want, got = (
            vjp(x, 7.3, v, alpha=0.2, method=method),
            vjp(scale * x, 7.3, v, alpha=0.2 * scale, method=method, **given),
        )
        np.testing.assert_allclose(scale * got.scores, want.scores, rtol=1e-8, atol=1e-9)
        assert scale * got.alpha == pytest.approx(want.alpha, rel=1e-8)
        assert got.k == pytest.approx(want.k, rel=1e-9)
