"""The functions of JAX: the numbers of arrays, under every transform, and what is refused."""

import inspect
from importlib.util import find_spec

import numpy as np
import pytest
from catalogue import entries, every, one_of_a_form

import lapsum_cli
from lapsum_cli import DataError, LapsumError, OptionError

if find_spec("jax") is None:
    pytest.skip("jax is not installed (extra jax)", allow_module_level=True)

import jax
import jax.numpy as jnp

from lapsum_cli import jax as soft

jax.config.update("jax_platforms", "cpu")
DRAWN = np.random.default_rng(0)
X = DRAWN.normal(size=(3, 6))
TARGET = DRAWN.integers(0, 4, (3, 6))
ALPHAS, KS = np.array([0.4, 1.3, 0.7]), np.array([1.5, 2.0, 3.0])


@pytest.fixture(autouse=True)
def _x64():
    """Of all threads: callbacks have some of their own."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def of_tensors(entry):
    return entry.tensors


def has_k(entry):
    return entry.tensors and entry.k and not entry.needs_target


def call(entry, x, target=TARGET, **given):
    return entry(x, target if entry.needs_target else None, on=soft, **{"alpha": 0.5, "k": 2.5, **given})


def weighted(entry, x, **given):
    """A number of all results, those that are defined."""
    made = call(entry, x, **given)
    return jnp.where(jnp.isnan(made), 0, made * jnp.cos(jnp.arange(made.size)).reshape(made.shape)).sum()


def close(made, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), made, want)


def test_every_function_is_there_with_its_help():
    assert dir(soft) == sorted(soft.__all__)
    of_some_places = {"soft_topk_values", "soft_topk_indices"}
    assert {entry.function for entry in entries() if entry.tensors} >= set(soft.__all__) - of_some_places
    for name in soft.__all__:
        assert getattr(soft, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'soft_rnak'"):
        _ = soft.soft_rnak
    with pytest.raises(TypeError, match="unexpected keyword argument 'gane'"):
        soft.ndcg_loss(X, TARGET, gane="exp2")


@pytest.mark.parametrize("name", [*soft.__all__, "loss", "graded_topk_loss", "lcron_loss"])
def test_arguments_and_defaults_are_those_of_tensors(name):
    """With axis in place of dim; those of losses are all told, where tensors take some unsaid."""
    theirs = pytest.importorskip("lapsum_cli.torch")

    def arguments(function):
        kinds = inspect.signature(function).parameters.values()
        names = {"dim": "axis", "keepdim": "keepdims"}
        return {names.get(one.name, one.name): one.default for one in kinds if one.name not in ("own", "options")}

    ours, others = arguments(getattr(soft, name)), arguments(getattr(theirs, name))
    if name in theirs.__all__ or name == "loss":
        assert ours == others
    else:
        assert set(others) <= set(ours) | {"k"}


@every(of_tensors)
@pytest.mark.parametrize("descending", [True, False])
def test_results_and_gradients_are_those_of_arrays(entry, descending):
    given = {"alpha": ALPHAS, "k": KS, "descending": descending}
    made, back = jax.vjp(lambda x, alpha: call(entry, x, **{**given, "alpha": alpha}), X, ALPHAS)
    want = entry(X, TARGET, **given)
    np.testing.assert_array_equal(made, want)
    upstream = np.random.default_rng(1).normal(size=want.shape)
    gradients = entry.vjp(X, TARGET, upstream, **given)
    close(back(upstream), (gradients.scores, gradients.alpha))


@every(one_of_a_form)
@pytest.mark.parametrize("jitted", [False, True])
def test_compiled_and_differentiated(entry, jitted):
    def function(x, alpha):
        return weighted(entry, x, alpha=alpha)

    want = jax.value_and_grad(function, (0, 1))(X, ALPHAS)
    if jitted:
        close(jax.jit(jax.value_and_grad(function, (0, 1)))(X, ALPHAS), want)
    else:
        close(jax.value_and_grad(jax.jit(function), (0, 1))(X, ALPHAS), want)
        close(jax.grad(jax.checkpoint(function), (0, 1))(X, ALPHAS), want[1])


@every(one_of_a_form)
def test_batches_are_calls_one_by_one(entry):
    """By vmap, and vmap of grad: over scores and alphas, over alphas alone, and twice."""
    targets = TARGET[0]

    def function(x, alpha):
        return call(entry, x, targets, alpha=alpha)

    def slope(x, alpha):
        return jax.grad(lambda x: jnp.nansum(function(x, alpha)))(x)

    alone = jnp.stack([function(x, alpha) for x, alpha in zip(X, ALPHAS, strict=True)])
    close(jax.vmap(function)(X, ALPHAS), alone)
    close(jax.jit(jax.vmap(function))(X, ALPHAS), alone)
    close(jax.vmap(slope)(X, ALPHAS), jnp.stack([slope(x, alpha) for x, alpha in zip(X, ALPHAS, strict=True)]))
    close(jax.vmap(function, (None, 0))(X[0], ALPHAS), jnp.stack([function(X[0], alpha) for alpha in ALPHAS]))
    close(jax.vmap(function, (0, None))(X, 0.5), jnp.stack([function(x, 0.5) for x in X]))
    each = jax.vmap(jax.vmap(function, (None, 0)), (0, None))(X, ALPHAS)
    close(each, jnp.stack([jnp.stack([function(x, alpha) for alpha in ALPHAS]) for x in X]))


def test_a_batch_of_batches_with_one_alpha_each():
    """As many calls as a call has rankings: the alphas are those of calls."""
    x = DRAWN.normal(size=(3, 3, 6))
    made = jax.vmap(lambda x, alpha: soft.soft_rank(x, alpha=alpha))(x, ALPHAS)
    close(made, jnp.stack([soft.soft_rank(one, alpha=float(alpha)) for one, alpha in zip(x, ALPHAS, strict=True)]))


@every(has_k)
def test_gradients_for_k(entry):
    def function(k):
        return weighted(entry, X, k=k, alpha=ALPHAS)

    found = jax.jit(jax.grad(function))(KS)
    step = 1e-6
    for i in range(3):
        ends = [function(KS + sign * step * np.eye(3)[i]) for sign in (1, -1)]
        assert found[i] == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-8)
    assert jax.grad(lambda k: weighted(entry, X, k=k))(2.5) == pytest.approx(
        float(jax.grad(lambda k: weighted(entry, X, k=k))(np.full(3, 2.5)).sum())
    )


@every(lambda entry: entry.tensors and entry.per == "score")
def test_jacobians(entry):
    x = X[0]
    found = jax.jit(jax.jacrev(lambda x: call(entry, x)))(x)
    for i in range(len(x)):
        close(found[i], entry.vjp(x, None, np.eye(len(x))[i], alpha=0.5, k=2.5).scores)


def test_steps_in_a_loop():
    def step(x, _):
        value, slope = jax.value_and_grad(lambda x: soft.spearman_loss(x, TARGET, alpha=1.0))(x)
        return x - 0.5 * slope, value

    _, looped = jax.jit(lambda x: jax.lax.scan(step, x, None, length=20))(X)
    x, values = jnp.asarray(X), []
    for _ in range(20):
        x, value = step(x, None)
        values.append(value)
    close(looped, jnp.stack(values))
    assert looped[-1] < looped[0]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@every(lambda entry: one_of_a_form(entry) and entry.needs_target)
def test_losses_are_reduced_over_rankings_that_have_one(entry, reduction):
    target = np.concatenate([TARGET[:2], np.ones((1, 6), int)])

    def function(x, target):
        return call(entry, x, target, reduction=reduction)

    for compiled in (lambda f: f, jax.jit):
        made, back = jax.vjp(compiled(lambda x: function(x, target)), X)
        close(made, entry(X, target, alpha=0.5, k=2.5, reduction=reduction))
        [slope] = back(jnp.ones_like(made))
        assert jnp.isfinite(slope).all()
        assert (slope[2] == 0).all()
        made, back = jax.vjp(compiled(lambda x: function(x, np.ones((3, 6)))), X)
        assert made == 0 if reduction == "sum" else jnp.isnan(made).all()
        assert (back(jnp.ones_like(made))[0] == 0).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@every(of_tensors)
def test_every_dtype_of_floats(entry, dtype):
    x = jnp.asarray(X, dtype)
    made, back = jax.vjp(lambda x: call(entry, x), x)
    is_wide = dtype == "float32" or entry.name == "rank" or entry.needs_target
    assert made.dtype == ("float32" if is_wide else dtype)
    exact, slopes = jax.vjp(lambda x: call(entry, x), x.astype("float64"))
    [slope], [want] = back(jnp.ones_like(made)), slopes(jnp.ones_like(exact))
    assert slope.dtype == dtype
    assert jnp.abs(slope.astype("float64") - want).max() <= max(
        1e-5, 4 * float(jnp.finfo(dtype).eps) * float(jnp.abs(want).max())
    ) + 1e-4 * float(jnp.abs(want).max())
    np.testing.assert_allclose(made.astype("float64"), exact, rtol=8 * float(jnp.finfo(dtype).eps) + 2e-5, atol=2e-5)


def test_without_x64_all_is_float32():
    jax.config.update("jax_enable_x64", False)
    made = jax.jit(lambda x: soft.soft_rank(x, alpha=ALPHAS))(X)
    assert made.dtype == "float32"
    np.testing.assert_array_equal(made, lapsum_cli.soft_rank(X.astype(np.float32), alpha=np.float32(ALPHAS)))
    assert soft.ndcg_loss(X, TARGET).dtype == "float32"
    with pytest.raises(DataError, match="integers that int32 does not hold; set jax_enable_x64"):
        soft.spearman_loss(X, TARGET + (1 << 40))


def test_digits_that_are_lost_on_the_way_to_another_thread_are_noticed():
    """jax.enable_x64 as a context is one thread's: JAX hands the others float32."""
    from lapsum_cli.jax import callback
    from lapsum_cli.operations.rank import Rank

    called = callback._called(callback._forward, Rank(), "float64")
    assert called(X, None, None, None, None).dtype == np.float64
    with pytest.raises(DataError, match="scores of float64 came as float32, since"):
        called(X.astype(np.float32), None, None, None, None)


@pytest.mark.parametrize("axis", [0, 1, 2, -2])
def test_rankings_may_go_along_any_axis(axis):
    x = DRAWN.normal(size=(3, 4, 5))
    alpha = DRAWN.uniform(0.2, 1, np.delete(x.shape, axis))
    want = jnp.moveaxis(soft.soft_topk(jnp.moveaxis(x, axis, -1), 2, alpha=alpha), -1, axis)
    close(soft.soft_topk(x, 2, alpha=alpha, axis=axis), want)
    close(soft.soft_topk(x, 2, alpha=np.expand_dims(alpha, axis), axis=axis), want)
    close(soft.soft_topk(x, 2, alpha=np.expand_dims(alpha, axis), axis=axis - x.ndim if axis >= 0 else axis), want)


def test_masks_and_hard_results():
    mask = np.array([True, True, False, True, True, True])
    target = np.where(mask, TARGET, np.nan)
    close(soft.soft_rank(X, mask=mask), soft.soft_rank(np.where(mask, X, -np.inf)))
    close(soft.spearman_loss(X, target, mask=mask), lapsum_cli.spearman_loss(np.where(mask, X, -np.inf), TARGET))
    slope = jax.grad(lambda x: soft.spearman_loss(x, target, mask=mask))(X)
    assert (slope[:, 2] == 0).all()
    assert jnp.isfinite(slope).all()
    for function, k in ((soft.soft_rank, ()), (soft.soft_sort, ()), (soft.soft_topk, (2,))):
        hard, back = jax.vjp(jax.jit(lambda x, f=function, k=k: f(x, *k, straight_through=True)), X)
        gentle, want = jax.vjp(lambda x, f=function, k=k: f(x, *k), X)
        assert np.array_equal(hard, function(X, *k, method="hard"))
        close(back(jnp.cos(gentle)), want(jnp.cos(gentle)))


@pytest.mark.parametrize("k", [0, 2, 6, 9])
def test_the_first_places_alone(k):
    """Of sorts and permutations, with their gradients."""

    def of_all(x):
        return soft.soft_permutation(x, alpha=0.5)[..., :k].swapaxes(-1, -2), soft.soft_sort(x, alpha=0.5)[..., :k]

    def of_first(x):
        return soft.soft_topk_indices(x, k, alpha=0.5), soft.soft_topk_values(x, k, alpha=0.5)

    close(of_first(X), of_all(X))
    close(jax.jit(jax.vmap(of_first))(X), of_all(X))
    mixed = np.cos(np.arange(3 * min(k, 6) * 6)).reshape(3, min(k, 6), 6)
    found, want = (jax.grad(lambda x, of=of: (of(x)[0] * mixed).sum() + of(x)[1].sum())(X) for of in (of_first, of_all))
    close(found, want)
    masked = soft.soft_topk_indices(X, 2, alpha=0.5, mask=np.arange(6) > 0)
    assert (masked[..., 0] == 0).all()
    np.testing.assert_allclose(masked.sum(-1), 1.0)


def test_options_are_static_by_their_value():
    """What is compiled once is found again for an equal option, and not for another."""
    traced = []

    @jax.jit
    def function(x):
        traced.append(0)
        return soft.soft_topk(x, 2, alpha="0.2std", method="softsort", power=2.0)

    close(function(X), lapsum_cli.soft_topk(X, 2, alpha="0.2std", method="softsort", power=2.0))
    function(X + 1)
    assert len(traced) == 1
    for alpha in ("0.2std", "0.4std", 0.3):
        close(jax.jit(lambda x, a=alpha: soft.soft_rank(x, alpha=a))(X), lapsum_cli.soft_rank(X, alpha=alpha))


REFUSED = [
    (lambda x: soft.soft_rank(x * jnp.nan), DataError, "the score is NaN; drop it, or mask it with -inf"),
    (lambda x: soft.soft_rank(x, alpha=0), OptionError, "alpha must be positive and finite, got 0"),
    (lambda x: soft.soft_rank(x, alpha="soft"), OptionError, "alpha must be a number such as 0.1"),
    (lambda x: soft.soft_rank(x, alpha=jnp.array([1, -1, 1.0])), DataError, "ranking 1: alpha must be positive"),
    (lambda x: soft.soft_rank(x, alpha=jnp.ones(2)), OptionError, r"alpha has the shape \(2,\).* the rankings, \(3,\)"),
    (lambda x: soft.soft_rank(x, alpha=jnp.array(True)), OptionError, "alpha must be numbers, got bool"),
    (lambda x: soft.soft_topk(x, -1), OptionError, "k must be 0 or more and finite, got -1"),
    (lambda x: soft.soft_rank(TARGET), DataError, "x must be floats, got int64"),
    (lambda x: soft.soft_rank(1.0), DataError, "at least one dimension, got a single number"),
    (lambda x: soft.soft_rank("scores"), DataError, "x is no array of numbers"),
    (lambda x: soft.soft_rank(x, axis=2), OptionError, "axis must be from -2 to 1 for x of 2 axes, got 2"),
    (lambda x: soft.soft_rank(x, mask=x), DataError, "mask must be bool"),
    (lambda x: soft.soft_rank(x, method="none"), OptionError, "no method 'none' for rank"),
    (
        lambda x: soft.soft_topk(x, 1, method="noised", noise=np.ones((1, 5, 6))),
        OptionError,
        "an option that is an arr",
    ),
    (lambda x: soft.ndcg_loss(x, TARGET, reduction="max"), OptionError, "reduction must be none, sum or mean"),
    (lambda x: soft.ndcg_loss(x, TARGET[0]), DataError, r"the target must have the shape of x, \(3, 6\), got \(6,\)"),
    (lambda x: soft.ndcg_loss(x, -TARGET), DataError, "ndcg needs targets of 0 or more"),
    (lambda x: soft.loss("arf", (x, x, x), TARGET, k=1), OptionError, "loss arf takes 2 columns of scores"),
    (lambda x: jax.grad(lambda k: soft.topk_loss(x, TARGET, k))(2.0), OptionError, "no gradient with respect to k"),
    (
        lambda x: jax.grad(jax.jit(lambda k: soft.topk_loss(x, TARGET, k)))(2.0),
        OptionError,
        r"pass jax.lax.stop_gradient\(k\)",
    ),
]


@pytest.mark.parametrize(("made", "kind", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_used_is_one_line(made, kind, words):
    with pytest.raises(LapsumError, match=words) as refused:
        made(jnp.asarray(X))
    assert isinstance(refused.value, kind)
    assert "\n" not in str(refused.value)


def test_what_is_found_out_while_compiled_code_runs_says_the_same_line():
    with pytest.raises(RuntimeError, match="DataError: ranking 0, score 2: the score is NaN; drop it, or mask it"):
        jax.jit(soft.soft_rank)(jnp.where(jnp.arange(6) == 2, jnp.nan, X)).block_until_ready()
    with pytest.raises(RuntimeError, match="BadRanking: ranking 1: alpha must be positive and finite, got -1"):
        jax.jit(lambda a: soft.soft_rank(X, alpha=a))(jnp.array([1.0, -1, 1])).block_until_ready()
    with pytest.raises(OptionError, match="alpha must be positive"):  # what is static is, while it is traced
        jax.jit(lambda x: soft.soft_rank(x, alpha=-1))(X)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(soft.soft_rank, (jnp.asarray(X),), (jnp.asarray(X),))


def test_large_arrays_come_through_callbacks():
    x = jax.random.normal(jax.random.key(0), (4, 1 << 18))

    @jax.jit
    def function(x):
        return jax.grad(lambda x: soft.soft_rank(jnp.tanh(x), alpha=0.1)[..., :9].sum())(x * 1.5).sum()

    for _ in range(3):
        assert jnp.isfinite(function(x))
