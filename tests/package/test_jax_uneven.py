"""Rankings of several lengths in JAX: flat scores with offsets, and lists, under every transform; nothing is padded."""

from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest
from catalogue import every, one_of_a_form
from entry import SHARE

import lapsum_cli
from lapsum_cli import DataError, LapsumError, OptionError

if find_spec("jax") is None:
    pytest.skip("jax is not installed (extra jax)", allow_module_level=True)

import jax
import jax.numpy as jnp
from jax.test_util import check_grads

from lapsum_cli import jax as soft

jax.config.update("jax_platforms", "cpu")
DRAWN = np.random.default_rng(0)
LENGTHS = (4, 0, 6, 1, 5)
OFFSETS = np.cumsum([0, *LENGTHS])
N, M = int(OFFSETS[-1]), len(LENGTHS)
X = DRAWN.normal(size=N)
TARGETS = DRAWN.integers(0, 4, N)
ALPHAS, KS = np.array([0.4, 1.0, 0.3, 0.8, 1.3]), np.array([1.5, 1.0, 3.0, 0.5, 2.0])


@pytest.fixture(autouse=True)
def _x64():
    """Of all threads: callbacks have some of their own."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def split(flat, offsets=OFFSETS):
    return [flat[begin:end] for begin, end in pairwise(offsets)]


# How flat scores (N,) come in, and how what goes out is flat again.
FORMS = {
    "pair": (lambda flat: (flat, OFFSETS), lambda made: made),
    "pair of int16": (lambda flat: (flat, jnp.array(OFFSETS, "int16")), lambda made: made),
    "list": (split, jnp.concatenate),
    "tuple": (lambda flat: tuple(split(flat)), jnp.concatenate),
}
in_every_form = pytest.mark.parametrize("form", FORMS)


def of_tensors(entry):
    return entry.tensors


def is_loss(entry):
    return entry.tensors and entry.needs_target


def may_be_traced(entry):
    """Whether the lengths of its rankings may be unknown until they are computed."""
    return entry.tensors and entry.per != "pair" and entry.stages == 1


def curved(entry):
    return entry.tensors and entry.curved


def call(entry, x, form="pair", offsets=None, **given):
    """The results, flat."""
    enter, leave = FORMS[form] if offsets is None else (lambda flat: (flat, offsets), FORMS["pair"][1])
    target = [enter(jnp.asarray(TARGETS))] if entry.needs_target else []
    made = entry(enter(x), *target, on=soft, **{"alpha": ALPHAS, "k": KS, **given})
    if entry.per == "pair":
        return jnp.concatenate([matrix.reshape(-1) for matrix in made])
    return made if entry.per == "ranking" else leave(made)


def of_arrays(entry, function, x, *after, **given):
    """The same by NumPy, whose functions take lists."""
    target = [split(TARGETS)] if entry.needs_target else [None]
    return function(split(x), *target, *after, **{"alpha": ALPHAS, "k": KS, **given})


def number(entry, x, **given):
    """One of all results, those that are defined."""
    made = call(entry, x, **given)
    return jnp.where(jnp.isnan(made), 0, made * jnp.cos(jnp.arange(made.size))).sum()


def close(made, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), made, want)


def upstream_of(entry, drawn):
    if entry.per == "pair":
        parts = np.split(drawn, np.cumsum(np.square(LENGTHS))[:-1])
        return [part.reshape(n, n) for part, n in zip(parts, LENGTHS, strict=True)]
    return drawn if entry.per == "ranking" else split(drawn)


TIED, PADDED = X.copy(), X.copy()
TIED[[1, 2, 5, 9]] = TIED[[0, 3, 4, 8]]
PADDED[[1, 6, 7]] = -np.inf


CASES = {form: (form, X) for form in FORMS} | {"tied": ("pair", TIED), "padded": ("pair", PADDED)}


@pytest.mark.parametrize("case", CASES)
@every(of_tensors)
@pytest.mark.parametrize("descending", [True, False])
def test_results_and_gradients_are_those_of_arrays(entry, case, descending):
    form, x = CASES[case]
    made, back = jax.vjp(lambda x, alpha: call(entry, x, form, alpha=alpha, descending=descending), x, ALPHAS)
    want = of_arrays(entry, entry, x, descending=descending)
    np.testing.assert_array_equal(
        made, want if entry.per == "ranking" else np.concatenate([np.ravel(one) for one in want])
    )
    drawn = np.random.default_rng(1).normal(size=made.size)
    found = of_arrays(entry, entry.vjp, x, upstream_of(entry, drawn), descending=descending)
    close(back(drawn), (np.concatenate(found.scores), found.alpha))


@every(one_of_a_form)
def test_compiled_and_differentiated(entry):
    """With offsets that are constants, and for lists whose arrays are arguments."""

    def function(x, alpha):
        return number(entry, x, alpha=alpha)

    want = jax.value_and_grad(function, (0, 1))(X, ALPHAS)
    close(jax.jit(jax.value_and_grad(function, (0, 1)))(X, ALPHAS), want)
    close(jax.value_and_grad(jax.jit(function), (0, 1))(X, ALPHAS), want)
    close(jax.grad(jax.checkpoint(function), (0, 1))(X, ALPHAS), want[1])
    slopes = jax.jit(jax.grad(lambda parts: number(entry, jnp.concatenate(parts), form="list", alpha=ALPHAS)))(split(X))
    close(jnp.concatenate(slopes), want[1][0])


@every(may_be_traced)
def test_offsets_may_be_arguments_of_what_is_compiled(entry):
    """One compilation for any lengths."""
    traced = []

    @jax.jit
    def function(x, offsets):
        traced.append(0)
        return jax.value_and_grad(lambda x: number(entry, x, offsets=offsets))(x)

    for offsets in (OFFSETS, np.array([0, 2, 9, 9, 13, N])):
        close(function(X, offsets), jax.value_and_grad(lambda x, o=offsets: number(entry, x, offsets=o))(X))
    assert len(traced) == 1


@every(one_of_a_form)
def test_batches_are_calls_one_by_one(entry):
    """By vmap, and vmap of grad: over scores, over alphas, and of calls whose offsets differ."""
    batch, alphas = np.stack([X, X[::-1]]), np.stack([ALPHAS, ALPHAS[::-1]])

    def slope(x, alpha):
        return jax.grad(lambda x: number(entry, x, alpha=alpha))(x)

    for function in (lambda x, alpha: call(entry, x, alpha=alpha), slope):
        want = jnp.stack([function(x, alpha) for x, alpha in zip(batch, alphas, strict=True)])
        close(jax.jit(jax.vmap(function))(batch, alphas), want)
    close(jax.vmap(slope, (None, 0))(X, alphas), jnp.stack([slope(X, alpha) for alpha in alphas]))
    if may_be_traced(entry):
        offsets = np.stack([OFFSETS, [0, 2, 9, 9, 13, N]])
        want = jnp.stack([call(entry, x, offsets=o) for x, o in zip(batch, offsets, strict=True)])
        close(jax.vmap(lambda x, o: call(entry, x, offsets=o))(batch, offsets), want)


@every(of_tensors, lcron_loss="column sums are held constant, as with its authors: tests/losses")
def test_gradients_are_those_of_differences(entry):
    """Of scores, alpha and, where it has a gradient, k; a second time where there are second derivatives."""
    k = (KS,) if entry.k and not entry.needs_target else ()

    def function(x, alpha, *k):
        made = call(entry, x, alpha=alpha, **({"k": k[0]} if k else {}))
        return jnp.where(jnp.isnan(made), 0, made)

    order = 2 if curved(entry) else 1
    check_grads(function, (X, ALPHAS, *k), order=order, modes=["rev"], atol=2e-6, rtol=2e-6)


@every(curved)
def test_second_derivatives_are_those_of_each_ranking(entry):
    hessian = jax.jit(jax.jacrev(jax.jacrev(lambda x: number(entry, x))))(X)
    np.testing.assert_allclose(hessian, hessian.T, rtol=0, atol=1e-12 * np.abs(hessian).max())
    own = np.repeat(np.arange(M), LENGTHS)
    assert (np.asarray(hessian)[own[:, None] != own] == 0).all()
    assert np.abs(hessian).max() > 0


@in_every_form
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@every(is_loss)
def test_losses_are_reduced_over_rankings_that_have_one(entry, reduction, form):
    losses = call(entry, X)
    assert losses.shape == (M,)
    assert jnp.isnan(losses)[jnp.array([1, 3])].all()  # no score, and one
    made, slope = jax.value_and_grad(lambda x: call(entry, x, form, reduction=reduction))(X)
    want, want_slope = jax.value_and_grad(lambda x: getattr(jnp, f"nan{reduction}")(call(entry, x)))(X)
    close((made, slope), (want, want_slope))
    close(made, of_arrays(entry, entry, X, reduction=reduction))


@in_every_form
def test_masks_weights_and_hard_results(form):
    enter, leave = FORMS[form]
    mask = np.random.default_rng(5).random(N) < 0.7
    masked = np.where(mask, X, -np.inf)
    made = leave(soft.soft_rank(enter(X), mask=enter(mask)))
    close(made, leave(soft.soft_rank(enter(masked))))
    close(made, leave(soft.soft_rank(enter(X), mask=mask)))
    target = np.where(mask, TARGETS, np.nan)
    made = soft.spearman_loss(enter(X), enter(target), mask=mask)
    close(made, lapsum_cli.spearman_loss(split(masked), split(TARGETS)))
    weights = np.arange(1.0, M + 1)
    made = soft.spearman_loss(enter(X), TARGETS, weights=weights[:, None])
    close(made, lapsum_cli.spearman_loss(split(X), split(TARGETS), weights=weights))
    hard, back = jax.vjp(lambda x: leave(soft.soft_topk(enter(x), 2, straight_through=True)), X)
    gentle, want = jax.vjp(lambda x: leave(soft.soft_topk(enter(x), 2)), X)
    assert set(hard.tolist()) == {0.0, 1.0}
    close(back(jnp.cos(gentle)), want(jnp.cos(gentle)))
    close(
        soft.soft_median(enter(X), alpha=ALPHAS[:, None], keepdims=True)[:, 0],
        soft.soft_median((X, OFFSETS), alpha=ALPHAS),
    )


@pytest.mark.parametrize("options", [{"method": "softsort", "power": 2.0}, {"method": "noised", "draws": 3}], ids=str)
def test_other_methods_have_them_too(options):
    """A method that draws noise draws it by the number of a ranking."""
    close(
        jax.jit(lambda x: soft.soft_topk((x, OFFSETS), 2, **options))(X),
        jnp.concatenate(lapsum_cli.soft_topk(split(X), 2, **options)),
    )


@in_every_form
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_every_dtype_of_floats_comes_back(form, dtype):
    """Without jax_enable_x64 too."""
    enter, leave = FORMS[form]
    x = jnp.asarray(X, dtype)
    exact = np.asarray(jax.grad(lambda x: jnp.square(soft.soft_topk((x, OFFSETS), 2, alpha=0.5)).sum())(np.float64(x)))
    jax.config.update("jax_enable_x64", False)
    for compiled in (lambda f: f, jax.jit):
        made, back = jax.vjp(compiled(lambda x: leave(soft.soft_topk(enter(x), 2, alpha=0.5))), x)
        [slope] = back(2 * made)
        assert made.dtype == slope.dtype == dtype
        assert np.abs(np.float64(slope) - exact).max() <= 16 * float(jnp.finfo(dtype).eps) * np.abs(exact).max()
        assert leave(soft.soft_rank(enter(x))).dtype == "float32"
        assert soft.ndcg_loss(enter(x), TARGETS).dtype == "float32"


def test_batches_without_rankings_or_without_scores():
    nothing = np.empty(0)
    for offsets in (np.array([0]), np.array([0, 0, 0])):
        pair = nothing, offsets
        assert soft.soft_sort(pair).shape == (0,)
        assert [one.shape for one in soft.soft_permutation(pair)] == [(0, 0)] * (len(offsets) - 1)
        for compiled in (lambda f: f, jax.jit):
            losses = compiled(lambda x, o=offsets: soft.ndcg_loss((x, o), x, reduction="none"))(nothing)
            assert losses.shape == (len(offsets) - 1,)
            assert jnp.isnan(losses).all()
            slope = compiled(jax.grad(lambda x, o=offsets: soft.ndcg_loss((x, o), nothing, reduction="sum")))(nothing)
            assert slope.shape == (0,)
        assert jnp.isnan(soft.ndcg_loss(pair, nothing))


def test_offsets_may_be_changed_before_the_way_back():
    offsets = OFFSETS.copy()
    _, back = jax.vjp(lambda x: soft.soft_sort((x, offsets)), X)
    [want] = back(X)
    offsets[:] = 0
    close(back(X), (want,))


def test_an_uneven_batch_costs_no_padding():
    """A ranking of many scores beside many of one: padded to one length they would be 4 10^9 scores."""
    many = 1 << 16
    x, offsets = jnp.arange(2.0 * many), np.array([*range(many + 1), 2 * many])
    ranks = jax.jit(lambda x: soft.soft_rank((x, offsets), alpha=0.01))(x)
    np.testing.assert_array_equal(ranks, np.concatenate([np.ones(many), np.arange(many, 0, -1)]))


def test_a_share_is_of_each_length():
    sums = [float(one.sum()) for one in soft.soft_topk(split(X), f"{SHARE:%}", alpha=0.5)]
    assert sums == pytest.approx([SHARE * n for n in LENGTHS])
    most = soft.soft_topk(split(X), 5, alpha=0.5)  # of shorter rankings all
    assert [float(one.sum()) for one in most] == pytest.approx([min(n, 5) for n in LENGTHS])


def test_lists_of_numbers_are_arrays_as_before():
    assert soft.soft_rank([3.0, 1.0, 2.0]).shape == (3,)
    assert soft.soft_rank([[3.0, 1.0], [2.0, 0.0]]).shape == (2, 2)
    assert soft.soft_rank([np.float64(3), np.float64(1)]).shape == (2,)
    assert soft.soft_rank([np.eye(2), np.eye(2)]).shape == (2, 2, 2)


A = np.arange(5.0)


def rank(*offsets, x=A, **given):
    return soft.soft_rank((x, np.array(offsets)), **given)


REFUSED = [
    (lambda: rank(0, 3), DataError, "offsets must rise from 0 to the number of scores, 5"),
    (lambda: rank(1, 5), DataError, "offsets must rise from 0"),
    (lambda: rank(0, 4, 3, 5), DataError, "offsets must rise"),
    (
        lambda: soft.soft_rank((A, [0, 1, 2, 4, 5])),
        DataError,
        "offsets beside x must be an array of integers, got list",
    ),
    (lambda: rank([0, 5]), DataError, r"offsets must be a flat, .* got the shape \(1, 2\)"),
    (lambda: soft.soft_rank((A, np.empty(0, int))), DataError, r"non-empty .* got the shape \(0,\)"),
    (lambda: jax.jit(soft.soft_rank)((A, np.array([[0, 5]]))), DataError, r"got the shape \(1, 2\)"),
    (lambda: rank(0, 5, x=A[None]), DataError, r"x beside offsets must be flat, \(N,\), got the shape \(1, 5\)"),
    (lambda: rank(0, 5, x=A.astype(int)), DataError, "x must be floats, got int64"),
    (lambda: rank(0, 2, 5, x=A * np.nan), DataError, "ranking 0, score 0: the score is NaN"),
    (lambda: rank(0, 2, 5, axis=0), OptionError, "axis must be -1 for rankings of several lengths, .* got 0"),
    (lambda: rank(0, 2, 5, alpha=np.ones(3)), OptionError, r"alpha has the shape \(3,\), .* the rankings, \(2,\)"),
    (lambda: rank(0, 2, 5, alpha=np.array([1.0, -1])), DataError, "ranking 1: alpha must be positive"),
    (lambda: rank(0, 2, 5, mask=A), DataError, "mask must be bool"),
    (lambda: rank(0, 2, 5, mask=(A > 1, np.array([0, 3, 5]))), DataError, "mask must have .* got other lengths"),
    (lambda: rank(0, 2, 5, mask=A[:2] > 1), DataError, r"or be flat, \(5,\), got the shape \(2,\)"),
    (lambda: soft.soft_topk((A, np.array([0, 5])), -1), OptionError, "k must be 0 or more and finite, got -1"),
    (lambda: soft.soft_rank([A, A[None]]), DataError, r"ranking 1: x must be flat, \(n,\), got the shape \(1, 5\)"),
    (lambda: soft.soft_rank([A, A.astype(int)]), DataError, "ranking 1: x is int64, and float64 in ranking 0"),
    (lambda: soft.soft_rank([A.astype(int)]), DataError, "x must be floats, got int64"),
    (lambda: soft.spearman_loss([A, A], (A, A)[:1]), DataError, "the target must have the form .* got other lengths"),
    (lambda: soft.spearman_loss([A, A], np.stack([A, A])), DataError, r"or be flat, \(10,\), got the shape \(2, 5\)"),
    (lambda: soft.spearman_loss((A, np.array([0, 5])), [A]), DataError, "the target must .* got another form"),
    (lambda: soft.loss("arf", ([A, A], [A]), [A, A], k=1), DataError, "x must have the form .* got other lengths"),
    (lambda: soft.soft_topk_values([A, A[:2]], 2), OptionError, "soft_topk_values has as many places of every"),
    (lambda: soft.soft_topk_indices([A, A[:2]], 2), OptionError, r"pad rankings with -inf, \(m, n\)"),
    (
        lambda: jax.jit(soft.soft_permutation)((A, np.array([0, 5]))),
        OptionError,
        "soft permutations of several lengths need offsets that JAX does not trace",
    ),
    (
        lambda: jax.jit(lambda o: soft.loss("arf", ((A, o), (A, o)), A, k=1))(np.array([0, 5])),
        OptionError,
        "cascades of several lengths need offsets",
    ),
]


@pytest.mark.parametrize(("made", "kind", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_used_is_one_line(made, kind, words):
    with pytest.raises(LapsumError, match=words) as refused:
        made()
    assert isinstance(refused.value, kind)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("offsets", [[1, 2, N], [0, 2, N - 1], [0, 9, 2, N]], ids=str)
def test_offsets_that_are_wrong_when_compiled_code_runs_say_the_same_line(offsets):
    def function(x, offsets):
        return soft.soft_rank((x, offsets)).sum()

    wrong = np.array(offsets)
    for of, x in ((function, X), (jax.grad(function), X), (jax.vmap(function, (0, None)), X[None])):
        with pytest.raises(RuntimeError, match=f"DataError: offsets must rise from 0 to the number of scores, {N}"):
            jax.jit(of)(x, wrong).block_until_ready()
