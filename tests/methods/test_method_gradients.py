"""Gradients of the methods against central differences in float64: for scores, alpha, and k where it may be a part."""

import math
from functools import partial

import numpy as np
import pytest

import lapsum_cli as lapsum

RNG = np.random.default_rng(5)
X, V = RNG.standard_normal(11), RNG.standard_normal(11)
STEP, WITHIN = 1e-6, 5e-8

TOPK = [
    ("dftopk", {}, (3,)),
    ("sparse", {"p": 2}, (3, 3.4)),
    ("sparse", {"p": "4/3"}, (3, 3.4)),
    ("sparse-magnitude", {"p": 2}, (3, 3.4)),
    ("sparse-magnitude", {"p": 4 / 3}, (3, 3.4)),
    ("onesoft", {}, (1, 4)),
    ("threshold", {}, (None,)),
    ("threshold", {"gate": "softmax", "p": 0.05}, (None,)),
    ("threshold", {"gate": "identity", "p": 0.3}, (None,)),
    ("top-p", {}, (None,)),
    ("top-p", {"gate": "sigmoid", "p": 0.6}, (None,)),
    ("min-p", {}, (None,)),
    ("hard", {}, (3, 3.4)),
]
OTHERS = [(name, {"method": "isotonic", "regularization": by}) for name in ("rank", "sort") for by in ("l2", "kl")]
OTHERS += [("rank", {"method": "hard"}), ("sort", {"method": "hard"})]


def differences(value, x):
    return np.array([(value(x + STEP * e) - value(x - STEP * e)) / (2 * STEP) for e in np.eye(len(x))])


def difference(value, at):
    return (value(at + STEP) - value(at - STEP)) / (2 * STEP)


def assert_close(got, want):
    assert np.abs(got - want).max() <= WITHIN * max(1, np.abs(want).max())


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("alpha", [0.15, 0.7, 4.0])
@pytest.mark.parametrize(("method", "options", "ks"), TOPK, ids=lambda value: str(value))
def test_memberships_move_as_their_gradients_say(method, options, ks, alpha, largest):
    for k in ks:

        def value(x, alpha=alpha, k=k):
            return V @ lapsum.soft_topk(x, k, method=method, alpha=alpha, largest=largest, **options)

        got = lapsum.soft_topk_vjp(X, k, V, method=method, alpha=alpha, largest=largest, **options)
        assert_close(got.scores, differences(value, X))
        assert_close(got.alpha, difference(partial(value, X), alpha))
        if k is not None and k % 1:
            assert_close(got.k, difference(lambda k: value(X, k=k), k))


@pytest.mark.parametrize("method", ["dftopk", "ot", "onesoft"])
@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_so_do_logarithms_of_memberships(method, alpha):
    scale = np.maximum(X**2, (X + 1) ** 2).max()

    def value(x, alpha=alpha):
        if method == "ot":  # whose gradient holds the largest cost constant
            alpha = alpha * scale / np.maximum(x**2, (x + 1) ** 2).max()
        return V @ lapsum.log_soft_topk(x, 3, method=method, alpha=alpha)

    got = lapsum.log_soft_topk_vjp(X, 3, V, method=method, alpha=alpha)
    assert_close(got.scores, differences(value, X))
    assert_close(got.alpha, difference(partial(value, X), alpha))


@pytest.mark.parametrize("k", [1, 3.4, 10.5])
@pytest.mark.parametrize("alpha", [0.05, 2.0])
def test_transport_at_a_constant_scale_of_costs(k, alpha):
    scale = np.maximum(X**2, (X + 1) ** 2).max()

    def value(x, alpha=alpha, k=k):
        own = np.maximum(x**2, (x + 1) ** 2).max()
        return V @ lapsum.soft_topk(x, k, method="ot", alpha=alpha * scale / own)

    got = lapsum.soft_topk_vjp(X, k, V, method="ot", alpha=alpha)
    assert_close(got.scores, differences(value, X))
    assert_close(got.alpha, difference(partial(value, X), alpha))
    assert_close(got.k, difference(lambda k: value(X, k=k), k))


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("alpha", [0.15, 0.7, 4.0])
@pytest.mark.parametrize(("name", "options"), OTHERS, ids=lambda value: str(value))
def test_ranks_and_sorted_scores_move_as_their_gradients_say(name, options, alpha, descending):
    def value(x, alpha=alpha):
        return V @ getattr(lapsum, f"soft_{name}")(x, alpha=alpha, descending=descending, **options)

    got = getattr(lapsum, f"soft_{name}_vjp")(X, V, alpha=alpha, descending=descending, **options)
    assert_close(got.scores, differences(value, X))
    assert_close(got.alpha, difference(partial(value, X), alpha))


def test_gradients_of_noise_are_those_of_the_expectation():
    """By many draws, beside the differences of the means of as many, which have the same noise."""
    how = {"method": "noised", "draws": 60_000, "seed": 3}
    got = lapsum.soft_topk_vjp(X, 3, V, alpha=0.7, **how)

    def value(x, alpha=0.7):
        return V @ lapsum.soft_topk(x, 3, alpha=alpha, **how)

    wide = [(value(X + 0.1 * e) - value(X - 0.1 * e)) / 0.2 for e in np.eye(len(X))]
    assert np.abs(got.scores - wide).max() < 0.06
    assert abs(got.alpha - (value(X, 0.75) - value(X, 0.65)) / 0.1) < 0.12


METHODS_OF_K = ["dftopk", "ot", "sparse", "sparse-magnitude", "onesoft", "noised", "hard"]


@pytest.mark.parametrize("x", [[0.0, 0, 0, 0], [1.0, 1, 0, -1, -1], [0.0], [1e9, -1e9, 0], [5.0, 5, 5, 5 + 1e-12]])
@pytest.mark.parametrize("alpha", [1e-8, 1.0, 1e8, "0.1std"])
@pytest.mark.parametrize("method", METHODS_OF_K)
def test_nothing_is_nan_at_ties_zeros_and_gaps(method, alpha, x):
    for k in (0, 1, len(x) - 1, len(x), len(x) + 1):
        got = lapsum.soft_topk_vjp(x, k, np.arange(1.0, len(x) + 1), alpha=alpha, method=method)
        assert not np.isnan(lapsum.soft_topk(x, k, alpha=alpha, method=method)).any()
        assert not any(np.isnan(part).any() for part in got)
    for by in ("l2", "kl"):
        for function in (lapsum.soft_rank_vjp, lapsum.soft_sort_vjp):
            got = function(x, np.arange(1.0, len(x) + 1), alpha=alpha, method="isotonic", regularization=by)
            assert not any(np.isnan(part).any() for part in got)


@pytest.mark.parametrize("method", ["ot", "dftopk"])
def test_a_threshold_far_away_costs_the_gradient_for_alpha_no_digit(method):
    """Transport sees how far scores are from 0: at 1e5 its threshold is millions of their deviations away."""
    rng = np.random.default_rng(0)
    x, v = 1e5 + rng.standard_normal(200), rng.standard_normal(200)
    found = lapsum.soft_topk_vjp(x, 60, v, alpha=1.0, method=method)
    expected = -math.fsum(found.scores * (x - x[0]))
    assert abs(found.alpha - expected) <= 1e-9 * abs(expected)
    assert abs(expected) > 0
