"""The menu: every operation, method and loss that can be asked for; nothing heavy is imported until one is.

    rank     soft rank          r_i = base + sum over j != i of F((x_j - x_i) / alpha)
    sort     soft sort          y_l = the t at which sum over j of F((x_j - t) / alpha) = l - 1/2
    topk     soft top-k         p_i = F((x_i - b) / alpha), b such that the p_i sum to k; or log p_i
    quantile soft quantile      the t at which sum over j of F((x_j - t) / alpha) = 1/2 + (1 - q)(n - 1)
    permute  soft permutation   P_il = F((x_i - b_l) / alpha) - F((x_i - b_l-1) / alpha), the b of the tops l and l - 1
    loss     of these           against a target, see LOSSES

F is the CDF of the Laplace distribution: LapSum (Struski, Bednarczyk, Podolak, Tabor, ICML 2025).

The tables are the places to plug in: a name, a line about it, and the module that has it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.errors import OptionError

if TYPE_CHECKING:
    from .method import Method
    from .operation import Operation


class Entry(NamedTuple):
    """An operation: the class `name` of `module`."""

    module: str
    name: str


class MethodEntry(NamedTuple):
    """A way of computing some of the operations: METHOD of `module`, which has a Way for each of them.

    options  its own, among those of choices.Choices; takes_k: whether a top-k goes by a k
    """

    module: str
    about: str
    operations: tuple[str, ...]
    options: tuple[str, ...] = ()
    takes_k: bool = True


class LossEntry(NamedTuple):
    """A loss: LOSS of `module`; k is "needed", "optional" or "none", options are its own among those of LossChoices.

    is_square   it takes n^2 steps, which long rankings must be asked for
    is_soft     it has an alpha, and gradients; else it is a metric, of which larger is better
    stages      how many scores an item has: more than one in a cascade
    """

    module: str
    about: str
    k: str = "none"
    options: tuple[str, ...] = ()
    is_square: bool = False
    is_soft: bool = True
    stages: int = 1


OPERATIONS = {
    "rank": Entry("lapsum_cli.operations.rank", "Rank"),
    "sort": Entry("lapsum_cli.operations.sort", "Sort"),
    "topk": Entry("lapsum_cli.operations.topk", "TopK"),
    "quantile": Entry("lapsum_cli.operations.quantile", "Quantile"),
    "permute": Entry("lapsum_cli.operations.permute", "Permute"),
    "loss": Entry("lapsum_cli.operations.loss", "Loss"),
}

METHODS = {
    "lapsum": MethodEntry(
        "lapsum_cli.operations.methods.lapsum",
        "sums of Laplace distributions, inverted in closed form (ICML 2025)",
        ("rank", "sort", "topk", "quantile", "permute"),
    ),
    "dftopk": MethodEntry(
        "lapsum_cli.operations.methods.dftopk",
        "a logistic step between the k-th score and the next; sums are not k (Zhu et al. 2025)",
        ("topk",),
    ),
    "ot": MethodEntry(
        "lapsum_cli.operations.methods.ot",
        "SOFT: entropic transport to two anchors, in closed form (Xie et al. 2020)",
        ("topk",),
    ),
    "neuralsort": MethodEntry(
        "lapsum_cli.operations.methods.neuralsort",
        "softmaxes of how well an item fits a position, O(n^2) (Grover et al. 2019)",
        ("rank", "sort", "topk", "permute"),
    ),
    "softsort": MethodEntry(
        "lapsum_cli.operations.methods.softsort",
        "softmaxes of distances from the sorted scores, O(n) after a sort (Prillo and Eisenschlos 2020)",
        ("rank", "sort", "topk", "permute"),
        options=("power",),
    ),
    "sortnet": MethodEntry(
        "lapsum_cli.operations.methods.sortnet",
        "sorting networks of soft comparisons, which see the order of the input (Petersen et al. 2021)",
        ("rank", "sort", "topk", "permute"),
        options=("network", "step"),
    ),
    "sinkhorn": MethodEntry(
        "lapsum_cli.operations.methods.sinkhorn",
        "entropic transport of squashed scores to even positions, O(n^2) a pass (Cuturi et al. 2019)",
        ("rank", "sort", "topk", "permute"),
        options=("iterations",),
    ),
    "ot-sorted": MethodEntry(
        "lapsum_cli.operations.methods.ot_sorted",
        "SOFT: entropic transport to k + 1 anchors in a row, O(nk) a pass (Xie et al. 2020)",
        ("topk",),
        options=("iterations",),
    ),
    "sparse": MethodEntry(
        "lapsum_cli.operations.methods.sparse",
        "memberships of which most are 0, exactly, and which sum to k (Sander et al. 2023)",
        ("topk",),
        ("p", "solver", "iterations"),
    ),
    "sparse-magnitude": MethodEntry(
        "lapsum_cli.operations.methods.sparse_magnitude",
        "the k largest magnitudes, nearly as they are, and zeros (Sander et al. 2023)",
        ("topk",),
        ("p", "solver", "iterations"),
    ),
    "noised": MethodEntry(
        "lapsum_cli.operations.methods.noised",
        "the mean of hard top-k of scores with normal noise (Berthet et al. 2020, Garcin et al. 2022)",
        ("topk",),
        ("draws", "seed", "noise"),
    ),
    "onesoft": MethodEntry(
        "lapsum_cli.operations.methods.onesoft",
        "k - 1 hard places, and one that all others share by a softmax (Ray Chowdhury & Caragea 2023)",
        ("topk",),
    ),
    "threshold": MethodEntry(
        "lapsum_cli.operations.methods.threshold",
        "gates of p or more; no k (threshold-p of MoDification, Zhang et al. 2025)",
        ("topk",),
        ("p", "gate"),
        takes_k=False,
    ),
    "top-p": MethodEntry(
        "lapsum_cli.operations.methods.top_p",
        "the largest gates that hold p of their sum; no k (Holtzman et al. 2020)",
        ("topk",),
        ("p", "gate"),
        takes_k=False,
    ),
    "min-p": MethodEntry(
        "lapsum_cli.operations.methods.min_p",
        "gates of at least p times the largest; no k (Nguyen et al. 2025)",
        ("topk",),
        ("p", "gate"),
        takes_k=False,
    ),
    "hard": MethodEntry(
        "lapsum_cli.operations.methods.hard",
        "hard results, whose ties share, with the gradients that they have",
        ("rank", "sort", "topk", "quantile"),
    ),
    "isotonic": MethodEntry(
        "lapsum_cli.operations.methods.isotonic",
        "fast soft ranks and sorts: projections onto all orders (Blondel et al. 2020)",
        ("rank", "sort"),
        ("regularization",),
    ),
}

LOSSES = {
    "spearman": LossEntry(
        "lapsum_cli.kernels.losses.spearman",
        "1 - correlation of the soft ranks with the ranks of the target (ties take their mean)",
    ),
    "topk": LossEntry(
        "lapsum_cli.kernels.losses.topk",
        "-(1/n) sum of t_i log p_i + (1 - t_i) log(1 - p_i), p soft memberships, t the target's top k",
        k="needed",
    ),
    "recall": LossEntry(
        "lapsum_cli.kernels.losses.recall", "1 - sum of t_i p_i / k, one minus the soft recall at k", k="needed"
    ),
    "ndcg": LossEntry(
        "lapsum_cli.kernels.losses.ndcg",
        "1 - DCG / ideal DCG, DCG = sum of gain(y_i) / log2(1 + r_i), r soft ranks; with k each term times p_i",
        k="optional",
        options=("gain",),
    ),
    "permutation": LossEntry(
        "lapsum_cli.kernels.losses.permutation",
        "-(1/n) sum of log P[i, place of y_i], P the soft permutation; the mean over the orders of equal targets",
    ),
    "graded-topk": LossEntry(
        "lapsum_cli.kernels.losses.graded_topk",
        "n times topk summed over all grades of the target but the lowest, k how many have it or better",
    ),
    "bce-dftopk": LossEntry(
        "lapsum_cli.kernels.losses.bce_dftopk",
        "as topk, p logistic about the middle of the k-th score and the next (Zhu et al. 2025)",
        k="needed",
    ),
    "ranknet": LossEntry(
        "lapsum_cli.kernels.losses.ranknet",
        "mean over pairs with y_i > y_j of log(1 + e^((x_j - x_i) / alpha)) (Burges et al. 2005)",
        is_square=True,
    ),
    "lambda": LossEntry(
        "lapsum_cli.kernels.losses.lambda_loss",
        "LambdaLoss: sum over pairs with y_i > y_j of W_ij log2(1 + e^((x_j - x_i) / alpha)), W as weighting says, "
        "of the first k places (Wang et al. 2018)",
        k="optional",
        options=("weighting", "mu", "eps", "gain", "pairs"),
        is_square=True,
    ),
    "listnet": LossEntry(
        "lapsum_cli.kernels.losses.listnet",
        "-sum of softmax(y)_i log softmax(x / alpha)_i (Cao et al. 2007)",
    ),
    "listmle": LossEntry(
        "lapsum_cli.kernels.losses.listmle",
        "-log of the probability that softmax(x / alpha) draws the target's order; ties by Efron (Xia et al. 2008)",
    ),
    "approx-ndcg": LossEntry(
        "lapsum_cli.kernels.losses.approx_ndcg",
        "1 - DCG / ideal DCG at the places 1 + sum over j != i of 1 / (1 + e^((x_i - x_j) / alpha)) (Qin et al. 2010)",
        options=("gain",),
        is_square=True,
    ),
    "neural-ndcg": LossEntry(
        "lapsum_cli.kernels.losses.neural_ndcg",
        "1 - DCG / ideal DCG of the gains that NeuralSort's permutation, made doubly stochastic, sorts, of the first k "
        "places (Pobrotyn and Bialobrzeski 2021), a hundred times over",
        k="optional",
        options=("gain",),
        is_square=True,
    ),
    "cascade-dftopk": LossEntry(
        "lapsum_cli.kernels.losses.cascade_dftopk",
        "of two stages: half of bce-dftopk of either, and the same of both memberships' product (Zhu et al. 2025)",
        k="needed",
        stages=2,
    ),
    "cascade-lapsum": LossEntry(
        "lapsum_cli.kernels.losses.cascade_lapsum",
        "of two stages: half of topk of either, and the same of both memberships' product",
        k="needed",
        stages=2,
    ),
    "lcron": LossEntry(
        "lapsum_cli.kernels.losses.lcron",
        "of two stages: what NeuralSort gives the first and the other places of each, and what passes both "
        "(Wang et al. 2025)",
        k="needed",
        options=("kept",),
        is_square=True,
        stages=2,
    ),
    "arf": LossEntry(
        "lapsum_cli.kernels.losses.arf",
        "of two stages: NeuralSort's share of the kept places for the top k, and half a listwise cross-entropy of all "
        "(Wang et al. 2023)",
        k="needed",
        options=("kept",),
        is_square=True,
        stages=2,
    ),
    "topk-hinge": LossEntry(
        "lapsum_cli.kernels.losses.topk_hinge",
        "max(0, margin + t - x_y / alpha), t the (k + 1)-th best of x / alpha with normal noise, y the largest target "
        "(Garcin et al. 2022)",
        k="needed",
        options=("margin", "draws", "seed"),
    ),
    "topk-cross-entropy": LossEntry(
        "lapsum_cli.kernels.losses.topk_cross_entropy",
        "-log(p (1 - 2e-7) + 1e-7), p what the largest target has of the first k places of NeuralSort's permutation "
        "(Petersen et al. 2022)",
        k="needed",
        is_square=True,
    ),
    "topk-svm": LossEntry(
        "lapsum_cli.kernels.losses.topk_svm",
        "log(1 + e^margin s_k / (s_k-1 e^z_y)), z = x / (alpha k), s_j the sum over sets of j others of the product of "
        "their e^z (Berrada et al. 2018)",
        k="needed",
        options=("margin",),
    ),
}

_HARD = "lapsum_cli.kernels.losses.hard"
METRICS = {  # where a name ends with @k, so much is said with it: ndcg@10
    "ndcg@k": LossEntry(
        f"{_HARD}.ndcg",
        "DCG / ideal DCG of the first k places, DCG = sum of gain(y_i) / log2(1 + place_i)",
        k="needed",
        options=("gain",),
        is_soft=False,
    ),
    "recall@k": LossEntry(
        f"{_HARD}.recall",
        "the share of the relevant (y > 0) that the first k places hold",
        k="needed",
        is_soft=False,
    ),
    "mrr": LossEntry(f"{_HARD}.mrr", "1 / rank of the first that is relevant", is_soft=False),
    "mrr@k": LossEntry(f"{_HARD}.mrr", "the same, 0 where it is not among the first k", k="needed", is_soft=False),
    "map": LossEntry(
        f"{_HARD}.average_precision",
        "average precision: of what is relevant, the mean share that is relevant down to its place",
        is_soft=False,
    ),
    "kendall": LossEntry(
        f"{_HARD}.kendall",
        "tau-b: pairs in the target's order less those in the opposite, ties left out",
        is_square=True,
        is_soft=False,
    ),
    "hard-spearman": LossEntry(
        f"{_HARD}.spearman", "correlation of the ranks with those of the target, ties take their mean", is_soft=False
    ),
}


def operation_called(name: str) -> type[Operation]:
    """The class of an operation; OptionError names those that are known."""
    if name not in OPERATIONS:
        raise OptionError(f"no operation {name!r}; known are {', '.join(OPERATIONS)}")
    entry = OPERATIONS[name]
    made: type[Operation] = getattr(importlib.import_module(entry.module), entry.name)
    return made


def methods_of(operation: str) -> list[str]:
    """The methods that compute an operation, the default first."""
    return [name for name, entry in METHODS.items() if operation in entry.operations]


def method_called(name: str, operation: str) -> Method:
    """The method of this name; OptionError names those that compute the operation."""
    known = methods_of(operation)
    if name not in known:
        raise OptionError(f"no method {name!r} for {operation}; known are {', '.join(known)}")
    made: Method = importlib.import_module(METHODS[name].module).METHOD
    return made


def entry_of(name: str) -> LossEntry:
    """The line of a loss or a metric; OptionError names those that are known."""
    if name not in LOSSES and name not in METRICS:
        raise OptionError(f"no loss {name!r}; known are {', '.join([*LOSSES, *METRICS])}")
    return LOSSES[name] if name in LOSSES else METRICS[name]


def loss_called(name: str) -> Any:
    """What the loss or metric of this name is made of; OptionError names those that are known."""
    entry = entry_of(name)
    from ..kernels import losses

    return losses.find(entry.module)
