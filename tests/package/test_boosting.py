"""The objective for gradient boosting: its numbers by their definitions, and trees that LightGBM and XGBoost train."""

import itertools
import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest
from documents import blocks, same

from lapsum_cli import Rankings, topk_loss
from lapsum_cli.boosting import FLOOR, KNOWN, objective
from lapsum_cli.core import reference
from lapsum_cli.core.errors import DataError, OptionError
from lapsum_cli.kernels.losses import graded_newton

SIZES = [5, 1, 0, 30, 2, 300, 4, 3]  # of the 7th all labels are alike


@pytest.fixture(scope="module")
def judged():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, sum(SIZES)).astype(float)
    labels[338:342] = 2.0
    return 2 * rng.standard_normal(sum(SIZES)), labels


def queries(x, y):
    ends = np.cumsum([0, *SIZES])
    return [(x[a:b], y[a:b]) for a, b in itertools.pairwise(ends)]


def grades(y, gains):
    """How many labels are above each cut, the lowest of them, and what the cut counts."""
    known = np.unique(y)
    for below, grade in itertools.pairwise(known):
        yield int((y >= grade).sum()), grade, {"flat": 1.0, "exp2": 2.0**grade - 2.0**below}[gains]


@pytest.mark.parametrize("gains", ["flat", "exp2"])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_the_loss_is_that_of_all_cuts(judged, gains, alpha):
    found = objective(judged[1], SIZES, gains=gains, alpha=alpha).newton(judged[0]).losses
    for (x, y), loss in zip(queries(*judged), found, strict=True):
        cuts = list(grades(y, gains))
        want = sum(weight * len(x) * topk_loss(x, y, k, alpha=alpha) for k, _, weight in cuts)
        assert np.isnan(loss) if not cuts else np.isclose(loss, want, rtol=1e-12)


@pytest.mark.parametrize("gains", ["flat", "exp2"])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_the_gradient_is_that_of_central_differences(judged, gains, alpha):
    x, y = judged
    weights = np.linspace(0, 2, len(SIZES))
    made, step = objective(y, SIZES, gains=gains, alpha=alpha, weights=weights), 1e-5
    gradients = made.newton(x).gradients
    for i in [*range(40), *range(330, len(x))]:
        moved = step * (np.arange(len(x)) == i)
        up, down = (np.nansum(made.newton(x + by).losses) for by in (moved, -moved))
        assert np.isclose(gradients[i], (up - down) / (2 * step), rtol=1e-5, atol=1e-6), i
    assert abs(gradients).max() > 0.1


@pytest.mark.parametrize("gains", ["flat", "exp2"])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_the_hessian_is_fishers(judged, gains, alpha):
    found = objective(judged[1], SIZES, gains=gains, alpha=alpha).newton(judged[0]).hessians
    want = []
    for x, y in queries(*judged):
        of_query = np.zeros(len(x))
        for k, _, weight in grades(y, gains):
            p = reference.topk(x, k, alpha)
            of_query += weight * np.minimum(p, 1 - p) / np.maximum(p, 1 - p) / alpha**2
        want.append(of_query)
    assert np.allclose(found, np.concatenate(want), rtol=1e-7, atol=1e-10)


def test_a_round_has_a_floor_and_a_mean_of_one(judged):
    x, y = judged
    made = objective(y, SIZES)
    gradient, hessian = made(x, None)
    _, g, h = made.newton(x)
    assert np.isclose(hessian.mean(), 1)
    assert np.allclose(gradient / hessian, g / (h + FLOOR * h.mean()))
    assert hessian.min() > FLOOR / 2
    alike = slice(338, 342)
    assert not gradient[alike].any()
    assert not g[alike].any()
    gradient, hessian = objective([1.0, 1.0], [2])([0.0, 3.0], None)
    assert (gradient.tolist(), hessian.tolist()) == ([0, 0], [1, 1])
    assert [len(numbers) for numbers in objective([], [])([], None)] == [0, 0]


def test_no_result_depends_on_pieces_or_threads(judged, monkeypatch):
    x, y = judged
    want = objective(y, SIZES, threads=1).newton(x)
    monkeypatch.setattr(graded_newton, "PIECE", 16)
    for threads in (1, 3):
        found = objective(y, SIZES, threads=threads).newton(x)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found, want, strict=True))


def test_a_long_query_is_the_sum_of_its_cuts():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal(20_000), np.round(2 * rng.random(20_000))
    [loss], gradients, _ = objective(y, [len(x)]).newton(x)
    ks = [(y >= grade).sum() for grade in (1, 2)]
    assert np.isclose(loss, len(x) * sum(topk_loss(x, y, k, alpha=1.0) for k in ks), rtol=1e-10)
    assert abs(gradients.sum()) < 1e-8 < abs(gradients).max()


def test_labels_may_be_of_any_kind_and_the_objective_is_copied_by_whoever_trains(judged):
    x, y = judged
    want = objective(y, SIZES)(x, None)
    for labels in (y.astype(int), y.astype(np.float32), y.tolist()):
        assert np.array_equal(objective(labels, np.array(SIZES, np.int32))(x, None), want)
    assert np.array_equal(pickle.loads(pickle.dumps(objective(y, SIZES)))(x, None), want)
    assert np.array_equal(objective().ranker(y, x, None, SIZES), want)


class Data:
    """What a data set of LightGBM has, as far as it is read."""

    def __init__(self, labels, sizes, weights=None):
        self.given = labels, sizes, weights

    get_label, get_group, get_weight = (lambda self, i=i: self.given[i] for i in range(3))


def test_cuts_are_made_once_for_a_data_set(judged, monkeypatch):
    x, y = judged
    made, calls = objective(), []
    real = graded_newton.cuts
    monkeypatch.setattr(graded_newton, "cuts", lambda *given: calls.append(1) or real(*given))
    for _ in range(3):
        made(x, Data(y, SIZES))
        made.metric("loss")(x, Data(y[::-1], SIZES))
    assert len(calls) == 2
    want = objective(2 * y, SIZES).newton(x)
    assert np.array_equal(made.newton(x, Data(2 * y, SIZES)).gradients, want.gradients)  # labels that changed are seen
    for i in range(KNOWN):
        made(x, Data(y + 2.0**i, SIZES))
    before = len(calls)
    made(x, Data(y, SIZES))
    assert len(calls) == before + 1


def test_metrics_are_weighted_means_of_queries(judged):
    x, y = judged
    weights = np.arange(1.0, 1 + len(SIZES))
    data, made = Data(y, SIZES, np.repeat(weights, SIZES)), objective()
    [(name, loss, is_better), (ndcg_name, ndcg, larger)] = made.metric("loss", "ndcg@10")(x, data)
    assert (name, is_better, ndcg_name, larger) == ("loss", False, "ndcg@10", True)
    counted = [(w, a, b) for w, (a, b) in zip(weights, queries(x, y), strict=True) if len(np.unique(b)) > 1]
    total = sum(w for w, *_ in counted)
    each = [w * len(a) * topk_loss(a, b, k, alpha=1.0) for w, a, b in counted for k, *_ in grades(b, "flat")]
    assert np.isclose(loss, sum(each) / total)
    assert 0 < ndcg < 1
    assert np.isclose(made.metric("ndcg@10").ranker(y, y, None, SIZES)[0][1], 1)
    assert np.isnan(made.metric("loss")(np.zeros(2), Data(np.ones(2), [2]))[0][1])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: objective([1.0, 0.0]), "labels and sizes go together"),
        (lambda: objective(gains="log"), "gains must be one of flat, exp2, got 'log'"),
        (lambda: objective(alpha="0.1std"), "alpha must be a number above 0, in the unit of the predictions"),
        (lambda: objective(alpha=0), "alpha must be a number above 0"),
        (lambda: objective(threads=0), "threads must be 1 or more"),
        (lambda: objective(weights=[1.0]), "weights go with labels and sizes"),
        (lambda: objective([1.0, np.nan], [2]), "label 1 is nan; it must be a number"),
        (lambda: objective([[1.0, 0.0]], [2]), "labels must be flat"),
        (lambda: objective(["a"], [1]), "labels"),
        (lambda: objective([1.0, 0.0], [3]), "sizes must be 0 or more and sum to the number of scores, 2"),
        (lambda: objective([1.0, 0.0], [2], weights=[-1.0]), "weight 0 is -1; it must be 0 or more"),
        (lambda: objective([1.0, 0.0], [2], weights=[1.0, 2.0]), "query 0 has weights of 1 and 2"),
        (lambda: objective([1.0, 0.0], [2], weights=[1.0] * 3), "3 weights for 1 queries"),
        (lambda: objective([2000.0, 0.0], [2], gains="exp2"), "a label of 2000 has a gain beyond float64"),
        (lambda: objective(np.arange(500), [500]), "500 different labels, and each takes a top-k"),
        (lambda: objective([1.0, 0.0], [2])([0.0], None), "1 predictions for 2 labels"),
        (lambda: objective([1.0, 0.0], [2])([0.0, np.inf], None), "prediction 1 is inf"),
        (lambda: objective()([0.0], None), "data must be a lightgbm.Dataset or an xgboost.DMatrix, got NoneType"),
        (lambda: objective()([0.0], np.zeros(1)), "LGBMRanker takes objective=made.ranker"),
        (lambda: objective()([0.0], Data(np.zeros(1), None)), "the data set has no groups"),
        (lambda: objective().newton([0.0]), "made without labels and sizes"),
        (lambda: objective().metric(), "a metric needs a name"),
        (lambda: objective().metric("ndcg"), "a metric is loss or one of ndcg@k"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_line(call, words):
    with pytest.raises((OptionError, DataError), match=words) as refused:
        call()
    assert "\n" not in str(refused.value)


# Trees.


def documents(seed, count=120):
    """Features of documents, labels 0 .. 4 from a noisy function of them, and sizes of their queries."""
    rng = np.random.default_rng(seed)
    sizes = np.maximum(1, rng.lognormal(np.log(25), 0.6, count).astype(int))
    features = rng.standard_normal((sizes.sum(), 6))
    useful = np.sin(2 * features[:, 0]) + features[:, 1] * features[:, 2] + 0.5 * rng.standard_normal(sizes.sum())
    return features, np.clip(np.round(useful + 0.5), 0, 4), sizes


TRAIN, HELD_OUT = documents(0), documents(1)


def test_lightgbm_learns_as_with_its_own_objective():
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    made, last = objective(), {}
    for name, chosen in (("own", "lambdarank"), ("flat", made), ("exp2", objective(gains="exp2"))):
        features, labels, sizes = TRAIN
        train, history = lightgbm.Dataset(features, labels, group=sizes), {}
        held_out = lightgbm.Dataset(HELD_OUT[0], HELD_OUT[1], group=HELD_OUT[2], reference=train)
        booster = lightgbm.train(
            {"objective": chosen, "metric": "None", "verbose": -1, "num_threads": 1, "seed": 0},
            *(train, 40),
            valid_sets=[held_out],
            feval=made.metric("ndcg@10", "loss"),
            callbacks=[lightgbm.record_evaluation(history)],
        )
        last[name] = history["valid_0"]["ndcg@10"][-1]
        untrained = made.metric("ndcg@10").ranker(HELD_OUT[1], np.zeros(len(HELD_OUT[1])), None, HELD_OUT[2])[0][1]
        assert last[name] > untrained + 0.15
        assert history["valid_0"]["loss"][-1] < history["valid_0"]["loss"][0]
        shown = made.metric("ndcg@10").ranker(HELD_OUT[1], booster.predict(HELD_OUT[0]), None, HELD_OUT[2])[0][1]
        assert np.isclose(last[name], shown)
    assert last["flat"] > last["own"] - 0.03
    assert last["exp2"] > last["own"] - 0.03


def test_alpha_is_the_unit_of_predictions():
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    features, labels, sizes = TRAIN
    train = lightgbm.Dataset(features, labels, group=sizes)
    predicted = [
        lightgbm.train({"objective": objective(alpha=alpha), "verbose": -1, "num_threads": 1}, train, 5).predict(
            features
        )
        / alpha
        for alpha in (0.25, 1.0, 4.0)
    ]
    assert predicted[0].std() > 0.1
    assert np.allclose(predicted[0], predicted[1], rtol=1e-4, atol=1e-4)
    assert np.allclose(predicted[2], predicted[1], rtol=1e-4, atol=1e-4)


def test_lightgbm_is_told_labels_and_sizes_or_has_them():
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    features, labels, sizes = TRAIN
    common = {"verbose": -1, "num_threads": 1, "seed": 0}
    given = lightgbm.Dataset(features, labels), objective(labels, sizes)
    read = lightgbm.Dataset(features, labels, group=sizes), objective()
    predicted = [
        lightgbm.train({"objective": made, **common}, data, 5, feval=made.metric("loss")).predict(features)
        for data, made in (given, read)
    ]
    assert np.array_equal(*predicted)
    unlike = lightgbm.Dataset(features, 4 - labels).construct()
    with pytest.raises(DataError, match="the data set has no groups"):
        given[1].metric("loss")(np.zeros(len(labels)), unlike)


@pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")
def test_a_ranker_of_lightgbm_takes_it_too():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    made, (features, labels, sizes) = objective(), TRAIN
    ranker = lightgbm.LGBMRanker(objective=made.ranker, n_estimators=5, verbose=-1, n_jobs=1, random_state=0)
    held_out = {"eval_set": [HELD_OUT[:2]], "eval_group": [HELD_OUT[2]]}
    ranker.fit(features, labels, group=sizes, eval_metric=made.metric("mrr").ranker, **held_out)
    want = lightgbm.train(
        {"objective": made, "verbose": -1, "num_threads": 1, "seed": 0},
        *(lightgbm.Dataset(features, labels, group=sizes), 5),
    )
    assert np.allclose(ranker.predict(features), want.predict(features))
    assert len(ranker.evals_result_["valid_0"]["mrr"]) == 5


def test_xgboost_learns_as_with_its_own_objective():
    xgboost = pytest.importorskip("xgboost", reason="XGBoost is not installed")
    made, last = objective(), {}
    train, held_out = (xgboost.DMatrix(features, labels) for features, labels, _ in (TRAIN, HELD_OUT))
    train.set_group(TRAIN[2])
    held_out.set_group(HELD_OUT[2])
    for name, own in (("own", {"objective": "rank:ndcg"}), ("ours", {})):
        history = {}
        xgboost.train(
            {"eta": 0.1, "nthread": 1, "disable_default_eval_metric": 1, **own},
            *(train, 40),
            obj=None if own else made,
            evals=[(held_out, "held_out")],
            custom_metric=made.metric("ndcg@10", "loss"),
            evals_result=history,
            verbose_eval=False,
        )
        last[name] = history["held_out"]["ndcg@10"]
    assert history["held_out"]["loss"][-1] < history["held_out"]["loss"][0]
    untrained = made.metric("ndcg@10").ranker(HELD_OUT[1], np.zeros(len(HELD_OUT[1])), None, HELD_OUT[2])[0][1]
    assert last["ours"][-1] > untrained + 0.15
    assert last["ours"][-1] > last["own"][-1] - 0.03
    no_groups = xgboost.DMatrix(TRAIN[0], TRAIN[1])
    with pytest.raises(DataError, match="the data set has no groups"):
        made(np.zeros(len(TRAIN[1])), no_groups)
    train.set_weight(np.arange(len(TRAIN[2])))
    weighted = objective(TRAIN[1], TRAIN[2], weights=np.arange(len(TRAIN[2])))
    x = np.linspace(0, 1, len(TRAIN[1]), dtype=np.float32)
    assert np.array_equal(made(x, train), weighted(x, None))


def test_the_sample_trains(capsys):
    pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    runpy.run_path(str(Path(__file__).parents[2] / "samples" / "boosting.py"), run_name="__main__")
    [shown] = [block.shown for block in blocks("sh") if "samples/boosting.py" in block.code]
    assert same(capsys.readouterr().out, shown, off=0.02)


def test_targets_of_levels_are_those_of_the_loss():
    """The cuts that are prepared are the ones that the loss of arrays takes, one after the other."""
    y = Rankings.of([[2.0, 0, 1, 1], [1.0, 1], [0.0, 3, 3, 1]])
    found = graded_newton.cuts(y.values, y.offsets)
    assert found.owners.tolist() == [0, 0, 2, 2]
    assert found.ks.tolist() == [1, 3, 2, 3]
    assert found.grades.tolist() == [2, 1, 3, 1]
    assert found.below.tolist() == [1, 0, 1, 0]
