"""What is said of padding that sets alpha's unit and of rankings of one score: when it is so, and never else."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lapsum_cli
from lapsum_cli import LapsumWarning, Rankings, soft_rank, soft_topk
from lapsum_cli.operations.suspicions import ENOUGH, padding_number


def padded(number, shape=(40, 20), where="end", dtype=np.float32, seed=0):
    """Normal scores, all rankings but the first with up to half of them padding."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape).astype(dtype)
    for row in x[1:]:
        count = rng.integers(1, shape[1] // 2)
        places = {"end": np.arange(-count, 0), "start": np.arange(count), "anywhere": rng.permutation(shape[1])[:count]}
        row[places[where]] = number
    return x


def lowest(dtype):
    return float(np.finfo(dtype).min)


@pytest.mark.parametrize("shape", [(40, 20), (3, 8), (2 * ENOUGH // 100, 100), (3, ENOUGH)])
@pytest.mark.parametrize(
    ("number", "where"),
    [(-1e9, "end"), (-1e4, "end"), (-9999.0, "start"), (-1e30, "end"), (lowest("f2"), "end"), (lowest("f4"), "start")],
)
def test_padding_by_a_number_is_seen(number, where, shape):
    x = padded(number, shape, where)
    assert padding_number(Rankings.equal_length(x, *shape)) == np.float32(number)
    assert padding_number(Rankings.equal_length(-x, *shape), descending=False) == -np.float32(number)
    assert padding_number(Rankings.equal_length(-x, *shape)) is None


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_the_lowest_number_of_a_dtype_is_seen_wherever_it_is(dtype):
    x = padded(lowest(dtype), where="anywhere", dtype=np.float64)
    assert padding_number(Rankings.equal_length(x, *x.shape)) == lowest(dtype)


@pytest.mark.parametrize(
    "x",
    [
        padded(-np.inf),
        padded(-100.0),
        padded(0.0),
        padded(1e9),
        padded(-1e9)[:1],
        1e6 * padded(-3.0),
        np.array([[1000.0, 999, 0, 0, 0]]),
        np.array([[-5000.0, 1, 2, 3]]),  # an outlier
        np.array([[-1e9, -1e9, -1e9]]),
        np.array([[-1e5, -1e5, -3e4]]),
        np.empty((3, 0)),
    ],
    ids=range(11),
)
def test_scores_are_taken_for_scores(x):
    assert padding_number(Rankings.equal_length(x, *x.shape)) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9, unique=True))
def test_no_padding_is_seen_in_a_ranking_without_ties(row):
    assert padding_number(Rankings.of([row])) is None


def test_it_is_said_where_it_matters_and_changes_nothing():
    x = padded(-1e9)
    with pytest.warns(LapsumWarning, match=r"scores of -1e\+09 look like padding.*alpha = 0.1std") as said:
        result = soft_topk(x, 3)
    assert [warning.filename for warning in said] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(result, soft_topk(x, 3))
    soft_topk(x, 3, alpha=0.1)
    soft_topk(x, 3, alpha=np.full(len(x), 0.1))
    soft_topk(np.where(x == -1e9, -np.inf, x), 3)


@pytest.mark.parametrize(
    "x", [np.ones((5, 1)), np.ones((2, 3, 1)), [[1.0], [2.0]], Rankings.of([[1.0], [2.0]])], ids=range(4)
)
def test_rankings_of_one_score_each_are_said(x):
    with pytest.warns(LapsumWarning, match="rankings have one score each, so nothing is ranked"):
        soft_rank(x, alpha=1)


def test_one_ranking_of_one_score_may_well_be():
    for x in (np.ones((1, 1)), [1.0], [[1.0], []], [[1.0], [1.0, 2.0]], np.ones((0, 1))):
        soft_rank(x)


def test_tensors_are_said_too():
    torch = pytest.importorskip("torch")
    from lapsum_cli import torch as soft

    x = torch.from_numpy(padded(lowest("f4"))).requires_grad_()
    with pytest.warns(LapsumWarning, match="look like padding") as said:
        soft.soft_topk(x, 3)
    assert [warning.filename for warning in said] == [__file__]
    with pytest.warns(LapsumWarning, match="one score each"):
        soft.soft_rank(x[:, :1])
    soft.soft_topk(x, 3, alpha=0.1)
    soft.soft_topk(x, 3, alpha=torch.tensor(0.1))


def test_a_run_says_it_once_at_its_end(tmp_path):
    np.save(tmp_path / "x.npy", padded(-1e9))
    np.save(tmp_path / "one.npy", np.ones((5, 1)))
    (tmp_path / "each.csv").write_text("qid,score\n" + "".join(f"{q},0.{q}\n" for q in range(9)))
    (tmp_path / "some.csv").write_text("qid,score\n1,0.2\n1,0.3\n2,0.1\n3,0.4\n")
    said = {}
    for name in ("x.npy", "each.csv"):
        program = [sys.executable, "-m", "lapsum_cli", "rank", name, "-o", f"out-{name}"]
        said[name] = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True).stderr
    assert said["x.npy"].count("scores of -1e+09 look like padding") == 1
    assert said["each.csv"].count("9 rankings have one score each") == 1
    for name, rankings in (("one.npy", 5), ("some.csv", 2)):
        assert lapsum_cli.run_file("rank", tmp_path / name, tmp_path / f"again-{name}").alone == rankings
    counts = lapsum_cli.run_file("rank", tmp_path / "x.npy", tmp_path / "again.npy")
    assert "padding" in counts.padding
    assert counts.alone == 0


# Scores that are all alike, of which nothing is learnt.


@pytest.mark.parametrize("loss", ["topk", "ndcg", "spearman"])
@pytest.mark.parametrize("of", ["arrays", "tensors"])
def test_a_start_at_zero_is_said_where_gradients_are_none(loss, of):
    y = np.array([[0.0, 1, 2], [2.0, 0, 0]])
    k = (1,) if loss == "topk" else ()
    if of == "tensors":
        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        soft = pytest.importorskip("lapsum_cli.torch")

    def gradient(x, y=y, **how):
        if of == "arrays":
            return getattr(lapsum_cli, f"{loss}_loss_vjp")(x, y, *k, **how).scores
        x = torch.tensor(x, requires_grad=True)
        getattr(soft, f"{loss}_loss")(x, torch.tensor(y), *k, **how).backward()
        return x.grad

    for x in (np.zeros((2, 3)), np.array([[7.0, 7, -np.inf], [7.0, 7, 7]])):
        with pytest.warns(LapsumWarning, match="all scores are alike") as said:
            assert not gradient(x).any()
        assert len(said) == 1
        assert said[0].filename == __file__
        assert ("give alpha in the unit" in str(said[0].message)) == (loss != "spearman")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bool(gradient(np.zeros((2, 3)), alpha=1.0).any()) == (loss != "spearman")
        assert gradient(np.array([[0.0, 0, 0], [0.0, 0, 1]])).any()
        gradient(np.zeros((2, 3)), np.ones((2, 3)))  # no loss, whatever the scores
