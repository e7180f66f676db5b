"""Metrics against their definitions: of one order, and the mean over all that equal scores may have."""

from itertools import permutations

import numpy as np
import pytest

import lapsum_cli
from lapsum_cli import LapsumError, OptionError
from lapsum_cli.api.losses import loss, loss_vjp

RNG = np.random.default_rng(4)


def ndcg(y, k=None):
    discounts = np.where(np.arange(len(y)) < (k or len(y)), 1 / np.log2(2 + np.arange(len(y))), 0)
    return np.sum((2.0**y - 1) * discounts) / np.sum((2.0 ** np.sort(y)[::-1] - 1) * discounts)


def recall(y, k):
    return np.sum(y[:k] > 0) / np.sum(y > 0)


def mrr(y, k=None):
    first = np.flatnonzero(y > 0)[0]
    return 1 / (first + 1) if first < (k or len(y)) else 0


def average_precision(y):
    found = y > 0
    return np.mean((np.cumsum(found) / np.arange(1, len(y) + 1))[found])


OF_ORDERS = {  # of targets by place
    "ndcg@3": lambda y: ndcg(y, 3),
    "ndcg@100%": ndcg,
    "recall@2": lambda y: recall(y, 2),
    "mrr": mrr,
    "mrr@2": lambda y: mrr(y, 2),
    "map": average_precision,
}


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("name", OF_ORDERS)
def test_a_metric_is_the_mean_over_the_orders_of_equal_scores(name, descending):
    for _ in range(20):
        x, y = RNG.integers(0, 3, 6).astype(float), RNG.integers(0, 3, 6).astype(float)
        y[RNG.integers(6)] = 1
        orders = [np.lexsort((p, -x if descending else x)) for p in permutations(range(6))]
        want = np.mean([OF_ORDERS[name](y[order]) for order in orders])
        got = lapsum_cli.metric(name, x, y, descending=descending)
        assert got == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("name", OF_ORDERS)
def test_a_metric_of_scores_that_differ_is_that_of_their_order(name):
    for n in (1, 2, 7, 40):
        x, y = RNG.standard_normal(n).astype(np.float32), RNG.integers(0, 4, n).astype(float)
        y[0] = 2
        want = OF_ORDERS[name](y[np.argsort(-x)])
        assert lapsum_cli.metric(name, x, y) == pytest.approx(want, rel=1e-12)
        padded, targets = np.append(x, [-np.inf] * 3), np.append(y, [9] * 3)
        assert lapsum_cli.metric(name, padded, targets) == pytest.approx(want, rel=1e-12)


def test_correlations_of_ties_are_those_of_their_definitions():
    for _ in range(20):
        x, y = RNG.integers(0, 4, 9).astype(float), RNG.integers(0, 3, 9).astype(float)
        x[:2], y[:2] = (0, 1), (0, 1)
        a, b = (np.sign(v[:, None] - v) for v in (x, y))
        want = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
        assert lapsum_cli.metric("kendall", x, y) == pytest.approx(want, rel=1e-12, abs=1e-15)
        assert lapsum_cli.metric("kendall", x, y, descending=False) == pytest.approx(-want, rel=1e-12, abs=1e-15)
        ranks = [((v < v[:, None]).sum(axis=1) + (v <= v[:, None]).sum(axis=1)) / 2 for v in (x, y)]
        want = np.corrcoef(*ranks)[0, 1]
        assert lapsum_cli.metric("hard-spearman", x, y) == pytest.approx(want, rel=1e-12, abs=1e-12)


def test_scores_that_are_alike_correlate_with_nothing_and_targets_that_are_have_no_correlation():
    for name in ("kendall", "hard-spearman"):
        assert lapsum_cli.metric(name, [1.0, 1, 1], [0, 1, 2]) == 0
        assert np.isnan(lapsum_cli.metric(name, [0.0, 1, 2], [1, 1, 1]))


@pytest.mark.parametrize("name", ["ndcg@3", "recall@3", "mrr", "map"])
def test_without_anything_relevant_there_is_no_metric_and_all_relevant_is_one(name):
    x = [[1.0, 2, 3], [1, 2, 3], [4]]
    found = lapsum_cli.metric(name, x, [[0, 0, 0], [1, 1, 1], [2]], reduction="none")
    np.testing.assert_array_equal(found, [np.nan, 1, 1])


def test_what_is_no_metric_is_refused():
    for name, words in (("spearman", "is no metric"), ("mrr,map", "is no metric"), ("pearson", "no loss 'pearson'")):
        with pytest.raises(OptionError, match=words):
            lapsum_cli.metric(name, [1.0, 2], [0, 1])
    with pytest.raises(OptionError, match=r"ndcg@2 is a metric of hard orders, which has no gradient"):
        loss_vjp("ndcg@k", [1.0, 2], [0, 1], k=2)
    with pytest.raises(LapsumError, match="ndcg@k needs targets of 0 or more, got -1"):
        lapsum_cli.metric("ndcg@2", [1.0, 2], [-1, 1])


def test_a_k_that_a_loss_has_no_use_for_is_refused():
    for k in (2, [2]):
        with pytest.raises(OptionError, match="loss spearman takes no k"):
            loss("spearman", [[1.0, 2]], [[0, 1]], k=k)
        with pytest.raises(OptionError, match="loss listnet takes no k"):
            loss_vjp("listnet", [[1.0, 2]], [[0, 1]], k=k)
