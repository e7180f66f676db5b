"""The autograd functions: gradients, shapes, dtypes, no copy and no harm; all of it when PyTorch is installed."""

import inspect
import pickle
import runpy
import sys
import threading
import time
import warnings
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from catalogue import entries, every
from documents import blocks, same

import lapsum_cli

torch = pytest.importorskip("torch")

from lapsum_cli import torch as soft  # noqa: E402
from lapsum_cli.torch import passes, replayed  # noqa: E402

TARGET = torch.tensor([[3, 0, 1, 1, 2, 0], [0, 2, 0, 3, 1, 1]])
X = np.random.default_rng(0).normal(size=(2, 6))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a prototype
    NESTED = torch.nested.nested_tensor([torch.ones(2), torch.ones(1)])


def takes_tensors(entry):
    return entry.tensors and not entry.needs_target


def is_loss_of_tensors(entry):
    return entry.tensors and entry.needs_target


def scores(shape=(2, 6), dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def test_every_function_is_in_the_catalogue():
    entered = {entry.function for entry in entries() if entry.tensors}
    public = {name for name in soft.__all__ if not isinstance(getattr(soft, name), type)}
    assert public - {"soft_topk_values", "soft_topk_indices"} <= entered
    assert all(callable(getattr(soft, name)) for name in entered)


@pytest.mark.parametrize("descending", [True, False])
@every(takes_tensors)
def test_gradients_pass_gradcheck(entry, descending):
    """Scores, alpha and k, with alpha and k for each ranking, for all, and as numbers."""

    def function(x, alpha, k):
        return entry(x, on=soft, alpha=alpha, k=k, descending=descending)

    x = scores()
    alpha, k = torch.tensor([0.4, 1.3]).double().requires_grad_(), torch.tensor([1.7, 3.0]).double().requires_grad_()
    assert torch.autograd.gradcheck(function, (x, alpha, k))
    assert torch.autograd.gradcheck(function, (x, alpha[0].detach().requires_grad_(), k[0].detach().requires_grad_()))
    assert torch.autograd.gradcheck(lambda x: function(x, 0.7, 2), (x,))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@every(is_loss_of_tensors, lcron_loss="column sums are held constant, as with its authors: tests/losses")
def test_gradients_of_losses_pass_gradcheck(entry, reduction):
    alpha = torch.tensor([0.4, 1.3]).double().requires_grad_()

    def loss(x, alpha):
        return entry(x, TARGET, on=soft, alpha=alpha, k=2.5, reduction=reduction)

    assert torch.autograd.gradcheck(loss, (scores(), alpha))


@every(takes_tensors)
@pytest.mark.parametrize("shape", [(6,), (2, 6), (2, 3, 6), (0, 6), (2, 0), (1, 1)])
def test_any_leading_shape(entry, shape):
    x = scores(shape)
    result = entry(x, on=soft, alpha=0.3, k=0.5)
    of_one = entry.results(shape[-1])
    assert result.shape == (*shape[:-1], *of_one)
    result.sum().backward()
    assert x.grad.shape == x.shape
    if x.numel() > 1:
        alone = entry(x.detach().reshape(-1, shape[-1])[-1], on=soft, alpha=0.3, k=0.5)
        assert torch.equal(result.detach().reshape(-1, *of_one)[-1], alone)


@every(takes_tensors)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_dtype_of_floats(entry, dtype):
    x = scores(dtype=dtype)
    result = entry(x, on=soft, alpha=0.3, k=2)
    is_half = dtype in (torch.float16, torch.bfloat16)
    assert result.dtype == (torch.float32 if is_half and "rank" in entry.name else dtype)
    result.pow(2).sum().backward()
    assert x.grad.dtype == dtype
    exact = x.detach().double().requires_grad_()
    entry(exact, on=soft, alpha=0.3, k=2).pow(2).sum().backward()
    tolerance = {torch.float16: 5e-3, torch.bfloat16: 4e-2, torch.float32: 1e-5, torch.float64: 0}[dtype]
    assert (x.grad.double() - exact.grad).abs().max() <= tolerance * exact.grad.abs().max()


@every(takes_tensors)
def test_backward_may_run_twice_and_changes_nothing(entry):
    x, alpha, k = scores(), torch.tensor([0.4, 1.3], requires_grad=True), torch.tensor([1.7, 3.0], requires_grad=True)
    before = [t.detach().clone() for t in (x, alpha, k)]
    loss = entry(x, on=soft, alpha=alpha, k=k).pow(2).sum()
    loss.backward(retain_graph=True)
    first = x.grad.clone()
    loss.backward()
    assert torch.equal(x.grad, 2 * first)
    assert all(torch.equal(t.detach(), b) for t, b in zip((x, alpha, k), before, strict=True))


def test_scores_changed_in_place_are_noticed():
    x = scores()
    y = x * 1.0
    loss = soft.soft_topk(y, 2, alpha=0.3).sum()
    y.data.add_(0.0)
    with torch.no_grad():
        y.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_scores_are_read_without_a_copy(monkeypatch):
    seen = []
    real = passes.rankings_of
    monkeypatch.setattr(passes, "rankings_of", lambda rows, *given: seen.append(rows.data_ptr()) or real(rows, *given))
    for dtype in (torch.float32, torch.float64):
        x = scores(dtype=dtype)
        soft.soft_rank(x, alpha=0.3)
        assert seen.pop() == x.data_ptr()
        assert np.shares_memory(real(x, {}, None).values, x.detach().numpy())


def test_the_same_numbers_as_on_arrays():
    x = scores()
    array, target = x.detach().numpy(), TARGET.numpy()
    v = np.random.default_rng(0).standard_normal(array.shape)
    want = lapsum_cli.log_soft_topk_vjp(array, 2, v, alpha="0.3std")
    (soft.log_soft_topk(x, 2, alpha="0.3std") * torch.from_numpy(v)).sum().backward()
    assert np.array_equal(x.grad.numpy(), want.scores)
    assert soft.permutation_loss(x, TARGET).item() == lapsum_cli.permutation_loss(array, target)
    assert torch.equal(soft.soft_sort(x), torch.from_numpy(lapsum_cli.soft_sort(array)))


@every(is_loss_of_tensors)
def test_rankings_without_a_loss_leave_the_others_alone(entry):
    x, target = scores((3, 6)), torch.cat([TARGET, torch.ones(1, 6, dtype=torch.long)])
    with torch.no_grad():
        x[0, 2:4] = -torch.inf  # padding
    losses = entry(x, target, on=soft, alpha=0.5, k=2)
    assert losses.isnan().tolist() == [False, False, True]
    mean = entry(x, target, on=soft, alpha=0.5, k=2, reduction="mean")
    assert torch.isclose(mean, losses[:2].mean())
    mean.backward()
    assert x.grad.isfinite().all()
    assert (x.grad[2] == 0).all()
    assert (x.grad[0, 2:4] == 0).all()
    assert (x.grad[1] != 0).any()


def test_unknown_options_are_told_by_the_operation():
    with pytest.raises(TypeError, match="rank got an unexpected keyword argument 'alhpa'"):
        soft.soft_rank(scores(), alhpa=0.1)


def test_losses_that_the_table_knows_have_names_and_options():
    loss = soft.approx_ndcg_loss
    assert pickle.loads(pickle.dumps(loss)) is loss
    assert loss.__doc__
    assert {"x", "target", "gain", "alpha", "mask"} <= {*inspect.signature(loss).parameters}


def test_a_target_may_be_prepared_within_a_transform():
    x = scores().detach()
    prepared = torch.func.grad(lambda x: soft.ndcg_loss(x, soft.Target(TARGET), alpha=0.5))(x)
    assert torch.equal(prepared, torch.func.grad(lambda x: soft.ndcg_loss(x, TARGET, alpha=0.5))(x))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: soft.soft_rank(x.detach().numpy()), "got ndarray; pass torch.as_tensor"),
        (lambda x: soft.soft_rank(torch.arange(3)), "x must be a tensor of floats, got torch.int64"),
        (lambda x: soft.soft_rank(torch.tensor(1.0)), "at least one dimension, got a single number"),
        (lambda x: soft.soft_rank(x * torch.nan), "a score is NaN; mask it with -inf"),
        (lambda x: soft.soft_rank(x, alpha=0), "alpha must be positive and finite, got 0"),
        (lambda x: soft.soft_rank(x, alpha=torch.tensor([1.0, -1.0])), "ranking 1: alpha must be positive .*, got -1"),
        (lambda x: soft.soft_rank(x, alpha=torch.ones(3)), r"alpha has the shape \(3,\), which does not broadcast"),
        (lambda x: soft.soft_topk(x, torch.tensor([1.0, 2.0, 3.0])), r"k has the shape \(3,\).* the rankings, \(2,\)"),
        (lambda x: soft.soft_topk(x, -1), "k must be 0 or more and finite, got -1"),
        (lambda x: soft.topk_loss(x, TARGET[0], 2), r"the target must be a tensor of the shape of x, \(2, 6\)"),
        (lambda x: soft.topk_loss(x, TARGET, torch.tensor(2.0, requires_grad=True)), "no gradient with respect to k"),
        (
            lambda x: soft.spearman_loss(x, TARGET, reduction="median"),
            "reduction must be .*, got 'median'",
        ),
        (lambda x: soft.soft_rank(x.to("meta")), "x is on meta; the CPU and NVIDIA GPUs compute"),
        (lambda x: soft.soft_rank(x.detach().to_sparse()), r"x has the layout sparse_coo; pass it as .to_dense\(\)"),
        (lambda x: soft.soft_rank(NESTED), "x is nested; pad it with -inf"),
        (lambda x: soft.soft_rank(x.detach().to(torch.float8_e5m2)), "got torch.float8_e5m2; pass x.float"),
        (lambda x: soft.soft_rank(x * 1j), "x must be a tensor of floats, got torch.complex128"),
        (lambda x: soft.soft_topk(x, None), "k must be a number such as 10.*, got None"),
        (lambda x: soft.topk_loss(x, TARGET, None), "loss topk needs k, how many are at the top"),
        (lambda x: soft.recall_loss(x, TARGET, None), "loss recall needs k"),
        (lambda x: soft.soft_topk(x, torch.tensor(True)), "k must be numbers, got torch.bool"),
        (lambda x: soft.soft_rank(x, alpha=True), "alpha must be a number such as 0.1"),
        (lambda x: soft.soft_rank(x, alpha=torch.ones(2, 3)), r"alpha has the shape \(2, 3\), which does not"),
        (lambda x: soft.soft_rank(x, alpha=np.ones((30, 30))), "alpha for each ranking must be a tensor, got nd"),
        (lambda x: soft.soft_topk(x, [1, 2]), r"must be a tensor, got list; pass torch.as_tensor\(k\)"),
        (lambda x: soft.soft_rank((x[0], [0, 6])), "offsets beside x must be a tensor of integers, got list"),
        (lambda x: soft.spearman_loss(x, x), r"no gradient with respect to the target; pass target.detach\(\)"),
        (lambda x: soft.spearman_loss(x, TARGET, weights="a"), "weights must be numbers, got 'a'"),
        (lambda x: soft.spearman_loss(x, TARGET, weights=TARGET[:, 0] > 0), "weights must be numbers, got torch.bool"),
        (lambda x: torch.vmap(lambda y: soft.Target(y).rows)(TARGET), "the target moves with a transform"),
        (lambda x: soft.soft_rank(x, alpha=torch.tensor(0.1 + 1j)), "alpha must be numbers, got torch.complex64"),
        (lambda x: soft.soft_rank(x, alpha=torch.tensor(0.1, device="meta")), "alpha is on meta"),
        (lambda x: soft.soft_rank(x, alpha=NESTED), "alpha is nested"),
        (lambda x: soft.soft_rank(x, alpha=torch.ones(2).to_sparse()), "alpha has the layout sparse_coo"),
        (lambda x: soft.spearman_loss(x, TARGET.to_sparse()), "the target has the layout sparse_coo"),
        (lambda x: soft.spearman_loss(x, TARGET.to("meta")), "the target is on meta"),
        (lambda x: soft.spearman_loss(x, NESTED), "the target is nested"),
        (lambda x: soft.spearman_loss(x, TARGET * 1j), "the target must be numbers, got torch.complex64"),
        (lambda x: soft.spearman_loss(x, TARGET + 2**53), "the target holds 900719925474099., a number that no"),
        (lambda x: lapsum_cli.soft_rank(x), "x is a tensor that requires a gradient.*use lapsum_cli.torch"),
        (lambda x: lapsum_cli.soft_rank([x[0]]), "ranking 0: x is a tensor that requires a gradient"),
        (lambda x: lapsum_cli.soft_topk(X, x[0, 0]), "k is a tensor that requires a gradient.*lapsum_cli.torch"),
        (lambda x: lapsum_cli.spearman_loss(X, x), "target is a tensor that requires a gradient"),
        (lambda x: lapsum_cli.soft_rank_vjp(X, x), "upstream is a tensor that requires a gradient"),
        (lambda x: lapsum_cli.soft_rank(x.detach().to_sparse()), "x is a tensor that has the layout sparse_coo"),
        (lambda x: lapsum_cli.soft_rank(x.to("meta").detach()), "x is a tensor that is on meta"),
        (lambda x: lapsum_cli.soft_rank(NESTED), "x is a tensor that is nested"),
    ],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_what_cannot_be_used_is_one_line(call, words):
    with pytest.raises(lapsum_cli.LapsumError, match=words) as refused:
        call(scores())
    assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("how", [[], pytest.param(["--compile", "aot_eager"], marks=pytest.mark.slow)])
def test_the_training_sample_learns(capsys, monkeypatch, how):
    monkeypatch.setattr(sys, "argv", ["train.py", *how])
    runpy.run_path(str(Path(__file__).parents[2] / "samples" / "train.py"), run_name="__main__")
    printed = capsys.readouterr().out
    [shown] = [block.shown for block in blocks("sh") if "samples/train.py" in block.code]
    assert same(printed, shown, off=0.02)
    before, after = printed.splitlines()
    loss, ndcg = (lambda line: float(line.split("loss ")[1].split(",")[0])), (lambda line: float(line.split()[-4]))
    assert loss(after) < 0.7 * loss(before)
    assert ndcg(after) > ndcg(before) + 0.1


def test_threads_have_graphs_of_their_own(monkeypatch):
    """What is captured is a stand-in: this asks who has it, and when."""
    at_once, meetings, held = [], threading.Barrier(8), set()

    class Pair:
        forward = backward = None

        def __init__(self, *given):
            at_once.append(self)
            time.sleep(0.001)
            assert at_once.pop() is self

    def call():
        meetings.wait()
        for _ in range(50):
            lease = replayed.lease("operation", torch.zeros(2, 3), {}, False)
            if lease is not None:
                assert lease._pair not in held
                held.add(lease._pair)
                time.sleep(0)
                held.remove(lease._pair)
            del lease

    stream = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(replayed, "Pair", Pair)
    monkeypatch.setattr(replayed, "_KINDS", OrderedDict())
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            [done.result() for done in [pool.submit(call) for _ in range(8)]]
    finally:
        sys.setswitchinterval(interval)
    [kind] = replayed._KINDS.values()
    assert 1 <= kind.made == len(kind.free) <= 8
