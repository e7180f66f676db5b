"""Small calls through PyTorch on a card, made again: their graphs give what their launches gave, to the bit."""

import functools
import gc

import pytest
from cardcases import WITH_K
from onecard import IS_SIMULATED

torch = pytest.importorskip("torch")

if not IS_SIMULATED:  # which has no graphs, and no tensors
    import lapsum_cli.torch as soft
    from lapsum_cli.torch import replayed

    def by_method(method, x, alpha, k):
        return soft.soft_topk(x, k, alpha=alpha, method=method)

    FUNCTIONS = {
        "rank": lambda x, alpha, k: soft.soft_rank(x, alpha=alpha),
        "sort": lambda x, alpha, k: soft.soft_sort(x, alpha=alpha, descending=False),
        "topk": lambda x, alpha, k: soft.soft_topk(x, k, alpha=alpha),
        "log topk": lambda x, alpha, k: soft.log_soft_topk(x, k, alpha=alpha),
        **{name: functools.partial(by_method, name) for name in WITH_K},
    }
    pytestmark = [pytest.mark.cuda]

    @pytest.fixture(autouse=True)
    def _no_kinds():
        replayed._KINDS.clear()
        yield
        replayed._KINDS.clear()

    def pairs():
        gc.collect()
        return sum(kind.made for kind in replayed._KINDS.values())

    def scores_of(seed, dtype=torch.float32, shape=(8, 128)):
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to("cuda", dtype)

    def graded(function, x, alpha=0.1, k=10):
        given = [t.detach().clone().requires_grad_() if isinstance(t, torch.Tensor) else t for t in (x, alpha, k)]
        result = FUNCTIONS[function](*given)
        torch.sin(result).sum().backward()
        return [result.detach(), *(t.grad for t in given if isinstance(t, torch.Tensor) and t.grad is not None)]

    def as_launched(monkeypatch, *given):
        with monkeypatch.context() as patched:
            patched.setattr(replayed, "LARGEST", 0)
            return graded(*given)

    @pytest.mark.parametrize("function", FUNCTIONS)
    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    @pytest.mark.parametrize("alpha", [0.1, "0.1std", "each"])
    def test_a_graph_gives_what_launches_give(monkeypatch, function, dtype, alpha):
        numbers = torch.linspace(0.1, 1, 8, device="cuda"), torch.linspace(1, 20, 8, device="cuda")
        alpha, k = numbers if alpha == "each" else (alpha, 10)
        for seed in range(4):
            x = scores_of(seed, dtype)
            wanted = as_launched(monkeypatch, function, x, alpha, k)
            got = graded(function, x, alpha, k)
            assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
        assert pairs() == 1

    def test_calls_under_way_at_once_have_graphs_of_their_own(monkeypatch):
        tensors = [scores_of(seed).requires_grad_() for seed in range(5)]
        for _ in range(3):
            results = [soft.soft_rank(x, alpha=0.1) for x in tensors]
            for x, result in reversed(list(zip(tensors, results, strict=True))):
                x.grad = None
                torch.sin(result).sum().backward()
                wanted = as_launched(monkeypatch, "rank", x)
                assert torch.equal(result, wanted[0])
                assert torch.equal(x.grad, wanted[1])
            del results, result
        assert pairs() == 5

    def test_a_graph_is_walked_twice_and_its_results_may_be_changed(monkeypatch):
        for _ in range(3):
            x = scores_of(1).requires_grad_()
            result = soft.soft_topk(x, 10, alpha=0.1)
            first = torch.autograd.grad(result, x, torch.ones_like(result), retain_graph=True)[0].clone()
            result.detach().mul_(2)
            second = torch.autograd.grad(result, x, torch.full_like(result, 2))[0]
            torch.testing.assert_close(second, 2 * first)

    def test_what_is_wrong_is_nan_and_the_next_call_is_not():
        for _ in range(3):
            x = scores_of(2)
            x[3, 5] = float("nan")
            assert soft.soft_rank(x, alpha=0.1).isnan().all()
            x[3, 5] = 0.5
            assert soft.soft_rank(x, alpha=0.1).isfinite().all()

    def test_a_call_that_waits_is_launched_as_it_was():
        for _ in range(4):
            assert float(soft.soft_topk(scores_of(3), "10%", alpha=0.1).sum()) == pytest.approx(8 * 12.8)
        assert pairs() in (0, 1)

    def test_what_is_captured_for_inference_serves_other_calls():
        x = scores_of(5)
        for _ in range(3):
            with torch.inference_mode():
                there = soft.soft_rank(x, alpha=0.1)
        assert torch.equal(there, soft.soft_rank(x, alpha=0.1))
        assert pairs() == 1

    def test_pairs_are_no_more_than_are_kept(monkeypatch):
        monkeypatch.setattr(replayed, "ROOM", 3 * replayed.LEAST)
        for length in (5, 6, 7, 8, 9):
            for _ in range(3):
                graded("rank", scores_of(0, shape=(4, length)))
            assert pairs() <= 3

    def test_within_a_graph_of_the_users_own_it_is_launched():
        x = scores_of(4)
        for _ in range(3):
            wanted = soft.soft_topk(x, 10, alpha=0.1)
        graph = torch.cuda.CUDAGraph()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            soft.soft_topk(x, 10, alpha=0.1)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph, stream=side):
            got = soft.soft_topk(x, 10, alpha=0.1)
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(got, wanted)
