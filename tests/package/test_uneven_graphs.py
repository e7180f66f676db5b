"""What PyTorch does with rankings of several lengths: differentiates them twice, transforms and compiles."""

from itertools import pairwise

import numpy as np
import pytest
from catalogue import every

from lapsum_cli import DataError, OptionError

torch = pytest.importorskip("torch")

from lapsum_cli import torch as soft  # noqa: E402

LENGTHS = (4, 0, 5, 2)
OFFSETS = np.cumsum([0, *LENGTHS])
ENDS = OFFSETS.tolist()
N, M = int(OFFSETS[-1]), len(LENGTHS)
TARGET = torch.tensor([3, 0, 1, 1, 2, 0, 0, 2, 1, 0, 1])
ALPHAS, KS = [0.5, 1.0, 0.8, 0.3], [2.3, 1.0, 1.4, 0.7]
WITHOUT_WORDS = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")


def of_tensors(entry):
    return entry.tensors


def curved(entry):
    return entry.tensors and entry.curved


def split(flat):
    return [flat[begin:end] for begin, end in pairwise(ENDS)]


def jagged(flat):
    return torch.nested.nested_tensor_from_jagged(flat, torch.tensor(OFFSETS))


def scores(*leading, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((*leading, N), generator=generator, dtype=torch.float64).requires_grad_()


def numbers(given):
    return torch.tensor(given, dtype=torch.float64, requires_grad=True)


def call(entry, x, alpha=0.5, k=2, offsets=None):
    """The results, flat; of a loss that is not known 0."""
    pair = x, torch.tensor(OFFSETS) if offsets is None else offsets
    made = entry(pair, *([TARGET] if entry.needs_target else []), on=soft, alpha=alpha, k=k)
    if entry.per == "pair":
        return torch.cat([matrix.reshape(-1) for matrix in made])
    return made.nan_to_num() if entry.per == "ranking" else made


def of_one(entry, x, r, **given):
    """The results of one ranking as a tensor on its own."""
    begin, end = OFFSETS[r : r + 2]
    target = [TARGET[begin:end]] if entry.needs_target else []
    return entry(x, *target, on=soft, **given).nan_to_num()


@every(curved)
@WITHOUT_WORDS
@pytest.mark.parametrize("how", ["second", "forward", "forward over backward"])
def test_pytorch_finds_second_derivatives_right(entry, how):
    """By differences, of scores, and of an alpha and a k for each ranking."""
    has_k = entry.k and entry.per != "ranking"
    given = (scores(), numbers(ALPHAS), *([numbers(KS)] if has_k else []))

    def function(*given):
        return call(entry, *given)

    if how == "forward":
        torch.autograd.gradcheck(function, given, check_forward_ad=True, check_backward_ad=False)
    else:
        torch.autograd.gradgradcheck(function, given, check_fwd_over_rev=how != "second")


WAYS = {
    "in graphs": lambda f, x: torch.autograd.functional.hessian(f, x),
    "forward over backward": lambda f, x: torch.func.hessian(f)(x.detach()),
    "twice backward": lambda f, x: torch.func.jacrev(torch.func.jacrev(f))(x.detach()),
    "backward over forward": lambda f, x: torch.func.jacrev(torch.func.jacfwd(f))(x.detach()),
    "vectorised": lambda f, x: torch.autograd.functional.hessian(f, x, vectorize=True),
}


@every(curved)
@WITHOUT_WORDS
def test_every_hessian_is_that_of_each_ranking_by_itself(entry):
    x, want = scores(), torch.zeros(N, N, dtype=torch.float64)
    for r, (begin, end) in enumerate(pairwise(OFFSETS)):
        if end > begin:
            want[begin:end, begin:end] = torch.autograd.functional.hessian(
                lambda one, r=r: of_one(entry, one, r, alpha=ALPHAS[r], k=2).pow(2).sum(), x[begin:end].detach()
            )
    assert want.abs().sum() > 0
    alphas = numbers(ALPHAS).detach()
    for name, way in WAYS.items():
        found = way(lambda x: call(entry, x, alphas).pow(2).sum(), x)
        torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-13, msg=name)


@every(lambda entry: entry.tensors and not entry.curved)
def test_what_has_no_second_derivatives_raises_here_too(entry):
    x = scores()
    [gradient] = torch.autograd.grad(call(entry, x).pow(2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="has no second derivatives"):
        gradient.sum().backward()


def test_third_derivatives_are_refused():
    x = scores()
    [gradient] = torch.autograd.grad(soft.soft_rank((x, torch.tensor(OFFSETS))).pow(3).sum(), x, create_graph=True)
    [second] = torch.autograd.grad(gradient.pow(2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="third derivatives are not computed"):
        second.sum().backward()


@every(of_tensors)
def test_vmap_shares_offsets(entry):
    """Of a batch of scores, and of alphas for each ranking of each."""
    x, alphas = scores(3).detach(), torch.tensor([ALPHAS, ALPHAS[::-1], [1.0] * M], dtype=torch.float64)
    offsets = torch.tensor(OFFSETS)

    def weighed(x, alpha, offsets):
        return call(entry, x, alpha, offsets=offsets).pow(2).sum()

    made = torch.vmap(lambda x, alpha: call(entry, x, alpha))(x, alphas)
    slopes = torch.vmap(torch.func.grad(weighed, argnums=(0, 1)), in_dims=(0, 0, None))(x, alphas, offsets)
    for i in range(3):
        row, alpha = x[i].clone().requires_grad_(), alphas[i].clone().requires_grad_()
        assert torch.equal(made[i], call(entry, row, alpha))
        want = torch.autograd.grad(weighed(row, alpha, offsets), (row, alpha))
        for a, b in zip(slopes, want, strict=True):
            torch.testing.assert_close(a[i], b, rtol=1e-12, atol=1e-13)


@every(of_tensors)
@WITHOUT_WORDS
def test_gradients_in_batches(entry):
    def function(x):
        return call(entry, x)

    want = torch.autograd.functional.jacobian(function, scores())
    assert want.abs().sum() > 0
    found = torch.autograd.functional.jacobian(function, scores(), vectorize=True)
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(torch.func.jacrev(function)(scores().detach()), want, rtol=1e-12, atol=1e-13)


def test_lists_and_soft_permutations_are_transformed():
    x, y = scores(2).detach(), scores(2, seed=4).detach()[:, :3]
    for function in (soft.soft_sort, soft.soft_permutation):
        made = torch.vmap(lambda x, y, function=function: function([x, y]))(x, y)
        for i in range(2):
            for a, b in zip(made, function([x[i], y[i]]), strict=True):
                assert torch.equal(a[i], b)


def test_what_transforms_do_not_see_through_is_one_line():
    x, offsets = scores(2).detach(), torch.tensor(np.stack([OFFSETS, OFFSETS]))
    nested = jagged(x[0])
    with pytest.raises(OptionError, match="one set of offsets for all of a batch; pass them with in_dims=None"):
        torch.vmap(lambda x, offsets: soft.soft_rank((x, offsets)))(x, offsets)
    with pytest.raises(OptionError, match=r"x is nested, .* pass \(x.values\(\), x.offsets\(\)\)"):
        torch.func.grad(lambda weight: weight * soft.soft_rank(nested).values().sum())(torch.tensor(2.0))


# How flat scores (N,) come in, and how what goes out is flat again.
FORMS = {
    "pair": (lambda flat: (flat, torch.tensor(OFFSETS)), lambda made: made),
    "pair of int32": (lambda flat: (flat, torch.tensor(OFFSETS, dtype=torch.int32)), lambda made: made),
    "list": (split, torch.cat),
    "jagged": (jagged, lambda made: made.values()),
}


def assert_compiled_alike(function, *given, **how):
    torch._dynamo.reset()
    results = [made(*given) for made in (function, torch.compile(function, backend="aot_eager", **how))]
    slopes = [torch.autograd.grad(result.pow(2).sum(), given) for result in results]
    assert torch.equal(*results)
    assert slopes[0][0].abs().sum() > 0
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-14)


@pytest.mark.slow
@every(lambda entry: entry.tensors and entry.per != "pair" and entry.stages == 1)
@pytest.mark.filterwarnings("ignore")  # of the compiler
def test_compiled_code_gives_the_same_numbers(entry):
    """In one graph, of scores and of an alpha for each ranking."""
    assert_compiled_alike(
        lambda x, alpha: call(entry, x * 1.5, alpha.abs()) * 2, scores(), numbers(ALPHAS), fullgraph=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore")
def test_every_form_is_compiled(form):
    """With a mask, a target and what is given for each ranking."""
    enter, leave = FORMS[form]
    target, k = TARGET.double(), torch.tensor(KS)

    def sums(x):
        mask = x > -1.0
        chosen = leave(soft.soft_topk(enter(x), k, mask=mask, straight_through=True))
        pair = enter(x)
        cut = (pair[0], pair[1]) if isinstance(pair, tuple) else pair
        losses = soft.ndcg_loss(cut, target, k=2, mask=mask, weights=k, reduction="sum")
        return (chosen * leave(soft.soft_sort(enter(x), alpha="0.2std"))).sum() + losses

    assert_compiled_alike(sums, scores(), fullgraph=True)
    given, beside = enter(scores()), enter(target)
    if form.startswith("pair"):
        beside = beside[0], given[1]
    if form != "jagged":
        compiled = torch.compile(soft.spearman_loss, backend="aot_eager", fullgraph=True)
        assert torch.equal(compiled(given, beside), soft.spearman_loss(given, beside))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_one_graph_takes_other_lengths_and_looks_at_offsets_when_it_runs():
    torch._dynamo.reset()

    def function(x, offsets):
        return soft.soft_rank((x, offsets), alpha=0.5) * 2

    compiled = torch.compile(function, backend="aot_eager", fullgraph=True, dynamic=True)
    for lengths in (LENGTHS, (3, 3), (1, 0, 0, 6, 2)):
        x, offsets = torch.randn(sum(lengths)), torch.tensor([0, *np.cumsum(lengths)])
        assert torch.equal(compiled(x, offsets), function(x, offsets))
    with pytest.raises(DataError, match="offsets must rise from 0 to the number of scores, 6"):
        compiled(torch.randn(6), torch.tensor([0, 3, 5]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_exported_model_takes_other_lengths():
    class Model(torch.nn.Module):
        def forward(self, x, offsets):
            return soft.topk_loss((x, offsets), x.detach().cos(), 1, alpha=0.5, reduction="none")

    dims = {"x": {0: torch.export.Dim("scores", min=3)}, "offsets": {0: torch.export.Dim("ends", min=3)}}
    exported = torch.export.export(Model(), (scores().detach(), torch.tensor(OFFSETS)), dynamic_shapes=dims)
    for given in ((scores().detach(), torch.tensor(OFFSETS)), (scores().detach()[:7], torch.tensor([0, 3, 7]))):
        torch.testing.assert_close(exported.module()(*given), Model()(*given), rtol=0, atol=0, equal_nan=True)


BREAKING = {
    "soft permutations": lambda pair: torch.cat([one.reshape(-1) for one in soft.soft_permutation(pair)]),
    "cascades": lambda pair: soft.loss("arf", (pair, pair), TARGET, k=1, alpha=0.5),
    "other offsets": lambda pair: soft.spearman_loss(pair, (TARGET, pair[1].clone())),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKING)
@pytest.mark.filterwarnings("ignore")
def test_graphs_break_around_what_nobody_can_tell_of_offsets(name):
    def function(x):
        return BREAKING[name]((x, torch.tensor(OFFSETS)))

    with pytest.raises(torch._dynamo.exc.TorchDynamoException, match=f"{name} of several lengths|got other lengths"):
        torch.compile(function, backend="eager", fullgraph=True)(scores())
    assert_compiled_alike(function, scores())


@pytest.mark.parametrize("name", ["rank", "loss"])
def test_operators_are_what_pytorch_asks_of_them(name):
    from lapsum_cli.torch import operators

    x, alpha, offsets = scores(), numbers(ALPHAS[:3]), torch.tensor([0, 4, 9, 11])  # NaN is not NaN there
    options = (("loss", "spearman"),) if name == "loss" else (("method", "lapsum"),)
    words = operators.words_of(name, operators.TENSOR, None, True, options)
    beside = TARGET.double() if name == "loss" else None, offsets, words
    upstream = torch.linspace(-1, 1, N if name == "rank" else 3, dtype=x.dtype)
    torch.library.opcheck(torch.ops.lapsum.forward.default, (x, alpha, None, *beside))
    torch.library.opcheck(torch.ops.lapsum.backward.default, (upstream, x, alpha, None, *beside))
    towards, held = torch.linspace(-1, 1, N, dtype=x.dtype), (x.detach(), alpha.detach())
    torch.library.opcheck(torch.ops.lapsum.along.default, (towards, held[1], None, upstream, *held, None, *beside))
