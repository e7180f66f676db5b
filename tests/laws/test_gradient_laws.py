"""What must hold for every gradient of the sum of v times the results: sentences, for every entry of the catalogue."""

from dataclasses import replace

import numpy as np
import pytest
from catalogue import every, has, has_gradient, is_of_a_moment, named, promised, upstream_like
from drawn import long_batch, short, softness
from hypothesis import given
from hypothesis import strategies as st

import lapsum_cli
from lapsum_cli import soft_rank_vjp


def upstream_of(entry, grades):
    """A number for each result; grades are as good as any."""
    return 1.7 if entry.per == "ranking" else upstream_like(entry, np.cos(np.arange(len(grades))) + grades / 4)


def gradient_scale(x, v, g, alpha):
    """What cancels in a gradient leaves a rounding of this size behind."""
    return np.abs(g.scores).sum() + np.abs(v).sum() * (1 + 1 / alpha)


@every(lambda entry: has_gradient(entry) and promised("shift_invariant")(entry))
@given(short, softness)
def test_gradients_sum_to_how_results_move_with_a_shift(entry, ranking, alpha):
    """Not at all, but for sorted scores, which shift alike."""
    x, target = ranking
    v = upstream_of(entry, target)
    g = entry.vjp(x, target, v, alpha=alpha)
    assert abs(g.scores.sum() - (np.sum(v) if entry.moves else 0)) <= 1e-12 * gradient_scale(x, v, g, alpha)


@pytest.mark.parametrize("n", range(2, 9))
@every(lambda entry: entry.jacobian is not None)
def test_of_many_small_rankings_gradients_sum_to_that_too(entry, n):
    """Relative to the largest of them, also where one score holds nearly all of the softmax at the threshold."""
    rng, m = np.random.default_rng(n), 3000
    x, v = rng.standard_normal((2, m, n))
    x[::3] *= 10.0 ** rng.uniform(-6, 6, (m // 3, n))
    alpha, k = 10.0 ** rng.uniform(-3, 1, m), rng.uniform(0, n, m)
    k[::2] = rng.integers(1, n, m // 2) + rng.choice([0, 1e-12, -1e-9, 1e-6, -1e-3], m // 2)
    g = entry.vjp(x, None, v, alpha=alpha, k=k).scores
    left = g.astype(np.longdouble).sum(axis=1) - (v.astype(np.longdouble).sum(axis=1) if entry.moves else 0)
    bound = 1e-12 * np.abs(v if entry.moves else g).max(axis=1) + 1e-300
    if entry.name == "rank":  # what is upstream of two scores may be nearly alike by chance
        pulls = (
            np.exp(-np.abs(x[:, :, None] - x[:, None]) / alpha[:, None, None]) * (1 - np.eye(n)) / alpha[:, None, None]
        )
        bound += 4e-16 * (pulls * np.abs(v)[:, None]).sum(axis=(1, 2))
    assert np.all(np.abs(left) <= bound)


@pytest.mark.parametrize("spread", [1e-9, 1e-6, 1e-3, 0.5])
@pytest.mark.parametrize("base", [1.0, -3.0])
def test_ranks_do_not_see_what_all_upstream_has_in_common(base, spread):
    rng = np.random.default_rng(0)
    for n in (2, 3, 8, 30, 300):
        x, v, alpha = rng.standard_normal(n), base * (1 + spread * rng.random(n)), 0.3
        dense = np.exp(-np.abs(x[:, None] - x) / alpha) / (2 * alpha)
        want = (dense * (v - v[:, None])).sum(axis=1)
        got = soft_rank_vjp(x, v, alpha=alpha).scores
        assert np.abs(got - want).max() <= 1e-12 * np.abs(want).max()


@every(lambda entry: has_gradient(entry) and promised("shift_invariant")(entry))
@given(short, softness, st.integers(-1000, 1000))
def test_gradients_do_not_see_a_shift(entry, ranking, alpha, shift):
    x, target = ranking
    v = upstream_of(entry, target)
    g, moved = (entry.vjp(scores, target, v, alpha=alpha) for scores in (x, x + shift))
    for a, b in zip(g, moved, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * (1 + np.abs(v).sum() * (np.abs(x).max() + 1) / alpha))


@every(lambda entry: has_gradient(entry) and promised("scale_invariant")(entry))
@given(short, softness)
def test_scaling_scores_and_alpha_together_moves_nothing_but_sorted_scores(entry, ranking, alpha):
    """So alpha's gradient is -<gradient, x> / alpha, for sorted scores (<v, y> - <gradient, x>) / alpha, x and y about
    one of the scores.
    """
    x, target = ranking
    v = upstream_of(entry, target)
    g = entry.vjp(x, target, v, alpha=alpha)
    grown = np.atleast_1d(v * (entry(x, target, alpha=alpha) - x[0])) if entry.moves else [0.0]
    terms = np.concatenate([grown, -g.scores * (x - x[0])])
    assert abs(alpha * g.alpha - terms.sum()) <= 1e-11 * (np.abs(terms).sum() + gradient_scale(x, v, g, alpha))


@every(
    lambda entry: has_gradient(entry) and has("symmetric")(entry),
    lambda_loss="its weights are of hard places, where equal scores are in the order of the input",
    lambda_loss_at_k="the same, as above it",
    lambda_loss_of_either="the same, as above it",
)
@given(short, softness, st.randoms(use_true_random=False))
def test_gradients_go_with_their_scores(entry, ranking, alpha, random):
    x, target = ranking
    order = np.array(random.sample(range(len(x)), len(x)))
    v = upstream_of(entry, target)
    moved = v[order] if entry.per in ("score", "pair") else v
    got, want = entry.vjp(x[order], target[order], moved, alpha=alpha), entry.vjp(x, target, v, alpha=alpha)
    bound = 1e-12 * gradient_scale(x, v, want, alpha)
    np.testing.assert_allclose(got.scores, want.scores[order], rtol=1e-10, atol=bound)
    np.testing.assert_allclose(got.alpha, want.alpha, rtol=1e-10, atol=bound * (1 + np.ptp(x) / alpha))


@given(short, softness)
def test_the_jacobian_of_the_ranks_is_symmetric(ranking, alpha):
    x = ranking[0]
    jacobian = soft_rank_vjp(np.broadcast_to(x, (len(x), len(x))), np.eye(len(x)), alpha=alpha).scores
    np.testing.assert_allclose(jacobian, jacobian.T, rtol=1e-11, atol=1e-16 / alpha)


@every(
    has_gradient,
    sort="its scale is its deviation: at 0 it is the hard sort, which moves with the scores",
    quantile="the same, as above it",
    median="the same, as above it",
    max="the same, as above it",
    min="the same, as above it",
)
def test_a_constant_ranking_has_no_gradient_where_alpha_is_in_its_deviations(entry):
    """Its deviation is 0: no direction is better than another."""
    x, target = np.full(4, 0.3), np.array([0.0, 3, 1, 2])
    g = entry.vjp(x, target, upstream_of(entry, target), alpha="0.5std")
    assert not g.scores.any()
    assert g.alpha == 0


@every(
    lambda entry: has_gradient(entry) and has("alone")(entry) and is_of_a_moment(entry),
    neural_ndcg_loss="it takes a hundred times as long: tests/losses",
)
def test_the_gradients_of_a_long_batch_are_the_same_on_one_thread_and_two(entry):
    x, target, v = long_batch(1000, 3000 if entry.is_linear else 100)
    upstream = (lambda r: np.ones(len(x))[r]) if entry.per == "ranking" else v.__getitem__
    whole = np.ones(len(x)) if entry.per == "ranking" else v
    one, two = (entry.vjp(x, target, whole, threads=threads) for threads in (1, 2))
    assert np.array_equal(one.scores.values, two.scores.values)
    assert all(np.array_equal(a, b) for a, b in zip(one[1:], two[1:], strict=True))
    assert np.array_equal(one.scores[123], entry.vjp(x[123], target[123], upstream(123)).scores)


# The catalogue.


def test_what_has_no_name_in_the_package_is_entered_with_its_functions():
    """As a method or a loss of a stranger would be: here the rank from 0, of scores about their mean."""

    def function(x, *, descending=True, **given):
        return lapsum_cli.soft_rank(x - x.mean(), descending=descending, base=0, **given)

    toy = replace(named("rank"), name="toy", function=function, gradient=lapsum_cli.soft_rank_vjp)
    x, _ = ranking = np.array([0.5, 2.0, 0.25, 2.0, -1.0]), np.zeros(5)
    assert np.array_equal(toy(x, alpha=0.5), lapsum_cli.soft_rank(x - x.mean(), alpha=0.5, base=0))
    test_gradients_do_not_see_a_shift.hypothesis.inner_test(toy, ranking, alpha=0.5, shift=3)
