"""Kernels for GPUs against the CPU's and against the definition: on a card where one works, else in the simulator.

The simulator runs every line of a kernel in Python, a thread of a block after another, so blocks are made small there:
rankings of a few scores then take the ways of long ones.
"""

import subprocess
import sys

import numpy as np
import pytest
from lapsum_cli.operations.menu import LOSSES, Loss, Permute, Rank, Sort, TopK
from onecard import IS_SIMULATED, counting_lane, run_every_operation

import lapsum_cli as lapsum
from lapsum_cli import devices
from lapsum_cli.core import reference
from lapsum_cli.core.errors import DataError, DeviceError, OptionError
from lapsum_cli.core.quantities import Alpha, K
from lapsum_cli.core.rankings import Rankings, frozen
from lapsum_cli.devices import processors
from lapsum_cli.operations.operation import Given

# A GPU warns of no overflow and no NaN. NumPy does, in whose scalars the simulator computes.
pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

# A warp, a few warps, several tiles; more tiles than threads that join them; a top-k by one block, and by many.
LENGTHS = (1, 0, 2, 5, 7, 33, 150) if IS_SIMULATED else (1, 0, 2, 5, 100, 256, 257, 2049, 40_000, 1_000_000)
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}
KINDS = [
    ("float32", True, "normal"),
    ("float64", False, "ties"),
    ("float32", False, "infinite"),
    ("float64", True, "shifted"),
]


@pytest.fixture(autouse=True)
def _arrays_of_the_card(monkeypatch):
    """The simulator's arrays do whatever NumPy's do; those of a card do not."""
    if IS_SIMULATED:
        from lapsum_cli.kernels.cuda import adapter

        monkeypatch.setattr(type(adapter.here.device_array(1)), "__getattr__", _attribute_of_the_card)


OF_NUMPY = {
    "all",
    "any",
    "argmax",
    "astype",
    "clip",
    "copy",
    "cumsum",
    "fill",
    "item",
    "max",
    "mean",
    "min",
    "sum",
    "take",
}


def _attribute_of_the_card(array, name):
    if name in OF_NUMPY:
        raise AttributeError(name)
    return getattr(array._ary, name)


def rows_of(dtype, kind, lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    rows = [rng.standard_normal(n) for n in lengths]
    if kind == "ties":
        rows = [np.round(2 * x) / 2 for x in rows]
    if kind == "shifted":
        rows = [x + 1000 for x in rows]
    if kind == "infinite":
        for x in rows:
            x[1::5], x[2::7] = -np.inf, np.inf
    return [x.astype(dtype) for x in rows]


def both(operation, rows, given=None, dtype=None):
    """What the card and the CPU make of rows."""
    rankings, given = Rankings.of(rows), given or Given()
    cpu = processors.Cpu()
    return [on.run(operation, rankings, given, dtype) for on in (devices.card(cpu), cpu)]


def agree(card, cpu, dtype, scale=1.0):
    """The same columns of the same dtypes, each entry within a tolerance of its own size.

    Or, where terms cancelled and left a rounding behind, of a thousandth of the column's largest; of a hundredth where
    it is a sum over a ranking.
    """
    for name, expected in {**cpu.scores, **cpu.rankings}.items():
        got = {**card.scores, **card.rankings}[name]
        assert got.dtype == expected.dtype
        is_finite = np.isfinite(expected)
        np.testing.assert_array_equal(got[~is_finite], expected[~is_finite])
        got, expected = got[is_finite], expected[is_finite]
        floor = 1e-2 if name in cpu.rankings else 1e-3
        size = np.maximum(np.abs(expected), floor * np.abs(expected).max(initial=1.0))
        worst = (np.abs(got - expected) / size).max(initial=0)
        assert worst <= TOLERANCE[dtype] * scale, (name, worst)


def upstream_of(rows, dtype):
    return frozen(np.random.default_rng(1).standard_normal(sum(map(len, rows))).astype(dtype))


@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS)
@pytest.mark.parametrize("operation", [Rank, Sort])
def test_ranks_and_sorts_and_their_gradients(operation, dtype, descending, kind):
    rows = rows_of(dtype, kind)
    given = Given(np.geomspace(1e-3, 10, len(rows)), upstream=upstream_of(rows, dtype))
    operation = operation(descending=descending, gradient=True, grad_alpha=True)
    agree(*both(operation, rows, given, np.dtype(dtype)), dtype)


@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS)
@pytest.mark.parametrize("log", [False, True])
def test_memberships_and_their_gradients(dtype, descending, kind, log):
    rows = rows_of(dtype, kind)
    alphas = np.geomspace(10, 1e-2, len(rows))
    # None, all, a fraction, most of them.
    ks = np.array([(0.3, 0, n, 1.5, 0.25 * n, n / 2, 0.9 * n)[i % 7] for i, n in enumerate(map(len, rows))])
    options = {"descending": descending, "log": log, "ks": (K(1.0),), "threshold": True}
    operation = TopK(**options, gradient=True, grad_alpha=True, grad_k=True)
    card, cpu = both(operation, rows, Given(alphas, ks, upstream_of(rows, dtype)))
    agree(card, cpu, dtype, 10 if log and dtype == "float32" else 1)  # logarithms of float32 distances


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_are_those_of_the_definition(dtype):
    x = rows_of(dtype, "normal", (70 if IS_SIMULATED else 5000,))[0]
    n, alpha, k = len(x), 0.2, 0.3 * len(x)
    tolerance = TOLERANCE[dtype] * n * 0.1
    ranks = lapsum.soft_rank(x, alpha=alpha, device="cuda")
    assert np.ptp(ranks - reference.hard_rank(x)) > 0.1  # softness matters
    np.testing.assert_allclose(ranks, reference.rank(x, alpha), rtol=0, atol=tolerance)
    p = lapsum.soft_topk(x, k, alpha=alpha, device="cuda")
    np.testing.assert_allclose(p, reference.topk(x, k, alpha), rtol=0, atol=TOLERANCE[dtype])
    values = lapsum.soft_sort(x, alpha=alpha, device="cuda")
    np.testing.assert_allclose(values, reference.sort(x, alpha), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS[:2])
def test_losses_and_their_gradients(loss, dtype, descending, kind):
    rows = rows_of(dtype, kind, (2, 5, 33) if IS_SIMULATED else (2, 5, 33, 1000, 100_000))
    target = np.random.default_rng(2).integers(0, 4, sum(map(len, rows))).astype(float)
    target[[0, 2]] = 5  # none is constant
    given = Given(np.geomspace(0.1, 1, len(rows)), np.array([max(1.0, len(x) / 4) for x in rows]), target=target)
    if loss in ("spearman", "permutation"):
        given = Given(given.alphas, target=target)
    results = both(Loss(loss=loss, descending=descending, gradient=True, grad_alpha=True), rows, given)
    np.testing.assert_allclose(results[0].losses, results[1].losses, rtol=1e-12)
    agree(*results, dtype)


@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS)
def test_permutations(dtype, descending, kind):
    rows = rows_of(dtype, kind, (1, 6, 20))
    card, cpu = both(Permute(descending=descending), rows, Given(np.array([0.1, 0.5, 2.0])))
    np.testing.assert_array_equal(card.spans, cpu.spans)
    from lapsum_cli.kernels.cpu import permute

    for r, n in enumerate(map(len, rows)):
        expected = permute.dense(cpu, r, 0, n)
        np.testing.assert_allclose(permute.dense(card, r, 0, n), expected, rtol=0, atol=TOLERANCE[dtype])
    x = np.stack([rows[2], rows[2][::-1]])
    gpu, given = devices.lane(), Given(np.array([0.5, 2.0]))
    on_card = Rankings(gpu.lane.put(x.reshape(-1)), np.array([0, 20, 40]))
    matrices = gpu.dense_permutation(*Permute(descending=descending).best_first(on_card, given, gpu))
    expected = lapsum.soft_permutation(x, alpha=given.alphas, descending=descending)
    np.testing.assert_allclose(gpu.lane.get(matrices), expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_alpha_in_standard_deviations(dtype):
    rows = [*rows_of(dtype, "infinite", (2, 7, 70)), np.full(9, 3, dtype), np.array([1e30, -1e30, 0], dtype)]
    given = Given(upstream=upstream_of(rows, dtype))
    operation = Rank(alpha=Alpha(0.3, relative=True), gradient=True, grad_alpha=True)
    card, cpu = both(operation, rows, given, np.dtype(dtype))
    agree(card, cpu, dtype)
    constant = slice(79, 88)
    assert not card.scores["grad"][constant].any()
    assert card.rankings["grad_alpha"][3] == 0


@pytest.mark.parametrize("alpha", [1e-300, 1e-40, 1e-6, 1e6, 1e39])
def test_no_alpha_overflows(alpha):
    rows = rows_of("float32", "normal", (5, 33))
    for operation in (Rank(), Sort(), TopK(ks=(K(2.5),))):
        agree(*both(operation, rows, Given(np.full(2, alpha)), np.dtype("float32")), "float32")


def test_the_same_twice_and_beside_other_rankings_to_the_bit(monkeypatch):
    rows = rows_of("float64", "normal", (1, 5, 33, 70) if IS_SIMULATED else LENGTHS)
    given = Given(np.full(len(rows), 0.3), np.array([0.4 * len(x) for x in rows]), upstream_of(rows, "float64"))
    operations = [Rank(gradient=True), TopK(ks=(K(1.0),), gradient=True)]
    first = [both(operation, rows, given)[0] for operation in operations]
    again = [both(operation, rows, given)[0] for operation in operations]
    monkeypatch.setattr(processors, "PIECE", 40)
    in_pieces = [both(operation, rows, given)[0] for operation in operations]
    for a, b, c in zip(first, again, in_pieces, strict=True):
        for name, values in a.scores.items():
            np.testing.assert_array_equal(values, b.scores[name])
            np.testing.assert_array_equal(values, c.scores[name])


def test_a_long_top_k_is_narrowed_down():
    """Else the tests above would not have tried it."""
    from lapsum_cli.kernels.cuda import adapter, narrowing, topk

    n = 300 if IS_SIMULATED else 3_000_000
    x, lane = rows_of("float64", "normal", (n,))[0], adapter.Lane()
    p, _ = topk.soft_topk(lane, Rankings(x, np.array([0, n])), np.array([0.3 * n]), np.array([0.01]))
    state = lane.get(lane.room("state", (1, narrowing.STATE), np.float64))[0]
    assert state[narrowing.LEVEL] > 0
    assert state[narrowing.SIZE] < n / 4
    assert lane.get(p).sum() == pytest.approx(0.3 * n, rel=1e-12)


def test_a_sample_that_misleads_costs_time_and_no_digit(monkeypatch):
    from lapsum_cli.kernels.cuda import adapter, narrowing, topk

    monkeypatch.setattr(narrowing, "DEVIATIONS", -3.0)  # brackets that miss, mostly
    x = rows_of("float64", "normal", (150 if IS_SIMULATED else 100_000,))[0]
    n, lane = len(x), adapter.Lane()
    p, _ = topk.soft_topk(lane, Rankings(x, np.array([0, n])), np.array([0.3 * n]), np.array([0.1]))
    np.testing.assert_allclose(lane.get(p), lapsum.soft_topk(x, 0.3 * n, alpha=0.1), rtol=0, atol=1e-12)


def test_arrays_on_the_card_stay_there():
    x = np.stack([rows_of("float32", "normal", (20,), seed)[0] for seed in range(2)])
    v = np.random.default_rng(0).standard_normal((2, 20)).astype("f")
    gpu = devices.lane()
    scores, upstream = (gpu.lane.put(a.reshape(-1)) for a in (x, v))
    rankings = Rankings(scores, np.array([0, 20, 40]))
    given = Given(np.array([0.1, 1.0]), np.array([3.0, 4.0]), upstream)
    for operation in (Rank(gradient=True), Sort(gradient=True), TopK(ks=(K(1.0),), gradient=True)):
        on_card = gpu.run(operation, rankings, given)
        here = Given(given.alphas, given.ks, v.reshape(-1))
        expected = processors.Cpu().run(operation, Rankings.equal_length(x, 2, 20), here)
        for name, values in expected.scores.items():
            assert not isinstance(on_card.scores[name], np.ndarray)
            got = gpu.lane.get(on_card.scores[name])
            np.testing.assert_allclose(got, values, rtol=0, atol=3e-6 * max(1.0, np.abs(values).max()))
    np.testing.assert_array_equal(gpu.lane.get(scores), x.reshape(-1))  # inputs are not modified


class Foreign:
    """An array on the card that is another library's."""

    __cuda_array_interface__ = "the simulator reads none"

    def __init__(self, array, lane):
        self.inner, self.ndim, self.shape = lane.put(array), array.ndim, array.shape


@pytest.mark.simulated
def test_arrays_of_another_library(monkeypatch):
    from lapsum_cli.kernels.cuda import adapter

    monkeypatch.setattr(adapter, "as_array", lambda array: array.inner)
    x, v = (np.random.default_rng(seed).standard_normal((2, 5)).astype("f") for seed in (0, 1))
    lane, given = devices.lane().lane, {"alpha": np.array([0.3, 1.0])}
    there, upstream = Foreign(x, lane), Foreign(v, lane)
    for function, arguments in ((lapsum.soft_rank, ()), (lapsum.soft_topk, (2,)), (lapsum.soft_permutation, ())):
        got = function(there, *arguments, **given)
        np.testing.assert_allclose(got.copy_to_host(), function(x, *arguments, **given), rtol=0, atol=2e-6)
    got, expected = (lapsum.soft_topk_vjp(a, 2, b, **given) for a, b in ((there, upstream), (x, v)))
    np.testing.assert_allclose(got.scores.copy_to_host(), expected.scores, rtol=0, atol=2e-6)
    np.testing.assert_allclose(got.k, expected.k, rtol=0, atol=2e-6)
    with pytest.raises(DataError, match="must both be on the GPU"):
        lapsum.soft_rank_vjp(there, v)
    with pytest.raises(OptionError, match="x is on a GPU"):
        lapsum.soft_rank(there, device="cpu")
    x[1, 3] = np.nan
    with pytest.raises(DataError, match="ranking 1, score 3: the score is NaN"):
        lapsum.soft_rank(Foreign(x, lane))


if not IS_SIMULATED:

    @pytest.mark.parametrize("library", ["torch", "cupy"])
    def test_tensors_and_arrays_on_the_card(library):
        module = pytest.importorskip(library)
        x, v = (np.random.default_rng(seed).standard_normal((50, 300)).astype("f") for seed in (0, 1))
        there = [module.as_tensor(a, device="cuda") if library == "torch" else module.asarray(a) for a in (x, v)]
        got, expected = lapsum.soft_rank(there[0]), lapsum.soft_rank(x)
        np.testing.assert_allclose(got.copy_to_host(), expected, rtol=0, atol=1e-4)
        got, expected = lapsum.soft_sort_vjp(*there), lapsum.soft_sort_vjp(x, v)
        np.testing.assert_allclose(got.scores.copy_to_host(), expected.scores, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("function", ["soft_rank", "soft_sort", "soft_topk", "topk_loss"])
    def test_autograd_on_the_card(function):
        torch = pytest.importorskip("torch")
        import lapsum_cli.torch

        x = torch.randn(20, 300, generator=torch.Generator().manual_seed(0))
        target = torch.randint(0, 5, x.shape, generator=torch.Generator().manual_seed(1))
        arguments = {"soft_topk": (10,), "topk_loss": (target, 10)}.get(function, ())
        results = []
        for device in ("cpu", "cuda"):
            scores = x.to(device).requires_grad_()
            moved = [a.to(device) if isinstance(a, torch.Tensor) else a for a in arguments]
            result = getattr(lapsum_cli.torch, function)(scores, *moved, alpha=0.1)
            torch.sin(result).sum().backward()
            results.append((result.detach().cpu(), scores.grad.cpu()))
        for cpu, card in zip(*results, strict=True):
            torch.testing.assert_close(card, cpu, rtol=1e-3, atol=1e-4 * float(cpu.abs().max()))


def test_scores_that_were_written_over_are_read_again():
    x = np.array([3.0, 1.0, 2.0])
    rankings = Rankings.equal_length(x, 1, 3)
    card = devices.card(processors.Cpu())
    first = card.run(Rank(), rankings, Given(np.ones(1)))
    x[:] = [1.0, 2.0, 4.0]
    second = card.run(Rank(), rankings, Given(np.ones(1)))
    np.testing.assert_array_equal(second.scores["soft_rank"], lapsum.soft_rank(x, alpha=1.0))
    assert first.scores["soft_rank"][0] != second.scores["soft_rank"][0]


def test_masked_scores_below_every_threshold_have_gradient_0():
    x, k = [np.array([1.0, 2.0, -np.inf])], np.array([1.9])
    given = Given(np.ones(1), k, np.array([3.0, 4.0, 5.0]))
    for log in (False, True):
        operation = TopK(ks=(K(1.0),), log=log, gradient=True, grad_alpha=True, grad_k=True)
        agree(*both(operation, x, given), "float64")


def test_nan_on_the_card_is_found():
    gpu = devices.lane()
    x = np.zeros(1000)
    assert not gpu.has_nan(gpu.lane.put(x))
    x[997] = np.nan
    assert gpu.has_nan(gpu.lane.put(x))


def test_a_ranking_without_room_on_the_card_is_computed_by_the_cpu():
    rows = rows_of("float32", "normal", (5, 33, 7))
    said, cpu = [], processors.Cpu()
    card = devices.card(cpu, said.append)
    card.free = lambda: 20 * Rank().card_bytes(4) * len(card.lanes) / 0.8
    given, rankings = Given(np.ones(3)), Rankings.of(rows)
    result = card.run(Rank(), rankings, given, np.float32)
    agree(result, cpu.run(Rank(), rankings, given, np.float32), "float32")
    [line] = said
    assert line.startswith("33 scores need")
    assert line.endswith("the CPU computes them, and whatever else has no room")


def test_a_card_without_memory_is_a_line():
    from lapsum_cli.kernels.cuda import adapter

    class Full(adapter.Lane):
        def empty(self, shape, dtype):
            raise RuntimeError("Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")

    x = Rankings.equal_length(np.zeros(1000, np.float32), 1, 1000)
    with pytest.raises(DeviceError, match="out of memory on the GPU: 1000 scores need"):
        processors.Gpu(Full()).run(TopK(ks=(K(1.0),)), x, Given(np.ones(1)))


def test_a_bad_ranking_is_named_by_its_number_in_the_batch(monkeypatch):
    monkeypatch.setattr(processors, "PIECE", 5)
    with pytest.raises(DataError, match="ranking 2: k must be 0 or more, got -1"):
        both(TopK(ks=(K(1.0),)), rows_of("float32", "normal", (5, 5, 5)), Given(ks=np.array([1.0, 1.0, -1.0])))


def test_empty_batches():
    for rows in ([], [np.empty(0)]):
        for operation in (Rank(gradient=True), Sort(), TopK(ks=(K(1.0),), gradient=True)):
            given = Given(upstream=np.empty(0))
            agree(*both(operation, rows, given), "float64")


def test_the_memory_that_operations_say_they_need_on_a_card():
    n, ks = 200_000, (K(10.0),)
    for dtype in (np.float32, np.float64):
        itemsize = np.dtype(dtype).itemsize
        sorting = 2 * (itemsize + 4)  # what a library takes to sort so many
        for operation, extra in (
            (Rank(), sorting),
            (Rank(gradient=True), sorting),
            (Sort(), sorting),
            (Sort(gradient=True), sorting),
            (TopK(ks=ks), 0),
            (TopK(ks=ks, gradient=True), 0),
            *((Loss(loss=name, ks=ks * (name in ("topk", "recall")), gradient=True), 0) for name in LOSSES),
        ):
            lane = counting_lane(lambda *launch: None)
            given = Given(np.ones(1), upstream=np.zeros(n, dtype), target=np.arange(float(n)))
            processors.Gpu(lane).run(operation, Rankings.equal_length(np.zeros(n, dtype), 1, n), given)
            needed, said = lane.bytes / n + extra, operation.card_bytes(itemsize)
            assert needed <= said, (operation, dtype)
            assert said <= 2 * needed, (operation, dtype)


def test_every_kernel_is_launched_by_some_operation():
    """And so by the tests above, and by what compiles each for several cards."""
    from lapsum_cli.kernels import cuda

    launched = set()
    lane = counting_lane(lambda function, *rest: launched.add(function))
    run_every_operation(lane, np.array([0, 5, 10, 15]), np.float32)
    run_every_operation(lane, np.array([0, 200 if IS_SIMULATED else 100_000]), np.float64)
    modules = [getattr(cuda, name) for name in cuda.__all__]
    kernels = {k for module in modules for k in vars(module).values() if type(k) is type(cuda.tiles._clear)}
    assert kernels - launched == set()


def test_the_command(tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 6)).astype("f")
    np.save(tmp_path / "x.npy", x)
    program = (
        "from lapsum_cli.kernels.cuda import tiles\ntiles.FEW_THREADS = 4\nfrom lapsum_cli.cli.app import main\nmain()"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, "topk", "x.npy", "--k", "2", "--device", "cuda", "-o"]
    subprocess.run([*command, "p.npy"], check=True, cwd=tmp_path, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), lapsum.soft_topk(x, 2), rtol=0, atol=2e-6)


def test_where_the_scores_are_decides():
    assert devices.choose("auto", 1).name == "cuda"
    assert devices.cuda().startswith("a kernel runs")
    with pytest.raises(OptionError, match="cpu, cuda or auto"):
        lapsum.soft_rank([1.0], device="tpu")


def test_a_kernel_that_fails_is_a_line(monkeypatch):
    from lapsum_cli.kernels.cuda import adapter

    def fail():
        raise RuntimeError("CUDA_ERROR_UNSUPPORTED_PTX_VERSION\nthe rest")

    monkeypatch.setattr(adapter, "check", fail)
    devices._adapter.cache_clear()
    with pytest.raises(DeviceError, match="the GPU does not run a kernel: CUDA_ERROR_UNSUPPORTED_PTX_VERSION the rest"):
        devices.lane()
    devices._adapter.cache_clear()
