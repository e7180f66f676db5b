"""An objective for gradient boosting, LightGBM (4 or newer) and XGBoost (2 or newer): the graded top-k cross-entropy.

For every grade c of a query but the lowest, k is how many of its documents have a label of c or more, and the loss is
the cross-entropy of the soft top k at alpha with them: n times topk_loss, summed over the grades. `objective` has its
gradient, and a Hessian of its kind, for every round of boosting.

>>> from lapsum_cli.boosting import objective
>>> made = objective([2, 0, 1, 0, 1], [3, 2])
>>> gradient, hessian = made([0.0, 0.0, 0.0, 0.0, 0.0], None)
>>> gradient.round(3).tolist(), float(hessian.mean())
([-1.429, 1.429, 0.0, 0.952, -0.952], 1.0)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from .api.losses import metric as metric_of
from .api.target import Target
from .core.errors import DataError, OptionError
from .core.numbers import floats, taken
from .core.rankings import Rankings
from .devices.cpu import Cpu
from .devices.machine import cores
from .kernels.cpu import parallel
from .kernels.losses.graded_newton import Newton, Piece, newton, prepared
from .operations import METRICS
from .operations.losses import asked_for

__all__ = ["Metric", "Newton", "Objective", "objective"]

GAINS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {  # what a cut counts, by the grades beside it
    "flat": lambda above, below: np.ones(len(above)),
    "exp2": lambda above, below: np.exp2(above) - np.exp2(below),
}
FLOOR = 0.05  # of the mean Hessian, added to each: a document that is placed for certain has none of its own
KNOWN = 8  # data sets whose cuts are kept
LOSS = "loss"


@dataclass(frozen=True, eq=False)
class Judged:
    """A data set: labels (N,), where its queries begin and end (m + 1,), what each counts (m,); and cuts and order."""

    labels: np.ndarray
    offsets: np.ndarray
    each: np.ndarray
    pieces: list[Piece]
    target: Target

    def is_of(self, labels: np.ndarray, offsets: np.ndarray, each: np.ndarray) -> bool:
        given = ((self.labels, labels), (self.offsets, offsets), (self.each, each))
        return all(np.array_equal(own, other) for own, other in given)

    def rankings(self, predictions: Any) -> Rankings:
        """The predictions by query; DataError where they are not finite, or not one for every label."""
        values = taken(floats, predictions, "predictions").astype(np.float64, copy=False).reshape(-1)
        if len(values) != len(self.labels):
            raise DataError(f"{len(values)} predictions for {len(self.labels)} labels; is it another data set?")
        if not np.isfinite(values).all():
            at = int(np.isfinite(values).argmin())
            raise DataError(
                f"prediction {at} is {values[at]}; boosting ends here, with a smaller learning rate it may not"
            )
        return Rankings(values, self.offsets)

    def mean(self, weighted: np.ndarray) -> float:
        """The mean of numbers of queries (m,), times what each counts, over those that have one; NaN where none has."""
        known = ~np.isnan(weighted)
        total = self.each[known].sum()
        return float(weighted[known].sum() / total) if total > 0 else np.nan


class Objective:
    """The graded top-k cross-entropy of the queries of a data set, as boosting asks for it.

    As a function (predictions, data) -> (gradient, hessian) it is the `objective` among LightGBM's parameters, and the
    `obj` of xgboost.train; `ranker` is that of lightgbm.LGBMRanker. Both have one factor, by which the mean Hessian is
    1: a step of either library is their ratio, and limits on a leaf's Hessian such as min_sum_hessian_in_leaf and
    min_child_weight, and XGBoost's regularisation, have a scale to go by.
    """

    def __init__(self, gains: str, alpha: float, threads: int | None, own: tuple[Any, Any, Any] | None):
        self.gains, self.alpha = gains, alpha
        self.threads = int(threads or cores())
        self._known: list[Judged] = []
        self._own = None if own is None else self._judged(*own)

    def __call__(self, predictions: Any, data: Any) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian (N,) of a round; data: a lightgbm.Dataset or xgboost.DMatrix, moot where labels and
        sizes were given.
        """
        if isinstance(data, np.ndarray):
            raise OptionError("this is the objective of lightgbm.train; LGBMRanker takes objective=made.ranker")
        return self._round(self._own or self._judged_of(data), predictions)

    def ranker(self, labels: Any, predictions: Any, weight: Any, group: Any) -> tuple[np.ndarray, np.ndarray]:
        """The same as lightgbm.LGBMRanker(objective=...) calls it."""
        return self._round(self._judged(labels, group, weight), predictions)

    def newton(self, predictions: Any, data: Any = None) -> Newton:
        """Losses (m,) of the queries, their gradient and Hessian diagonal (N,): as they are, no floor and no factor."""
        judged = self._own if data is None else self._judged_of(data)
        if judged is None:
            raise OptionError("the objective was made without labels and sizes; pass a data set")
        return self._newton(judged, predictions)

    def metric(self, *names: str) -> Metric:
        """What is said of a data set after every round: LightGBM's `feval`, XGBoost's `custom_metric`.

        names: "loss", this objective per query; or metrics of hard orders such as "ndcg@10", "mrr", "map"
        """
        return Metric(self, names)

    def _round(self, judged: Judged, predictions: Any) -> tuple[np.ndarray, np.ndarray]:
        made = self._newton(judged, predictions)
        mean = made.hessians.mean() if len(made.hessians) else 0.0
        if mean == 0.0:  # nothing is left to learn
            return made.gradients, np.ones_like(made.hessians)
        factor = 1.0 / ((1.0 + FLOOR) * mean)
        return made.gradients * factor, (made.hessians + FLOOR * mean) * factor

    def _newton(self, judged: Judged, predictions: Any, derivatives: bool = True) -> Newton:
        scores, cpu = judged.rankings(predictions).values, Cpu()
        given = (judged.pieces, scores, judged.labels, self.alpha, derivatives)
        return newton(cpu.kernels, cpu.place, *given, parallel.each(self.threads))

    def _judged_of(self, data: Any) -> Judged:
        """What a data set of LightGBM or XGBoost says of itself."""
        labels, sizes, weights = _said_by(data)
        if sizes is not None:
            return self._judged(labels, sizes, weights)
        if self._own is not None and np.array_equal(self._own.labels, labels):
            return self._own
        raise DataError("the data set has no groups; give it the sizes of its queries, as group=")

    def _judged(self, labels: Any, sizes: Any, weights: Any) -> Judged:
        """The same of arrays; what was made of labels that were seen before is found again."""
        labels = _finite("label", labels)
        if sizes is None:
            raise DataError("there are no sizes of queries; pass group=")
        offsets = Rankings.from_sizes(labels, sizes if np.size(sizes) else np.zeros(0, np.int64)).offsets
        each = _each(weights, offsets)
        for known in self._known:
            if known.is_of(labels, offsets, each):
                return known
        pieces, target = prepared(labels, offsets, self._weigh, each), Target(Rankings(labels, offsets))
        made = Judged(labels, offsets, each, pieces, target)
        self._known = [made, *self._known[: KNOWN - 1]]
        return made

    def _weigh(self, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            gains = GAINS[self.gains](above, below)
        if not np.isfinite(gains).all():
            raise DataError(f"a label of {above.max():g} has a gain beyond float64; pass gains='flat'")
        return gains


class Metric:
    """What is said of a data set after every round: (predictions, data) -> a list of a tuple for each name, with
    whether larger is better for LightGBM; XGBoost maximises ndcg and map by their names. `ranker` is for LGBMRanker.
    """

    def __init__(self, objective: Objective, names: tuple[str, ...]):
        for name in names:
            if name != LOSS and any(part not in METRICS for part, _ in asked_for(name)):
                raise OptionError(f"a metric is loss or one of {', '.join(METRICS)}, got {name!r}")
        if not names:
            raise OptionError("a metric needs a name, such as ndcg@10 or loss")
        self.objective, self.names = objective, names

    def __call__(self, predictions: Any, data: Any) -> list[tuple[Any, ...]]:
        found = self._of(self.objective._judged_of(data), predictions)
        return [(name, value) for name, value, _ in found] if _is_xgboost(data) else found

    def ranker(self, labels: Any, predictions: Any, weight: Any, group: Any) -> list[tuple[Any, ...]]:
        """The same as the `eval_metric` of lightgbm.LGBMRanker.fit is called."""
        return self._of(self.objective._judged(labels, group, weight), predictions)

    def _of(self, judged: Judged, predictions: Any) -> list[tuple[Any, ...]]:
        return [(name, self._value(name, judged, predictions), name != LOSS) for name in self.names]

    def _value(self, name: str, judged: Judged, predictions: Any) -> float:
        if name == LOSS:
            return judged.mean(self.objective._newton(judged, predictions, derivatives=False).losses)
        rankings, threads = judged.rankings(predictions), self.objective.threads
        found = metric_of(name, rankings, judged.target, reduction="none", threads=threads)
        return judged.mean(found * judged.each)


def objective(
    labels: Any = None,
    sizes: Any = None,
    *,
    gains: str = "flat",
    alpha: float = 1.0,
    weights: Any = None,
    threads: int | None = None,
) -> Objective:
    """The graded top-k cross-entropy as an objective of LightGBM and XGBoost.

    labels   (N,) numbers, larger is better; by default those of the data set that is trained on, as its groups
    sizes    (m,) documents of each query, which follow each other, as `group` has them
    gains    what the cut between a grade b and the next, c, counts: "flat" 1, "exp2" 2^c - 2^b, as NDCG has it
    alpha    softness in the unit of the predictions; from constant predictions on, it sets that unit and nothing else
    weights  (m,) what each query counts; by default those of the data set, which must be alike within a query
    threads  by default all that the process may use; no result depends on it

    A query of equal labels, or of fewer than two documents, has gradient 0.
    """
    if gains not in GAINS:
        raise OptionError(f"gains must be one of {', '.join(GAINS)}, got {gains!r}")
    if isinstance(alpha, str | bool) or not np.ndim(alpha) == 0 or not 0 < alpha < np.inf:
        raise OptionError(f"alpha must be a number above 0, in the unit of the predictions, got {alpha!r}")
    if threads is not None and (not isinstance(threads, Integral) or threads < 1):
        raise OptionError(f"threads must be 1 or more, got {threads!r}")
    if (labels is None) != (sizes is None):
        raise OptionError("labels and sizes go together; without both they are those of the data set")
    if labels is None and weights is not None:
        raise OptionError("weights go with labels and sizes; without these they are those of the data set")
    return Objective(gains, float(alpha), threads, None if labels is None else (labels, sizes, weights))


def _is_xgboost(data: Any) -> bool:
    return hasattr(data, "get_uint_info")


def _said_by(data: Any) -> tuple[Any, Any, Any]:
    """Labels, sizes of queries and weights, the last two None or empty where there are none."""
    if _is_xgboost(data):
        offsets = data.get_uint_info("group_ptr").astype(np.int64)
        return data.get_label(), np.diff(offsets) if len(offsets) > 1 else None, data.get_weight()
    if hasattr(data, "get_group"):
        return data.get_label(), data.get_group(), data.get_weight()
    raise OptionError(f"data must be a lightgbm.Dataset or an xgboost.DMatrix, got {type(data).__name__}")


def _finite(what: str, given: Any) -> np.ndarray:
    """(N,) float64; DataError for what is no number, or infinite."""
    found = taken(floats, given, f"{what}s").astype(np.float64)
    if found.ndim != 1:
        raise DataError(f"{what}s must be flat, one for each, got the shape {found.shape}")
    if not np.isfinite(found).all():
        at = int(np.isfinite(found).argmin())
        raise DataError(f"{what} {at} is {found[at]}; it must be a number")
    return found


def _each(weights: Any, offsets: np.ndarray) -> np.ndarray:
    """(m,) what each query counts, of weights for each of them, or for each document."""
    if weights is None or not np.size(weights):  # as either library may say that there are none
        return np.ones(len(offsets) - 1)
    found, lengths = _finite("weight", weights), np.diff(offsets)
    if len(found) and found.min() < 0:
        raise DataError(f"weight {found.argmin()} is {found.min():g}; it must be 0 or more")
    if len(found) == len(lengths):
        return found
    if len(found) != offsets[-1]:
        raise DataError(f"{len(found)} weights for {len(lengths)} queries")
    each = np.ones(len(lengths))
    each[lengths > 0] = found[offsets[:-1][lengths > 0]]
    unlike = found != np.repeat(each, lengths)
    if unlike.any():
        q = int(np.searchsorted(offsets, unlike.argmax(), side="right")) - 1
        raise DataError(
            f"query {q} has weights of {each[q]:g} and {found[unlike.argmax()]:g}; they must be alike within a query"
        )
    return each
