"""The losses, an entry of the catalogue each."""

from functools import partial

import loss_definitions as of_losses
import numpy as np
from entry import Entry

import lapsum_cli
from lapsum_cli.core import reference


def _hard_spearman(x, target, k):
    ranks = [reference.hard_rank(values) for values in (x, target)]
    if np.ptp(x) == 0:
        return 1.0
    return 1 - np.corrcoef(*ranks)[0, 1]


def _hard_recall(x, target, k):
    return 1 - reference.hard_topk(target, k) @ reference.hard_topk(x, k) / k


# In float32 the scores of a loss are float32, and all else float64: an error is that of memberships and ranks.
_LOSS = {"per": "ranking", "needs_target": True, "of": "1"}
_GROWS = {**_LOSS, "of": "each"}
_THEIRS = {**_GROWS, "curved": False}  # of other authors
_HINGE = {**_THEIRS, "k": "positional"}
_CASCADE = {**_HINGE, "stages": 2}

LOSSES = [
    Entry("spearman loss", "spearman_loss", reference.spearman_loss, error=(2e-6, 1e-11), hard=_hard_spearman, **_LOSS),
    Entry(
        "topk loss", "topk_loss", reference.topk_loss, error=(2e-6, 1e-11), k="positional", **{**_LOSS, "of": "each"}
    ),
    Entry(
        "recall loss",
        "recall_loss",
        reference.recall_loss,
        error=(2e-6, 1e-11),
        k="positional",
        hard=_hard_recall,
        **_LOSS,
    ),
    Entry(
        "ndcg loss",
        "ndcg_loss",
        reference.ndcg_loss,
        error=(2e-6, 1e-11),
        hard=partial(of_losses.hard_ndcg, cut=False),
        **_LOSS,
    ),
    Entry(
        "ndcg loss at k",
        "ndcg_loss",
        reference.ndcg_loss,
        error=(2e-6, 1e-11),
        k="keyword",
        options={"gain": "linear"},
        hard=partial(of_losses.hard_ndcg, gain="linear"),
        **_LOSS,
    ),
    Entry(
        "permutation loss",
        "permutation_loss",
        reference.permutation_loss,
        error=(2e-6, 1e-11),
        **{**_LOSS, "of": "each"},
    ),
    Entry("graded topk loss", "graded_topk_loss", of_losses.graded_topk, error=(2e-6, 1e-11), **_GROWS),
    Entry("bce dftopk loss", "bce_dftopk_loss", of_losses.bce_dftopk, error=(2e-6, 1e-11), k="positional", **_THEIRS),
    Entry("ranknet loss", "ranknet_loss", of_losses.ranknet, error=(2e-6, 1e-11), is_linear=False, **_THEIRS),
    Entry("lambda loss", "lambda_loss", of_losses.lambda_loss, error=(2e-6, 1e-11), is_linear=False, **_THEIRS),
    Entry(
        "lambda loss at k",
        "lambda_loss",
        of_losses.lambda_loss,
        error=(2e-6, 1e-11),
        k="keyword",
        options={"weighting": "ndcg2++", "mu": 3.0, "eps": 0.0},
        is_linear=False,
        **_THEIRS,
    ),
    Entry(
        "lambda loss of either",
        "lambda_loss",
        of_losses.lambda_loss,
        error=(2e-6, 1e-11),
        k="keyword",
        options={"weighting": "ndcg2++", "mu": 1.0, "gain": "linear", "pairs": "either"},
        is_linear=False,
        **_THEIRS,
    ),
    Entry("listnet loss", "listnet_loss", of_losses.listnet, error=(2e-6, 1e-11), **_THEIRS),
    Entry("listmle loss", "listmle_loss", of_losses.listmle, error=(2e-6, 1e-11), **_THEIRS),
    Entry(
        "approx ndcg loss",
        "approx_ndcg_loss",
        of_losses.approx_ndcg,
        error=(2e-6, 1e-11),
        hard=of_losses.hard(of_losses.approx_ndcg),
        is_linear=False,
        **{**_THEIRS, "of": "1"},
    ),
    Entry(
        "neural ndcg loss",
        "neural_ndcg_loss",
        of_losses.neural_ndcg,
        error=(2e-6, 1e-10),
        hard=lambda x, target, k: 1 - lapsum_cli.metric("ndcg@100%", x, target),
        is_linear=False,
        **{**_THEIRS, "of": "1"},
    ),
    Entry(
        "topk hinge loss",
        "topk_hinge_loss",
        None,
        error=(2e-6, 1e-11),
        lacks=("symmetric", "alone", "bounds"),
        **_HINGE,
    ),
    Entry(
        "topk cross entropy loss",
        "topk_cross_entropy_loss",
        of_losses.topk_cross_entropy,
        error=(2e-6, 1e-11),
        is_linear=False,
        **{**_HINGE, "of": "1"},  # at most -log 1e-7, and near 0 the logarithm of what is rounded to 1
    ),
    Entry("topk svm loss", "topk_svm_loss", of_losses.topk_svm, error=(2e-6, 1e-11), **_HINGE),
    Entry("cascade dftopk loss", "cascade_dftopk_loss", of_losses.cascade_dftopk, error=(2e-6, 1e-11), **_CASCADE),
    Entry("cascade lapsum loss", "cascade_lapsum_loss", of_losses.cascade_lapsum, error=(2e-6, 1e-11), **_CASCADE),
    Entry("lcron loss", "lcron_loss", of_losses.lcron, error=(2e-6, 1e-11), is_linear=False, **_CASCADE),
    Entry("arf loss", "arf_loss", of_losses.arf, error=(2e-6, 1e-11), is_linear=False, **_CASCADE),
]
