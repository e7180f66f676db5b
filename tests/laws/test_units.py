"""Scores and alphas at the ends of the floats: a power of two changes nothing but the unit, and what exceeds a dtype is
inf or 0, never NaN.
"""

import functools
from itertools import product

import numpy as np
import pytest
from catalogue import every, is_by_definition, named, upstream_like
from drawn import dtypes, grids
from hypothesis import assume, given
from hypothesis import strategies as st

BITS = st.integers(1, 255).map(lambda v: v / 64)  # of an alpha: a power of two takes none of them from it
LARGEST, LEAST = np.finfo(float).max, 5e-324


def powers(dtype):
    return st.integers(-1060, 1010) if dtype == np.float64 else st.integers(-115, 115)


def scaled(values, power):
    """Values times two to a power, as far as a float holds it."""
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(values, power)


def upstream_of(entry, n, dtype):
    return 1.5 if entry.per == "ranking" else upstream_like(entry, np.cos(np.arange(n)).astype(dtype))


@every(is_by_definition)
@given(grids, dtypes, st.one_of(BITS, st.sampled_from(["0.5std", "2std"])), st.data())
def test_a_power_of_two_changes_no_bit_but_the_unit(entry, ranking, dtype, alpha, data):
    """In float32 as long as 1 / alpha is not beyond it: then a top k is computed in float64."""
    power = data.draw(powers(dtype))
    x, target = ranking[0].astype(dtype), ranking[1]
    grown = scaled(x, power)
    grown_alpha = alpha if isinstance(alpha, str) else float(scaled(alpha, power))
    assume(np.array_equal(scaled(grown, -power), x))
    assume(isinstance(alpha, str) or scaled(grown_alpha, -power) == alpha)
    deviation = np.std(x.astype(float)) if isinstance(alpha, str) else alpha
    if dtype == np.float32:
        assume(1e-28 < scaled(deviation, power) < 1e28 or deviation == 0)
    given = {"k": 0.3 * len(x)}
    want, got = entry(x, target, alpha=alpha, **given), entry(grown, target, alpha=grown_alpha, **given)
    np.testing.assert_array_equal(got, scaled(want, power) if entry.moves else want)
    if not entry.differentiable:
        return
    v = upstream_of(entry, len(x), dtype)
    want, got = entry.vjp(x, target, v, alpha=alpha, **given), entry.vjp(grown, target, v, alpha=grown_alpha, **given)
    for name, a, b in zip(want._fields, want, got, strict=True):
        expected = a if entry.moves or name == "k" else scaled(a, -power)
        expected = scaled(a, power) if name == "q" else expected
        least = np.minimum(np.abs(a), np.abs(expected))  # either may be what a gradient near the end of floats became
        is_normal = (least > np.finfo(dtype).tiny * 2**30) & (np.abs(expected) < np.finfo(dtype).max)
        np.testing.assert_array_equal(np.asarray(b)[is_normal], np.asarray(expected)[is_normal])
        assert not np.isnan(b).any()


# Scores 2^s, alpha 2^a, each anywhere: by the definition of scores 2^(s - a), alpha 1. From 2^12 on that is hard, up
# to 2^-60 flat.

BASE = {"one side": np.array([0.25, -0.375, 0.75, 1.25, 0.75]), "both": np.array([1.75, -1.875, 0.5, 0.5, -0.25])}
V = np.array([1, -2, 0.5, 3, 1])
OF_SCORES, OF_ALPHA = (-1071, -1030, -996, 0, 700, 1023), (-1074, -1030, -1021, -996, 0, 3, 996, 1023)
HARD, FLAT = 12, -60


@functools.cache
def by_definition(entry_name, base, power, k):
    """Results of the scores times 2^power at alpha 1, in float64, and V times their Jacobians, in longdouble."""
    entry, z, given = named(entry_name), scaled(BASE[base], power), {"k": k} if k else {}
    jacobian, *_, to_alpha = entry.dense(z, alpha=1.0, **given) if entry.jacobian else (np.zeros(5), np.zeros(5))
    to_scores = V @ jacobian
    if power == HARD:  # farther apart there is nothing left of e^-1000 of them
        to_scores = np.where(np.abs(to_scores) < 1e-100, 0, to_scores)
    return entry.define(z, alpha=1.0, **given), to_scores, V @ to_alpha


def assert_is(got, want, size):
    """Within 1e-12 of a size; infinite where it exceeds float64."""
    got, want = np.asarray(got, np.longdouble), np.asarray(want, np.longdouble)
    bound = np.longdouble(1e-12) * size + 4 * np.longdouble(LEAST)
    with np.errstate(invalid="ignore"):
        is_near = np.abs(got - want) <= bound
    is_beyond = np.isinf(got) & (np.sign(got) == np.sign(want)) & (np.abs(want) + bound > LARGEST)
    assert np.all(is_near | is_beyond), (got, want)


@pytest.mark.parametrize("base", BASE)
@pytest.mark.parametrize("of_scores", OF_SCORES)
@every(lambda entry: entry.definition is not None and entry.per != "ranking")
def test_results_and_gradients_are_right_at_the_ends_of_the_floats(entry, of_scores, base):
    for of_alpha, k in product(OF_ALPHA, (2, 2.5) if entry.k else (None,)):
        power = max(FLAT, min(of_scores - of_alpha, HARD))
        given = {"alpha": float(scaled(1.0, of_alpha))} | ({"k": k} if k else {})
        x, unit = scaled(BASE[base], of_scores), np.longdouble(2) ** -of_alpha
        results, to_scores, to_alpha = by_definition(entry.name, base, power, k)
        got = entry(x, **given)
        if entry.moves and power == HARD:
            steps = results - 2.0**HARD * -np.sort(-BASE[base])
            assert_is(got, steps / unit - np.sort(-x), np.abs(x).max())
        elif entry.moves:
            assert_is(got, results / unit, np.abs(results).max() / unit)
        else:
            is_far = np.abs(results) > 100  # a logarithm: what it is of 2^-s, a multiple of 1/16, is all that counts
            assert_is(got[~is_far], results[~is_far], np.abs(results[~is_far]) + 1)
            far = np.round(results[is_far] / 2.0**HARD * 16) / 16 * np.longdouble(2) ** (of_scores - of_alpha)
            assert_is(got[is_far], far, np.abs(far) * (1e10 if of_scores - of_alpha < 60 else 1))
        if entry.jacobian is None:
            continue
        unit = 1 if entry.moves else unit
        found = entry.vjp(x, None, V, **given)
        assert_is(found.scores, to_scores * unit, np.abs(to_scores).max() * unit)
        if power < HARD:
            assert_is(found.alpha, to_alpha * unit, (np.abs(to_alpha) + 10 * 2.0 ** max(power, 3)) * unit)


ALPHAS = [5e-324, 1e-310, 3e-308, 1e-300, 1e-3, 1.0, 10.0, 1e300, 1.7e308, "0.1std", "9std"]


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-308, 1.0, 1e200, 1.7e308])
@every(is_by_definition)
def test_no_finite_input_gives_a_nan(entry, scale):
    for base, dtype in product(([0.2, -0.3, 0.6, 1.0, 0.6], [-1.0, 1.0], [1.0]), (np.float32, np.float64)):
        x = np.array(base) * min(scale, 3.4e38 if dtype == np.float32 else scale)
        x, target, n = x.astype(dtype), np.arange(len(base)) % 3.0, len(base)
        v = upstream_of(entry, n, dtype)
        for k in (1, 0.37 * n) if entry.k else (1,):
            is_undefined = entry.per == "ranking" and np.isnan(entry(x.astype(float) * 0 + target, target, k=k))
            for alpha in ALPHAS:
                found = [] if is_undefined else [entry(x, target, alpha=alpha, k=k)]
                if entry.differentiable:
                    found += entry.vjp(x, target, v, alpha=alpha, k=k)
                assert not any(np.isnan(array).any() for array in found), (base, dtype, k, alpha)
