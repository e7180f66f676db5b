"""Gradients of gradients in JAX: their numbers, under every transform, and what is refused."""

from importlib.util import find_spec

import numpy as np
import pytest
from catalogue import every

from lapsum_cli.core.errors import NotDifferentiable

if find_spec("jax") is None:
    pytest.skip("jax is not installed (extra jax)", allow_module_level=True)

import jax
import jax.numpy as jnp
from jax.test_util import check_grads

from lapsum_cli import jax as soft

jax.config.update("jax_platforms", "cpu")
DRAWN = np.random.default_rng(3)
X, V, WEIGHTS = DRAWN.normal(size=(3, 2, 6))
TARGET = np.array([[3, 0, 1, 1, 2, 0], [0, 2, 0, 3, 1, 1]])


@pytest.fixture(autouse=True)
def _x64():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def curved(entry):
    return entry.tensors and entry.curved


def call(entry, x, alpha=0.5, k=2, **given):
    target = (TARGET if x.ndim == 2 else TARGET[0],) if entry.per == "ranking" else ()
    return entry(x, *target, on=soft, alpha=alpha, k=k, **given)


def number(entry, x):
    """One of all results."""
    made = call(entry, x)
    return (made * np.resize(WEIGHTS, made.shape)).sum()


@every(curved)
def test_they_are_those_of_differences(entry):
    """Of scores, alpha and, where it has a gradient, k."""
    k = () if not entry.k or entry.per == "ranking" else (np.array([2.3, 1.4]),)
    given = (X, np.array([0.5, 0.8]), *k)
    check_grads(lambda *given: call(entry, *given), given, order=2, modes=["rev"], atol=1e-6, rtol=1e-6)


@every(curved)
def test_every_way_gives_the_same(entry):
    """Products with the Hessian, compiled too, of a batch, and from all of it, which is symmetric."""

    def product(x, v):
        return jax.grad(lambda x: jnp.vdot(jax.grad(lambda x: number(entry, x))(x), v))(x)

    for found, x, v in ((product(X, V), X, V), (product(X[0], V[0]), X[0], V[0])):
        hessian = jax.jacrev(jax.jacrev(lambda x: number(entry, x)))(x).reshape(x.size, x.size)
        scale = np.abs(hessian).max()
        assert scale > 0
        np.testing.assert_allclose(hessian, hessian.T, rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(found.reshape(-1), hessian @ v.reshape(-1), rtol=0, atol=1e-12 * scale)
        np.testing.assert_array_equal(jax.jit(product)(x, v), found)
    batch = jax.vmap(product)(np.stack([X, V]), np.stack([V, X]))
    np.testing.assert_allclose(batch, [product(X, V), product(V, X)], rtol=1e-12, atol=1e-13)


def test_float32_is_as_exact_as_its_digits():
    exact = jax.grad(lambda x: jnp.vdot(jax.grad(lambda x: soft.spearman_loss(x, TARGET, alpha=0.5))(x), V))(X)
    jax.config.update("jax_enable_x64", False)
    x, v = jnp.asarray(X, jnp.float32), jnp.asarray(V, jnp.float32)
    found = jax.grad(lambda x: jnp.vdot(jax.grad(lambda x: soft.spearman_loss(x, TARGET, alpha=0.5))(x), v))(x)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6 * np.abs(exact).max())


def again(function):
    return lambda x: jnp.vdot(jax.grad(function)(x), V)


def test_what_is_not_known_is_refused():
    with pytest.raises(NotDifferentiable, match="third derivatives are not computed"):
        jax.grad(again(again(lambda x: soft.spearman_loss(x, TARGET, alpha=0.5))))(X)
    with pytest.raises(NotDifferentiable, match="sinkhorn has no second derivatives"):
        jax.grad(again(lambda x: soft.soft_rank(x, method="sinkhorn", alpha=0.5).sum()))(X)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.hessian(lambda x: soft.spearman_loss(x, TARGET, alpha=0.5))(X)
