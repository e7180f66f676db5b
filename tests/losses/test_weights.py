"""Weights of rankings in losses and metrics, and the losses that gradients have beside them: arrays and tensors."""

import copy
import pickle

import numpy as np
import pytest

import lapsum_cli
from lapsum_cli import LapsumError, Rankings, metric
from lapsum_cli.api.losses import loss, loss_vjp
from lapsum_cli.operations import LOSSES

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(4, 6)), rng.integers(0, 3, (4, 6)).astype(float)
Y[2] = 1.0  # which defines no loss
W = np.array([0.5, 2.0, 3.0, 0.0])
NAMES = [name for name, entry in LOSSES.items() if entry.stages == 1]


def given(name):
    return {"alpha": 0.5} | ({"k": 2} if LOSSES[name].k == "needed" else {})


@pytest.mark.parametrize("name", NAMES)
def test_a_weighted_loss_is_what_it_says(name):
    each = loss(name, X, Y, reduction="none", **given(name))
    known = ~np.isnan(each)
    assert known.tolist() == [True, True, False, True]
    weighted = loss(name, X, Y, reduction="none", weights=W, **given(name))
    assert np.array_equal(weighted, W * each, equal_nan=True)
    total = (W * each)[known].sum()
    assert np.isclose(loss(name, X, Y, reduction="sum", weights=W, **given(name)), total)
    assert np.isclose(loss(name, X, Y, weights=W, **given(name)), total / W[known].sum())
    ones = loss(name, X, Y, weights=np.ones(4), **given(name))
    assert np.isclose(ones, loss(name, X, Y, **given(name)), rtol=1e-15)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_weighted_and_have_the_losses(name, reduction):
    how = {"reduction": reduction, **given(name)}
    upstream = np.array([1.0, -2.0, 5.0, 3.0]) if reduction == "none" else 1.7
    found = loss_vjp(name, X, Y, upstream, weights=W, **how)
    each = loss_vjp(name, X, Y, np.ones(4), **{**how, "reduction": "none"})
    pull = upstream * W / (2.5 if reduction == "mean" else 1)
    assert np.allclose(found.scores, each.scores * pull[:, None], rtol=1e-13, atol=0)
    assert np.allclose(found.alpha, each.alpha * pull, rtol=1e-13, atol=0)
    for weights in (W, None):
        losses = loss_vjp(name, X, Y, upstream, weights=weights, **how).losses
        assert np.array_equal(losses, loss(name, X, Y, weights=weights, **how), equal_nan=True)


def test_gradients_are_still_two():
    found = lapsum_cli.ndcg_loss_vjp(X, Y)
    to_scores, to_alpha = found
    assert isinstance(found, lapsum_cli.Gradients)
    assert to_scores is found.scores
    assert to_alpha is found.alpha
    for copied in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert copied.losses == found.losses == lapsum_cli.ndcg_loss(X, Y)
        assert np.array_equal(copied.scores, found.scores)


def test_losses_beside_gradients_cost_no_pass(monkeypatch):
    from lapsum_cli.operations.loss import Loss

    lapsum_cli.topk_loss_vjp(X, Y, 2)  # which compiles, if need be
    passes, forward = [], Loss.forward
    monkeypatch.setattr(Loss, "forward", lambda self, *given, **how: passes.append(1) or forward(self, *given, **how))
    assert lapsum_cli.topk_loss_vjp(X, Y, 2).losses > 0
    assert len(passes) == 1


def test_gradients_of_a_cascade_are_weighted():
    both, how = (X, X[:, ::-1].copy()), {"k": 2, "alpha": 0.5}
    each = loss("cascade-lapsum", both, Y, reduction="none", **how)
    want = np.nansum(W * each) / 2.5
    assert np.isclose(loss("cascade-lapsum", both, Y, weights=W, **how), want)
    found = loss_vjp("cascade-lapsum", both, Y, weights=W, **how)
    assert np.isclose(found.losses, want)
    alone = loss_vjp("cascade-lapsum", both, Y, np.ones(4), reduction="none", **how)
    for stage in (0, 1):
        assert np.allclose(found.scores[stage], alone.scores[stage] * W[:, None] / 2.5)


def test_what_counts_nothing_is_nothing():
    x = np.array([[np.inf, 1.0, 0.0], [2.0, 1.0, 0.0]])
    y = np.array([[0.0, 1, 2], [0.0, 1, 2]])
    assert lapsum_cli.topk_loss(x, y, 1, alpha=1.0) == np.inf
    alone = lapsum_cli.topk_loss(x[1], y[1], 1, alpha=1.0)
    assert np.isclose(lapsum_cli.topk_loss(x, y, 1, alpha=1.0, weights=[0, 2]), alone)
    assert np.isnan(lapsum_cli.topk_loss(x, y, 1, alpha=1.0, weights=[0, 0]))
    assert not lapsum_cli.topk_loss_vjp(x, y, 1, alpha=1.0, weights=[0, 0]).scores.any()


def test_metrics_and_groups_and_uneven_rankings_are_weighted():
    each = metric("ndcg@3", X, Y, reduction="none")
    known = ~np.isnan(each)
    assert np.isclose(metric("ndcg@3", X, Y, weights=W), (W * each)[known].sum() / W[known].sum())
    groups = np.repeat(["d", "a", "c", "b"], 6)
    how = {"alpha": 0.5, "weights": W}
    want = lapsum_cli.spearman_loss(X, Y, **how)
    assert np.isclose(lapsum_cli.spearman_loss(X.ravel(), Y.ravel(), groups=groups, **how), want)
    assert np.isclose(lapsum_cli.spearman_loss(Rankings.equal_length(X, 4, 6), Y.ravel(), **how), want)


BAD = [
    ([1.0, 2.0], "weights has 2 values for 4 rankings"),
    ([1.0, -1.0, 0.0, 0.0], "weights must be 0 or more, got -1 for ranking 1"),
    ([1.0, np.nan, 0.0, 0.0], "weights"),
    (["a"] * 4, "weights"),
    (np.inf, "weights must be 0 or more, got inf"),
]


@pytest.mark.parametrize(("weights", "words"), BAD)
def test_weights_that_are_none_are_refused(weights, words):
    for function in (lapsum_cli.spearman_loss, lapsum_cli.spearman_loss_vjp):
        with pytest.raises(LapsumError, match=words) as refused:
            function(X, Y, weights=weights)
        assert "\n" not in str(refused.value)


class TestTensors:
    """The same through PyTorch."""

    @pytest.fixture(autouse=True)
    def _torch(self):
        self.torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        self.soft = pytest.importorskip("lapsum_cli.torch")
        self.x, self.y, self.w = (self.torch.tensor(given) for given in (X, Y, W))

    @pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
    @pytest.mark.parametrize("name", NAMES)
    def test_are_the_numbers_of_arrays(self, name, reduction):
        x = self.x.clone().requires_grad_()
        how = {"reduction": reduction, **given(name)}
        found = self.soft.loss(name, x, self.y, weights=self.w, **how)
        want = loss(name, X, Y, weights=W, **how)
        assert np.allclose(found.detach(), want, rtol=1e-12, equal_nan=True)
        (found.nansum() if reduction == "none" else found).backward()
        gradients = loss_vjp(name, X, Y, np.ones(4) if reduction == "none" else 1.0, weights=W, **how)
        assert np.allclose(x.grad, gradients.scores, rtol=1e-10, atol=1e-14)

    def test_weights_have_gradients(self):
        w = self.w.clone().requires_grad_()
        for reduction in ("none", "sum", "mean"):

            def function(w, reduction=reduction):
                return self.soft.topk_loss(self.x, self.y, 2, weights=w, alpha=0.5, reduction=reduction).nan_to_num()

            positive = (w.detach() + 0.1).requires_grad_()
            assert self.torch.autograd.gradcheck(function, (positive,))

    def test_shapes_axes_and_cascades(self):
        want = self.soft.ndcg_loss(self.x, self.y, weights=self.w)
        assert self.torch.equal(self.soft.ndcg_loss(self.x, self.y, weights=self.w[:, None]), want)
        assert self.torch.equal(self.soft.ndcg_loss(self.x.T, self.y.T, weights=self.w, dim=0), want)
        assert self.torch.equal(self.soft.ndcg_loss(self.x.T, self.y.T, weights=self.w[None], dim=0), want)
        assert self.torch.isclose(self.soft.ndcg_loss(self.x, self.y, weights=2.0), self.soft.ndcg_loss(self.x, self.y))
        both = (self.x, self.x.flip(-1))
        found = self.soft.loss("cascade-lapsum", both, self.y, k=2, alpha=0.5, weights=self.w)
        of_arrays = loss("cascade-lapsum", (X, X[:, ::-1].copy()), Y, k=2, alpha=0.5, weights=W)
        assert np.isclose(found, of_arrays)
        for wrong, words in (([1.0, 2.0], "weights has the shape"), ([1.0, -1, 0, 0], "weights must be 0 or more")):
            with pytest.raises(LapsumError, match=words):
                self.soft.ndcg_loss(self.x, self.y, weights=self.torch.tensor(wrong))

    def test_transforms_see_through_them(self):
        def function(x):
            return self.soft.spearman_loss(x, self.y, alpha=0.5, weights=self.w)

        x = self.x.clone().requires_grad_()
        function(x).backward()
        assert self.torch.allclose(self.torch.func.grad(function)(self.x), x.grad)
