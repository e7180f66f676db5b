"""What a run says of its softness: against the definitions, whatever the batches are, and only where it can be said."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lapsum_cli import Rankings, run_file, soft_rank
from lapsum_cli.core import reference
from lapsum_cli.core.quantities import Alpha, K
from lapsum_cli.devices.cpu import Cpu
from lapsum_cli.operations.how_soft import MOST, HowSoft
from lapsum_cli.operations.loss import Loss
from lapsum_cli.operations.rank import Rank
from lapsum_cli.operations.sort import Sort
from lapsum_cli.operations.topk import TopK


def seen(operation, rows, at_a_time=7, beside=()):
    """What is known of a run over rows, so many in a batch."""
    found = HowSoft()
    for start in range(0, len(rows), at_a_time):
        rankings = Rankings.of(rows[start : start + at_a_time])
        rankings = Rankings(rankings.values, rankings.offsets, dict.fromkeys(beside, rankings.values))
        found.add(operation, rankings, Cpu().compute(operation, rankings))
    return found


def rows_of(count, seed=0, longest=40, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(n).astype(dtype) for n in rng.integers(0, longest, count)]


@pytest.mark.parametrize("alpha", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("operation", [Rank, Sort, Loss])
def test_the_distance_from_hard_ranks_is_that_of_the_definition(operation, alpha):
    """Of rankings short enough that all of their items are looked at."""
    rows = [row for row in rows_of(30, longest=16) if len(row) > 1]
    made = operation(alpha=Alpha(alpha))
    got = [s.value for s in seen(made, rows, beside=made.takes).seen]
    off = [np.abs(reference.rank(x, alpha) - reference.hard_rank(x)) for x in rows]
    np.testing.assert_allclose(got, [np.median(each) for each in off], rtol=1e-9, atol=1e-12)


SPREAD = {  # where soft ranks are so near the hard ones that a part of the scores would not tell
    "uniform": lambda n: np.random.default_rng(0).random(n),
    "equally spaced": lambda n: np.arange(n) / n,
    "every fourth alike": lambda n: np.where(np.arange(n) % 4, np.random.default_rng(0).standard_normal(n), 0.0),
    "padded": lambda n: np.where(np.arange(n) < 20, np.arange(n), -np.inf),
}


@pytest.mark.parametrize("kind", SPREAD)
@pytest.mark.parametrize("n", [1000, 20_000])
@pytest.mark.parametrize("alpha", [0.003, 0.1])
def test_of_a_long_ranking_all_scores_tell(kind, n, alpha):
    """The items that are looked at are some of all, whose median it should be near."""
    x = SPREAD[kind](n)
    [got] = seen(Rank(alpha=Alpha(alpha)), [x]).seen
    finite = x[np.isfinite(x)]
    off = np.abs(soft_rank(finite, alpha=alpha) - np.float64(pd.Series(-finite).rank()))
    assert np.quantile(off, 0.1) - 1e-6 <= got.value <= np.quantile(off, 0.9) + 1e-6
    assert got.length == len(finite)


def test_what_would_take_too_long_is_left_out():
    long = np.random.default_rng(0).standard_normal(100_000)
    assert [s.number for s in seen(Rank(), [np.arange(5.0), long, np.arange(7.0)]).seen] == [0, 2]
    assert len(seen(Rank(), [long]).seen) == 1


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("k", [1, 2.5, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_the_best_hold_is_that_of_the_definition(k, log, dtype):
    rows = rows_of(30, dtype=dtype)
    made = TopK(alpha=Alpha(0.4), ks=(K(k),), log=log)
    got = [s.value for s in seen(made, rows).seen]
    want = [
        np.minimum(reference.topk(np.float64(x), k, 0.4), reference.hard_topk(x, k)).sum() / k
        for x in rows
        if len(x) >= k + 0.5
    ]
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("k", [K(3), K(2.5), K(0.5), K(25, True), K(1e-9)])
@pytest.mark.parametrize("descending", [True, False])
def test_what_is_hard_holds_all_with_ties_and_fractions(k, descending):
    """At a tiny alpha: no smaller one would change anything."""
    rows = [np.round(2 * x) / 2 for x in rows_of(40)] + [np.ones(9), np.append(np.arange(5.0), np.full(90, -np.inf))]
    found = seen(TopK(alpha=Alpha(1e-6), descending=descending, ks=(k,)), rows)
    assert found.line().endswith(f"the hard top {k} holds 100 % of k")


def test_the_sample_does_not_depend_on_batches():
    rows = rows_of(1000, longest=6)
    found = [seen(Rank(), rows, at_a_time).seen for at_a_time in (1, 64, 333, 1000)]
    assert all(each == found[0] for each in found)
    assert MOST // 4 < len(found[0]) <= MOST
    assert len({s.number for s in found[0]}) == len(found[0])


def test_infinite_scores_and_rankings_of_one_tell_nothing():
    assert seen(Rank(), [np.array([1.0]), np.array([-np.inf, 2.0]), np.empty(0)]).line() is None
    assert seen(TopK(ks=(K(3),)), [np.arange(3.0)]).line() is None


def test_an_alpha_that_is_far_from_hard_is_said_with_what_to_do():
    rng = np.random.default_rng(0)
    plain = [rng.standard_normal(100) for _ in range(20)]
    with_outliers = [np.append(x, 1e4) for x in plain]
    for operation in (Rank(), TopK(ks=(K(10),))):
        assert "far" not in seen(operation, plain).line()
        assert "0.15mad" in seen(operation, with_outliers).line()
    assert "far" not in seen(Rank(alpha=Alpha(0.15, "mad")), with_outliers).line()
    assert seen(Rank(alpha=Alpha(50.0)), plain).line().endswith("far: a smaller alpha is harder")


@pytest.mark.parametrize(
    ("given", "named"), [({"alpha": "0.2iqr"}, "alpha = 0.2iqr"), ({"alpha_column": "a"}, "by col")]
)
def test_a_run_of_a_file_knows(given, named, tmp_path):
    table = pa.table({"qid": [1, 1, 2, 2, 2], "score": [1.0, 2.0, 5.0, 3.0, 4.0], "a": [0.1, 0.1, 1.0, 1.0, 1.0]})
    pq.write_table(table, tmp_path / "in.parquet")
    counts = run_file("rank", tmp_path / "in.parquet", tmp_path / "out.parquet", **given)
    assert named in counts.how_soft.line()
