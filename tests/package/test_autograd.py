"""What PyTorch does with a graph: changes results in place, differentiates it, compiles around it, forks."""

import os
import subprocess
import sys
import warnings

import pytest
from catalogue import every

import lapsum_cli

torch = pytest.importorskip("torch")

from lapsum_cli import torch as soft  # noqa: E402

TARGET = torch.tensor([[3, 0, 1, 1, 2, 0], [0, 2, 0, 3, 1, 1]])
NO_SECOND = "has no second derivatives"


def of_tensors(entry):
    return entry.tensors


def scores(dtype=torch.float64):
    return (
        torch.randn((2, 6), generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype).requires_grad_()
    )


def call(entry, x, **given):
    target = (TARGET if x.ndim == 2 else TARGET[0],) if entry.needs_target else ()
    return entry(x, *target, on=soft, **{"alpha": 0.5, "k": 2, **given})


@every(lambda entry: entry.tensors and entry.needs_target)
def test_a_target_may_be_changed_before_the_way_back(entry):
    x, target = scores(), TARGET.double()
    given = {"on": soft, "alpha": 0.5, "k": 2}
    [kept] = torch.autograd.grad(entry(x, target.clone(), **given).sum(), x)
    result = entry(x, target, **given).sum()
    target.zero_()
    [found] = torch.autograd.grad(result, x)
    assert torch.equal(found, kept)


@every(of_tensors)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_result_may_be_changed_in_place(entry, dtype):
    """The gradient is that of the same steps out of place: nothing that was kept for the way back is in the result."""
    inside, outside = scores(dtype), scores(dtype)
    result = call(entry, inside)
    result.mul_(3).clamp_(max=4)
    result[0] += 1
    result.sum().backward()
    again = (call(entry, outside) * 3).clamp(max=4)
    torch.cat([again[:1] + 1, again[1:]]).sum().backward()
    assert torch.equal(inside.grad, outside.grad)
    zeroed = scores(dtype)
    call(entry, zeroed).zero_().sum().backward()
    assert (zeroed.grad == 0).all()


@every(of_tensors)
def test_a_result_of_one_ranking_may_be_changed_in_place(entry):
    x = scores()[0].detach().requires_grad_()
    call(entry, x).mul_(2).sum().backward()
    want = scores()[0].detach().requires_grad_()
    call(entry, want).sum().backward()
    assert torch.equal(x.grad, 2 * want.grad)


@every(of_tensors)
def test_a_first_derivative_may_be_part_of_a_graph(entry):
    """With create_graph=True the same gradients, which may be used, in other graphs too."""
    x, alpha = scores(), torch.tensor([0.4, 1.3], requires_grad=True)
    weights = torch.linspace(1, 2, 2, dtype=x.dtype)
    plain, graph = (
        torch.autograd.grad(
            (call(entry, x, alpha=alpha).movedim(0, -1) @ weights).sum(), (x, alpha), create_graph=create
        )
        for create in (False, True)
    )
    assert all(torch.equal(a, b) and b.requires_grad for a, b in zip(plain, graph, strict=True))
    (x - 0.1 * graph[0].detach()).sum().backward()
    assert (x.grad == 1).all()


TWICE = {
    "hessian": lambda f, x: torch.autograd.functional.hessian(f, x),
    "vectorized hessian": lambda f, x: torch.autograd.functional.hessian(f, x, vectorize=True),
    "hvp": lambda f, x: torch.autograd.functional.hvp(f, x, torch.ones_like(x)),
    "vhp": lambda f, x: torch.autograd.functional.vhp(f, x, torch.ones_like(x)),
    "jvp by two backward passes": lambda f, x: torch.autograd.functional.jvp(f, x, torch.ones_like(x)),
    "penalty": lambda f, x: (f(x) + torch.autograd.grad(f(x), x, create_graph=True)[0].pow(2).sum()).backward(),
    "MAML": lambda f, x: f(x - 0.1 * torch.autograd.grad(f(x), x, create_graph=True)[0]).backward(),
    "grad of grad": lambda f, x: torch.autograd.grad(torch.autograd.grad(f(x), x, create_graph=True)[0].sum(), x),
    "backward": lambda f, x: (f(x).backward(create_graph=True), x.grad.sum().backward()),
    "gradgradcheck": lambda f, x: torch.autograd.gradgradcheck(f, (x,)),
    "of a constant gradient": lambda f, x: torch.autograd.grad(
        torch.autograd.grad(f(x), x, torch.tensor(1.0), create_graph=True)[0].sum(), x, allow_unused=True
    ),
}


@every(lambda entry: entry.tensors and not entry.curved)
@pytest.mark.parametrize("way", TWICE)
@pytest.mark.filterwarnings("ignore:Using backward\\(\\) with create_graph=True")
def test_what_has_no_second_derivatives_raises(entry, way):
    with pytest.raises(RuntimeError, match=NO_SECOND) as refused:
        TWICE[way](weighed(entry), scores())
    assert isinstance(refused.value, lapsum_cli.LapsumError)
    assert "\n" not in str(refused.value)


def weighed(entry):
    weights = torch.linspace(1, 2, 6, dtype=torch.float64)

    def function(x):
        result = call(entry, x)
        return result.mean() if entry.per == "ranking" else (result @ weights).sum()

    return function


TRANSFORMS = {
    "vmap": (lambda f, x: torch.vmap(f)(x), lambda f, x: torch.stack([f(row) for row in x])),
    "grad": (lambda f, x: torch.func.grad(lambda x: f(x).sum())(x), lambda f, x: torch.autograd.grad(f(x).sum(), x)[0]),
    "jacrev": (lambda f, x: torch.func.jacrev(f)(x), lambda f, x: torch.autograd.functional.jacobian(f, x)),
    "vjp": (
        lambda f, x: torch.func.vjp(f, x)[1](torch.ones_like(f(x)))[0],
        lambda f, x: torch.autograd.grad(f(x).sum(), x)[0],
    ),
    "of something else": (
        lambda f, x: torch.func.grad(lambda w: (w * f(x)).sum())(torch.tensor(1.0, dtype=x.dtype)),
        lambda f, x: f(x).sum(),
    ),
    "vectorized Jacobian": (
        lambda f, x: torch.autograd.functional.jacobian(f, x, vectorize=True),
        lambda f, x: torch.autograd.functional.jacobian(f, x),
    ),
}
FORWARD = {
    "jacfwd": lambda f, x: torch.func.jacfwd(f)(x),
    "hessian": lambda f, x: torch.func.hessian(lambda x: f(x).sum())(x),
    "twice": lambda f, x: torch.func.grad(lambda x: torch.func.grad(lambda x: f(x).pow(2).sum())(x).sum())(x),
    "forward mode": lambda f, x: torch.autograd.functional.jacobian(f, x, vectorize=True, strategy="forward-mode"),
}


@every(of_tensors)
@pytest.mark.parametrize("way", TRANSFORMS)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_transforms_see_through(entry, way):
    x = scores()
    made, want = (transform(lambda x: call(entry, x), x) for transform in TRANSFORMS[way])
    torch.testing.assert_close(made, want, rtol=1e-12, atol=1e-12)


@every(of_tensors)
def test_gradients_of_each_of_a_batch(entry):
    """By vmap of grad: of a row alone, with an alpha for each."""
    x, alphas = scores().detach(), torch.tensor([0.3, 0.8], dtype=torch.float64)

    def of_row(row, alpha):
        return call(entry, row, alpha=alpha).pow(2).sum()

    made = torch.vmap(torch.func.grad(of_row, argnums=(0, 1)))(x, alphas)
    for i in range(2):
        row, alpha = x[i].clone().requires_grad_(), alphas[i].clone().requires_grad_()
        want = torch.autograd.grad(of_row(row, alpha), (row, alpha))
        for a, b in zip(made, want, strict=True):
            torch.testing.assert_close(a[i], b, rtol=1e-11, atol=1e-11)


@every(lambda entry: entry.tensors and not entry.curved)
@pytest.mark.parametrize("way", FORWARD)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_what_is_not_computed_is_refused_in_one_line(entry, way):
    with pytest.raises(lapsum_cli.LapsumError, match=NO_SECOND) as refused:
        FORWARD[way](lambda x: call(entry, x), scores().detach())
    assert "\n" not in str(refused.value)


@every(of_tensors)
def test_options_may_have_a_last_axis_of_one(entry):
    x = scores()
    for shape, leading in (((1,), ()), ((2, 1), (2,)), ((1,), (2,))):
        scored = x if leading else x[0]
        alpha = torch.full(shape, 0.5, requires_grad=True)
        wide = torch.full(leading, 0.5, requires_grad=True)
        result, want = call(entry, scored, alpha=alpha), call(entry, scored, alpha=wide)
        assert torch.equal(result, want)
        result.pow(2).sum().backward()
        want.pow(2).sum().backward()
        assert alpha.grad.shape == shape
        assert alpha.grad.sum() == pytest.approx(float(wide.grad.sum()))


@every(lambda entry: entry.tensors and entry.needs_target)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_anomaly_mode_finds_nothing_in_a_batch_without_a_loss(entry, reduction):
    x = scores()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that anomalies are looked for
        with torch.autograd.detect_anomaly():
            losses = entry(x, torch.ones(2, 6), on=soft, alpha=0.5, k=2, reduction=reduction)
            losses.sum().backward()
    assert losses.isnan().all() or reduction == "sum"
    assert (x.grad == 0).all()


def test_a_negated_view_is_read_as_it_is():
    x = (torch.zeros(6, dtype=torch.float64) - 1j * scores()[0].detach()).conj().imag
    assert x.is_neg()
    assert torch.equal(soft.soft_rank(x, alpha=0.5), soft.soft_rank(scores()[0].detach(), alpha=0.5))


FORKED = """
import os, sys, torch
from lapsum_cli import torch as soft
x = torch.arange(1 << 20).reshape(64, -1).to(getattr(torch, sys.argv[1])).T.requires_grad_()
alpha = torch.full((x.shape[0],), 0.3, requires_grad=True)
torch.set_num_threads(2)

def gradients():
    result = soft.soft_topk(x, 3, alpha=alpha)
    ones = torch.ones((), dtype=result.dtype)
    loss = soft.spearman_loss(x, x.detach(), alpha=alpha)
    return *torch.autograd.grad(result, (x, alpha), ones.expand(result.shape)), *torch.autograd.grad(loss, (x, alpha))

before = gradients()
torch.ones(1 << 20).sum()  # PyTorch has started its threads
child = os.fork()
if child == 0:
    after = gradients()
    torch.set_num_threads(1)
    os._exit(0 if all(torch.equal(a, b) for a, b in zip(before, after)) and torch.get_num_threads() == 1 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_forked_process_computes_the_same(dtype):
    done = subprocess.run([sys.executable, "-c", FORKED, dtype], timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@every(of_tensors)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.filterwarnings("ignore")  # of the compiler
def test_compiled_code_gives_the_same_numbers(entry, backend):
    """In one graph, which goes through the operation."""

    def function(x, alpha):
        return call(entry, x * 1.5, alpha=alpha.abs()) * 2

    torch._dynamo.reset()
    x, alpha = scores(), torch.tensor([0.4, 1.3], requires_grad=True)
    results = [made(x, alpha) for made in (function, torch.compile(function, backend=backend, fullgraph=True))]
    gradients = [torch.autograd.grad(result.sum(), (x, alpha)) for result in results]
    assert torch.equal(*results)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


COMPILED = {
    "along an axis": lambda x: soft.soft_topk(x, 2, alpha=0.5, dim=0),
    "masked": lambda x: soft.soft_rank(x, mask=x > -1.0),
    "straight through": lambda x: soft.soft_sort(x, alpha="0.2std", straight_through=True),
    "a k for each": lambda x: soft.log_soft_topk(x, x.detach().abs().sum(-1), alpha=0.5),
    "a loss": lambda x: soft.loss("ndcg", x, x.detach().abs(), k=3, reduction="mean", gain="linear"),
    "a mean": lambda x: soft.spearman_loss(x, x.detach().cos(), mask=x > -1.0),
    "a cascade": lambda x: soft.loss("arf", (x, x + 1), TARGET, k=2, alpha=0.5, reduction="none"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.filterwarnings("ignore")  # of the compiler
def test_what_is_asked_for_is_compiled(name):
    torch._dynamo.reset()
    function, x = COMPILED[name], scores()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    for given in (x, scores().detach().flip(1).requires_grad_()):
        results = [made(given) for made in (function, compiled)]
        slopes = [torch.autograd.grad(result.pow(2).sum(), given)[0] for result in results]
        torch.testing.assert_close(*results, rtol=0, atol=0)
        torch.testing.assert_close(*slopes, rtol=1e-14, atol=1e-14)
    with pytest.raises(torch._dynamo.exc.TorchDynamoException, match="alpha"):
        torch.compile(lambda x: soft.soft_rank(x, alpha="soft"), backend="eager", fullgraph=True)(x)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_exported_model_computes_and_takes_any_batch():
    class Model(torch.nn.Module):
        def forward(self, x):
            return soft.soft_topk(self.scorer(x).squeeze(-1), 2, alpha=0.5)

        def __init__(self):
            super().__init__()
            self.scorer = torch.nn.Linear(3, 1)

    model, x = Model(), torch.randn(4, 6, 3)
    exported = torch.export.export(model, (x,), dynamic_shapes={"x": {0: torch.export.Dim("batch")}})
    for batch in (x, torch.randn(9, 6, 3)):
        torch.testing.assert_close(exported.module()(batch), model(batch), rtol=0, atol=0)
    assert any("lapsum.forward" in str(node.target) for node in exported.graph.nodes)


@pytest.mark.parametrize("name", ["rank", "permute", "loss"])
def test_operators_are_what_pytorch_asks_of_them(name):
    from lapsum_cli.torch import operators

    x, alpha = scores(), torch.tensor([0.4, 1.3], requires_grad=True)
    options = {"loss": (("loss", "spearman"),)}.get(name, (("method", "lapsum"),))
    words = operators.words_of(name, operators.TENSOR, None, True, options)
    given = (x, alpha, None, TARGET.double() if name == "loss" else None, None, words)
    torch.library.opcheck(torch.ops.lapsum.forward.default, given)
