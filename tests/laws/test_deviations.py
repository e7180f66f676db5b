"""Spreads, the units of an alpha such as 0.1std or 0.15mad: against extended precision, where a careless one fails, and
against NumPy's quantiles.
"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapsum_cli import Rankings, soft_rank, soft_topk
from lapsum_cli.kernels.cpu.deviations import spreads, standard_deviations
from lapsum_cli.kernels.cpu.parallel import Cores


def deviation(x, dtype="float64"):
    x = np.asarray(x, dtype)
    return standard_deviations(Cores(), Rankings.equal_length(x, 1, len(x)))[0]


def definition(x):
    """Of the finite scores, in extended precision about their mean."""
    finite = np.asarray(x)[np.isfinite(x)].astype(np.longdouble)
    return float(np.sqrt(np.mean((finite - finite.mean()) ** 2))) if len(finite) else 0.0


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50), st.sampled_from(["float32", "float64"]))
def test_it_is_the_root_of_the_mean_square_about_the_mean(x, dtype):
    want = definition(np.array(x, dtype))
    assert deviation(x, dtype) == pytest.approx(want, rel=1e-12, abs=1e-9 * max(np.abs(x)))


@pytest.mark.parametrize("n", [2, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e200, 1.7e308])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6])
def test_neither_scale_nor_offset_costs_digits(n, scale, offset):
    """In blocks of 1024. About 0 the squares of 1e200 overflow, those of 1e-300 vanish, and an offset cancels."""
    x = (np.linspace(-1, 1, n) + offset) / (1 + offset) * scale
    exact = x.astype(np.longdouble) / scale
    want = np.sqrt(np.mean((exact - exact.mean()) ** 2))
    assert deviation(x) / scale == pytest.approx(float(want), rel=1e-11)


def test_an_outlier_costs_no_digit():
    x = np.append(np.linspace(0, 1, 999), 1e12)
    assert deviation(x) == pytest.approx(definition(x), rel=1e-13)


@pytest.mark.parametrize("x", [[], [3.0], [0.1] * 7, [-np.inf], [np.inf, -np.inf], [2.5, -np.inf, 2.5]])
def test_what_does_not_differ_has_none(x):
    assert deviation(x) == 0


def test_infinite_scores_are_no_part_of_it():
    assert deviation([-np.inf, 1.0, np.inf, 3.0, -np.inf]) == 1.0


@pytest.mark.parametrize("threads", [1, 2])
def test_a_ranking_does_not_see_its_neighbours(threads):
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 3000, 500))])
    x = rng.standard_normal(offsets[-1]).astype(np.float32)
    got = standard_deviations(Cores(threads), Rankings(x, offsets))
    alone = [deviation(x[a:b], "float32") for a, b in pairwise(offsets)]
    assert np.array_equal(got, alone)
    want = [definition(x[a:b]) for a, b in pairwise(offsets)]
    np.testing.assert_allclose(got, want, rtol=1e-12)


# Those that outliers do not move.

QUANTILES = {
    "iqr": lambda x: np.subtract(*np.quantile(x, [0.75, 0.25])),
    "mad": lambda x: np.median(np.abs(x - np.median(x))),
}
OF_NORMAL = {"iqr": 1.3489795003921634, "mad": 0.6744897501960817}


def robust(x, unit):
    """By NumPy, of the finite scores; where it is 0 what a normal distribution of the same deviation has."""
    x = np.asarray(x, np.float64)
    x = x[np.isfinite(x)]
    return (QUANTILES[unit](x) or OF_NORMAL[unit] * definition(x)) if len(x) > 1 else 0.0


numbers = st.one_of(st.floats(-1e6, 1e6, width=32), st.sampled_from([0.0, 1.0, -np.inf, np.inf]))


@pytest.mark.parametrize("unit", QUANTILES)
@given(rows=st.lists(st.lists(numbers, max_size=40), min_size=1, max_size=5), dtype=st.sampled_from("fd"))
def test_robust_spreads_are_those_of_quantiles(unit, rows, dtype):
    rows = [np.array(row, dtype) for row in rows]
    want = [robust(row, unit) for row in rows]
    got = spreads(Cores(), Rankings.of(rows), unit)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("unit", QUANTILES)
@pytest.mark.parametrize("scale", [1e-300, 1.0, 8e307])
def test_no_scale_and_no_length_costs_robust_spreads_a_digit(unit, scale):
    """Sorted as a row of many, by bytes, and by several threads; the range of the largest is beyond float64."""
    rng = np.random.default_rng(0)
    rows = [rng.uniform(-2, 2, n) * scale for n in (3, 50, 999, 5000, 40_000)]
    want = [robust(row / scale, unit) for row in rows]
    got = spreads(Cores(2, 10_000), Rankings.of(rows), unit)
    np.testing.assert_allclose(got / scale, want, rtol=1e-12)


@pytest.mark.parametrize("unit", QUANTILES)
@pytest.mark.parametrize("descending", [True, False])
def test_an_alpha_in_a_robust_spread_is_that_alpha(unit, descending):
    rng = np.random.default_rng(0)
    x = rng.standard_cauchy((4, 30))
    alpha = 0.2 * np.array([robust(row, unit) for row in x])
    got = soft_rank(x, alpha=f"0.2{unit}", descending=descending)
    np.testing.assert_allclose(got, soft_rank(x, alpha=alpha, descending=descending), rtol=1e-12)


def test_outliers_do_not_move_robust_spreads_and_do_move_a_standard_deviation():
    x = np.append(np.random.default_rng(0).standard_normal(999), 1e4)
    held = {unit: np.sort(soft_topk(x, 10, alpha=f"0.1{unit}"))[-10:].sum() / 10 for unit in ("std", "iqr", "mad")}
    assert held["std"] < 0.2
    assert min(held["iqr"], held["mad"]) > 0.7
