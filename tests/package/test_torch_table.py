"""The table of what works with what on the page `torch`: every cell of it is tried."""

from functools import partial
from importlib.resources import files

import pytest

from lapsum_cli import LapsumError

torch = pytest.importorskip("torch")

from lapsum_cli import torch as soft  # noqa: E402

TARGET = torch.tensor([[3, 0, 1, 1, 2, 0], [0, 2, 0, 3, 1, 1]])


def of_loss(name, x, **given):
    """Its targets lie as the scores do."""
    dim = given.get("dim", -1)
    target = TARGET[: len(x)] if torch.is_tensor(x) and x.ndim == 2 else TARGET[0]
    if isinstance(x, list):
        target = [row[: len(one)] for row, one in zip(TARGET, x, strict=True)]
    return soft.loss(name, x, target if dim == -1 else TARGET.T, **given)


FUNCTIONS = {
    "rank": soft.soft_rank,
    "sort": soft.soft_sort,
    "topk": lambda x, **given: soft.soft_topk(x, 2, **given),
    "log": lambda x, **given: soft.log_soft_topk(x, 2, **given),
    "q": lambda x, **given: soft.soft_quantile(x, 0.3, **given),
    "best": lambda x, **given: soft.soft_topk_values(x, 2, **given),
    "perm": soft.soft_permutation,
    "own": partial(of_loss, "spearman"),
    "other": partial(of_loss, "listnet"),
}


def scores(dtype=torch.float64):
    return torch.randn((2, 6), generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)


def flat(made):
    return torch.cat([one.reshape(-1) for one in made]) if isinstance(made, list) else made.reshape(-1)


def close(made, want):
    return torch.allclose(flat(made).double(), flat(want).double(), rtol=1e-6, atol=1e-9)


def _axis(f):
    return close(f(scores().T, dim=0).sum(), f(scores()).sum())


def _mask(f):
    return close(
        f(scores(), mask=scores() > -0.5).nansum(), f(scores().masked_fill(scores() <= -0.5, -torch.inf)).nansum()
    )


def _padding(f):
    x = scores().requires_grad_()
    made = f(torch.cat([x[0], torch.tensor([-torch.inf])])[None][:, [0, 1, 2, 3, 4, 6]])
    made[made.isfinite()].sum().backward()
    return bool(x.grad.isfinite().all())


def _lengths(f):
    x = scores()
    made = f([x[0], x[1, :4]])
    return close(flat(made)[: flat(f(x[0])).numel()], f(x[0])) if flat(made).numel() > 2 else bool(made is not None)


def _alphas(f):
    alphas = torch.tensor([0.4, 0.9], dtype=torch.float64, requires_grad=True)
    made = f(scores(), alpha=alphas)
    return torch.autograd.grad((made * torch.arange(made.numel()).reshape(made.shape)).sum(), alphas)[0].shape == (2,)


def _straight(f):
    x = scores().requires_grad_()
    made = f(x, alpha=5.0, straight_through=True)
    made.pow(2).sum().backward()
    return bool(x.grad.abs().sum() > 0) and close(made, f(x.detach(), alpha=1e-9))


def _short(f):
    near = {torch.float16: 2e-2, torch.bfloat16: 0.2}
    want = f(scores())
    return all(torch.allclose(f(scores(dtype)).double(), want, rtol=of, atol=of) for dtype, of in near.items())


def _transforms(f):
    x = scores()
    if f is FUNCTIONS["own"] or f is FUNCTIONS["other"]:
        return torch.func.grad(lambda x: f(x))(x).shape == x.shape
    of_rows = torch.func.jacrev(lambda x: torch.vmap(lambda row: f(row))(x).sum())(x)
    return of_rows.shape == x.shape and close(torch.vmap(lambda row: f(row))(x), f(x))


def _compiled(f):
    torch._dynamo.reset()
    made = torch.compile(lambda x: f(x * 1.5), backend="eager", fullgraph=True)(scores())
    return close(made, f(scores() * 1.5))


def _weighed(f, x):
    made = f(x, alpha=0.5)  # one in deviations is held constant, which differences do not know
    return (made * torch.arange(made.numel(), dtype=x.dtype).reshape(made.shape)).sum()


def _second(f):
    return torch.autograd.gradgradcheck(partial(_weighed, f), (scores().requires_grad_(),))


def _forward(f):
    x = scores()
    _, moved = torch.func.jvp(partial(_weighed, f), (x,), (torch.ones_like(x),))
    return close(moved, torch.autograd.functional.jvp(partial(_weighed, f), x, torch.ones_like(x))[1])


FEATURES = {
    "`dim=`": _axis,
    "`mask=`": _mask,
    "padding of -inf": _padding,
    "several lengths": _lengths,
    "alpha for each, its gradient": _alphas,
    "straight through": _straight,
    "float16, bfloat16": _short,
    "`vmap`, `grad`, `jacrev`": _transforms,
    "compiled in one graph": _compiled,
    "second derivatives": _second,
    "`jvp`": _forward,
}


def table():
    """{(feature, function): whether it says yes}, of the functions here."""
    page = (files("lapsum_cli") / "pages" / "torch.md").read_text()
    lines = page[page.index("| | rank |") :].split("\n\n")[0].splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    cells = {(row[0], name): cell for row in rows for name, cell in zip(head[1:], row[1:], strict=True)}
    assert set(cells.values()) <= {"+", "–", "×"}
    return {where: cell == "+" for where, cell in cells.items() if where[1] in FUNCTIONS}


def test_every_feature_and_function_is_in_the_table():
    assert set(table()) == {(feature, function) for feature in FEATURES for function in FUNCTIONS}


@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_cell_says_what_is(feature, function):
    try:
        works = bool(FEATURES[feature](FUNCTIONS[function]))
    except (LapsumError, TypeError, torch._dynamo.exc.TorchDynamoException):
        works = False
    assert works == table()[feature, function]
