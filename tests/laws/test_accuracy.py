"""The numbers against the definition: the bounds that kernels/__init__.py states, measured."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from catalogue import every, has_definition

from lapsum_cli import Rankings, log_soft_topk, soft_rank, soft_topk
from lapsum_cli.core import reference
from lapsum_cli.kernels.cpu import topk
from lapsum_cli.kernels.cpu.parallel import Cores

ALPHAS = (1e-6, 1e-3, 0.1, 1.0, 100.0, 1e3)
SHAPES = ("normal", "shifted", "ties", "constant", "heavy", "sorted")
TOPK_TOLERANCE = {"float32": 2e-6, "float64": 1e-12}
RANK_TOLERANCE = {"float32": 2e-7, "float64": 1e-12}  # times n
MILLION = 10**6


def scores(shape, n, dtype, seed=0):
    x = np.random.default_rng([seed, n]).standard_normal(n)
    made = {
        "normal": x,
        "shifted": x + 1000,
        "ties": np.round(x, 1),
        "constant": np.full(n, 0.3),
        "heavy": np.random.default_rng(seed).standard_cauchy(n),
        "sorted": np.sort(x),
    }
    return made[shape].astype(dtype)


# Every bound of length of the kernels that a definition in O(n^2) reaches.
LENGTHS = {"rank": (1, 2, 3, 100, 1024, 1025, 2100), "topk": (2, 3, 24, 25, 26, 100, 1000)}


def cases(entry, n):
    """Alpha, k and direction. A law says that ascending is the order of the negated scores: few of these try it. Of
    all but the shortest there are diagonals of the table of alphas and ks, on which each of either stands, fractions
    and whole numbers, which meet a gap. Without k every alpha is tried, of long rankings at some of the lengths.
    """
    alphas, ks = ALPHAS, (1e-3, 1, n * 0.37, n // 2, n - 1e-3) if entry.k else (None,)
    if entry.name in ("log topk", "quantile", "median"):
        alphas = ALPHAS[1:]  # the definition tells where a threshold is across gaps of 10^4 alpha, not more
    if entry.name == "log topk":
        ks = n * 0.37, n // 2
    diagonals = 1 + 2 * (n > 3) if len(ks) > 2 else 1 + (n >= 1000)
    for (i, alpha), (j, k) in product(enumerate(alphas), enumerate(ks)):
        if (i + j + n) % diagonals:
            continue
        for descending in (True, False) if n <= 25 else (True,):
            yield {"alpha": alpha, "descending": descending} | ({"k": k} if k else {})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@every(
    has_definition,
    topk_loss="no bound relative to it holds where log(1 - p) cancels: bounded in test_gradients.py, in float64",
    permutation_loss="as the one above: bounded in test_gradients.py, in float64",
    cascade_lapsum_loss="as the one above: bounded in test_gradients.py, in float64",
    graded_topk_loss="as the one above: bounded in test_gradients.py, in float64",
)
def test_results_are_those_of_the_definition(entry, shape, dtype):
    for n in LENGTHS.get(entry.name, (2, 3, 40)):
        x = scores(shape, n, dtype)
        target = np.random.default_rng(n).permutation(np.arange(n) % 5).astype(float)
        for given in cases(entry, n):
            is_undefined = entry.name == "spearman loss" and np.ptp(x) == 0  # no correlation
            want = 1.0 if is_undefined else entry.define(x, target, **given)
            error = np.abs(entry(x, target, **given) - want)
            size = np.maximum(np.abs(want), given["alpha"]) if entry.moves else want  # these spread with alpha
            assert np.all(error <= entry.bound(size, n, dtype)), (n, given, error.max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("alpha", [1e-3, 0.1, 10.0])
def test_results_for_ten_thousand_scores_are_those_of_the_definition(alpha, dtype):
    x = scores("normal", 10_000, dtype)
    for k in (1, 1000.5):
        assert np.abs(soft_topk(x, k, alpha=alpha) - reference.topk(x, k, alpha)).max() <= TOPK_TOLERANCE[dtype]
    assert np.abs(soft_rank(x, alpha=alpha) - reference.rank(x, alpha)).max() <= RANK_TOLERANCE[dtype] * 10_000


@pytest.mark.parametrize("shape", ["shifted", "ties", "constant", "infinite"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_hold_for_a_million_scores(shape, dtype):
    x = scores("normal" if shape == "infinite" else shape, MILLION, dtype)
    if shape == "infinite":
        x[::1000], x[1::1000] = -np.inf, np.inf
    double = x.astype(np.float64)
    for alpha in (1e-6, 1e-3, 1.0, 1e3):
        ranks = soft_rank(x, alpha=alpha)
        whole = MILLION * (MILLION + 1) / 2
        assert abs(ranks.sum(dtype=np.float64) - whole) <= 1e-6 * whole
        if dtype == "float32":
            assert np.abs(ranks - soft_rank(double, alpha=alpha)).max() <= 2e-7 * MILLION
        for k in (10, 0.5, 1e5 + 0.25, MILLION / 2, MILLION - 2000):
            p = soft_topk(x, k, alpha=alpha)
            assert abs(p.sum(dtype=np.float64) - k) <= 1e-6 * k, (alpha, k)
            if dtype == "float32":
                assert np.abs(p - soft_topk(double, k, alpha=alpha)).max() <= 2e-6, (alpha, k)


def test_softness_matters_in_these_tests():
    """Were the results hard, or all alike, the bounds above would prove little."""
    x = scores("normal", 1000, "float64")
    assert np.ptp(soft_rank(x, alpha=0.1) - reference.hard_rank(x)) > 1
    assert np.ptp(soft_topk(x, 100, alpha=0.1)) > 0.9
    assert np.abs(soft_topk(x, 100, alpha=0.1) - reference.hard_topk(x, 100)).max() > 0.3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_ends_of_k_and_n(dtype):
    x = scores("normal", 5, dtype)
    assert soft_topk(x, 0, alpha=1).tolist() == [0] * 5
    assert soft_topk(x, 5, alpha=1).tolist() == [1] * 5
    assert soft_topk(x, 7, alpha=1).tolist() == [1] * 5
    assert soft_topk(x[:1], 0.25, alpha=1).tolist() == [0.25]
    assert soft_rank(x[:1], alpha=1).tolist() == [1]
    assert soft_rank(x[:0], alpha=1).shape == soft_topk(x[:0], 1, alpha=1).shape == (0,)


def test_infinite_scores_mask_or_win():
    x = np.array([1.0, np.inf, -np.inf, 2.0, -np.inf])
    assert soft_rank(x, alpha=1e-3).tolist() == [3, 1, 4.5, 2, 4.5]
    assert soft_rank(x, alpha=1e-3, descending=False).tolist() == [1, 4, 4, 2, 4]  # nothing is worse than +inf
    p = soft_topk(x, 2, alpha=0.1)
    assert p[[1, 2, 4]].tolist() == [1, 0, 0]
    assert np.isclose(p.sum(), 2)
    assert soft_topk(x, 5, alpha=0.1).tolist() == [1, 1, 0, 1, 0]
    for k in (1.5, 2.5, 2.9):  # at the last no score is below the threshold
        logs = log_soft_topk(np.array([-np.inf, 1.0, 2.0, 3.0]), k, alpha=0.1)
        assert logs[0] == -np.inf
        assert np.isfinite(logs[1:]).all()
    two_winners = soft_topk(np.array([np.inf, 0.0, np.inf]), 1, alpha=0.1)
    assert two_winners.tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("alpha", [1e-300, 1e-40, 1e-12, 1e12, 1e39, 1e300])
def test_no_alpha_overflows(alpha, dtype):
    """alpha = 1e39 or 1e-40 gave NaN or a hang in the original; the limits are the hard result and k / n."""
    x = scores("ties", 1000, dtype)
    p, r = soft_topk(x, 100, alpha=alpha), soft_rank(x, alpha=alpha)
    want_p = reference.hard_topk(x, 100) if alpha < 1 else np.full(1000, 0.1)
    want_r = reference.hard_rank(x) if alpha < 1 else np.full(1000, 500.5)
    np.testing.assert_allclose(p, want_p, atol=1e-6)
    np.testing.assert_allclose(r, want_r, atol=1e-3)


@pytest.mark.parametrize(
    ("dtype", "scale"), [("float32", 1e30), ("float32", 3e-39), ("float64", 1e300), ("float64", 1e-300)]
)
def test_no_scale_of_scores_overflows(dtype, scale):
    x = scores("normal", 200, "float64").clip(-1, 1)
    scaled = (x * scale).astype(dtype)
    exact = (scaled.astype(np.longdouble) / np.longdouble(scale)).astype(np.float64)
    atol = 1e-6 if dtype == "float32" else 1e-9
    alpha = 0.1 * scale
    np.testing.assert_allclose(soft_topk(scaled, 20, alpha=alpha), reference.topk(exact, 20, 0.1), atol=atol)
    np.testing.assert_allclose(soft_rank(scaled, alpha=alpha), reference.rank(exact, 0.1), atol=200 * atol)
    ratio = soft_rank(scaled, alpha="0.1std") - soft_rank(exact, alpha="0.1std")
    assert np.abs(ratio).max() < 200 * atol


def test_integer_k_across_a_wide_gap():
    """A gap of 10^4 alpha at k gave all zeros in the original."""
    x = np.array([0.0, 1.0, 2.0, 3.0])
    for dtype in ("float32", "float64"):
        assert soft_topk(x.astype(dtype), 2, alpha=1e-4).tolist() == [0, 0, 1, 1]


def test_thresholds_reproduce_the_memberships():
    rows = [scores("normal", n, "float64", seed=n) for n in (1, 2, 30, 500)]
    for x in rows:
        for largest in (True, False):
            k = np.array([len(x) * 0.4])
            alphas = np.array([0.3])
            p, cuts = topk.soft_topk(Cores(), Rankings.equal_length(x, 1, len(x)), k, alphas, largest)
            z = (x - topk.thresholds(Cores(), cuts, alphas, largest)) / 0.3
            np.testing.assert_allclose(p, reference.laplace_cdf(z if largest else -z), atol=1e-13)


VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "lapsum.json").read_text())["cases"]


def _cases(op):
    return [pytest.param(case, id=f"{op}-{i}") for i, case in enumerate(VECTORS) if case["op"] == op]


@pytest.mark.parametrize("case", _cases("soft_topk"))
def test_memberships_are_those_of_the_authors(case):
    """The `descending` of the authors' notebook selects the smallest k; their C++ says `largest`."""
    options = case["params"]
    largest = options["largest"] if "largest" in options else not options["descending"]
    got = soft_topk(case["inputs"]["r"], np.array(case["inputs"]["k"]), alpha=options["alpha"], largest=largest)
    np.testing.assert_allclose(got, case["outputs"]["p"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", _cases("soft_topk_edge")[:1])
def test_memberships_at_a_gap_are_those_of_the_authors(case):
    got = soft_topk(np.array(case["inputs"]["r"]), np.array(case["inputs"]["k"]), alpha=case["params"]["alpha"])
    np.testing.assert_allclose(got, case["outputs"]["notebook"], rtol=1e-12)


@pytest.mark.parametrize("case", _cases("soft_rank"))
def test_ranks_are_those_of_the_authors(case):
    """The original counts from 0 and takes the direction from the sign of alpha."""
    alpha = case["params"]["alpha"]
    got = soft_rank(np.array(case["inputs"]["x"]), alpha=abs(alpha), descending=alpha < 0, base=0)
    np.testing.assert_allclose(got, case["outputs"]["rank"], rtol=0, atol=1e-12)
