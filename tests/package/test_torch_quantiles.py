"""Soft quantiles and the best soft-sorted scores of tensors: beside what every function of the catalogue is held to."""

import numpy as np
import pytest

import lapsum_cli
from lapsum_cli import LapsumError

torch = pytest.importorskip("torch")

from lapsum_cli.torch import (  # noqa: E402
    soft_max,
    soft_median,
    soft_min,
    soft_permutation,
    soft_quantile,
    soft_sort,
    soft_topk_indices,
    soft_topk_values,
)


def scores(*shape, dtype=torch.float64):
    return (
        torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype).requires_grad_()
    )


def number(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def test_gradients_for_scores_q_and_alpha_pass_gradcheck():
    x, q, alpha = scores(3, 5), number([0.1, 0.5, 0.9]), number(0.3)

    def function(x, q, alpha):
        return soft_quantile(x, q, alpha=alpha)

    assert torch.autograd.gradcheck(function, (x, q, alpha))
    assert torch.autograd.gradcheck(function, (x, number(0.37), number([0.3, 0.5, 1.0])))
    assert torch.autograd.gradcheck(lambda x, q: soft_quantile(x, q, alpha=0.3, dim=0), (x, number([0.1] * 5)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_values_are_those_of_arrays_in_the_dtype_of_the_scores(dtype):
    x = scores(2, 3, 7, dtype=dtype)
    made = soft_quantile(x, 0.3, alpha=0.2)
    want = lapsum_cli.soft_quantile(x.detach().double().numpy(), 0.3, alpha=0.2)
    assert (made.dtype, made.shape) == (dtype, (2, 3))
    np.testing.assert_allclose(made.detach().double().numpy(), want, atol=4 * torch.finfo(dtype).eps)
    made.sum().backward()
    assert x.grad.dtype == dtype
    np.testing.assert_allclose(x.grad.double().sum(-1).numpy(), 1, atol=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2])
def test_along_any_axis(dim):
    x = scores(2, 3, 4)
    made, kept = soft_median(x, alpha=0.3, dim=dim), soft_median(x, alpha=0.3, dim=dim, keepdim=True)
    want = lapsum_cli.soft_median(np.moveaxis(x.detach().numpy(), dim, -1), alpha=0.3)
    np.testing.assert_array_equal(made.detach(), want)
    assert torch.equal(kept, made.unsqueeze(dim))
    assert soft_topk_values(x, 2, dim=dim).shape[dim] == 2


def test_the_ends_are_logsumexp():
    x = scores(3, 6)
    torch.testing.assert_close(soft_max(x, alpha=0.3), 0.3 * torch.logsumexp(x / 0.3, -1))
    torch.testing.assert_close(soft_min(x, alpha=0.3), -0.3 * torch.logsumexp(-x / 0.3, -1))


@pytest.mark.parametrize("descending", [True, False])
def test_a_mask_leaves_scores_out(descending):
    x, mask = scores(2, 5), torch.tensor([True, True, False, True, False])
    got = soft_quantile(x, 0.3, alpha=0.2, mask=mask, descending=descending)
    torch.testing.assert_close(got, soft_quantile(x[:, mask], 0.3, alpha=0.2))
    got.sum().backward()
    assert not x.grad[:, ~mask].any()
    assert soft_median(x, mask=torch.zeros(5, dtype=torch.bool)).isnan().all()


def test_straight_through_is_hard_with_the_gradient_of_soft():
    x, again = scores(3, 5), scores(3, 5)
    hard = soft_median(x, alpha=0.3, straight_through=True)
    torch.testing.assert_close(hard, x.quantile(0.5, -1))
    hard.sum().backward()
    soft_median(again, alpha=0.3).sum().backward()
    assert torch.equal(x.grad, again.grad)


def test_transforms_and_compilers_see_operators():
    x, q = scores(3, 5).detach(), number([0.1, 0.5, 0.9]).detach()

    def one(x, q):
        return soft_quantile(x, q, alpha=0.3)

    torch.testing.assert_close(torch.func.vmap(one)(x, q), one(x, q))
    slopes = torch.func.vmap(torch.func.grad(one, argnums=(0, 1)))(x, q)
    wide, qs = x.clone().requires_grad_(), q.clone().requires_grad_()
    one(wide, qs).sum().backward()
    torch.testing.assert_close(slopes, (wide.grad, qs.grad))
    values = torch.func.vmap(lambda x: soft_topk_values(x, 2, alpha=0.3))(x)
    torch.testing.assert_close(values, soft_sort(x, alpha=0.3)[:, :2])
    for function in (lambda x: one(x, q).sum(), lambda x: soft_max(x).sum(), lambda x: soft_topk_values(x, 2).sum()):
        inside, outside = x.clone().requires_grad_(), x.clone().requires_grad_()
        made = torch.compile(function, fullgraph=True, backend="aot_eager")(inside)
        want = function(outside)
        torch.testing.assert_close(made, want)
        made.backward()
        want.backward()
        torch.testing.assert_close(inside.grad, outside.grad)


def test_the_best_values_are_the_first_of_the_sorted_and_pass_gradcheck():
    x, alpha = scores(2, 6), number(0.4)
    for k in (0, 1, 3, 6, 9):
        want = soft_sort(x, alpha=0.4)[:, :k]
        assert torch.equal(soft_topk_values(x, k, alpha=0.4), want)
    assert torch.autograd.gradcheck(lambda x, alpha: soft_topk_values(x, 3, alpha=alpha), (x, alpha))
    torch.testing.assert_close(soft_topk_values(x, 2, straight_through=True), x.topk(2).values)


def test_who_has_the_best_places_are_the_first_columns_of_the_permutation_and_pass_gradcheck():
    x, alpha = scores(2, 3, 6), number([0.4, 0.7, 1.1])
    for k in (0, 1, 3, 6, 9):
        want = soft_permutation(x, alpha=0.4).transpose(-1, -2)[..., :k, :]
        assert torch.equal(soft_topk_indices(x, k, alpha=0.4), want)
    for largest in (True, False):
        assert torch.autograd.gradcheck(
            lambda x, alpha, largest=largest: soft_topk_indices(x, 2, alpha=alpha, largest=largest), (x, alpha)
        )
    best = soft_topk_indices(x, 2, alpha=1e-4)
    torch.testing.assert_close(best, torch.nn.functional.one_hot(x.topk(2).indices, 6).double())


def test_who_has_the_best_places_beside_a_mask_in_every_dtype_and_by_a_compiler():
    mask = torch.tensor([True, True, False, True, False])
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = scores(2, 5, dtype=dtype)
        got = soft_topk_indices(x, 2, alpha=0.3, mask=mask)
        assert (got.dtype, got.shape) == (dtype, (2, 2, 5))
        assert torch.equal(got[..., mask], soft_topk_indices(x[:, mask], 2, alpha=0.3))
        assert not got[..., ~mask].any()
        got[:, 0, 0].sum().backward()
        assert x.grad.dtype == dtype
        assert x.grad.any()

    def function(x):
        return soft_topk_indices(x, 2, alpha=0.3).square().sum()

    x = scores(3, 5).detach()
    inside, outside = x.clone().requires_grad_(), x.clone().requires_grad_()
    made = torch.compile(function, fullgraph=True, backend="aot_eager")(inside)
    made.backward()
    function(outside).backward()
    torch.testing.assert_close(inside.grad, outside.grad)
    slopes = torch.func.vmap(torch.func.grad(function))(x)
    torch.testing.assert_close(slopes, outside.grad)


@pytest.mark.parametrize("q", [1.5, -0.1, "x", True, [0.5], torch.tensor([0.1, 0.2, 0.3]), torch.tensor(2.0)])
def test_what_is_no_q_is_refused(q):
    with pytest.raises(LapsumError, match="q "):
        soft_quantile(scores(2, 5), q)


@pytest.mark.parametrize("k", [1.5, True, -1, "10%"])
def test_what_is_no_whole_k_is_refused(k):
    with pytest.raises(LapsumError, match="whole number"):
        soft_topk_values(scores(2, 5), k)
    with pytest.raises(LapsumError, match="whole number"):
        soft_topk_indices(scores(2, 5), k)
