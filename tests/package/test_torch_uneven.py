"""Rankings of several lengths through PyTorch: jagged tensors, flat scores with offsets, lists; nothing is padded."""

from itertools import pairwise

import numpy as np
import pytest
from catalogue import every
from entry import SHARE

from lapsum_cli import DataError, LapsumError, OptionError

torch = pytest.importorskip("torch")

from lapsum_cli import torch as soft  # noqa: E402

LENGTHS = (4, 0, 6, 1, 5)
OFFSETS = np.cumsum([0, *LENGTHS])
KS, ALPHAS = [1.5, 1.0, 3.0, 0.5, 2.0], [0.4, 1.0, 0.3, 0.8, 1.3]
TARGETS = np.random.default_rng(1).integers(0, 4, OFFSETS[-1])


def split(flat):
    return [flat[begin:end] for begin, end in pairwise(OFFSETS)]


def jagged(flat):
    return torch.nested.nested_tensor_from_jagged(flat, torch.tensor(OFFSETS))


# How flat scores (N,) come in, and how what goes out is flat again.
FORMS = {
    "jagged": (jagged, lambda made: made.values()),
    "pair": (lambda flat: (flat, torch.tensor(OFFSETS)), lambda made: made),
    "pair of int16": (lambda flat: (flat, torch.tensor(OFFSETS, dtype=torch.int16)), lambda made: made),
    "list": (split, torch.cat),
    "tuple": (lambda flat: tuple(split(flat)), torch.cat),
}
in_every_form = pytest.mark.parametrize("form", FORMS)


def scores(dtype=torch.float64):
    return torch.tensor(np.random.default_rng(0).normal(size=OFFSETS[-1])).to(dtype).requires_grad_()


def of_tensors(entry):
    return entry.tensors


def is_loss(entry):
    return entry.tensors and entry.needs_target


def flat_of(entry, made, leave):
    """The results (.,) of an entry."""
    if entry.per == "pair":
        return torch.cat([matrix.reshape(-1) for matrix in made])
    return made if entry.per == "ranking" else leave(made)


def call(entry, x, form="pair", **given):
    enter, leave = FORMS[form]
    target = [enter(torch.tensor(TARGETS))] if entry.needs_target else []
    return flat_of(entry, entry(enter(x), *target, on=soft, **given), leave)


def of_arrays(entry, function, x, *after, **given):
    """The same by NumPy, whose functions take lists."""
    target = [split(TARGETS)] if entry.needs_target else [None]
    return function(split(x.detach().numpy()), *target, *after, **given)


@in_every_form
@every(of_tensors)
@pytest.mark.parametrize("descending", [True, False])
def test_results_and_gradients_are_those_of_arrays(entry, form, descending):
    x = scores()
    alpha = torch.tensor(ALPHAS, dtype=torch.float64, requires_grad=True)
    given = {"k": torch.tensor(KS), "descending": descending}
    made = call(entry, x, form, alpha=alpha, **given)
    drawn = np.random.default_rng(2).normal(size=len(made))
    found = torch.autograd.grad(made[~made.isnan()] @ torch.tensor(drawn)[~made.isnan()], (x, alpha))
    given = {"alpha": ALPHAS, "k": KS, "descending": descending}
    want = of_arrays(entry, entry, x, **given)
    want = want if entry.per == "ranking" else np.concatenate([np.ravel(one) for one in want])
    np.testing.assert_array_equal(made.detach().numpy(), want)
    if entry.per == "ranking":
        upstream = drawn
    elif entry.per == "pair":
        ends = np.cumsum(np.square(LENGTHS))[:-1]
        upstream = [one.reshape(n, n) for one, n in zip(np.split(drawn, ends), LENGTHS, strict=True)]
    else:
        upstream = split(drawn)
    gradients = of_arrays(entry, entry.vjp, x, upstream, **given)
    np.testing.assert_allclose(found[0].numpy(), np.concatenate(gradients.scores), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found[1].numpy(), gradients.alpha, rtol=1e-12, atol=1e-14)


@every(lambda entry: entry.tensors and entry.per != "ranking")
def test_gradients_pass_gradcheck(entry):
    """Scores, alpha and k, for each ranking and for all."""

    def function(x, alpha, k):
        return call(entry, x, alpha=alpha, k=k)

    alpha, k = (torch.tensor(one, dtype=torch.float64, requires_grad=True) for one in (ALPHAS, KS))
    assert torch.autograd.gradcheck(function, (scores(), alpha, k))
    assert torch.autograd.gradcheck(function, (scores(), *(one.detach()[0].requires_grad_() for one in (alpha, k))))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@every(is_loss)
def test_losses_are_reduced_as_those_of_tensors(entry, reduction):
    x = scores()
    losses = call(entry, x, alpha=0.5, k=2)
    whole = call(entry, x, "jagged", alpha=0.5, k=2, reduction=reduction)
    assert losses.shape == (len(LENGTHS),)
    assert losses.isnan()[[1, 3]].all()  # no score, and one
    want = getattr(losses, f"nan{reduction}")()
    torch.testing.assert_close(whole, want, rtol=1e-14, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(one, x)[0] for one in (whole, want)), rtol=1e-12, atol=1e-14)


@in_every_form
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_dtype_of_floats_comes_back(form, dtype):
    enter, leave = FORMS[form]
    x = scores(dtype)
    made = leave(soft.soft_topk(enter(x), 2, alpha=0.5))
    assert made.dtype == dtype
    made.square().sum().backward()
    exact = x.detach().double().requires_grad_()
    soft.soft_topk((exact, torch.tensor(OFFSETS)), 2, alpha=0.5).square().sum().backward()
    assert x.grad.dtype == dtype
    assert (x.grad.double() - exact.grad).abs().max() <= 16 * torch.finfo(dtype).eps * exact.grad.abs().max()
    assert leave(soft.soft_rank(enter(x))).dtype == torch.float32


def test_a_jagged_result_goes_with_the_scores():
    x = jagged(scores())
    made = soft.soft_rank(x)
    assert made.offsets() is x.offsets()
    assert (made + x).shape == x.shape
    assert [len(one) for one in soft.soft_sort(x).unbind()] == list(LENGTHS)


@in_every_form
def test_masks_and_hard_results(form):
    enter, leave = FORMS[form]
    x, mask = scores(), torch.tensor(np.random.default_rng(5).random(OFFSETS[-1]) < 0.7)
    made = leave(soft.soft_rank(enter(x), mask=enter(mask)))
    want = leave(soft.soft_rank(enter(torch.where(mask, x, -torch.inf))))
    assert torch.equal(made, want)
    assert torch.equal(made, leave(soft.soft_rank(enter(x), mask=mask)))
    target = torch.where(mask, torch.tensor(TARGETS).double(), torch.nan)
    loss = soft.spearman_loss(enter(x), enter(target), mask=mask)
    assert torch.equal(loss, soft.spearman_loss(enter(torch.where(mask, x, -torch.inf)), torch.tensor(TARGETS)))
    hard, gentle = leave(soft.soft_topk(enter(x), 2, straight_through=True)), leave(soft.soft_topk(enter(x), 2))
    assert set(hard.tolist()) == {0.0, 1.0}
    weights = torch.linspace(1, 2, len(x), dtype=x.dtype)
    assert torch.equal(*(torch.autograd.grad(one @ weights, x)[0] for one in (hard, gentle)))


def test_batches_without_rankings_or_without_scores():
    nothing = torch.empty(0, dtype=torch.float64, requires_grad=True)
    for offsets in ([0], [0, 0, 0]):
        pair = nothing, torch.tensor(offsets)
        assert soft.soft_sort(pair).shape == (0,)
        losses = soft.ndcg_loss(pair, nothing.detach(), reduction="none")
        assert losses.shape == (len(offsets) - 1,)
        assert losses.isnan().all()
        soft.ndcg_loss(pair, nothing.detach(), reduction="sum").backward()
        assert soft.ndcg_loss(pair, nothing.detach()).isnan()


def test_what_is_given_may_be_changed_before_the_way_back():
    x, offsets = scores(), torch.tensor(OFFSETS)
    [want] = torch.autograd.grad(soft.soft_sort((x, offsets)).square().sum(), x)
    made = soft.soft_sort((x, offsets)).square().sum()
    offsets.zero_()
    [found] = torch.autograd.grad(made, x)
    assert torch.equal(found, want)
    y = x * 1.0
    made = soft.soft_sort((y, torch.tensor(OFFSETS))).sum()
    with torch.no_grad():
        y.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        made.backward()


def test_each_of_a_list_may_be_changed_in_place():
    x = scores()
    for function in (soft.soft_rank, soft.soft_permutation):
        made = function(split(x))
        made[0].mul_(2)
        made[2].zero_()
        slope = torch.autograd.grad(made[0].square().sum() + made[2].sum(), x)[0]
        want = torch.autograd.grad(function(split(x))[0].mul(2).square().sum(), x)[0]
        assert torch.equal(slope, want)


X = torch.arange(5.0)
REFUSED = [
    (lambda: soft.soft_rank((X, torch.tensor([0, 3]))), DataError, "offsets must rise from 0 to .*, 5"),
    (lambda: soft.soft_rank((X, torch.tensor([0, 4, 3, 5]))), DataError, "offsets must rise"),
    (lambda: soft.soft_rank((X, torch.tensor([[0, 5]]))), DataError, "offsets must be a flat"),
    (lambda: soft.soft_rank((X[None], torch.tensor([0, 5]))), DataError, r"flat, \(N,\), got the shape \(1, 5\)"),
    (
        lambda: soft.soft_rank((X.long(), torch.tensor([0, 5]))),
        DataError,
        "a tensor of floats, got torch.int64",
    ),
    (lambda: soft.soft_rank([X, X[None]]), DataError, r"ranking 1: x must be flat, \(n,\), got the shape \(1, 5\)"),
    (lambda: soft.soft_rank([X, X.long()]), DataError, "ranking 1: x is torch.int64, and torch.float32 in ranking 0"),
    (lambda: soft.soft_rank([X, X.to("meta")]), DataError, "ranking 1: x is on meta"),
    (lambda: soft.soft_rank([X, X * torch.nan]), DataError, "a score is NaN"),
    (lambda: soft.soft_rank([]), DataError, "x must be a tensor of floats, got list"),
    (lambda: soft.soft_rank([X, X], dim=0), OptionError, "dim must be -1 for rankings of several lengths"),
    (lambda: soft.soft_rank([X, X], mask=[X > 1]), DataError, "mask must have the form and .* got other lengths"),
    (lambda: soft.soft_rank([X, X], mask=X), DataError, r"or be flat, \(10,\), got the shape \(5,\)"),
    (lambda: soft.soft_rank([X, X], mask=torch.cat([X, X])), DataError, "mask must be a tensor of bool"),
    (lambda: soft.soft_rank([X, X], alpha=torch.ones(3)), OptionError, r"alpha has the shape \(3,\), .*, \(2,\)"),
    (lambda: soft.soft_rank([X, X], alpha=torch.tensor([1.0, -1])), DataError, "ranking 1: alpha must be positive"),
    (lambda: soft.spearman_loss([X, X], (X, X)[:1]), DataError, "the target must have .* got other lengths"),
    (
        lambda: soft.spearman_loss([X, X], torch.stack([X, X])),
        DataError,
        r"or be flat, \(10,\), got the shape \(2, 5\)",
    ),
    (lambda: soft.spearman_loss((X, torch.tensor([0, 5])), [X]), DataError, "the target must .* got another form"),
    (lambda: soft.loss("arf", ([X, X], [X]), [X, X], k=1), DataError, "x must have the form .* got other lengths"),
    (
        lambda: soft.soft_rank(torch.nested.nested_tensor([X[None]], layout=torch.jagged)),
        DataError,
        "nested with 3 axes",
    ),
    (
        lambda: soft.soft_rank(
            torch.nested.narrow(torch.ones(2, 6), 1, torch.tensor([0, 1]), torch.tensor([2, 3]), layout=torch.jagged)
        ),
        DataError,
        r"gaps between its rankings; pass it as .contiguous\(\)",
    ),
]


@pytest.mark.parametrize(("made", "kind", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_used_is_one_line(made, kind, words):
    with pytest.raises(LapsumError, match=words) as refused:
        made()
    assert isinstance(refused.value, kind)
    assert "\n" not in str(refused.value)


def test_an_uneven_batch_costs_no_padding():
    """A ranking of many scores beside many of one: padded to one length they would be 4 10^9 scores."""
    many = 1 << 16
    x = torch.arange(2.0 * many, requires_grad=True)
    ranks = soft.soft_rank((x, torch.tensor([*range(many + 1), 2 * many])), alpha=0.01)
    ranks.sum().backward()
    assert torch.equal(ranks, torch.cat([torch.ones(many), torch.arange(many, 0.0, -1)]))


def test_a_share_is_of_each_length():
    sums = [float(one.sum()) for one in soft.soft_topk(split(scores().detach()), f"{SHARE:%}", alpha=0.5)]
    assert sums == pytest.approx([SHARE * n for n in LENGTHS])
