"""One check of numbers: every kind that NumPy makes numbers of silently, in every container and every companion."""

import decimal
from datetime import date
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import lapsum_cli
from lapsum_cli import (
    DataError,
    LapsumError,
    OptionError,
    Rankings,
    soft_permutation,
    soft_rank,
    soft_rank_vjp,
    soft_topk,
    soft_topk_vjp,
    spearman_loss,
    spearman_loss_vjp,
)

BIG = 2**53 + 1

# Two numbers that are none, by what NumPy would do with them.
BAD = {
    "masked": np.ma.masked_array([1.0, 2.0], [False, True]),
    "strings": np.array(["1", "2"]),
    "bytes": np.array([b"1", b"2"]),
    "complex": np.array([1 + 2j, 3]),
    "dates": np.array(["NaT", "2020-01-01"], "M8[D]"),
    "durations": np.array([1, 2], "m8[s]"),
    "bools": np.array([True, False]),
    "int64": np.array([BIG, BIG - 1]),
    "uint64": np.array([2**64 - 1, 2**64 - 2], np.uint64),
    "negative": np.array([-BIG, 1]),
    "longdouble": np.array([2, 0], np.longdouble) ** 60 + 1,
    "strings as objects": np.array(["1", "2"], object),
    "bools as objects": np.array([True, 2.0], object),
    "decimals": np.array([decimal.Decimal(BIG), decimal.Decimal(1)], object),
    "huge": np.array([10**400, 1], object),
    "dates as objects": np.array([date(2020, 1, 1)] * 2, object),
    "list of bools": [True, False],
    "a bool among floats": [True, 0.5],
    "a bool among integers": [3, True],
    "a large integer among floats": [BIG, 0.5],
    "a list of strings": ["1", "2"],
    "a list of large integers": [BIG, 2**64],
}

# The two numbers of a kind as scores, in whatever holds rankings.
CONTAINERS = {
    "itself": lambda bad: bad,
    "a list of rows": lambda bad: [bad, np.ones(3)],
    "a tuple of rows": lambda bad: (np.ones(3), bad),
    "Rankings": lambda bad: Rankings(bad, [0, 2]),
    "Rankings.of": lambda bad: Rankings.of([[1.0], bad]),
    "Rankings.from_sizes": lambda bad: Rankings.from_sizes(bad, [1, 1]),
}

# The two numbers of a kind beside scores; and what the message calls them.
COMPANIONS = {
    "alpha": lambda bad: soft_rank(np.ones((2, 3)), alpha=bad),
    "k": lambda bad: soft_topk(np.ones((2, 3)), bad),
    "upstream": lambda bad: soft_rank_vjp(np.ones(2), bad),
    "upstream of rows": lambda bad: soft_topk_vjp([np.ones(2)], 1, [bad]),
    "upstream of Rankings": lambda bad: soft_rank_vjp(Rankings.of([[1.0], [2.0]]), bad),
    "upstream of a loss": lambda bad: spearman_loss_vjp(np.ones((2, 3)), np.ones((2, 3)), bad, reduction="none"),
    "target": lambda bad: spearman_loss(np.ones(2), bad),
    "target of rows": lambda bad: spearman_loss([np.ones(2)], [bad]),
    "sizes": lambda bad: Rankings.from_sizes(np.ones(4), bad),
    "offsets": lambda bad: Rankings(np.ones(4), bad),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_number_is_refused_in_every_container(kind, container):
    with pytest.raises(DataError, match=r"scores must be numbers|is masked|that no float64 holds") as refused:
        soft_rank(CONTAINERS[container](BAD[kind]), alpha=0.1)
    assert "\n" not in str(refused.value)


CLICKS = {"bools", "list of bools"}  # which a target may be


@pytest.mark.parametrize(
    ("kind", "companion"), [(a, b) for a in BAD for b in COMPANIONS if a not in CLICKS or "target" not in b]
)
def test_what_is_no_number_is_refused_beside_scores(kind, companion):
    with pytest.raises(LapsumError, match=companion.split()[0]) as refused:
        COMPANIONS[companion](BAD[kind])
    assert "\n" not in str(refused.value)
    assert "score" not in str(refused.value).replace("the number of scores", "")


def _columns(values, kind):
    yield pa.array(values, kind)
    yield pa.array([values], pa.list_(kind))
    yield pa.array([values], pa.large_list(kind))
    yield pa.array([values], pa.list_(kind, len(values)))
    yield [pa.array(values, kind)]
    yield pl.Series(pa.array(values, kind))
    yield pd.Series(pa.array(values, kind).to_pandas())


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2"], pa.string()),
        ([date(2020, 1, 1), date(2021, 1, 1)], pa.date32()),
        ([1, 2], pa.timestamp("us")),
        ([1, 2], pa.duration("s")),
        ([BIG, BIG - 1], pa.int64()),
        ([2**64 - 1, 2**64 - 2], pa.uint64()),
        ([decimal.Decimal(BIG), decimal.Decimal(BIG - 1)], pa.decimal128(20, 0)),
        ([decimal.Decimal(BIG), decimal.Decimal(BIG - 1)], pa.decimal128(20, 2)),
    ],
    ids=str,
)
def test_what_is_no_number_is_refused_in_every_column(values, kind):
    for column in _columns(values, kind):
        with pytest.raises(DataError, match=r"must be numbers|no float64 holds"):
            soft_rank(column, alpha=0.1)
        with pytest.raises(DataError, match=r"target|column") as refused:
            spearman_loss(np.ones((1, 2)) if not isinstance(column, list) else [np.ones(2)], column)
        assert "score" not in str(refused.value)


X = np.array([0.3, 0.1, 0.9, 0.2])
RANKS = soft_rank(X, alpha=0.1)


@pytest.mark.parametrize(
    "x",
    [
        np.array(X, object),
        np.array([decimal.Decimal(str(v)) for v in X]),
        [Fraction(str(v)) for v in X],
        np.ma.masked_array(X, False),
        X.astype(np.longdouble),
        [np.float64(v) for v in X],
        pa.array([decimal.Decimal(str(v)) for v in X]),
    ],
    ids=lambda x: type(x).__name__,
)
def test_numbers_of_any_kind_are_the_same_numbers(x):
    assert soft_rank(x, alpha=0.1) == pytest.approx(RANKS, abs=1e-12)
    [row] = soft_rank([x], alpha=0.1)
    assert np.array_equal(row, soft_rank(x, alpha=0.1))


def test_integers_that_a_float64_holds_are_taken_however_large():
    for x in (np.array([2**60, -(2**62)]), np.array([2**63, 2**53], np.uint64), [2**70, -1], [2**60, 0.5]):
        assert soft_rank(x, alpha=1).tolist() == [1, 2]


def test_an_object_array_of_numbers_is_an_array():
    x = np.array([[3, 1.5], [1, 2]], object)
    assert soft_rank(x, alpha=0.01).shape == soft_rank(x.astype(float), alpha=0.01).shape
    assert soft_permutation(x, alpha=0.01).shape == (2, 2, 2)


SCORES = np.random.default_rng(0).normal(size=(2, 3, 4))


@pytest.mark.parametrize("shape", [(2, 3), (3,), (2, 1), (1, 1), (1,), (), (2, 3, 1)])
@pytest.mark.parametrize("name", ["alpha", "k"])
def test_an_option_broadcasts_to_the_rankings(shape, name):
    given = np.random.default_rng(1).uniform(0.5, 2, shape)
    whole = given[..., 0] if len(shape) == 3 else np.broadcast_to(given, (2, 3))
    result = soft_topk(SCORES, **{"k": 2, "alpha": 0.3, name: given})
    for at in np.ndindex(2, 3):
        want = soft_topk(SCORES[at], **{"k": 2, "alpha": 0.3, name: float(whole[at])})
        assert np.array_equal(result[at], want)


@pytest.mark.parametrize("shape", [(3, 2), (6,), (6, 1), (1, 6), (2,), (2, 3, 4), (1, 2, 3), (2, 3, 2)])
@pytest.mark.parametrize("name", ["alpha", "k"])
def test_an_option_of_another_shape_is_refused_whatever_its_count(shape, name):
    with pytest.raises(OptionError, match=rf"{name} has the shape \({shape[0]}, .*, \(2, 3\)|{name} has the shape"):
        soft_topk(SCORES, **{"k": 2, "alpha": 0.3, name: np.ones(shape)})


@pytest.mark.parametrize(
    "shape", [(3, 2, 4), (6, 4), (24,), (2, 12), (4, 3, 2), (2, 4, 3), (1, 2, 3, 4), (2, 3, 1), ()]
)
def test_what_goes_with_every_score_has_its_shape(shape):
    given = np.ones(shape)
    for call in (lambda: soft_rank_vjp(SCORES, given), lambda: soft_topk_vjp(SCORES, 2, given)):
        with pytest.raises(DataError, match="upstream"):
            call()
    with pytest.raises(DataError, match="target"):
        spearman_loss(SCORES, given)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (1, 4), (2, 1, 4)])
def test_whole_rankings_broadcast(shape):
    given = np.random.default_rng(1).normal(size=shape)
    whole = np.broadcast_to(given, SCORES.shape)
    assert np.array_equal(soft_rank_vjp(SCORES, given).scores, soft_rank_vjp(SCORES, whole).scores)
    assert spearman_loss(SCORES, given) == spearman_loss(SCORES, whole)


def test_the_upstream_of_a_loss_is_one_for_each_ranking_or_one():
    for given in (np.ones((3, 2)), np.ones(2), np.ones((2, 3, 4))):
        with pytest.raises(OptionError, match="upstream has the shape"):
            spearman_loss_vjp(SCORES, SCORES, given, reduction="none")
    with pytest.raises(OptionError, match="upstream has the shape"):
        spearman_loss_vjp(SCORES, SCORES, [1, 2])
    assert np.array_equal(spearman_loss_vjp(SCORES, SCORES, [2.0])[0], spearman_loss_vjp(SCORES, SCORES, 2.0)[0])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64, list])
def test_offsets_and_sizes_of_any_integers(dtype):
    made = (lambda numbers: numbers) if dtype is list else (lambda numbers: np.array(numbers, dtype))
    for rankings in (Rankings(X, made([0, 3, 3, 4])), Rankings.from_sizes(X, made([3, 0, 1]))):
        assert rankings.offsets.tolist() == [0, 3, 3, 4]
        assert rankings.offsets.dtype == np.int64
        assert np.array_equal(soft_rank(rankings, alpha=0.1)[0], soft_rank(X[:3], alpha=0.1))


@pytest.mark.parametrize("sizes", [[3, 2], [2], [5, -1], [[4]], 4, [2.0, 2.0], [2**63, 0]])
def test_sizes_that_make_no_rankings_are_refused(sizes):
    with pytest.raises(DataError, match="sizes"):
        Rankings.from_sizes(X, sizes)


def test_what_goes_with_rankings_may_be_flat():
    rankings, flat = Rankings.from_sizes(X, [3, 1]), np.arange(4.0)
    rows = [flat[:3], flat[3:]]
    for given in (flat, flat.tolist(), pa.array(flat), pd.Series(flat), Rankings.from_sizes(flat, [3, 1])):
        same = soft_rank_vjp(rankings, given).scores
        assert np.array_equal(same.values, soft_rank_vjp(rankings, rows).scores.values)
        assert spearman_loss(rankings, given) == spearman_loss(rankings, rows)
    for given in (flat[:3], np.ones((2, 2)), Rankings.from_sizes(flat, [1, 3])):
        with pytest.raises(DataError, match="upstream"):
            soft_rank_vjp(rankings, given)
    with pytest.raises(DataError, match="upstream"):  # a list has rows of its own
        soft_rank_vjp([X[:3], X[3:]], flat)


def test_rankings_hold_what_goes_with_them_whole():
    with pytest.raises(DataError, match=r"alpha has the shape \(3,\)"):
        Rankings(X, [0, 4], {}, {"alpha": np.ones(3)})
    with pytest.raises(DataError, match=r"target has the shape \(3,\)"):
        Rankings(X, [0, 4], {"target": np.ones(3)})


@pytest.mark.parametrize("given", [True, np.True_, b"0.1", 1j, np.timedelta64(1, "s"), {}, np.ma.masked, object()])
@pytest.mark.parametrize("name", ["alpha", "k"])
def test_a_single_option_must_be_a_number(name, given):
    soft_topk(X, **{"k": 1, "alpha": 1})  # True is 1 where options are looked up
    with pytest.raises(OptionError, match=name) as refused:
        soft_topk(X, **{"k": 1, "alpha": 1, name: given})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "given", [np.float32(0.5), np.array(0.5), decimal.Decimal("0.5"), Fraction(1, 2), "0.5", np.str_("0.5")]
)
def test_a_single_option_may_be_any_number(given):
    assert np.array_equal(soft_topk(X, given, alpha=given), soft_topk(X, 0.5, alpha=0.5))


def test_bfloat16_is_computed_as_float32_and_comes_back():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = X.astype(ml_dtypes.bfloat16)
    wide = x.astype(np.float32)
    assert np.array_equal(soft_rank(x, alpha=0.1), soft_rank(wide, alpha=0.1))
    assert soft_rank(x, alpha=0.1).dtype == np.float32
    members = soft_topk(x, 2, alpha=0.1)
    assert members.dtype == ml_dtypes.bfloat16
    assert np.array_equal(members, soft_topk(wide, 2, alpha=0.1).astype(ml_dtypes.bfloat16))
    assert soft_topk_vjp(x, 2, x, alpha=0.1).scores.dtype == ml_dtypes.bfloat16
    assert soft_rank([x, x[:2]], alpha=0.1)[0].dtype == np.float32
    assert lapsum_cli.spearman_loss(x, x, alpha=0.1) == lapsum_cli.spearman_loss(wide, wide, alpha=0.1)
    for name in ("float8_e4m3fn", "float8_e5m2", "int4"):
        with pytest.raises(DataError, match=f"scores must be numbers, got {name}"):
            soft_rank(np.array([1, 2], getattr(ml_dtypes, name)))


@pytest.mark.parametrize("loss", ["ndcg", "recall"])
def test_a_ranking_without_a_loss_is_nothing_to_its_neighbours(loss):
    x, y = np.linspace(0, 1, 40).reshape(8, 5) ** 2, np.arange(40.0).reshape(8, 5) * 7 % 5
    k, function = np.full(8, 2.0), getattr(lapsum_cli, f"{loss}_loss_vjp")
    k[::3] = 0
    y[4] = 1  # no order is better than another
    lost = np.isin(np.arange(8), [0, 3, 4, 6])
    some = function(x, y, k=k, alpha=0.3, reduction="sum").scores
    rest = function(x[~lost], y[~lost], k=2, alpha=0.3, reduction="sum").scores
    assert np.array_equal(some[~lost], rest)
    assert not some[lost].any()
