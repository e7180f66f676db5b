"""A card as a device: arrays that are there already, its memory, what it refuses; where one works, else simulated."""

import subprocess
import sys

import numpy as np
import pytest
from cardcases import METHODS, WITH_K, agree, both, by_method, rankings_of, rows_of
from onecard import IS_SIMULATED, counting_lane

import lapsum_cli as lapsum
from lapsum_cli import Loss, Rank, Sort, TopK, devices
from lapsum_cli.core.errors import DataError, DeviceError, OptionError
from lapsum_cli.core.quantities import Alpha, K
from lapsum_cli.core.rankings import Rankings
from lapsum_cli.devices import pieces
from lapsum_cli.devices.card import Card
from lapsum_cli.devices.cpu import Cpu
from lapsum_cli.operations import LOSSES, loss_called
from lapsum_cli.operations.stages import STAGE

# A GPU warns of no overflow and no NaN. NumPy does, in whose scalars the simulator computes.
pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("ignore::RuntimeWarning")]


def test_arrays_on_the_card_stay_there():
    x = np.stack([rows_of("float32", "normal", (20,), seed)[0] for seed in range(2)])
    v = np.random.default_rng(0).standard_normal((2, 20)).astype("f")
    gpu = devices.lane()
    each = {"alpha": np.array([0.1, 1.0]), "k": np.array([3.0, 4.0])}
    scores, upstream = (gpu.place.put(a.reshape(-1)) for a in (x, v))
    there = Rankings(scores, np.array([0, 20, 40]), {"upstream": upstream}, each)
    here = Rankings(x.reshape(-1), np.array([0, 20, 40]), {"upstream": v.reshape(-1)}, each)
    by_methods = [by_method(method, gradient=True) for method in METHODS]
    for operation in (Rank(gradient=True), Sort(gradient=True), TopK(ks=(K(1.0),), gradient=True), *by_methods):
        on_card, expected = gpu.compute(operation, there), Cpu().compute(operation, here)
        for slot, values in expected.values.items():
            assert not isinstance(on_card.values[slot], np.ndarray)
            got = gpu.place.get(on_card.values[slot])
            np.testing.assert_allclose(got, values, rtol=0, atol=3e-6 * max(1.0, np.abs(values).max()))
    np.testing.assert_array_equal(gpu.place.get(scores), x.reshape(-1))  # inputs are not modified


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
    lane, given = devices.lane().place, {"alpha": np.array([0.3, 1.0])}
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
            scores = x.to(device, copy=True).requires_grad_()
            moved = [a.to(device) if isinstance(a, torch.Tensor) else a for a in arguments]
            result = getattr(lapsum_cli.torch, function)(scores, *moved, alpha=0.1)
            torch.sin(result).sum().backward()
            results.append((result.detach().cpu(), scores.grad.cpu()))
        for cpu, card in zip(*results, strict=True):
            torch.testing.assert_close(card, cpu, rtol=1e-3, atol=1e-4 * float(cpu.abs().max()))


def test_scores_that_were_written_over_are_read_again():
    x = np.array([3.0, 1.0, 2.0])
    rankings = Rankings.equal_length(x, 1, 3).with_each({"alpha": np.ones(1)})
    card = devices.card(Cpu())
    [first] = card.compute(Rank(), rankings).values.values()
    x[:] = [1.0, 2.0, 4.0]
    [second] = card.compute(Rank(), rankings).values.values()
    np.testing.assert_array_equal(second, lapsum.soft_rank(x, alpha=1.0))
    assert first[0] != second[0]


def test_nan_on_the_card_is_found():
    gpu = devices.lane()
    x = np.zeros(1000)
    assert not gpu.has_nan(gpu.place.put(x))
    x[997] = np.nan
    assert gpu.has_nan(gpu.place.put(x))


def test_a_ranking_without_room_on_the_card_is_computed_by_the_cpu():
    rows = rows_of("float32", "normal", (5, 33, 7))
    said, cpu = [], Cpu()
    card = devices.card(cpu, said.append)
    card.free = lambda: 20 * Rank().card_bytes(4) * len(card.lanes) / 0.8
    rankings = rankings_of(rows, np.ones(3))
    agree(card.compute(Rank(), rankings), cpu.compute(Rank(), rankings), "float32")
    [line] = said
    assert line.startswith("33 scores need")
    assert line.endswith("the CPU computes them, and whatever else has no room")


def test_a_card_without_memory_is_a_line():
    from lapsum_cli.kernels.cuda import adapter

    class Full(adapter.Lane):
        def empty(self, shape, dtype):
            raise RuntimeError("Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")

    rankings = rankings_of([np.zeros(1000, np.float32)], np.ones(1))
    with pytest.raises(DeviceError, match="out of memory on the GPU: 1000 scores need"):
        Card(Full()).compute(TopK(ks=(K(1.0),)), rankings)


def test_a_bad_ranking_is_named_by_its_number_in_the_batch(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE", 5)
    with pytest.raises(DataError, match="ranking 2: k must be 0 or more, got -1"):
        both(TopK(ks=(K(1.0),)), rankings_of(rows_of("float32", "normal", (5, 5, 5)), k=np.array([1.0, 1.0, -1.0])))


def test_the_memory_that_operations_say_they_need_on_a_card(monkeypatch):
    from lapsum_cli.kernels.cuda import sorters

    monkeypatch.setattr(sorters, "sorter", lambda: sorters._by_numpy)  # the arrays of the lane are in memory here
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
            *((by_method(name, ks, gradient=gradient), 0) for name in METHODS for gradient in (False, True)),
            *((Loss(loss=name, ks=ks * (LOSSES[name].k == "needed"), gradient=True, force=True), 0) for name in LOSSES),
        ):
            lane = counting_lane(lambda *launch: None)
            # What goes grade by grade holds what one takes, and the lane counts whatever was taken: here there is one.
            is_by_grades = isinstance(operation, Loss) and loss_called(operation.loss).levels is not None
            target = np.arange(float(n)) // (n // 2 if is_by_grades else 1)
            beside = {"target": target} | ({"upstream": np.zeros(n, dtype)} if operation.gradient else {})
            if isinstance(operation, Loss) and operation.entry.stages > 1:
                beside[STAGE] = np.zeros(n, dtype)
            Card(lane).compute(operation, rankings_of([np.zeros(n, dtype)], np.ones(1), **beside))
            needed, said = lane.bytes / n + extra, operation.card_bytes(itemsize)
            assert needed <= said, (operation, dtype)
            assert said <= 2 * needed, (operation, dtype)


@pytest.mark.parametrize("method", ["lapsum", "ot"])
def test_the_command(tmp_path, method):
    x = np.random.default_rng(0).standard_normal((2, 6)).astype("f")
    np.save(tmp_path / "x.npy", x)
    small = "from lapsum_cli.kernels.cuda import tiles\ntiles.FEW_THREADS = 4\n"  # on a card a block is whole warps
    program = (small if IS_SIMULATED else "") + "from lapsum_cli.cli.startup import main\nmain()"
    command = [sys.executable, "-W", "ignore", "-c", program, "topk", "x.npy", "--k", "2", "--device", "cuda", "-o"]
    subprocess.run([*command, "p.npy", "--method", method], check=True, cwd=tmp_path, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), lapsum.soft_topk(x, 2, method=method), rtol=0, atol=2e-6)


def test_where_the_scores_are_decides():
    assert devices.choose("auto", 1).name == "cuda"
    assert devices.cuda().startswith("a kernel runs")
    with pytest.raises(OptionError, match="cpu, cuda or auto"):
        lapsum.soft_rank([1.0], device="tpu")


@pytest.mark.parametrize(
    ("libnvvm", "words"),
    [
        ("/lib/libnvvm.so.4", "the GPU does not run a kernel: CUDA_ERROR_UNSUPPORTED_PTX_VERSION the rest; its driver"),
        (None, r"libnvvm is not found.* set CUDA_HOME to a toolkit of CUDA 13, such as /usr/local/cuda"),
    ],
)
def test_a_kernel_that_fails_is_a_line(monkeypatch, libnvvm, words):
    from lapsum_cli.kernels.cuda import adapter

    def fail():
        raise RuntimeError("CUDA_ERROR_UNSUPPORTED_PTX_VERSION\nthe rest")

    monkeypatch.setattr(adapter, "check", fail)
    monkeypatch.setattr(devices.machine, "libnvvm", lambda: libnvvm)
    devices._adapter.cache_clear()
    with pytest.raises(DeviceError, match=words):
        devices.lane()
    devices._adapter.cache_clear()


OF_LAPSUM = [
    ("soft_rank", True),
    ("soft_rank", False),
    ("soft_sort", False),
    ("soft_topk", False),
    ("log_soft_topk", True),
]


@pytest.mark.parametrize(
    ("function", "descending", "method"),
    [
        *((*of, "lapsum") for of in OF_LAPSUM),
        *((*OF_LAPSUM[-1], method) for method in WITH_K),
    ],
)
def test_nothing_waits_in_pytorch(monkeypatch, function, descending, method):
    """Forward and backward: alpha and k for each ranking, alpha in deviations; and what is wrong comes out as NaN."""
    torch = pytest.importorskip("torch")
    from lapsum_cli import torch as soft

    x = torch.from_numpy(np.stack(rows_of("float64", "infinite", (20, 20, 20))))
    x[2] = 7.0  # constant
    option, ks = ("largest" if "topk" in function else "descending"), torch.tensor([3.0, 4.5, 2.0]).double()

    def graded(scores, alpha):
        scores, k = scores.clone().requires_grad_(), ks.clone().requires_grad_()
        alpha = alpha.clone().requires_grad_() if isinstance(alpha, torch.Tensor) else alpha
        arguments = (k,) if "topk" in function else ()
        result = getattr(soft, function)(scores, *arguments, alpha=alpha, method=method, **{option: descending})
        torch.nan_to_num(result, posinf=0.0, neginf=0.0).sin().sum().backward() if not result.isnan().any() else None
        return [t for t in (result.detach(), scores.grad, k.grad, getattr(alpha, "grad", None)) if t is not None]

    given = "0.1std", torch.tensor([0.1, 0.5, 1.0]).double()
    expected = [graded(x, alpha) for alpha in given]
    _pretend_that_tensors_are_on_the_card(monkeypatch, torch)
    for alpha, of_cpu in zip(given, expected, strict=True):
        for got, wanted in zip(graded(x, alpha), of_cpu, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)
    x[1, 3] = np.nan
    assert graded(x, "0.1std")[0].isnan().all()
    assert graded(x[2:].expand(3, 20), torch.tensor([0.1, -1.0, 1.0]).double())[0].isnan().all()


def _pretend_that_tensors_are_on_the_card(monkeypatch, torch):
    """Tensors of the CPU go there and back; whatever waits in between fails."""
    from lapsum_cli.kernels.cuda import adapter
    from lapsum_cli.torch import apply, computed, passes

    class Waiting(adapter.Lane):
        def wait(self):
            raise AssertionError("a pass waits")

    card = Card(Waiting())
    monkeypatch.setattr(apply, "warm", lambda *given: None)
    monkeypatch.setattr(passes.suspicions, "warn", lambda *given: None)  # for scores that are here
    for module in (apply, computed):
        monkeypatch.setattr(module, "device_of", lambda x: card)
    there = lambda tensor: adapter.to_card(tensor.detach().contiguous().reshape(-1).numpy())  # noqa: E731
    monkeypatch.setattr(passes, "flat", there)
    monkeypatch.setattr(passes, "_stays", lambda rows, target: True)
    back = lambda array, like, shape: torch.from_numpy(array.copy_to_host()).reshape(shape)  # noqa: E731
    monkeypatch.setattr(computed, "tensor_of", back)


def test_a_top_k_of_float32_whose_deviations_ask_for_float64():
    rows = [row * np.float32(1e-33) for row in rows_of("float32", "normal", (5, 33))]
    operation = TopK(alpha=Alpha(0.1, "std"), ks=(K(2.0),), gradient=True, grad_alpha=True)
    agree(*both(operation, rankings_of(rows, upstream=np.ones(38, np.float32))), "float32")


GRADIENTS = {"gradient": True, "grad_alpha": True}


@pytest.mark.simulated
@pytest.mark.parametrize(
    "operation",
    [
        Rank(Alpha(0.1), **GRADIENTS),
        Sort(Alpha(0.1), **GRADIENTS),
        TopK(Alpha(0.1), ks=(K(3.0),), threshold=True, grad_k=True, **GRADIENTS),
        TopK(ks=(K(3.0),), gradient=True),
        TopK(descending=False, ks=(K(3.0),), gradient=True),
    ],
)
def test_a_call_with_offsets_that_are_known_sends_nothing_and_waits_for_numbers_alone(monkeypatch, operation):
    """Counts, by a lane that launches nothing; tests/host_cost.py has those of the driver."""
    from lapsum_cli.kernels.cuda import adapter

    sent = []

    class Counting(adapter.Lane):
        waits = 0

        def launch(self, function, blocks, threads, rows, *arguments):
            assert not any(isinstance(argument, np.ndarray) for argument in arguments)

        def empty(self, shape, dtype):
            return to_device(np.zeros(shape, dtype))

        def wait(self):
            self.waits += 1

    to_device, lane, x = adapter.to_card, Counting(), np.zeros(1200, np.float32)
    send = lane.supply.send
    monkeypatch.setattr(lane.supply, "send", lambda array, to: sent.append(array) or send(array, to))
    values, upstream = to_device(x), to_device(x)
    lengths = np.array([3, 0, 97, 1100])
    for turn in range(2):
        sent.clear()
        lane.waits = 0
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        Card(lane).compute(operation, Rankings(values, offsets, {"upstream": upstream}))
        assert bool(sent) == (turn == 0)
    asks = operation.grad_alpha or operation.alpha.relative  # a top-k of float32 may have to know its alphas after all
    assert lane.waits == int(asks)
