"""Arrays of a card do less than NumPy's: the simulator's are held to it."""

import contextlib

import pytest
import races
from onecard import IS_SIMULATED


@pytest.fixture(autouse=True)
def _arrays_of_the_card(monkeypatch):
    """The simulator's arrays do whatever NumPy's do; those of a card do not."""
    if IS_SIMULATED:
        from lapsum_cli.kernels.cuda import adapter

        monkeypatch.setattr(type(adapter.here.device_array(1)), "__getattr__", _attribute_of_the_card)


@pytest.fixture
def no_races():
    """In the simulator a race between threads fails the test."""
    with races.told() if IS_SIMULATED else contextlib.nullcontext([]) as found:
        yield
    assert sorted(set(found)) == []


OF_NUMPY = {
    "all",
    "any",
    "argmax",
    "astype",
    "clip",
    "copy",
    "cumsum",
    "fill",
    "item",
    "max",
    "mean",
    "min",
    "sum",
    "take",
}


def _attribute_of_the_card(array, name):
    if name in OF_NUMPY:
        raise AttributeError(name)
    return getattr(array._ary, name)
