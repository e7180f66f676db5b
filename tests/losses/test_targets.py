"""A target prepared once: the numbers are those of a plain one, to the bit, and nothing of it is sorted again."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

import lapsum_cli
from lapsum_cli import LapsumError, Rankings, Target, metric
from lapsum_cli.api.losses import loss, loss_vjp
from lapsum_cli.kernels.cpu import order, topk
from lapsum_cli.kernels.losses import graded_topk
from lapsum_cli.operations import LOSSES, METRICS

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(3, 5, 9)), rng.integers(0, 3, (5, 9)).astype(float)
Y[1] = 2.0  # which defines no loss
NAMES = [name for name, entry in LOSSES.items() if entry.stages == 1]
SORTS = ["spearman", "topk", "recall", "ndcg", "permutation", "graded-topk", "listmle", "bce-dftopk"]


def given(name):
    return {"alpha": 0.5} | ({"k": 3} if LOSSES[name].k == "needed" else {})


def masked(x):
    x = x.copy()
    x[:, -2:] = -np.inf
    return x


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_those_of_a_plain_target(name):
    y = Target(Y)
    for x in (*X, masked(X[0]), masked(X[1]), X[2], -X[0]):  # and what was known is of other scores
        for how in ({}, {"reduction": "none"}):
            found, want = (loss(name, x, target, **how, **given(name)) for target in (y, Y))
            assert np.array_equal(found, want, equal_nan=True)
        of_it, wanted = (loss_vjp(name, x, target, **given(name)) for target in (y, Y))
        assert all(np.array_equal(a, b) for a, b in zip(of_it, wanted, strict=True))


@pytest.mark.parametrize("name", [name.replace("@k", "@3") for name in METRICS])
def test_metrics_take_it_too(name):
    y = Target(Y)
    for x in X:
        assert np.array_equal(metric(name, x, y), metric(name, x, Y))


@pytest.fixture
def sorts(monkeypatch):
    """How often something is made of a target: an order, the members of its top k, its levels."""
    made = []

    def counted(module, what, is_of_target):
        real = getattr(module, what)

        def call(*args, **how):
            if is_of_target(how):
                made.append(what)
            return real(*args, **how)

        monkeypatch.setattr(module, what, call)

    counted(order, "Order", lambda how: how.get("name") == "target")
    counted(topk, "soft_topk", lambda how: how.get("name") == "target")
    counted(graded_topk, "cuts", lambda how: True)
    return made


@pytest.mark.parametrize("of", [lambda x: x, masked], ids=["all", "masked"])
@pytest.mark.parametrize("name", SORTS)
def test_it_is_sorted_once(name, of, sorts):
    def steps(y):
        sorts.clear()
        for x in X:
            loss(name, of(x), y, **given(name))
            loss_vjp(name, of(x), y, **given(name))
        return len(sorts)

    of_one_call = steps(Y) / 6
    assert of_one_call >= 1
    y = Target(Y)
    assert steps(y) == of_one_call
    assert steps(y) == 0


def test_an_order_serves_several_losses(sorts):
    y = Target(Y)
    for name in ("spearman", "ndcg", "permutation", "listmle"):
        loss(name, X[0], y, **given(name))
    assert len(sorts) == 1


def test_its_forms():
    sizes = [3, 0, 1, 6, 5]
    x, y = X[0].ravel()[:15], Y.ravel()[30:45]
    want = lapsum_cli.ndcg_loss(Rankings.from_sizes(x, sizes), y)
    rows, targets = (np.split(flat, np.cumsum(sizes)[:-1]) for flat in (x, y))
    kept = Target(y, sizes)
    assert len(kept) == 5
    for form in (Rankings.from_sizes(x, sizes), rows):
        for target in (kept, Target(targets), Target(Rankings.from_sizes(y, sizes))):
            assert lapsum_cli.ndcg_loss(form, target) == want
    groups = np.repeat(["c", "a", "b"], 5)
    grouped = lapsum_cli.ndcg_loss(x, y, groups=groups)
    assert lapsum_cli.ndcg_loss(x, Target(y), groups=groups) == grouped
    assert lapsum_cli.ndcg_loss(X, Target(Y)) == lapsum_cli.ndcg_loss(X, Y)  # one for several of these
    both, how = (X[0], X[1]), {"k": 2, "alpha": 0.5}
    assert loss("lcron", both, Target(Y), **how) == loss("lcron", both, Y, **how)


def test_clicks_may_be_truth_values():
    """In arrays and lists, as in columns and tensors."""
    clicked = Y[0] > 1
    want = lapsum_cli.topk_loss(X[0, 0], clicked.astype(float), 3)
    for given in (clicked, clicked.tolist(), Target(clicked), pa.array(clicked)):
        assert lapsum_cli.topk_loss(X[0, 0], given, 3) == want


def test_it_goes_to_other_processes():
    want = lapsum_cli.ndcg_loss(X[0], Y)
    for given, x in ((Y, X[0]), (list(Y), list(X[0])), (pa.array(list(Y)), list(X[0]))):
        target = pickle.loads(pickle.dumps(Target(given)))
        assert target.values.known is not None
        assert lapsum_cli.ndcg_loss(x, target) == want


def test_losses_that_the_table_knows_go_to_other_processes():
    for function in (lapsum_cli.ranknet_loss, lapsum_cli.listnet_loss_vjp):
        assert pickle.loads(pickle.dumps(function)) is function


def test_what_is_written_to_the_array_afterwards_has_no_effect():
    y = Y.copy()
    kept, want = Target(y), lapsum_cli.spearman_loss(X[0], Y)
    y[:] = 0
    assert lapsum_cli.spearman_loss(X[0], kept) == want


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Target([1.0, np.nan]), "ranking 0, score 1: target is NaN"),
        (lambda: Target([1.0, 2.0], [3]), "sizes must be 0 or more"),
        (lambda: Target("a"), "target"),
        (lambda: lapsum_cli.ndcg_loss(X[0], Target(Y[:2])), "target has the shape|target has 2 rankings"),
    ],
)
def test_what_is_no_target_is_refused(call, words):
    with pytest.raises(LapsumError, match=words) as refused:
        call()
    assert "\n" not in str(refused.value)


class TestTensors:
    """The same through PyTorch."""

    @pytest.fixture(autouse=True)
    def _torch(self):
        self.torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        self.soft = pytest.importorskip("lapsum_cli.torch")

    def gradient(self, name, x, y, **how):
        x = self.torch.tensor(x, requires_grad=True)
        found = self.soft.loss(name, x, y, **how, **given(name))
        found.backward()
        return found.item(), x.grad.numpy()

    @pytest.mark.parametrize("name", NAMES)
    def test_numbers_are_those_of_a_plain_target(self, name):
        plain = self.torch.tensor(Y)
        y = self.soft.Target(plain)
        for x in (*X, masked(X[0])):
            (found, gradient), (want, wanted) = (self.gradient(name, x, target) for target in (y, plain))
            assert found == want
            assert np.array_equal(gradient, wanted)

    @pytest.mark.parametrize("name", SORTS)
    def test_it_is_sorted_once(self, name, sorts):
        mask = self.torch.tensor(np.isfinite(masked(X[0])))
        y, counts = self.soft.Target(self.torch.tensor(Y), mask=mask), []
        for x in X:
            sorts.clear()
            self.gradient(name, x, y, mask=mask)
            counts.append(len(sorts))
        assert counts[0] >= 1
        assert counts[1:] == [0, 0]

    def test_axes_masks_and_cascades(self):
        x, y = self.torch.tensor(X[0]), self.torch.tensor(Y)
        want = self.soft.ndcg_loss(x, y)
        assert self.soft.ndcg_loss(x.T, self.soft.Target(y.T, dim=0), dim=0) == want
        mask = self.torch.tensor(np.isfinite(masked(X[0])))
        unknown = y.masked_fill(~mask, np.nan)
        assert self.soft.ndcg_loss(x, self.soft.Target(unknown, mask=mask), mask=mask) == self.soft.ndcg_loss(
            x, unknown, mask=mask
        )
        how = {"k": 2, "alpha": 0.5}
        found, plain = (self.soft.loss("lcron", (x, -x), t, **how) for t in (self.soft.Target(y), y))
        assert found == plain

    def test_transforms_and_compilers_see_through_it(self):
        x, y = self.torch.tensor(X[0]), self.soft.Target(self.torch.tensor(Y))

        def function(x):
            return self.soft.spearman_loss(x, y, alpha=0.5)

        want = self.gradient("spearman", X[0], y)[1]
        assert np.allclose(self.torch.func.grad(function)(x), want)
        compiled = self.torch.compile(function, backend="aot_eager", fullgraph=True)
        assert self.torch.allclose(compiled(x), function(x))

    def test_what_is_no_target_is_refused(self):
        x = self.torch.tensor(X[0])
        for call, words in (
            (lambda: self.soft.Target(Y), "the target must be a tensor, got ndarray"),
            (lambda: self.soft.Target(self.torch.tensor([np.nan])), "a target is NaN"),
            (lambda: self.soft.ndcg_loss(x, self.soft.Target(x[:2])), r"the target has the shape \(2, 9\)"),
        ):
            with pytest.raises(LapsumError, match=words):
                call()
