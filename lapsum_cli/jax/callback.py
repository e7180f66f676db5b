"""An operation as JAX sees it: computed on the host, with a way back of its own, under any transform.

Where all numbers are known, as in a call that nothing transforms, the host is asked at once, and what is wrong raises
what is raised everywhere; else JAX calls back when it runs what it compiled, and wraps what is raised then.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..api.functions import asked
from ..core.errors import DataError, NotDifferentiable, OptionError
from ..core.rankings import Rankings
from ..devices.machine import cores
from ..operations.along import derivatives
from ..operations.operation import Operation
from ..operations.permute import Permute
from ..operations.slots import RANKING, Derivatives
from .uneven import Cut

Struct = jax.ShapeDtypeStruct


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def computed(operation: Operation, x: Any, alpha: Any, k: Any, target: Any, cut: Cut | None) -> Any:
    """What the operation makes of scores, float32 or float64, (..., n), or (N,) with a cut: as many results, squares of
    them, or a number for each ranking.

    alpha, k  (...) or (m,) where each ranking has one, else None; target: of every score, of losses
    """
    shape = Struct(_shape(operation, x, cut), x.dtype)
    return _asked_of_host(_forward, operation, x.dtype.name, shape, (x, alpha, k, target, cut))


def _remembered(operation: Operation, *given: Any) -> Any:
    return computed(operation, *given), given


def _back(operation: Operation, given: Any, upstream: Any) -> Any:
    return _for_each(_gradients(operation, upstream, *given), given)


computed.defvjp(_remembered, _back)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gradients(operation: Operation, upstream: Any, *given: Any) -> Any:
    """For x and alpha, and k where it has one, None where one is none; given: what `computed` was."""
    return _asked_of_host(
        _backward, operation, given[0].dtype.name, _like(_moving(operation, given)), (upstream, *given)
    )


def _gradients_back(operation: Operation, kept: Any, towards: Any) -> Any:
    moved, *found = _second(operation, towards, *kept)
    return moved, *_for_each(found, kept[1:])


_gradients.defvjp(lambda operation, *kept: (_gradients(operation, *kept), kept), _gradients_back)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _second(operation: Operation, towards: Any, upstream: Any, *given: Any) -> Any:
    """Of <towards, what _gradients gives> the gradients for upstream, and for what that has some for."""
    shapes = _like([upstream, *_moving(operation, given)])
    return _asked_of_host(_backward_again, operation, given[0].dtype.name, shapes, (towards, upstream, *given))


def _refuse_third(operation: Operation, *given: Any) -> Any:
    raise NotDifferentiable("third derivatives are not computed: a second derivative was differentiated")


_second.defvjp(lambda operation, *kept: (_second(operation, *kept), None), _refuse_third)


def _moving(operation: Operation, given: Any) -> Any:
    """Of x, alpha, k and the target what has a gradient."""
    return given[: 2 if "target" in operation.takes else 3]


def _for_each(found: Any, given: Any) -> tuple[Any, ...]:
    """Gradients for all that was given, None for what has none."""
    return (*found, *[None] * (len(given) - len(found)))


def _like(given: Any) -> Any:
    """Shapes and dtypes."""
    return [None if one is None else Struct(one.shape, one.dtype) for one in given]


def _shape(operation: Operation, x: Any, cut: Any) -> Any:
    if "target" in operation.takes or operation.gives[0].per == RANKING:
        return x.shape[:-1] if cut is None else (cut.offsets.shape[0] - 1,)
    if isinstance(operation, Permute):
        return (*x.shape, operation.columns(x.shape[-1])) if cut is None else (cut.size_of_squares,)
    return x.shape


def _asked_of_host(
    function: Callable[..., Any], operation: Operation, dtype: str, shapes: Any, given: tuple[Any, ...]
) -> Any:
    """What a function of arrays in memory gives, in these shapes. dtype: of the scores."""
    known = not any(isinstance(one, jax.core.Tracer) for one in jax.tree.leaves(given))
    called = _called(function, operation, dtype)
    if known:
        return jax.tree.map(lambda like, one: jnp.asarray(one, like.dtype), shapes, called(*given))
    in_turn = operation.by_number or isinstance(given[-1], Cut)  # a ranking's number is part of it, or its lengths
    how = "sequential" if in_turn else "broadcast_all"
    return jax.pure_callback(called, shapes, *given, vmap_method=how)


@functools.lru_cache(1024)
def _called(function: Callable[..., Any], operation: Operation, dtype: str) -> Callable[..., Any]:
    """The function of an operation, the same one when asked again: what was compiled with it is found."""

    def called(*given: Any) -> Any:
        return function(operation, dtype, *jax.tree.map(np.asarray, given))

    return called


@functools.cache
def _threads() -> int:
    return cores()


def _read(
    operation: Operation, dtype: str, x: np.ndarray, alpha: Any, k: Any, target: Any, cut: Cut | None
) -> tuple[Any, Any]:
    """The scores as rankings, and the CPU; DataError where digits were lost on their way here."""
    if x.dtype != dtype:
        raise DataError(
            f"scores of {dtype} came as {x.dtype}, since jax.enable_x64 holds in one thread and callbacks may run in "
            "another; set it by jax.config.update"
        )
    alpha, k = (None if one is None else one[..., None] for one in (alpha, k))
    scores = x if cut is None else Rankings(x, cut.offsets)
    _, rankings, on = asked(operation, scores, alpha, _threads(), "cpu", k, target=target)
    return rankings, on


def _ready(operation: Operation, dtype: str, *given: Any) -> tuple[Any, Any]:
    """The same, as the passes of the operation take them."""
    rankings, on = _read(operation, dtype, *given)
    [(_, rankings)] = operation.by_k(operation.ready(rankings, on))
    return rankings, on


def _forward(operation: Operation, dtype: str, x: np.ndarray, *given: Any) -> np.ndarray:
    rankings, on = _ready(operation, dtype, x, *given)
    made = operation.forward(rankings, on)
    found = made.values if made.values is not None else made.numbers[operation.result]
    if isinstance(operation, Permute):
        found = operation.flat(found, rankings)
    return np.asarray(found, dtype).reshape(_shape(operation, x, given[-1]))


def _backward(operation: Operation, dtype: str, upstream: np.ndarray, *given: Any) -> Any:
    rankings, on = _ready(operation, dtype, *given)
    state = operation.forward(rankings, on, keep=True).state
    of_result = np.float64 if "target" in operation.takes else dtype
    found = operation.backward(rankings, state, np.asarray(upstream, of_result).reshape(-1), on)
    return _arrays(found, _moving(operation, given))


def _backward_again(operation: Operation, dtype: str, towards: Any, upstream: np.ndarray, *given: Any) -> Any:
    rankings, on = _read(operation, dtype, *given)
    along = Derivatives(*(None if one is None else np.float64(one).reshape(-1) for one in (*towards, None)[:3]))
    found = derivatives(operation, rankings, np.float64(upstream).reshape(-1), along, on)
    return [*_arrays([found.moved], [upstream]), *_arrays(found.gradients, _moving(operation, given))]


def _arrays(found: Any, like: Any) -> Any:
    """Numbers in the shapes and dtypes of these."""
    pairs = zip(found, like, strict=False)
    return [None if shaped is None else np.asarray(one, shaped.dtype).reshape(shaped.shape) for one, shaped in pairs]


@jax.custom_vjp
def straight_through(soft: Any, hard: Any) -> Any:
    """The hard result, with the gradient of the soft one (Bengio, Léonard, Courville, 2013)."""
    return hard


straight_through.defvjp(lambda soft, hard: (hard, None), lambda _, upstream: (upstream, None))


@jax.custom_vjp
def constant(k: Any) -> Any:
    """A k of a loss, which has no gradient: OptionError for who asks for one."""
    return k


def _refused(k: Any) -> Any:
    if k.perturbed:
        raise OptionError("a loss has no gradient with respect to k; pass jax.lax.stop_gradient(k)")
    return k.value, None


constant.defvjp(_refused, lambda _, upstream: (None,), symbolic_zeros=True)
