"""Every entry of the catalogue with device="cuda": on a card where one works, else in the simulator."""

import numpy as np
import pytest
from catalogue import every, has_definition, has_gradient, one_of_a_form

# A GPU warns of no overflow and no NaN. NumPy does, in whose scalars the simulator computes.
pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("ignore::RuntimeWarning")]


def on_cards(entry):
    return "cuda" in entry.devices


def with_definitions_on_cards(entry):
    return has_definition(entry) and on_cards(entry)


def with_gradients_on_cards(entry):
    return has_gradient(entry) and on_cards(entry) and entry.per != "pair"  # of matrices: on a CPU


def ranking(entry, dtype, n=70):
    """Scores, targets of which no two are alike (but six grades where each takes a pass), and an upstream gradient."""
    rng = np.random.default_rng(n)
    x, target, v = rng.standard_normal(n).astype(dtype), rng.permutation(n), rng.standard_normal(n).astype(dtype)
    return x, (target % 6.0 if entry.name == "graded topk loss" else target / 10.0), v


@pytest.mark.parametrize(("dtype", "descending"), [("float32", True), ("float64", False)])
@every(with_definitions_on_cards)
def test_a_card_computes_what_is_defined(entry, dtype, descending):
    x, target, _ = ranking(entry, dtype)
    want = entry.define(x, target, alpha=0.2, descending=descending)
    got = entry(x, target, alpha=0.2, descending=descending, device="cuda")
    assert np.shape(got) == entry.results(len(x))
    assert np.all(np.abs(got - want) <= 2 * entry.bound(want, len(x), dtype)), np.abs(got - want).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every(with_gradients_on_cards)
def test_gradients_of_a_card_are_those_of_the_cpu(entry, dtype):
    """Each entry to its own digits, down to what cancelling terms of the largest leave behind."""
    x, target, v = ranking(entry, dtype)
    v = 2.0 if entry.per == "ranking" else v
    got, want = (entry.vjp(x, target, v, alpha=0.2, device=device) for device in ("cuda", "cpu"))
    for a, b in zip(got, want, strict=True):
        size = np.maximum(np.abs(b), 1e-2 * np.abs(b).max())
        assert np.all(np.abs(a - b) <= {"float32": 4e-6, "float64": 2e-12}[dtype] * size), np.abs((a - b) / size).max()


@every(lambda entry: on_cards(entry) and one_of_a_form(entry))
def test_a_card_leaves_inputs_alone(entry):
    x, target, _ = ranking(entry, "float32", 9)
    before = x.copy(), target.copy()
    entry(x, target, device="cuda")
    assert np.array_equal(x, before[0])
    assert np.array_equal(target, before[1])
