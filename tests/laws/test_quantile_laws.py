"""Soft quantiles: thresholds of soft top-k, which are soft-sorted scores at their positions and NumPy's quantiles in
the limit; their gradients against the definition, and where a careless one would be 0 / 0.
"""

import mpmath
import numpy as np
import pytest
from drawn import alphas, dtypes, grids, softness, wild
from hypothesis import given
from hypothesis import strategies as st

import lapsum_cli as lapsum
from lapsum_cli import OptionError, soft_max, soft_median, soft_min, soft_quantile, soft_quantile_vjp, soft_sort
from lapsum_cli.core import reference

QS = (0.0, 0.25, 0.3, 0.5, 0.9, 1.0)
TOLERANCE = {"float32": 2e-6, "float64": 1e-11}
METHODS = pytest.mark.parametrize("method", ["lapsum", "hard"])
shares = st.floats(0, 1)


def scores(n, dtype="float64", seed=0):
    return np.random.default_rng([n, seed]).standard_normal(n).astype(dtype)


# Which quantile it is.


@METHODS
@given(wild, dtypes, alphas, st.booleans(), st.data())
def test_at_a_position_it_is_the_soft_sorted_score(method, ranking, dtype, alpha, descending, data):
    x, n = ranking[0].astype(dtype), len(ranking[0])
    place = data.draw(st.integers(0, n - 1))
    q = (n - 1 - place if descending else place) / max(n - 1, 1)
    want = soft_sort(x, alpha=alpha, descending=descending, method=method)[place]
    got = soft_quantile(x, q, alpha=alpha, descending=descending, method=method)
    size = max(abs(float(want)), alpha) * (1 + n)  # q n is rounded, and a threshold may move far with it
    assert got == pytest.approx(want, abs=(4e-6 if dtype == np.float32 else 1e-10) * size)


@METHODS
@given(grids, st.data())
def test_it_tends_to_what_numpy_has_at_scores_and_midway(method, ranking, data):
    x, n = ranking[0], len(ranking[0])
    half_places = data.draw(st.integers(0, 2 * (n - 1)))
    q = half_places / max(2 * (n - 1), 1)
    if (n - 1) * q * 2 == half_places:  # else a rounding of q tells which of two is nearer
        got = soft_quantile(x, q, alpha=1e-9, method=method)
        assert got == pytest.approx(np.quantile(x, q), abs=1e-7)


@given(wild, softness, shares)
def test_minus_the_scores_have_minus_the_other_quantile(ranking, alpha, q):
    x = ranking[0]
    got, want = soft_quantile(-x, 1 - q, alpha=alpha), -soft_quantile(x, q, alpha=alpha)
    assert got == pytest.approx(want, abs=1e-9 * (1 + alpha + np.abs(x).max()) * len(x))


@given(wild, softness, shares, shares)
def test_it_rises_with_q(ranking, alpha, p, q):
    low, high = (soft_quantile(ranking[0], given, alpha=alpha) for given in sorted([p, q]))
    assert low <= high + 1e-11 * (alpha + np.abs(ranking[0]).max())


@pytest.mark.parametrize("alpha", [1e-2, 0.3, 10.0])
@pytest.mark.parametrize("n", [1, 2, 30, 3000])
def test_the_ends_are_log_sum_exp(n, alpha):
    x = scores(n)
    for sign, function, gradients in ((1, soft_max, lapsum.soft_max_vjp), (-1, soft_min, lapsum.soft_min_vjp)):
        z = sign * x / alpha
        want = sign * alpha * (z.max() + np.log(np.exp(z - z.max()).sum()))
        assert function(x, alpha=alpha) == pytest.approx(want, rel=1e-12, abs=1e-12)
        softmax = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        np.testing.assert_allclose(gradients(x, 2.0, alpha=alpha).scores, 2 * softmax, rtol=1e-12, atol=1e-300)


def test_the_median_is_symmetric():
    for n in (1, 2, 3, 10, 1001):
        x = scores(n)
        assert soft_median(-x, alpha=0.3) == pytest.approx(-soft_median(x, alpha=0.3), abs=1e-12)
        assert soft_median(np.concatenate([x, -x]), alpha=0.3) == pytest.approx(0, abs=1e-12)


def test_extended_precision_agrees():
    x, alpha = scores(7), 0.37
    with mpmath.workdps(40):
        for q in QS:
            k = mpmath.mpf("0.5") + 6 - mpmath.mpf(q) * 6

            def count(t, k=k):
                terms = [mpmath.exp(-abs(mpmath.mpf(xi) - t) / mpmath.mpf(alpha)) / 2 for xi in x]
                return sum(1 - e if xi > t else e for e, xi in zip(terms, x, strict=True)) - k

            want = mpmath.findroot(count, (min(x) - 5, max(x) + 5), solver="anderson", tol=1e-30)
            assert soft_quantile(x, q, alpha=alpha) == pytest.approx(float(want), rel=1e-12)


# What takes part.


def test_padding_takes_no_part_and_infinity_is_the_largest():
    x = scores(9)
    for q in QS:
        want = soft_quantile(x, q, alpha=0.2)
        assert soft_quantile(np.append(x, [-np.inf] * 3), q, alpha=0.2) == pytest.approx(want, rel=1e-12)
        padded = np.append(x, [np.inf, -np.inf])
        assert soft_quantile(padded, q, alpha=0.2, descending=False) == pytest.approx(want, rel=1e-12)
    assert soft_max(np.append(x, np.inf), alpha=0.2) == np.inf
    assert np.isfinite(soft_median(np.append(x, np.inf), alpha=0.2))


@METHODS
def test_without_scores_it_is_nan_and_moves_with_nothing(method):
    for x in ([], [-np.inf, -np.inf]):
        assert np.isnan(soft_median(x, alpha=1.0, method=method))
        got = soft_quantile_vjp(x, 0.3, alpha=1.0, method=method)
        assert (got.q, got.alpha, got.scores.tolist()) == (0, 0, [0] * len(x))
    rows = soft_median([[1.0, 2.0], [], [3.0]], alpha=1e-6, method=method)
    np.testing.assert_allclose(rows, [1.5, np.nan, 3])


def test_of_one_score_it_is_that_score_whatever_q():
    for alpha in (1e-300, 1e-3, 1.0, 1e300):
        for q in QS:
            assert soft_quantile([0.7], q, alpha=alpha) == 0.7
            got = soft_quantile_vjp([0.7], q, alpha=alpha)
            assert (got.scores.tolist(), got.q, got.alpha) == ([1.0], 0, 0)


@METHODS
def test_a_constant_ranking_has_its_score_and_shares_the_gradient(method):
    x = np.full(4, 0.3)
    for q in QS:
        assert soft_quantile(x, q, method=method) == pytest.approx(0.3)
        np.testing.assert_allclose(soft_quantile_vjp(x, q, method=method).scores, 0.25)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_quantile_has_the_dtype_of_the_scores(dtype):
    x = scores(20).astype(dtype)
    assert soft_quantile(x, 0.3).dtype == soft_quantile(x[None], 0.3).dtype == dtype
    assert soft_quantile_vjp(x, 0.3).scores.dtype == dtype


def test_each_ranking_may_have_its_own_q():
    x, qs = scores(20).reshape(4, 5), [0.1, 0.5, 0.5, 1.0]
    want = [soft_quantile(row, q, alpha=0.3) for row, q in zip(x, qs, strict=True)]
    np.testing.assert_array_equal(soft_quantile(x, qs, alpha=0.3), want)
    each = [soft_quantile_vjp(row, q, 3.0, alpha=0.3) for row, q in zip(x, qs, strict=True)]
    got = soft_quantile_vjp(x, qs, [3.0] * 4, alpha=0.3)
    np.testing.assert_array_equal(got.scores, [one.scores for one in each])
    np.testing.assert_array_equal(got.q, [one.q for one in each])


@pytest.mark.parametrize("q", [-0.1, 1.1, np.nan, "x", True, [0.1, 0.2], [0.5, 1.5, 0.1], "50%"])
def test_what_is_no_q_is_refused(q):
    with pytest.raises((OptionError, lapsum.DataError), match="q "):
        soft_quantile(scores(9).reshape(3, 3), q)


def test_options_that_are_none_are_refused():
    for wrong in ({"gradient": True}, {"k": 3}, {"largest": True}):
        with pytest.raises(TypeError, match="unexpected keyword"):
            soft_quantile(scores(5), 0.5, **wrong)
        with pytest.raises(TypeError, match="unexpected keyword"):
            soft_quantile_vjp(scores(5), 0.5, **wrong)
    with pytest.raises(OptionError, match="no method 'softsort' for quantile; known are lapsum, hard"):
        soft_median(scores(5), method="softsort")


# Gradients.


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("alpha", [1e-2, 0.3, 10.0])
@pytest.mark.parametrize("n", [1, 2, 3, 30, 2500])
def test_gradients_are_those_of_the_definition(n, alpha, dtype):
    for q in QS if n < 2500 else (0.3, 1.0):
        x = scores(n, dtype)
        x[n // 2 :: 5] = x[0]  # ties
        got, (to_scores, to_q, to_alpha) = (
            soft_quantile_vjp(x, q, 1.5, alpha=alpha),
            reference.quantile_jacobian(x.astype(float), q, alpha),
        )
        tolerance = 4 * TOLERANCE[dtype] * float(1 + np.ptp(x) / alpha)  # a rounding of an exponent
        assert got.scores.dtype == dtype
        np.testing.assert_allclose(got.scores, 1.5 * to_scores, rtol=tolerance, atol=1e-30)
        assert got.q == pytest.approx(1.5 * to_q, rel=tolerance)
        assert got.alpha == pytest.approx(1.5 * to_alpha, abs=tolerance * (1 + abs(to_alpha)))


@pytest.mark.parametrize("descending", [True, False])
def test_gradients_are_what_differences_say(descending):
    x, alpha, h = np.random.default_rng(2).permuted(np.linspace(0, 3, 30) ** 2), 0.4, 1e-6

    def of(x=x, q=0.37, alpha=alpha):
        return soft_quantile(x, q, alpha=alpha, descending=descending)

    got = soft_quantile_vjp(x, 0.37, alpha=alpha, descending=descending)
    moved = h * np.eye(30)
    np.testing.assert_allclose(got.scores, (of(x + moved) - of(x - moved)) / (2 * h), atol=1e-8)
    assert got.q == pytest.approx((of(q=0.37 + h) - of(q=0.37 - h)) / (2 * h), rel=1e-6)
    assert got.alpha == pytest.approx((of(alpha=alpha + h) - of(alpha=alpha - h)) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("alpha", [1e-300, 1e-40, 1e-6, 1e-4])
def test_midway_in_a_wide_gap_both_sides_share_the_gradient(alpha, dtype):
    """A gap of up to 1e300 alphas, where every e^-|x - b| / alpha is 0."""
    x = np.array([0, 1, 3, 5], dtype)
    got = soft_quantile_vjp(x, 0.5, alpha=alpha)
    assert soft_median(x, alpha=alpha) == 2
    assert got.scores.tolist() == [0, 0.5, 0.5, 0]
    assert abs(got.alpha) * alpha < 1e-3
    assert got.q == np.inf  # it leaps from one score to the other
    assert soft_quantile_vjp(x, 0.5, 0.0, alpha=alpha).q == 0


def test_infinite_scores_have_no_gradient():
    x = np.append(scores(9), [np.inf, -np.inf])
    got = soft_quantile_vjp(x, 0.5, alpha=0.4)
    assert got.scores[9:].tolist() == [0, 0]
    assert got.scores.sum() == pytest.approx(1)
    at_infinity = lapsum.soft_max_vjp(x, alpha=0.4)
    assert not at_infinity.scores.any()
    assert at_infinity.alpha == 0


@pytest.mark.parametrize("scale", [1e-308, 1.0, 1e200, 1.7e308])
@pytest.mark.parametrize("alpha", [5e-324, 1e-300, 1e-3, 1.0, 1e300])
def test_no_alpha_and_no_scale_makes_a_nan(alpha, scale):
    x = scale * np.array([0.2, -0.3, 0.6, 1.0, 0.6])
    for q in QS:
        assert not np.isnan(soft_quantile(x, q, alpha=alpha))
        got = soft_quantile_vjp(x, q, alpha=alpha)
        assert got.scores.sum() == pytest.approx(1)
        assert not np.isnan([got.q, got.alpha]).any()


def test_at_the_ends_of_the_floats_a_power_of_two_changes_the_unit_alone():
    x = np.array([0.25, -0.375, 0.75, 1.25, 0.75])
    for q in QS:
        want, gradients = soft_quantile(x, q, alpha=0.5), soft_quantile_vjp(x, q, alpha=0.5)
        for power in (-1030, -990, 1000):
            moved, alpha = np.ldexp(x, power), float(np.ldexp(0.5, power))
            assert soft_quantile(moved, q, alpha=alpha) == np.ldexp(want, power)
            got = soft_quantile_vjp(moved, q, alpha=alpha)
            np.testing.assert_array_equal(got.scores, gradients.scores)
            assert got.alpha == gradients.alpha
            assert got.q == np.ldexp(gradients.q, power)


def test_many_scores_are_summed_in_parts_and_in_float64():
    x = scores(10**6, "float32")
    for alpha in (1e-3, 0.1, 10.0):
        single, double = (soft_quantile(x.astype(dtype), 0.9, alpha=alpha) for dtype in TOLERANCE)
        assert single == pytest.approx(double, abs=2e-6 * max(1, alpha))
        single, double = (soft_quantile_vjp(x.astype(dtype), 0.9, alpha=alpha) for dtype in TOLERANCE)
        assert np.abs(single.scores - double.scores).max() <= 1e-5 * double.scores.max()
        assert single.scores.sum(dtype=float) == pytest.approx(1, abs=1e-5)
        assert single.q == pytest.approx(double.q, rel=1e-4)


def test_a_hard_quantile_moves_with_the_scores_that_it_is():
    x = np.array([3.0, 1.0, 2.0, 2.0, 5.0])
    assert soft_quantile_vjp(x, 0.5, method="hard").scores.tolist() == [0, 0, 0.5, 0.5, 0]
    got = soft_quantile_vjp(x[:2], 0.5, 4.0, method="hard")
    assert (got.scores.tolist(), got.q, got.alpha) == ([2, 2], 0, 0)
