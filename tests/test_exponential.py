"""The polynomial exponential against the C library's in extended precision: the bounds that functions.py states."""

import numpy as np
import pytest

from lapsum_cli.kernels.jit import kernel
from lapsum_cli.kernels.scalars.functions import exp_nonpositive


@kernel
def _exp_all(z, out):
    for i in range(z.size):
        out[i] = exp_nonpositive(z[i])


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
