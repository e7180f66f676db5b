"""What PyTorch does with any operator works with these: mixed precision, checkpoints, processes, hooks, anomalies."""

import os
import socket
import subprocess
import sys
import warnings

import pytest
from catalogue import every

torch = pytest.importorskip("torch")

from torch.utils.checkpoint import checkpoint  # noqa: E402

from lapsum_cli import torch as soft  # noqa: E402

TARGET = torch.tensor([[3, 0, 1, 1, 2, 0], [0, 2, 0, 3, 1, 1]])


def of_tensors(entry):
    return entry.tensors


def is_loss(entry):
    return entry.tensors and entry.needs_target


def scores(dtype=torch.float64):
    drawn = torch.randn((2, 6), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return drawn.to(dtype).requires_grad_()


def call(entry, x, **given):
    target = (TARGET,) if entry.needs_target else ()
    return entry(x, *target, on=soft, **{"alpha": 0.5, "k": 2, **given})


def number(made):
    return made.pow(2).sum()


@every(of_tensors)
def test_autocast_hands_over_what_a_layer_made(entry):
    """A linear layer makes bfloat16 there; results are as of these scores, and its weights get float32 gradients."""
    torch.manual_seed(0)
    layer, features = torch.nn.Linear(3, 1), torch.randn(2, 6, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = layer(features).squeeze(-1)
        made = call(entry, x)
    assert x.dtype == torch.bfloat16
    assert torch.equal(made, call(entry, x.detach()))
    number(made.float()).backward()
    assert layer.weight.grad.dtype == torch.float32
    assert layer.weight.grad.isfinite().all()
    assert (layer.weight.grad != 0).any()


@every(of_tensors)
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_what_is_computed_again_gives_the_same_gradients(entry, use_reentrant):
    x, alpha = scores(), torch.tensor([0.4, 1.3], requires_grad=True)

    def function(x, alpha):
        return number(call(entry, x * 1.5, alpha=alpha))

    want = torch.autograd.grad(function(x, alpha), (x, alpha))
    checkpoint(function, x, alpha, use_reentrant=use_reentrant).backward()
    assert all(torch.equal(one.grad, other) for one, other in zip((x, alpha), want, strict=True))


@every(of_tensors)
def test_a_result_may_be_used_twice_and_walked_again(entry):
    x = scores()
    made = call(entry, x)
    [want] = torch.autograd.grad((2 * made).sum() + made.pow(2).sum(), x, retain_graph=True)
    [first] = torch.autograd.grad((2 * made).sum(), x, retain_graph=True)
    [second] = torch.autograd.grad(made.pow(2).sum(), x)
    torch.testing.assert_close(first + second, want, rtol=1e-12, atol=1e-14)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(made.sum(), x)


@every(of_tensors)
def test_a_result_that_a_way_back_needs_may_not_be_changed(entry):
    made = call(entry, scores())
    square = made.pow(2).sum()
    with torch.no_grad():
        made.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        square.backward()


@every(lambda entry: entry.tensors and entry.stages == 1)  # those of stages are copied
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_that_were_changed_before_the_way_back_are_noticed(entry, dtype):
    x = scores(dtype) * 1.0
    made = call(entry, x).sum()
    with torch.no_grad():
        x.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        made.backward()


@every(of_tensors)
def test_hooks_see_gradients_and_may_change_them(entry):
    x, seen = scores(), []
    [want] = torch.autograd.grad(number(call(entry, x)), x)
    made = call(entry, x)
    made.register_hook(lambda gradient: seen.append(gradient) or 3 * gradient)
    x.register_hook(lambda gradient: -gradient)
    x.register_post_accumulate_grad_hook(lambda x: seen.append(x.grad.clone()))
    number(made).backward()
    assert torch.equal(seen[0], 2 * made.detach())
    torch.testing.assert_close(x.grad, -3 * want, rtol=1e-12, atol=1e-14)
    assert torch.equal(seen[1], x.grad)


def anomalies_are_raised():
    warnings.simplefilter("ignore")  # that they are looked for
    return torch.autograd.detect_anomaly()


@every(is_loss)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_rankings_without_a_loss_make_no_nan_on_the_way_back(entry, reduction):
    """A constant target, all scores masked, and one that is left: gradients of 0 beside one that is a number."""
    x = torch.cat([scores(), scores()]).detach().requires_grad_()
    target = torch.cat([TARGET, TARGET]).double()
    target[1] = 2.0
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[2], mask[3, 1:] = False, False
    target[~mask] = torch.nan
    with warnings.catch_warnings(), anomalies_are_raised():
        whole = entry(x, target, on=soft, alpha=0.5, k=2, mask=mask, reduction=reduction)
        whole.backward()
    assert whole.isfinite()
    assert (x.grad[0] != 0).any()
    assert (x.grad[1:] == 0).all()


@every(is_loss)
def test_a_batch_in_which_no_ranking_has_a_loss(entry):
    """Its mean is that of no numbers, NaN, and its sum 0: either is part of the graph, with gradients of 0."""
    for reduction, is_it in (("mean", torch.isnan), ("sum", lambda whole: whole == 0)):
        x, alpha = scores(), torch.tensor([0.4, 1.3], requires_grad=True)
        mask = torch.zeros(2, 6, dtype=torch.bool)
        with warnings.catch_warnings(), anomalies_are_raised():
            whole = entry(x, TARGET, on=soft, alpha=alpha, k=2, mask=mask, reduction=reduction)
            whole.backward()
        assert is_it(whole)
        assert whole.requires_grad
        assert (x.grad == 0).all()
        assert (alpha.grad == 0).all()


@every(of_tensors)
def test_a_softness_that_a_schedule_moves(entry):
    """As a tensor without axes, or of one number: the same as the number, and it is read when it is called."""
    x, alpha = scores(), torch.tensor(0.5, dtype=torch.float64)
    made = call(entry, x, alpha=alpha)
    want = call(entry, x, alpha=0.5)
    alpha.mul_(0.5)  # before the way back, which goes with what was read
    assert torch.equal(made, want)
    assert torch.equal(*(torch.autograd.grad(one.sum(), x)[0] for one in (made, want)))
    assert torch.equal(call(entry, x, alpha=alpha), call(entry, x, alpha=0.25))
    assert torch.equal(call(entry, x, alpha=alpha[None]), call(entry, x, alpha=0.25))


def test_a_softness_that_is_learnt():
    """An optimiser moves it to where the loss is least."""
    x, log_alpha = scores(), torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([log_alpha], lr=0.1)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (soft.soft_rank(x.detach(), alpha=log_alpha.exp()) - 3.5).pow(2).sum()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]
    assert log_alpha.item() > 1


@every(lambda entry: is_loss(entry) and entry.k)
def test_a_loss_takes_a_k_for_each_ranking_and_has_a_way_back(entry):
    x, ks = scores(), torch.tensor([2.0, 3.0])
    made = call(entry, x, k=ks)
    [slope] = torch.autograd.grad(made.sum(), x)
    for i in range(2):
        alone = entry(x[i], TARGET[i], on=soft, alpha=0.5, k=float(ks[i]))
        if "alone" not in entry.lacks:
            torch.testing.assert_close(made[i], alone)
            torch.testing.assert_close(slope[i], torch.autograd.grad(alone, x)[0][i])


LOADED = """
import torch
from torch.utils.data import DataLoader, Dataset
from lapsum_cli import torch as soft

class Rankings(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        x = torch.randn(50, generator=torch.Generator().manual_seed(i)).requires_grad_()
        ranks = soft.soft_rank(x)
        soft.topk_loss(x, torch.arange(50), 5).backward()
        return torch.stack([ranks.detach(), x.grad])

if __name__ == "__main__":
    torch.set_num_threads(2)
    torch.ones(1 << 20).sum()
    here = torch.stack([Rankings()[i] for i in range(8)])
    there = torch.cat(list(DataLoader(Rankings(), 4, num_workers=2, multiprocessing_context="fork")))
    assert torch.equal(here, there)
"""

# Two processes, each with half of a batch, and one with all of it.
DISTRIBUTED = """
import sys, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from lapsum_cli import torch as soft

def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()

def step(scorer, features, target):
    for name, k in (("spearman", None), ("topk", 2)):
        soft.loss(name, scorer(features).squeeze(-1), target, k=k, alpha=0.5).backward()

rank, port = int(sys.argv[1]), sys.argv[2]
drawn = torch.Generator().manual_seed(1)
features = torch.randn((8, 6, 3), generator=drawn, dtype=torch.float64)
target = torch.randint(0, 4, (8, 6), generator=drawn)
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
part, whole = DistributedDataParallel(model()), model()
half = slice(4 * rank, 4 * rank + 4)
step(part, features[half], target[half])
step(whole, features, target)
for one, other in zip(part.module.parameters(), whole.parameters()):
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-14)
dist.destroy_process_group()
"""


def run(program, *words):
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_workers_of_a_data_loader_compute_the_same(tmp_path):
    (tmp_path / "loaded.py").write_text(LOADED)
    done = subprocess.run([sys.executable, tmp_path / "loaded.py"], timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch knows no other processes")
def test_two_processes_have_the_gradients_of_one():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    processes = [run(DISTRIBUTED, str(rank), port) for rank in range(2)]
    try:
        said = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
