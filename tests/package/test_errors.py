"""Every error of ours survives a copy, and the way back from another process."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from lapsum_cli import soft_rank
from lapsum_cli.core import errors

MADE = [
    made
    for made in vars(errors).values()
    if isinstance(made, type) and issubclass(made, errors.LapsumError | errors.LapsumWarning)
]
COPIES = [copy.copy, copy.deepcopy, *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in range(6))]


def of(kind):
    return kind(7, "alpha is wrong") if kind is errors.BadRanking else kind("in a line")


@pytest.mark.parametrize("kind", MADE)
def test_every_error_is_the_same_when_it_is_copied(kind):
    error = of(kind)
    error.add_note("while ranking")
    for copied in (again(error) for again in COPIES):
        assert type(copied) is kind
        assert (str(copied), copied.args, vars(copied)) == (str(error), error.args, vars(error))
        assert copied.__notes__ == ["while ranking"]


def test_the_message_of_a_bad_ranking_names_it():
    assert str(errors.BadRanking(7, "alpha is wrong")) == "ranking 7: alpha is wrong"
    assert "alpha is wrong" in repr(errors.BadRanking(7, "alpha is wrong"))


def fail(alpha):
    soft_rank(np.ones((2, 2)), alpha=[1.0, alpha])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
def test_a_pool_of_processes_gets_the_error(method):
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool, pytest.raises(errors.BadRanking, match="ranking 1: alpha must be positive"):
        pool.apply_async(fail, (-1.0,)).get(timeout=60)
    with (
        ProcessPoolExecutor(1, mp_context=context) as pool,
        pytest.raises(errors.BadRanking, match="ranking 1: alpha must be positive"),
    ):
        pool.submit(fail, -1.0).result(timeout=60)
