"""Second derivatives and derivatives forward, in PyTorch: all that it does with them."""

import pytest
from catalogue import every

import lapsum_cli

torch = pytest.importorskip("torch")

from lapsum_cli import torch as soft  # noqa: E402

TARGET = torch.tensor([[3, 0, 1, 1, 2, 0], [0, 2, 0, 3, 1, 1]])


def curved(entry):
    return entry.tensors and entry.curved


def scores():
    return torch.randn((2, 6), generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()


def options(entry):
    """Alphas, and ks where they have a gradient: a tensor each."""
    alpha = torch.tensor([0.5, 0.8], dtype=torch.float64, requires_grad=True)
    if not entry.k or entry.per == "ranking":
        return (alpha,)
    return alpha, torch.tensor([2.3, 1.4], dtype=torch.float64, requires_grad=True)


def call(entry, x, alpha=0.5, k=2, **given):
    target = (TARGET if x.ndim == 2 else TARGET[0],) if entry.per == "ranking" else ()
    return entry(x, *target, on=soft, alpha=alpha, k=k, **given)


WITHOUT_WORDS = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")


@every(curved)
@WITHOUT_WORDS
@pytest.mark.parametrize("how", ["second", "forward", "forward over backward"])
def test_pytorch_finds_them_right(entry, how):
    """By differences, of scores, alpha and k."""
    given = (scores(), *options(entry))

    def function(*given):
        return call(entry, *given)

    if how == "forward":
        torch.autograd.gradcheck(function, given, check_forward_ad=True, check_backward_ad=False)
    else:
        torch.autograd.gradgradcheck(function, given, check_fwd_over_rev=how != "second")


WAYS = {
    "twice backward": lambda f, x: torch.func.jacrev(torch.func.jacrev(f))(x),
    "forward over backward": lambda f, x: torch.func.hessian(f)(x),
    "backward over forward": lambda f, x: torch.func.jacrev(torch.func.jacfwd(f))(x),
    "vectorised": lambda f, x: torch.autograd.functional.hessian(f, x, vectorize=True),
    "by products": lambda f, x: torch.stack(
        [torch.autograd.functional.hvp(f, x, unit)[1] for unit in torch.eye(12, dtype=x.dtype).reshape(12, 2, 6)]
    ).reshape(2, 6, 2, 6),
    "in a graph": lambda f, x: torch.stack(
        [
            torch.autograd.grad(torch.autograd.grad(f(x), x, create_graph=True)[0][i, j], x)[0]
            for i in range(2)
            for j in range(6)
        ]
    ).reshape(2, 6, 2, 6),
}


@every(curved)
@WITHOUT_WORDS
def test_every_way_to_a_hessian_gives_the_same(entry):
    def function(x):
        return call(entry, x, alpha=0.7).pow(2).sum()

    want = torch.autograd.functional.hessian(function, scores())
    for name, way in WAYS.items():
        torch.testing.assert_close(way(function, scores()), want, rtol=1e-12, atol=1e-13, msg=name)


@every(curved)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_penalty_on_a_gradient_is_learnt_from(entry, reduction):
    """As in WGAN-GP or MAML: by `backward` through a gradient, also of losses that are reduced, of a batch in which a
    ranking has none.
    """
    given_reduction = {"reduction": reduction} if entry.per == "ranking" else {}
    target = TARGET.clone()
    target[1] = 1

    def penalty(x):
        result = (
            entry(x, target, on=soft, alpha=0.5, k=2, **given_reduction) if entry.per == "ranking" else call(entry, x)
        )
        weights = torch.linspace(1, 2, result.numel(), dtype=x.dtype).reshape(result.shape)
        [gradient] = torch.autograd.grad((result * weights).nansum(), x, create_graph=True)
        return gradient.pow(2).sum()

    x = scores()
    penalty(x).backward()
    assert x.grad.abs().sum() > 0
    assert not x.grad.isnan().any()
    step, unit = 1e-5, torch.randn(x.shape, generator=torch.Generator().manual_seed(4), dtype=x.dtype)
    with torch.no_grad():
        ends = [(x + by * unit).requires_grad_() for by in (step, -step)]
    more, less = (penalty(end).detach() for end in ends)
    assert float((x.grad * unit).sum()) == pytest.approx(float((more - less) / (2 * step)), rel=1e-5, abs=1e-8)


@every(curved)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_short_floats_have_them_too(entry, dtype):
    """Computed in float64, and as near as their dtype."""
    x = scores().detach()

    def twice(x):
        x = x.to(dtype).requires_grad_() if dtype != torch.float64 else x.requires_grad_()
        result = call(entry, x, alpha=1.0)
        weights = torch.linspace(1, 2, result.numel(), dtype=result.dtype).reshape(result.shape)
        [gradient] = torch.autograd.grad((result * weights).sum(), x, create_graph=True)
        return torch.autograd.grad((gradient * torch.linspace(-1, 1, 12, dtype=x.dtype).reshape(2, 6)).sum(), x)[0]

    found = twice(x)
    assert found.dtype == dtype
    rounded = x.to(dtype).double().requires_grad_()
    result = call(entry, rounded, alpha=1.0)
    weights = torch.linspace(1, 2, result.numel(), dtype=result.dtype).reshape(result.shape)
    [gradient] = torch.autograd.grad((result * weights).sum(), rounded, create_graph=True)
    want = torch.autograd.grad((gradient * torch.linspace(-1, 1, 12).double().reshape(2, 6)).sum(), rounded)[0]
    near = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 6e-2}[dtype]
    torch.testing.assert_close(found.double(), want, rtol=near, atol=near * float(want.abs().max()))


@every(curved)
def test_a_masked_score_takes_no_part(entry):
    x, mask = scores().detach(), torch.ones(2, 6, dtype=torch.bool)
    mask[0, 3] = False
    unit = torch.linspace(-1, 1, 12, dtype=x.dtype).reshape(2, 6)

    def hvp(f, x, unit):
        return torch.autograd.functional.hvp(lambda x: f(x).pow(2).sum(), x, unit)[1]

    plain = hvp(lambda x: call(entry, x.masked_fill(~mask, -torch.inf)).nan_to_num(neginf=0.0), x, unit * mask)
    masked = hvp(lambda x: call(entry, x, mask=mask).nan_to_num(neginf=0.0), x, unit)
    torch.testing.assert_close(masked, plain * mask, rtol=1e-12, atol=1e-13)
    assert masked[0, 3] == 0


@every(curved)
def test_third_derivatives_are_refused_in_one_line(entry):
    x = scores()
    [gradient] = torch.autograd.grad(call(entry, x).pow(3).sum(), x, create_graph=True)
    [second] = torch.autograd.grad(gradient.pow(2).sum(), x, create_graph=True)
    with pytest.raises(lapsum_cli.LapsumError, match="third derivatives are not computed") as refused:
        second.sum().backward()
    assert "\n" not in str(refused.value)


def test_straight_through_is_as_curved_as_the_soft_result():
    x = scores()
    curves = [
        torch.autograd.functional.hvp(
            lambda x, through=through: (
                soft.soft_topk(x, 2, alpha=0.5, straight_through=through) * torch.arange(6)
            ).sum(),
            x,
            torch.ones_like(x) * torch.arange(6),
        )[1]
        for through in (True, False)
    ]
    torch.testing.assert_close(*curves, rtol=0, atol=0)
    assert curves[0].abs().sum() > 0


def test_a_change_in_place_between_is_found():
    x = scores()
    x_in_graph = x * 1.0
    [gradient] = torch.autograd.grad(soft.soft_rank(x_in_graph, alpha=0.5).pow(2).sum(), x_in_graph, create_graph=True)
    with torch.no_grad():
        x_in_graph.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradient.sum().backward()


@pytest.mark.parametrize("lie", ["as they are compared", "the other way"])
def test_operators_are_what_pytorch_asks_of_them(lie):
    """Also of scores that are no block of memory: what comes out is one, and compilers go by what they are told."""
    from lapsum_cli.torch import operators

    x, alpha = scores(), torch.tensor([0.4, 1.3], dtype=torch.float64, requires_grad=True)
    x = x if lie == "as they are compared" else x.detach().T.contiguous().T.requires_grad_()
    words = operators.words_of("rank", operators.TENSOR, None, True, (("method", "lapsum"),))
    upstream, towards = (torch.linspace(-1, 1, 12, dtype=x.dtype).reshape(2, 6) for _ in range(2))
    torch.library.opcheck(torch.ops.lapsum.backward.default, (upstream, x, alpha, None, None, None, words))
    given = (towards, alpha.detach(), None, upstream, x.detach(), alpha.detach(), None, None, None, words)
    torch.library.opcheck(torch.ops.lapsum.along.default, given)
