"""PyTorch: rankings along any axis, scores that take no part, hard results with soft gradients."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lapsum_cli import DataError, OptionError  # noqa: E402
from lapsum_cli import torch as ours  # noqa: E402

FUNCTIONS = {
    "rank": (ours.soft_rank, ()),
    "sort": (ours.soft_sort, ()),
    "topk": (ours.soft_topk, (2,)),
    "log topk": (ours.log_soft_topk, (2,)),
}
LOSSES = ("spearman", "ndcg", "topk", "permutation", "listnet", "cascade-dftopk")


def scores(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def gradient(result, x, seed=1):
    upstream = torch.tensor(np.random.default_rng(seed).normal(size=result.shape))
    return torch.autograd.grad(result, x, upstream, retain_graph=True)[0]


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rankings_may_go_along_any_axis(name, dim):
    function, k = FUNCTIONS[name]
    x = scores(4, 5, 6)
    made = function(x, *k, dim=dim)
    want = function(x.movedim(dim, -1), *k).movedim(-1, dim)
    assert torch.equal(made, want)
    assert torch.equal(gradient(made, x), gradient(want, x))


def test_alpha_and_k_have_the_axes_of_the_scores_or_of_the_rankings():
    x, drawn = scores(4, 5, 6), np.random.default_rng(2)
    alpha = torch.tensor(drawn.uniform(0.1, 1, (4, 1, 6)), requires_grad=True)
    k = torch.tensor(drawn.uniform(1, 4, (4, 1, 6)))
    made = ours.soft_topk(x, k, alpha=alpha, dim=1)
    want = ours.soft_topk(x.movedim(1, -1), k[:, 0], alpha=alpha[:, 0]).movedim(-1, 1)
    assert torch.equal(made, want)
    assert torch.equal(gradient(made, alpha), gradient(want, alpha))
    assert gradient(made, alpha).shape == alpha.shape
    one = torch.tensor([0.3], dtype=torch.float64)
    assert torch.equal(ours.soft_rank(x[0, 0], alpha=one), ours.soft_rank(x[0, 0], alpha=0.3))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("largest", [True, False])
def test_what_is_masked_takes_no_part(name, largest):
    function, k = FUNCTIONS[name]
    x, mask = scores(3, 8), torch.tensor(np.random.default_rng(3).random((3, 8)) < 0.6)
    way = {"largest" if k else "descending": largest}
    made = function(x, *k, mask=mask, **way)
    for r in range(3):
        alone = function(x[r][mask[r]], *k, **way)
        found = made[r][: len(alone)] if name == "sort" else made[r][mask[r]]
        torch.testing.assert_close(found, alone, rtol=1e-12, atol=1e-12)
    slope = torch.autograd.grad(torch.where(made.isfinite(), made, 0.0)[:, :2].sum(), x)[0]
    assert (slope[~mask] == 0).all()
    assert slope.isfinite().all()
    assert torch.equal(function(x, *k, mask=mask.any(0), **way), function(x, *k, mask=mask.any(0).expand(3, 8), **way))


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_along_an_axis_with_targets_that_mean_nothing_where_masked(loss):
    k = 2 if loss in ("topk", "cascade-dftopk") else None
    x, drawn = scores(7, 4), np.random.default_rng(4)
    mask = torch.tensor(drawn.random((7, 4)) < 0.8)
    target = torch.tensor(drawn.integers(0, 3, (7, 4)), dtype=torch.float64)
    given = (x, x * 0.5 + 0.1) if loss.startswith("cascade") else x
    rows = tuple(one.T for one in given) if isinstance(given, tuple) else given.T
    unknown = target.masked_fill(~mask, math.nan)
    made = ours.loss(loss, given, unknown, k=k, dim=0, mask=mask, reduction="none", alpha=0.5)
    masked = (
        tuple(one.masked_fill(~mask.T, -math.inf) for one in rows)
        if isinstance(rows, tuple)
        else rows.masked_fill(~mask.T, -math.inf)
    )
    want = ours.loss(loss, masked, target.T, k=k, reduction="none", alpha=0.5)
    assert made.shape == (4,)
    torch.testing.assert_close(made, want, equal_nan=True)
    slope = torch.autograd.grad(made.nansum(), x)[0]
    assert slope.isfinite().all()
    assert (slope[~mask] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_hard_results_with_soft_gradients(dtype):
    x = scores(5, 9).detach().to(dtype).requires_grad_()
    for function, k, hard in (
        (ours.soft_rank, (), lambda x: x.argsort(descending=True).argsort() + 1),
        (ours.soft_sort, (), lambda x: x.sort(descending=True).values),
        (ours.soft_topk, (3,), lambda x: x >= x.topk(3).values[:, -1:]),
    ):
        made, soft = function(x, *k, straight_through=True), function(x, *k)
        assert made.dtype == soft.dtype
        assert torch.equal(made, hard(x).to(made.dtype))
        assert torch.equal(
            *(
                torch.autograd.grad(one.square().sum() if one is soft else (one * soft.detach() * 2).sum(), x)[0]
                for one in (made, soft)
            )
        )


@pytest.mark.parametrize("name", ["soft_rank", "soft_quantile"])
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_hard_results_have_soft_gradients_under_transforms_too(name):
    x, k = scores(3, 6).detach(), (0.3,) if name == "soft_quantile" else ()
    hard, soft = (
        lambda x, straight=straight: getattr(ours, name)(x, *k, alpha=0.5, straight_through=straight)
        for straight in (True, False)
    )
    assert torch.equal(torch.vmap(hard)(x), hard(x))
    slopes = [
        torch.func.grad(lambda x, f=f: f(x).pow(2).sum() if f is soft else (f(x) * soft(x).detach() * 2).sum())(x)
        for f in (hard, soft)
    ]
    torch.testing.assert_close(*slopes)
    made, moved = torch.func.jvp(hard, (x,), (x,))
    assert torch.equal(made, hard(x))
    torch.testing.assert_close(moved, torch.func.jvp(soft, (x,), (x,))[1])


def test_hard_results_of_methods_that_have_options():
    x = scores(2, 6)
    made = ours.soft_topk(x, 2, method="sparse", p=2, alpha=1.0, straight_through=True)
    assert torch.equal(made, ours.soft_topk(x, 2, method="hard"))
    [slope] = torch.autograd.grad(made[0, 0], x)
    assert torch.equal(slope, torch.autograd.grad(ours.soft_topk(x, 2, method="sparse", p=2, alpha=1.0)[0, 0], x)[0])


def test_what_no_axis_or_mask_can_be_is_one_line():
    x = scores(3, 4)
    for dim in (2, -3, 1.0, True):
        with pytest.raises(OptionError, match="dim must be from -2 to 1"):
            ours.soft_rank(x, dim=dim)
    with pytest.raises(DataError, match="mask must be a tensor of bool"):
        ours.soft_rank(x, mask=torch.ones(3, 4))
    with pytest.raises(DataError, match="does not broadcast"):
        ours.soft_sort(x, mask=torch.ones(3, dtype=torch.bool))
