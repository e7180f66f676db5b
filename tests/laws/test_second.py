"""Second derivatives, and derivatives along a direction: beside dense formulas, differences of gradients, and laws."""

import numpy as np
import pytest
from drawn import short, softness
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lapsum_cli
from lapsum_cli.api.losses import loss_vjp
from lapsum_cli.core import reference
from lapsum_cli.core.errors import NotDifferentiable
from lapsum_cli.core.quantities import Alpha, K, Q
from lapsum_cli.core.rankings import Rankings
from lapsum_cli.devices.cpu import Cpu
from lapsum_cli.operations import LOSSES, METHODS, loss_called
from lapsum_cli.operations.along import derivatives
from lapsum_cli.operations.loss import Loss
from lapsum_cli.operations.permute import Permute
from lapsum_cli.operations.quantile import Quantile
from lapsum_cli.operations.rank import Rank
from lapsum_cli.operations.slots import RANKING, Derivatives
from lapsum_cli.operations.sort import Sort
from lapsum_cli.operations.topk import TopK

CPU = Cpu()
K_OF = 2.3
DENSE = {
    "rank": (Rank(), reference.rank_jacobian, reference.rank_curvature),
    "sort": (Sort(), reference.sort_jacobian, reference.sort_curvature),
    "topk": (TopK(ks=(K(K_OF),)), reference.topk_jacobian, reference.topk_curvature),
    "log topk": (TopK(ks=(K(K_OF),), log=True), reference.log_topk_jacobian, reference.log_topk_curvature),
}
CURVED = {
    **{name: operation for name, (operation, _, _) in DENSE.items()},
    "quantile": Quantile(qs=(Q(0.3),)),
    **{name: Loss(loss=name) for name in ("spearman", "ndcg", "permutation", "graded-topk")},
    **{f"{name} at k": Loss(loss=name, ks=(K(K_OF),)) for name in ("topk", "recall", "ndcg")},
}
operations = pytest.mark.parametrize("name", CURVED)
directions = pytest.mark.parametrize("descending", [True, False])


def turned(operation, descending):
    return type(operation)(**{**operation.__getstate__(), "descending": descending})


def batch(seed, lengths=(7, 0, 1, 2, 12), of_ties=False):
    """Rankings with what every operation takes: alphas, ks, targets, and an upstream gradient of scores."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    n, m = offsets[-1], len(lengths)
    x = rng.normal(size=n)
    target = rng.integers(0, 4, n) if of_ties else rng.permutation(n) / 5
    each = {"alpha": rng.uniform(0.3, 1.5, m), "k": np.full(m, 2.3), "q": np.full(m, 0.3)}
    return Rankings(x, offsets).with_each(each, {"target": target.astype(float)}), rng


def upstream_of(operation, rankings, rng):
    return rng.normal(size=len(rankings) if operation.gives[0].per == RANKING else len(rankings.values))


def has_k(operation):
    """Or q."""
    return isinstance(operation, TopK | Quantile)


def moved_by(operation, rankings, towards, step):
    """The rankings so many steps along a direction."""
    each = {**rankings.each, "alpha": rankings.each["alpha"] + step * towards.alpha}
    if towards.k is not None:
        each[operation.at.name] = each[operation.at.name] + step * towards.k
    there = Rankings(rankings.values + step * towards.scores, rankings.offsets)
    return there.with_each(each, rankings.beside)


def results_and_gradients(operation, rankings, upstream):
    [(_, ready)] = operation.by_k(operation.ready(rankings, CPU))
    made = operation.forward(ready, CPU, keep=True)
    found = operation.backward(ready, made.state, upstream, CPU)
    return (made.numbers[operation.result] if made.values is None else made.values.copy()), found


@pytest.mark.parametrize("name", DENSE)
@directions
@given(short, softness, st.integers(0, 100))
@settings(max_examples=40)
def test_they_are_those_of_the_dense_formula(name, descending, ranking, alpha, seed):
    """Also of ties, where ranks are curved as in the mean of both sides; a score at a threshold is left out."""
    x, rng = ranking[0][:12], np.random.default_rng(seed)
    operation, jacobian, curvature = DENSE[name]
    is_topk = "k" in operation.takes
    assume(not is_topk or len(x) > K_OF)
    given_k = (K_OF,) if is_topk else ()
    levels = [K_OF] if is_topk else np.arange(len(x)) + 0.5
    assume(name == "rank" or np.abs(reference.distances(x, levels, alpha, descending)).min() > 1e-9)
    towards, v = rng.normal(size=(2, len(x)))
    rankings = Rankings(x, [0, len(x)]).with_each({"alpha": np.array([alpha])})
    found = derivatives(turned(operation, descending), rankings, v, Derivatives(towards, None), CPU)
    slopes, curves = (define(x, *given_k, alpha, descending) for define in (jacobian, curvature))
    dense = np.einsum("i,ijl,l->j", v, curves, towards).astype(float)
    scale = np.einsum("i,ijl,l->j", *map(np.abs, (v, curves, towards))).max()
    np.testing.assert_allclose(found.moved, slopes[0] @ towards, rtol=1e-9, atol=1e-11 * np.abs(towards).sum() / alpha)
    np.testing.assert_allclose(found.gradients.scores, dense, rtol=1e-9, atol=1e-10 * (scale + 1 / alpha**2))


@operations
@directions
@pytest.mark.parametrize("of_ties", [False, True])
def test_they_are_differences_of_gradients(name, descending, of_ties):
    """In a direction of scores, alpha and k at once; of targets with ties and without; a masked score stays so."""
    operation, (rankings, rng) = turned(CURVED[name], descending), batch(5, of_ties=of_ties)
    values = rankings.values.copy()
    values[9] = -np.inf if descending else np.inf
    rankings = Rankings(values, rankings.offsets).with_each(rankings.each, rankings.beside)
    m, v = len(rankings), upstream_of(operation, rankings, rng)
    along_k = rng.normal(size=m) if has_k(operation) else None
    towards = Derivatives(rng.normal(size=len(values)), rng.normal(size=m), along_k)
    towards.scores[9] = 0.0
    found, step = derivatives(operation, rankings, v, towards, CPU), 1e-5
    (after, up), (before, down) = (
        results_and_gradients(operation, moved_by(operation, rankings, towards, by), v) for by in (step, -step)
    )
    pairs = [(found.moved, after, before), (found.gradients.scores, up.scores, down.scores)]
    pairs += [(found.gradients.alpha, up.alpha, down.alpha)] + (
        [(found.gradients.k, up.k, down.k)] if up.k is not None else []
    )
    for got, more, less in pairs:
        with np.errstate(invalid="ignore"):
            want = (np.asarray(more) - np.asarray(less)) / (2 * step)
        known = np.isfinite(want)
        np.testing.assert_allclose(
            np.asarray(got)[known], want[known], rtol=1e-6, atol=1e-6 * np.abs(want[known]).max()
        )
        assert not np.isnan(np.asarray(got)[known]).any()


@operations
def test_hessians_are_symmetric_and_linear_also_of_a_long_ranking(name):
    """<u, H w> = <w, H u>, with alphas and ks; a shift of all scores changes no gradient."""
    operation, (rankings, rng) = CURVED[name], batch(7, lengths=(20_000, 3, 5000), of_ties=True)
    m, n, v = len(rankings), len(rankings.values), upstream_of(operation, rankings, rng)
    along_k = [rng.normal(size=m) if has_k(operation) else None for _ in range(2)]
    one, other = (Derivatives(rng.normal(size=n), rng.normal(size=m), along_k[i]) for i in range(2))
    of_one, of_other = (derivatives(operation, rankings, v, towards, CPU).gradients for towards in (one, other))

    def product(a, b):
        terms = [np.asarray(x) * y for x, y in zip(a, b, strict=True) if x is not None and y is not None]
        return sum(of_it.sum() for of_it in terms), sum(np.abs(of_it).sum() for of_it in terms)

    (left, size), (right, _) = product(of_one, other), product(of_other, one)
    assert abs(left - right) <= 1e-10 * size
    shift = derivatives(operation, rankings, v, Derivatives(np.ones(n), None), CPU)
    assert np.abs(shift.gradients.scores).max() <= 1e-9 * np.abs(of_one.scores).max()
    expected = 1.0 if isinstance(operation, Sort | Quantile) else 0.0
    np.testing.assert_allclose(shift.moved, expected, atol=1e-9)


def test_equal_scores_are_curved_as_in_the_mean_of_both_sides():
    x, v, towards = np.array([1.0, 0.2, 0.2, -1.0]), np.array([1.0, 2.0, -1.0, 0.5]), np.array([0.3, -1.0, 2.0, 0.7])

    def curves(apart):
        rankings = Rankings(x + np.array([0, apart, 0, 0]), [0, 4]).with_each({"alpha": np.array([0.7])})
        return derivatives(Rank(), rankings, v, Derivatives(towards, None), CPU).gradients.scores

    above, below = curves(1e-9), curves(-1e-9)
    assert np.abs(above - below).max() > 0.1
    np.testing.assert_allclose(curves(0.0), (above + below) / 2, atol=1e-7)


@operations
def test_an_alpha_in_deviations_is_held_constant(name):
    rankings, rng = batch(3)
    rankings = Rankings(rankings.values, rankings.offsets).with_each({"k": rankings.each["k"]}, rankings.beside)
    operation = type(CURVED[name])(**{**CURVED[name].__getstate__(), "alpha": Alpha(0.5, "std")})
    v, towards = upstream_of(operation, rankings, rng), Derivatives(rng.normal(size=len(rankings.values)), None)
    alphas = operation.ready(rankings, CPU).each["alpha"]
    fixed = rankings.with_each({**rankings.each, "alpha": alphas}, rankings.beside)
    for got, want in zip(
        derivatives(operation, rankings, v, towards, CPU).gradients,
        derivatives(CURVED[name], fixed, v, towards, CPU).gradients,
        strict=True,
    ):
        several = slice(0, None) if got is None or len(got) == len(rankings.values) else [0, 3, 4]
        if got is not None:
            np.testing.assert_allclose(got[several], want[several], rtol=1e-12, atol=1e-14)


@operations
def test_a_constant_ranking_has_none(name):
    """Of an alpha in deviations: there is no scale, and no direction is better than another."""
    operation = type(CURVED[name])(**{**CURVED[name].__getstate__(), "alpha": Alpha(0.5, "std")})
    beside = {"target": np.arange(4.0)}
    rankings = Rankings(np.full(4, 2.0), [0, 4]).with_each({"k": np.array([2.3])}, beside)
    v = np.ones(1 if operation.gives[0].per == RANKING else 4)
    found = derivatives(operation, rankings, v, Derivatives(np.arange(4.0), None), CPU)
    assert (found.gradients.scores == 0).all()


@pytest.mark.parametrize("name", [name for name in METHODS if name != "lapsum"])
def test_other_methods_have_none_and_say_so(name):
    operation = Rank if "rank" in METHODS[name].operations else TopK
    given_k = {"ks": (K(2.0),)} if operation is TopK and METHODS[name].takes_k else {}
    rankings = Rankings(np.arange(4.0), [0, 4]).with_each({"alpha": np.ones(1), "k": np.full(1, 2.0)})
    with pytest.raises(NotDifferentiable, match=rf"by {name} has no second derivatives"):
        derivatives(operation(method=name, **given_k), rankings, None, Derivatives(np.ones(4), None), CPU)


def test_permutations_and_the_losses_of_others_have_none_and_say_so():
    rankings = Rankings(np.arange(4.0), [0, 4]).with_each({"alpha": np.ones(1)}, {"target": np.arange(4.0)})
    towards = Derivatives(np.ones(4), None)
    with pytest.raises(NotDifferentiable, match=r"^permute by lapsum has no second derivatives"):
        derivatives(Permute(), rankings, None, towards, CPU)
    with pytest.raises(NotDifferentiable, match=r"^loss ranknet has no second derivatives"):
        derivatives(Loss(loss="ranknet"), rankings, None, towards, CPU)
    own = {name for name, entry in LOSSES.items() if entry.stages == 1 and loss_called(name).second}
    assert own == {"spearman", "topk", "recall", "ndcg", "permutation", "graded-topk"}


def loss_batch(seed, of_ties):
    """Lists of scores, targets and a direction, some of which have no loss."""
    rng = np.random.default_rng(seed)
    lengths = [6, 1, 9, 3]
    x, towards = ([rng.normal(size=n) for n in lengths] for _ in range(2))
    y = [(rng.integers(0, 3, n) if of_ties else rng.permutation(n)).astype(float) for n in lengths]
    y[3][:] = 1.0
    return x, y, towards


@pytest.mark.parametrize("name", [name for name, operation in CURVED.items() if isinstance(operation, Loss)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@directions
@pytest.mark.parametrize("of_ties", [False, True])
def test_a_loss_has_a_hessian_and_its_diagonal(name, reduction, descending, of_ties):
    """Of arrays: times a direction by differences of the gradient, and the diagonal by unit directions."""
    operation, (x, y, towards) = CURVED[name], loss_batch(11, of_ties)
    how = {"alpha": [0.5, 0.7, 1.1, 2.0], "descending": descending, "reduction": reduction}
    how |= {"k": K_OF} if operation.ks else {}
    made, step = lapsum_cli.loss_hvp(operation.loss, x, y, towards, **how), 1e-5
    ends = ([of_it + by * along for of_it, along in zip(x, towards, strict=True)] for by in (step, -step))
    more, less = (loss_vjp(operation.loss, end, y, **how).scores for end in ends)
    for got, a, b in zip(made, more, less, strict=True):
        np.testing.assert_allclose(got, (a - b) / (2 * step), rtol=1e-6, atol=1e-8)
    assert (np.concatenate([made[1], made[3]]) == 0).all()
    if name == "permutation":
        with pytest.raises(NotDifferentiable, match="has no second derivatives"):
            lapsum_cli.loss_hessian_diagonal(operation.loss, x, y, **how)
        return
    diagonal = lapsum_cli.loss_hessian_diagonal(operation.loss, x, y, **how)
    for i in range(9):
        units = [np.eye(9)[i, : len(of_it)] for of_it in x]
        by_units = lapsum_cli.loss_hvp(operation.loss, x, y, units, **how)
        for got, unit, want in zip(diagonal, units, by_units, strict=True):
            np.testing.assert_allclose(got[unit == 1], want[unit == 1], rtol=1e-10, atol=1e-13)
