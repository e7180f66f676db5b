"""Polynomials for exp and log against the C library's in extended precision: the bounds that laplace.py states."""

import numpy as np
import pytest

from lapsum_cli.kernels.jit import kernel
from lapsum_cli.kernels.scalars.functions import exp_nonpositive, log_normal, log_one_minus


@kernel
def _exp_all(z, out):
    for i in range(z.size):
        out[i] = exp_nonpositive(z[i])


@kernel
def _log_one_minus_all(u, out):
    for i in range(u.size):
        out[i] = log_one_minus(u[i])


@kernel
def _log_all(x, out):
    for i in range(x.size):
        out[i] = log_normal(x[i])


def _exp(z):
    out = np.empty_like(z)
    _exp_all(z, out)
    return out


@pytest.mark.parametrize(("dtype", "lowest", "bound"), [("float32", -87, 1.2e-7), ("float64", -708, 4e-16)])
def test_relative_error_is_that_of_one_rounding(dtype, lowest, bound):
    z = np.concatenate([np.linspace(lowest, 0, 1_000_001), -np.logspace(-40, 0, 10_001)]).astype(dtype)
    exact = np.exp(z.astype(np.longdouble))
    error = np.abs(_exp(z) - exact) / exact
    assert error.max() <= bound
    assert error.max() > bound / 50  # the comparison is fine enough to see an error


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_ends(dtype):
    z = np.array([0.0, -0.0, -1e-300, -1000.0, -np.inf, np.nan], dtype)
    assert _exp(z).tolist() == [1, 1, 1, 0, 0, 0]  # inf - inf, the distance between two infinities, counts as infinite


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_falls_monotonically_up_to_rounding(dtype):
    e = _exp(np.linspace(-30, 0, 300_001).astype(dtype))
    assert np.all(e[1:] >= e[:-1] * (1 - 4 * np.finfo(dtype).eps))


# Logarithms. The bounds stated are relative, so that a tiny result keeps its digits too.


def _worst(got, exact):
    is_zero = exact == 0
    assert not got[is_zero].any()
    return np.max(np.abs(got[~is_zero] - exact[~is_zero]) / np.abs(exact[~is_zero]))


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 2.2e-7), ("float64", 4e-16)])
def test_the_log_of_one_less_a_share_keeps_its_digits(dtype, bound):
    u = np.concatenate([np.linspace(0, 0.5, 1_000_001), np.logspace(-30, -0.31, 100_001)]).astype(dtype)
    out = np.empty_like(u)
    _log_one_minus_all(u, out)
    worst = _worst(out, np.log1p(-u.astype(np.longdouble)))
    assert bound / 50 < worst <= bound


def test_the_log_of_a_normal_number_keeps_its_digits_also_next_to_1():
    near = 1 + np.concatenate([s * np.logspace(-15.5, -0.5, 200_001) for s in (1.0, -1.0)])
    x = np.concatenate([np.logspace(-307, 308, 1_000_001), near, np.sqrt([0.5, 2.0]), [np.finfo(float).tiny, 1.0]])
    out = np.empty_like(x)
    _log_all(x, out)
    worst = _worst(out, np.log(x.astype(np.longdouble)))
    assert 4e-16 / 50 < worst <= 4e-16
