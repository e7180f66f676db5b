"""Standard deviations, the unit of an alpha such as 0.1std: against extended precision, where a careless one fails."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapsum_cli import Rankings
from lapsum_cli.kernels.cpu.deviations import standard_deviations
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
