"""Gradients: against dense Jacobians, against differences of the functions themselves, against the authors' numbers,
and where a careless one would overflow.
"""

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from catalogue import every, has_definition, has_jacobian, is_by_definition, is_loss, is_smooth, named, upstream_like

import lapsum_cli as lapsum
from lapsum_cli.core import reference

SHAPES = ("normal", "shifted", "ties", "heavy")
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}
TOPK = [named("topk"), named("log topk")]
TOPKS = pytest.mark.parametrize("entry", TOPK, ids=str)


def scores(shape, n, dtype="float64"):
    x = np.random.default_rng([n, 7]).standard_normal(n)
    made = {
        "normal": x,
        "shifted": x + 1000,
        "ties": np.round(x, 1),
        "heavy": np.random.default_rng([n, 8]).standard_cauchy(n),
    }
    return made[shape].astype(dtype)


def upstream(n, dtype="float64"):
    return np.random.default_rng([n, 9]).standard_normal(n).astype(dtype)


def sizes_and_directions(shape):
    yield from ((n, descending) for n in (1, 2, 3, 4, 30) for descending in (True, False))
    if shape in ("normal", "heavy"):
        yield 300, True


def alphas_for(n):
    return (1e-3, 0.1, 1.0, 100.0) if n < 300 else (0.1,)


# Against the dense Jacobian. Terms that cancel leave a rounding behind, which a bound relative to what remains of them
# must not count: `steepest` is what one score alone can move its own result by, `distances` (in alphas) what its part
# of the gradient for alpha is multiplied with.


def assert_gradients(got, x, v, jacobian, to_alpha, distances, steepest=0.0):
    dtype, v = x.dtype.name, v.astype(np.longdouble)
    want = v @ jacobian
    rounding = 4 * np.finfo(dtype).eps * steepest * np.abs(v).max() + np.finfo(dtype).tiny
    bound = TOLERANCE[dtype] * np.abs(want).max() + rounding
    assert got.scores.dtype == dtype
    assert np.abs(got.scores - want).max() <= bound
    terms = np.abs(v * to_alpha).sum() + np.abs(want * distances).sum() + 1e-6 * np.abs(v).sum()
    assert abs(got.alpha - v @ to_alpha) <= TOLERANCE[dtype] * terms + (rounding * distances).sum()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
@every(has_jacobian)
def test_gradients_are_those_of_the_jacobian(entry, shape, dtype):
    for n, descending in sizes_and_directions(shape):
        x, v = scores(shape, n, dtype), upstream(n, dtype)
        for alpha in alphas_for(n):
            for k in sorted({0.3 * n, 1, n // 2, n - 0.25} - {0, n}) if entry.k else (None,):
                given = {"alpha": alpha, "descending": descending} | ({"k": k} if k else {})
                jacobian, *to_k, to_alpha = entry.dense(x, **given)
                got = entry.vjp(x, None, v, **given)
                distances, steepest = np.abs(x - np.median(x)) / alpha, 0.0
                if entry.k:
                    distances, steepest = at_the_threshold(entry, x, k, alpha, descending)
                assert_gradients(got, x, v, jacobian, to_alpha, distances, steepest)
                if entry.k and np.abs(to_k).max() < 1e300:  # across a wide gap the log of a tiny membership is as good
                    terms = v * to_k[0]  # as vertical
                    assert abs(got.k - terms.sum()) <= TOLERANCE[dtype] * np.abs(terms).sum(), (x, given)


def at_the_threshold(entry, x, k, alpha, descending):
    """How far each score is from the threshold, in alphas, and the steepest that a result is in its own score."""
    z = reference.distances(x, [k], alpha, descending != entry.reverse)[0]
    tails = np.exp(-np.abs(z)) / 2
    slopes = np.where(z <= 0, 1, tails / (1 - tails)) if entry.function.startswith("log") else tails
    return np.abs(z), slopes.max() / alpha


# Against central differences in float64. Where two scores, or a score and a threshold, meet, the second derivative
# jumps: none do within a step of these.

STEP = 1e-5  # alphas; the error is its square, some 1e-10 of the gradient, and from rounding 1e-16 / 1e-5
X = np.random.default_rng(2).permuted(np.linspace(0, 3, 30) ** 2)


def differences(function, x, alpha):
    """d results / d scores, a row for each score, and d results / d alpha."""
    h = STEP * alpha
    moved = h * np.eye(len(x))
    to_scores = (function(x + moved, alpha=alpha) - function(x - moved, alpha=alpha)) / (2 * h)
    return to_scores, (function(x, alpha=alpha + h) - function(x, alpha=alpha - h)) / (2 * h)


def assert_close(got, want):
    assert np.abs(want).max() > 1e-4  # else a gradient of 0 would do
    assert np.abs(got - want).max() <= 1e-7 * np.abs(want).max()


TARGET = np.random.default_rng(3).integers(0, 5, 30).astype(float)


@pytest.mark.parametrize("alpha", [0.2, 5.0])
@pytest.mark.parametrize("descending", [True, False])
@every(
    lambda entry: is_smooth(entry) and is_by_definition(entry),  # of other methods: tests/methods
    topk_hinge_loss="it has corners, and noise that goes by the ranking: tests/losses",
    lcron_loss="column sums are held constant, as with its authors: tests/losses",
    topk_svm_loss="differences say little of a slope along alpha that is all but 0 here: tests/losses",
    topk_cross_entropy_loss="its matrix of 30 scores is all but hard at an alpha of 0.5: tests/losses",
)
def test_results_move_as_their_gradients_say(entry, descending, alpha):
    if is_loss(entry):
        alpha = max(alpha, 0.5)  # a hard recall moves with nothing
    assert np.diff(np.sort(np.append(X, lapsum.soft_sort(X, alpha=alpha)))).min() > 3 * STEP * alpha
    v = 3.0 if entry.per == "ranking" else upstream_like(entry, upstream(len(X)))
    ks = (5, 7.3) if is_loss(entry) else (1, 7.3, 15, 29.5)  # a recall at 29.5 of 30 moves with nothing
    for k in ks if entry.k else (None,):
        if k:
            assert np.abs(lapsum.soft_topk(X, k, alpha=alpha) - 0.5).min() > 3 * STEP
            assert np.abs(lapsum.soft_topk(X, k, alpha=alpha, largest=False) - 0.5).min() > 3 * STEP
        given = {"descending": descending} | ({"k": k} if k else {})

        def results(x, given=given, **alpha):
            return entry(x, np.broadcast_to(TARGET, x.shape), **given, **alpha)

        to_scores, to_alpha = differences(results, X, alpha)
        got = entry.vjp(X, TARGET, v, alpha=alpha, **given)
        assert_close(got.scores, np.tensordot(to_scores, v, np.ndim(v)))
        assert_close(got.alpha, np.tensordot(to_alpha, v, np.ndim(v)))
        if hasattr(got, "k"):
            to_k = results(X, given | {"k": k + STEP}, alpha=alpha) - results(X, given | {"k": k - STEP}, alpha=alpha)
            assert_close(got.k, to_k @ v / (2 * STEP))


@pytest.mark.parametrize("alpha", [0.5, 5.0])
@pytest.mark.parametrize("descending", [True, False])
@every(lambda entry: is_loss(entry) and has_definition(entry))
def test_losses_are_those_of_the_definition(entry, descending, alpha):
    for k in (4, 7.3, 2.5) if entry.k else (None,):
        given = {"alpha": alpha, "descending": descending} | ({"k": k} if k else {})
        want = entry.define(X, TARGET, **given)
        assert want > 1e-3
        assert entry(X, TARGET, **given) == pytest.approx(want, rel=1e-11)


@pytest.mark.parametrize("alpha", [0.1, 5.0])
def test_equal_targets_of_a_permutation_take_each_of_their_places_in_turn(alpha):
    """So that the loss is the mean over their orders, whatever that of the input is."""
    x, target = X[:6], np.array([1.0, 0, 1, 2, 0, 1])
    orders = [np.argsort(np.lexsort((p, -target))) for p in permutations(range(6))]
    want = np.mean([lapsum.permutation_loss(x, -order, alpha=alpha) for order in orders])
    assert lapsum.permutation_loss(x, target, alpha=alpha) == pytest.approx(want, rel=1e-11)


def test_reductions_weigh_the_gradients_of_rankings():
    """The second ranking has no loss: its target is constant. It counts neither in the mean nor in a gradient."""
    x, y = np.stack([X, X[::-1], X**2]), np.stack([TARGET, np.ones(30), TARGET])
    losses = lapsum.spearman_loss(x, y, reduction="none")
    assert np.isnan(losses).tolist() == [False, True, False]
    assert lapsum.spearman_loss(x, y) == pytest.approx(np.nanmean(losses))
    assert lapsum.spearman_loss(x, y, reduction="sum") == pytest.approx(np.nansum(losses))
    each = lapsum.spearman_loss_vjp(x, y, [1.0, 1.0, 1.0], reduction="none")
    weights = {"mean": 0.5, "sum": 1.0, "none": [2.0, 5.0, 7.0]}
    for reduction, weight in weights.items():
        got = lapsum.spearman_loss_vjp(x, y, 1.0 if np.ndim(weight) == 0 else weight, reduction=reduction)
        np.testing.assert_allclose(got.scores, each.scores * np.reshape(np.broadcast_to(weight, 3), (3, 1)), rtol=1e-14)
        np.testing.assert_allclose(got.alpha, each.alpha * weight, rtol=1e-14)
    assert not each.scores[1].any()
    assert each.scores[[0, 2]].all()


# Against the numbers of the authors' implementations.

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "lapsum.json").read_text())["cases"]


def authors(op):
    return [pytest.param(case, id=f"{op}-{i}") for i, case in enumerate(VECTORS) if case["op"] == op]


def assert_equal(got, want, relative=1e-12):
    want = np.asarray(want, float)
    assert np.abs(np.reshape(got, want.shape) - want).max() <= relative * np.abs(want).max()


@pytest.mark.parametrize("case", authors("soft_topk") + authors("log_soft_topk"))
def test_memberships_and_their_gradients_are_those_of_the_authors(case):
    """The `descending` of their notebook selects the smallest k; their C++ makes alpha negative for the largest k."""
    options, inputs = case["params"], {name: np.array(value, float) for name, value in case["inputs"].items()}
    largest = options["largest"] if "largest" in options else not options["descending"]
    entry = named("topk" if case["op"] == "soft_topk" else "log topk")
    given = {"k": inputs["k"], "alpha": options["alpha"], "descending": largest}
    assert_equal(entry(inputs["r"], **given), case["outputs"]["p"])
    got, want = entry.vjp(inputs["r"], None, inputs["cotangent"], **given), case["grads"]
    assert_equal(got.scores, want["r"])
    assert_equal(got.k, want["k"])
    signed = (-1 if largest else 1) * want["alpha_signed"] if "alpha_signed" in want else want["alpha"]
    assert_equal(got.alpha.sum(), signed)


@pytest.mark.parametrize("case", authors("soft_rank") + authors("soft_sort"))
def test_gradients_of_ranks_and_sorted_scores_are_those_of_the_authors(case):
    """The sign of alpha is the direction. Where the gradient of their sort is wrong, the vectors have the exact one."""
    x, v, alpha = np.array(case["inputs"]["x"]), np.array(case["inputs"]["cotangent"]), case["params"]["alpha"]
    options = {"alpha": abs(alpha), "descending": alpha < 0}
    if case["op"] == "soft_rank":
        got = lapsum.soft_rank_vjp(x, v, **options)
        assert_equal(got.scores, case["grads"]["x"])
        assert_equal(got.alpha.sum(), np.sum(case["grads"]["alpha"]) * np.sign(alpha))
    else:
        assert_equal(lapsum.soft_sort(x, **options), case["outputs"]["sorted"])
        got = lapsum.soft_sort_vjp(x, v, **options)
        assert_equal(got.scores, case["ref_grad_x"])
        if case["original_grad_valid"]:
            assert_equal(got.scores, case["grads"]["x"])


@pytest.mark.parametrize("case", authors("soft_permutation"))
def test_permutations_and_their_losses_are_those_of_the_authors(case):
    """Theirs is ascending, with the places as targets, and sums over items."""
    x, places = np.array(case["inputs"]["x"]), np.array(case["inputs"]["target"])
    options, n = {"alpha": case["params"]["alpha"], "descending": False}, x.shape[1]
    assert_equal(lapsum.soft_permutation(x, **options), case["outputs"]["P"])
    assert_equal(n * lapsum.permutation_loss(x, -places, reduction="none", **options), case["outputs"]["ce_per_row"])
    got = lapsum.permutation_loss_vjp(x, -places, n, reduction="sum", **options)
    assert_equal(got.scores, case["ref_grad_x"])
    assert_equal(got.alpha.sum(), case["ref_grad_alpha"])
    if case["original_grad_valid"]:
        assert_equal(got.scores, case["grads"]["x"])


# Hostile cases.


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("largest", [True, False])
@TOPKS
def test_gradients_of_an_integer_k_across_a_wide_gap(entry, largest, dtype):
    """A gap of 10^4 alpha at k: the authors' memberships are all 0 there, their gradients NaN."""
    x, v, alpha, is_log = np.array([0, 1, 2, 2, 3], dtype), upstream(5, dtype), 1e-4, entry.name == "log topk"
    given, tolerance = {"k": 3 if largest else 2, "alpha": alpha, "descending": largest}, TOLERANCE[dtype]
    want = named("log topk").define(x, **given)
    np.testing.assert_allclose(entry(x, **given), want if is_log else np.exp(want), rtol=tolerance)
    got, (jacobian, to_k, to_alpha) = entry.vjp(x, None, v, **given), entry.dense(x, **given)
    np.testing.assert_allclose(got.scores, v @ jacobian, rtol=0, atol=tolerance * np.abs(v @ jacobian).max() + 1e-300)
    np.testing.assert_allclose(got.alpha, v @ to_alpha, rtol=tolerance, atol=1e-300)
    if not is_log:  # the logarithm of a membership of e^-5000 is as good as vertical
        np.testing.assert_allclose(got.k, v @ to_k, rtol=tolerance)


@TOPKS
def test_gradients_near_saturation_keep_their_digits(entry):
    """One score holds nearly all of the softmax at the threshold: q <h, v> is all of h v there, but for what counts."""
    rng = np.random.default_rng(0)
    drawn = [(rng.standard_normal(n), rng.uniform(0.02, n - 0.02), rng.standard_normal(n)) for n in (2, 3, 5) * 30]
    given = [([-0.381433249299883, 0.06589353446132186], 1.4699745159433129, [1.0, 0.0])]
    for x, k, v in given + drawn:
        x, v, alpha = np.array(x), np.array(v), 0.016331228672668466
        z = reference.distances(x, [k], alpha, True)[0]
        tails, q = np.exp(-np.abs(z)) / 2, np.exp(np.abs(z).min() - np.abs(z))
        h = tails if entry.name == "topk" else np.where(z <= 0, 1, tails / (1 - tails))
        terms = np.outer(h * v, q) - np.outer(q, h * v)  # each pair of scores pulls one up and the other down
        want = terms.sum(axis=1) / q.sum() / alpha
        got = entry.vjp(x, None, v, k=k, alpha=alpha)
        np.testing.assert_allclose(got.scores, want.astype(float), rtol=0, atol=1e-12 * float(np.abs(want).max()))


@pytest.mark.parametrize("alpha", [1e-307, 1e-300, 1e-3, 1.0, 1e300])
@pytest.mark.parametrize("scale", [1e-308, 1.0, 1e200, 1.7e308])
@every(has_jacobian)
def test_no_alpha_and_no_scale_makes_a_gradient_nan(entry, scale, alpha):
    """Infinite it may be, where it exceeds float64."""
    x, v = scale * np.array([0.2, -0.3, 0.6, 1.0, 0.6]), np.array([1, -2, 0.5, 3, 1])
    for k in (2, 2.5):
        got = entry.vjp(x, None, v, k=k, alpha=alpha)
        assert not np.isnan(got.scores).any()
        assert not np.isnan(got.alpha)


@TOPKS
def test_taking_nothing_or_everything_has_no_gradient(entry):
    for x in (X, X[:1], np.append(X, -np.inf)):
        for k in (0, np.isfinite(x).sum(), len(x) + 1):
            got = entry.vjp(x, None, upstream(len(x)), k=k, alpha=0.3)
            assert (got.k, got.alpha, np.abs(got.scores).max()) == (0, 0, 0)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("alpha", [1e-12, 1e-6, 1e-3, 1.0, 1e3, 1e6])
@every(has_jacobian, smallest="the threshold lies between scores there, and the gradient vanishes with alpha")
def test_no_alpha_overflows_a_gradient(entry, alpha, dtype):
    """Three tied scores hold the threshold, so that none of these gradients vanishes with alpha."""
    x, v = np.array([0.5, -1, 0.5, 3, 0.5, -2], dtype), np.array([1, 2, -1, 0.5, 3, 1], dtype)
    want, got = (v @ entry.dense(x, alpha=alpha, k=2.5)[0]).astype(float), entry.vjp(x, None, v, alpha=alpha, k=2.5)
    assert np.isfinite(got.alpha)
    np.testing.assert_allclose(got.scores, want, rtol=0, atol=TOLERANCE[dtype] * np.abs(want).max())


@pytest.mark.parametrize("dtype", TOLERANCE)
@every(has_jacobian)
def test_infinite_scores_have_no_gradient_and_give_none_whatever_is_upstream_of_them(entry, dtype):
    x, v = X[:9].astype(dtype), upstream(9, dtype)
    wide, pull = np.insert(x, [2, 7], [-np.inf, np.inf]), np.insert(v, [2, 7], [np.inf, 1e30])
    if entry.per == "position":  # +inf is first, -inf last
        pull = np.insert(v, [0, 9], [np.inf, 1e30])
    k = 3.5 if entry.reverse else 2.5  # of the largest one is +inf
    got, want = entry.vjp(wide, None, pull, k=3.5, alpha=0.4), entry.vjp(x, None, v, k=k, alpha=0.4)
    assert got.scores[[2, 8]].tolist() == [0, 0]
    np.testing.assert_allclose(np.delete(got.scores, [2, 8]), want.scores, rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(got.alpha, want.alpha, rtol=TOLERANCE[dtype])
    assert want.scores.all()


@every(has_jacobian)
def test_the_gradient_of_a_constant_ranking_is_that_of_any_with_ties(entry):
    x, v = np.full(4, 0.3), upstream(4)
    want = (v @ entry.dense(x, alpha=0.5, k=2.5)[0]).astype(float)
    np.testing.assert_allclose(entry.vjp(x, None, v, alpha=0.5, k=2.5).scores, want, rtol=1e-12)


def test_a_constant_ranking_sorts_to_itself_where_alpha_is_in_its_deviations():
    assert lapsum.soft_sort(np.full(4, 0.3), alpha="0.1std").tolist() == [0.3] * 4


@pytest.mark.parametrize("alpha", [1e-3, 0.1, 10.0])
@every(has_jacobian)
def test_gradients_of_many_float32_scores_are_those_of_float64(entry, alpha):
    x, v = scores("normal", 10**5, "float32"), upstream(10**5, "float32")
    given = {"alpha": alpha} | ({"k": 1000.5} if entry.k else {})
    single, double = (entry.vjp(x.astype(dtype), None, v.astype(dtype), **given) for dtype in TOLERANCE)
    assert np.abs(single.scores - double.scores).max() <= 2e-6 * np.abs(double.scores).max()
    assert abs(single.alpha - double.alpha) <= 1e-7 * np.abs(double.scores * x).sum() / alpha
    if entry.k:
        assert single.k == pytest.approx(double.k, rel=2e-6)
