"""Losses and metrics against numbers that the authors' own code gave; its sums over a batch are sums of rankings."""

import json
from pathlib import Path

import numpy as np
import pytest

from lapsum_cli.api.losses import loss, loss_vjp, metric

VECTORS = Path(__file__).parents[1] / "vectors"
CASES = [
    case for name in ("ltr_losses", "cascades") for case in json.loads((VECTORS / f"{name}.json").read_text())["cases"]
]
WEIGHTINGS = {
    None: "none",
    "ndcgLoss1_scheme": "ndcg1",
    "ndcgLoss2_scheme": "ndcg2",
    "lambdaRank_scheme": "lambdarank",
    "ndcgLoss2PP_scheme": "ndcg2++",
    "rankNet_scheme": "ranknet",
    "rankNetWeightedByGTDiff_scheme": "gtdiff",
    "rankNetWeightedByGTDiffPowed_scheme": "gtdiff-powed",
}


def of(*operations):
    return pytest.mark.parametrize("case", [case for case in CASES if case["op"] in operations])


def rankings(case):
    """Scores without what is padded (-1), and their labels."""
    scores, labels = (np.array(case["inputs"][name]) for name in ("scores", "labels"))
    scores[labels < 0] = -np.inf
    return scores, np.maximum(labels, 0)


def pairs(x, y, k=None, every=False):
    """How many pairs of each ranking are counted: y_i > y_j, or every pair, of the k best scores."""
    counted = []
    for scores, labels in zip(x, y, strict=True):
        best = labels[np.argsort(-scores)][: k or len(scores)][: np.isfinite(scores).sum()]
        counted.append(len(best) ** 2 if every else (best[:, None] > best).sum())
    return np.array(counted)


def agree(case, got, gradient, weights):
    """The sum of losses times their weights, and its gradient."""
    np.testing.assert_allclose(np.nansum(got * weights), case["outputs"]["loss"], rtol=1e-5, atol=case["tol"] / 10)
    want = np.array(case["grads"]["scores"])
    np.testing.assert_allclose(gradient * weights[:, None], want, rtol=0, atol=case["tol"] * max(1, np.abs(want).max()))


@of("lambdaLoss")
def test_lambda_losses(case):
    how, (x, y) = case["params"], rankings(case)
    weighting = WEIGHTINGS[how["weighing_scheme"]]
    given = {"alpha": 1, "k": how["k"], "weighting": weighting, "reduction": "none"}
    weights = np.full(len(x), np.log(2) if how["reduction_log"] == "natural" else 1.0)
    if how["reduction"] == "mean":
        weights /= pairs(x, y, how["k"], weighting == "ndcg1").sum()
    got = loss_vjp("lambda", x, y, np.ones(len(x)), **given)
    agree(case, loss("lambda", x, y, **given), got.scores, weights)


@of("fs_lambdaloss")
def test_lambda_loss_of_pairs_of_which_either_is_in_the_first_places(case):
    x, y = rankings(case)
    share = case["params"]["smooth_fraction"]  # of |d(i) - d(j)|; the rest is of the distance of places
    given = {"alpha": 1, "k": case["params"]["topn"], "pairs": "either", "gain": "linear", "reduction": "none"}
    given |= {"weighting": "ndcg2++", "mu": (1 - share) / share} if share else {"weighting": "ndcg2"}
    weights = np.full(len(x), np.log(2) * (share or 1))
    agree(case, loss("lambda", x, y, **given), loss_vjp("lambda", x, y, np.ones(len(x)), **given).scores, weights)


@of("rankNet")
def test_the_mean_over_pairs_of_a_batch_weighs_rankings_by_theirs(case):
    x, y = rankings(case)
    weights = pairs(x, y) / pairs(x, y).sum()
    given = {"alpha": 1, "reduction": "none"}
    agree(case, loss("ranknet", x, y, **given), loss_vjp("ranknet", x, y, np.ones(len(x)), **given).scores, weights)


@of("rankNet_weightByGTDiff")
def test_ranknet_weighted_by_differences_is_a_weighting_of_lambda(case):
    x, y = rankings(case)
    given = {"alpha": 1, "weighting": "gtdiff", "eps": 0.0, "reduction": "none"}
    weights = np.full(len(x), np.log(2) / pairs(x, y).sum())
    agree(case, loss("lambda", x, y, **given), loss_vjp("lambda", x, y, np.ones(len(x)), **given).scores, weights)


@of("listNet")
def test_listnet(case):
    x, y = rankings(case)
    given = {"alpha": 1, "reduction": "none"}
    got = loss_vjp("listnet", x, y, np.ones(len(x)), **given)
    agree(case, loss("listnet", x, y, **given), got.scores, np.full(len(x), 1 / len(x)))


@of("approxNDCG")
def test_approx_ndcg_is_that_of_the_authors_and_1(case):
    x, y = rankings(case)
    given = {"alpha": 1 / case["params"]["alpha"], "reduction": "none"}
    got = loss_vjp("approx-ndcg", x, y, np.ones(len(x)), **given)
    agree(case, loss("approx-ndcg", x, y, **given) - 1, got.scores, np.full(len(x), 1 / len(x)))


@of("neuralNDCG")
def test_neural_ndcg_is_that_of_the_authors_and_1(case):
    x, y = rankings(case)
    given = {"alpha": case["params"]["temperature"], "k": case["params"]["k"], "reduction": "none"}
    got = loss_vjp("neural-ndcg", x, y, np.ones(len(x)), **given)
    agree(case, loss("neural-ndcg", x, y, **given) - 1, got.scores, np.full(len(x), 1 / len(x)))


@of("ndcg_metric")
def test_metrics(case):
    x, y = rankings(case)
    for i, k in enumerate(case["params"]["ats"]):
        got = metric(f"ndcg@{k}", x, y, reduction="none")
        np.testing.assert_allclose(got, np.array(case["outputs"]["ndcg"])[:, i], rtol=1e-6)
        best = (y == y.max(axis=1, keepdims=True)).astype(float)  # theirs asks for the best alone
        got = metric(f"mrr@{k}", x, best, reduction="none")
        np.testing.assert_allclose(got, np.array(case["outputs"]["mrr"])[:, i], rtol=1e-6)
