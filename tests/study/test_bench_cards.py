"""`lapsum bench --device cuda`: on a card where one works, or in the simulator.

PyTorch and CuPy are stand-ins with the calls that are made of them: the simulator's arrays are on no card.
"""

import contextlib
import os
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from commands import refusal, run
from onecard import IS_SIMULATED

from lapsum_cli.cli import bench as command
from lapsum_cli.core.errors import DeviceError
from lapsum_cli.core.reference import soft_count
from lapsum_cli.study.bench import machine
from lapsum_cli.study.bench.cases import Choice
from lapsum_cli.study.bench.check import WrongResult
from lapsum_cli.study.bench.peers import PEERS, parts_of

OF_THE_CARD = ["lapsum", "copy", "to card", "from card"]
SIMULATOR = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
# A GPU warns of no NaN. NumPy does, in whose scalars the simulator computes; and its events are never apart.
pytestmark = [pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Simulator timings")]


def environment(**more):
    return {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")} | more


@pytest.mark.slow
def test_the_command_has_a_table_for_the_simulator():
    given = ("--shape", "1x3", "--k", "1", "--device", "cuda", "--runs", "1")
    done = run("bench", "topk", *given, env=environment(**SIMULATOR))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"a simulated card; ")
    assert b"\n| topk      | 1x3   |" in done.stdout


@pytest.mark.parametrize("kind", ["--shapes", "--growth", "--files"])
@pytest.mark.slow
def test_without_a_card_it_is_one_line_and_exit_code_69(kind):
    done = run("bench", kind, "--device", "cuda", env=environment(CUDA_VISIBLE_DEVICES=""))
    assert done.returncode == 69
    assert done.stdout == b""
    assert "--device c" in refusal(done.stderr)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--device", "tpu"), "--device 'tpu' is unknown; known are cpu, cuda"),
        (("--device", "cuda", "--peers", "numpy"), "has no part in shapes on a card"),
        (("--peers", "cupy"), "has no part in shapes"),
    ],
)
def test_what_no_device_has_is_refused(given, words):
    done = run("bench", *given)
    assert done.returncode == 2
    assert words in refusal(done.stderr)


@pytest.mark.cuda
def test_a_table_comes_out_and_is_kept_beside_that_of_the_cpu(tmp_path, capsys):
    kept, page = tmp_path / "KEPT.md", tmp_path / "page.html"
    blocks = [f"<!-- bench:{kind}:begin -->\nold\n<!-- bench:{kind}:end -->\n" for kind in ("shapes", "cuda-shapes")]
    kept.write_text("".join(blocks))
    operations = ["rank", "topk"]
    command.bench(operations, shape=["2x12"], device="cuda", runs=1, record=str(kept), output=str(page))
    printed = capsys.readouterr().out
    conditions, note, table = printed.rstrip("\n").split("\n\n")
    assert ("a simulated card" if IS_SIMULATED else "CUDA") in conditions
    assert "k 10%, on the card; one run" in note
    head, _, *rows = table.splitlines()
    assert [row.split("|")[1].strip() for row in rows] == operations
    assert "| × copy | × to card (ms) | × from card (ms) |" in " ".join(head.split())
    assert kept.read_text() == blocks[0] + blocks[1].replace("old", printed.rstrip("\n"))
    assert "On the card" in page.read_text()


@pytest.mark.simulated
def test_the_machine_is_named_with_its_card_and_driver(monkeypatch):
    from lapsum_cli.kernels.cuda import adapter

    card = SimpleNamespace(name="NVIDIA H100")
    context = SimpleNamespace(device=card, get_memory_info=lambda: (1 << 30, 80 << 30))
    monkeypatch.setattr(adapter, "IS_SIMULATED", False)
    monkeypatch.setattr(adapter.here, "current_context", lambda: context)
    driver = SimpleNamespace(get_version=lambda: (13, 2))
    monkeypatch.setattr(adapter.here, "cudadrv", SimpleNamespace(driver=driver), raising=False)
    monkeypatch.setattr(machine, "_driver", lambda: "driver 595.10, ")
    assert machine.machine([], "cuda").startswith("NVIDIA H100, 80 GiB, driver 595.10, CUDA 13.2; ")


def case_of(operation, shape="2x12", dtype="float32"):
    choice = Choice([operation], [shape], [dtype], ["normal"], 0.3, "10%", threads=None, device="cuda")
    return choice.shape_cases()[0]


def measured(case, peers=(), notice=print, runs=2):
    from lapsum_cli.study.bench import cards

    return cards.measure(case, [peer for name in peers for peer in parts_of(name)], runs, notice)


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("operation", "dtype"),
    [("rank-gradient", "float32"), ("sort", "float64"), ("topk-gradient", "float64"), ("log-topk", "float32")],
)
def test_every_output_passes_and_every_side_runs_as_often_as_asked(operation, dtype):
    found = measured(case_of(operation, "3x7", dtype))
    assert list(found.sides) == OF_THE_CARD
    assert {len(times.seconds) for times in found.sides.values()} == {2}
    assert {times.memory for times in found.sides.values()} == {None}
    arrays = 4 if operation.endswith("-gradient") else 2
    assert found.moved == arrays * 3 * 7 * np.dtype(dtype).itemsize


@pytest.mark.cuda
@pytest.mark.parametrize("operation", ["rank", "topk-gradient"])
def test_rankings_of_uneven_length_run_beside_even_ones(operation, monkeypatch):
    from lapsum_cli.study.bench import cards

    choice = Choice([operation], ["6xuniform:1-7"], ["float32"], ["normal"], 0.3, "10%", threads=None, device="cuda")
    [case] = choice.uneven_cases()
    evened = case.evened(choice.k)
    found = cards.measure(case, [], 1, print, evened=evened)
    assert list(found.sides) == ["lapsum", "copy", "to card", "from card", "even"]
    assert found.moved == found.case.shape.total * 4 * (4 if operation.endswith("-gradient") else 2)
    run = cards.Work.run
    monkeypatch.setattr(cards.Work, "run", lambda work, copy: [*run(work, copy)[1:], work.copies[copy][0]])
    with pytest.raises(WrongResult):
        cards.measure(case, [], 1, print, evened=evened)


@pytest.fixture
def few(monkeypatch):
    """The card counts for every check; of few threads, as the simulator runs one after another."""
    from lapsum_cli.study.bench import cards, counting

    monkeypatch.setattr(cards, "MANY", 0)
    monkeypatch.setattr(counting, "BLOCKS", 2)
    monkeypatch.setattr(counting, "THREADS", 4)


@pytest.mark.cuda
@pytest.mark.parametrize("operation", ["rank", "sort", "topk", "topk-gradient"])
def test_the_counts_of_a_card_let_pass_what_is_right_and_nothing_else(few, monkeypatch, operation):
    from lapsum_cli.study.bench import cards

    assert measured(case_of(operation, "2x40")).lapsum
    run = cards.Work.run

    def wrong(work, copy):
        first, *others = (work.lane.get(array) for array in run(work, copy))
        first[1] += 1e-3
        return [work.lane.put(array) for array in (first, *others)]

    monkeypatch.setattr(cards.Work, "run", wrong)
    with pytest.raises(WrongResult):
        measured(case_of(operation, "2x40"))


@pytest.mark.cuda
@pytest.mark.parametrize("less", [0, np.array([3.0, 9.5])])
def test_a_card_counts_as_is_defined(few, less):
    from lapsum_cli.kernels.cuda import adapter
    from lapsum_cli.study.bench.counting import Counting

    x, t = np.random.default_rng(0).standard_normal(40).astype("f"), np.array([-0.3, 1.5])
    count = Counting(adapter.Lane())
    for scores in (x, x[:20]):
        np.testing.assert_allclose(count(scores, t, 0.2, 0.1, less), soft_count(scores, t, 0.2, 0.1, less), rtol=1e-13)
    assert count(x, 1.5, 0.2).shape == ()


@pytest.mark.cuda
def test_a_wrong_output_is_never_timed(monkeypatch):
    from lapsum_cli.study.bench import cards

    monkeypatch.setattr(cards.Work, "run", lambda work, copy: work.copies[copy])  # the scores themselves
    monkeypatch.setattr(cards, "take_turns", None)
    with pytest.raises(WrongResult):
        measured(case_of("topk"))


@pytest.mark.cuda
def test_every_run_takes_the_next_copy_of_the_inputs():
    from lapsum_cli.study.bench import cards

    case = case_of("topk")
    work, taken = cards.Work.of(case, case.inputs()), []
    one, other = (work.side(taken.append) for _ in range(2))
    for side in (one, other, *[one] * (cards.MOST_COPIES - 1)):
        assert side().seconds > 0
    assert taken == [*range(cards.MOST_COPIES), 0]
    large = cards.Work.of(case, [np.empty((1, (100 << 20) // 4), np.float32)])
    assert len(large.copies) == 3


@pytest.mark.cuda
def test_too_little_memory_is_an_error_that_says_what_to_do(monkeypatch):
    from lapsum_cli.kernels.cuda import adapter

    def none_left(*_, **__):
        raise RuntimeError("[700] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr(adapter.Lane, "empty", none_left)
    with pytest.raises(DeviceError, match=r"topk 2x12 .*not enough memory; give a smaller --shape"):
        measured(case_of("topk"))


# --- other libraries, by stand-ins ------------------------------------------------------------------------------------


class Graph:
    """A CUDA graph: what is launched while it is captured is kept, and run when it is replayed."""

    def __init__(self):
        self.launches = []

    def replay(self):
        for launch in self.launches:
            launch()


def _torch(monkeypatch, within):
    """PyTorch, as far as it is called: capturing forbids what a driver forbids."""
    from lapsum_cli.kernels.cuda import adapter

    @contextlib.contextmanager
    def capture(graph, stream):
        def forbidden(*_, **__):
            raise RuntimeError("operation not permitted when stream is capturing")

        def keep(lane, *given):
            graph.launches.append(lambda: launch(lane, *given))

        launch = adapter.Lane.launch
        with monkeypatch.context() as patch:
            patch.setattr(type(adapter.to_card(np.zeros(1))), "copy_to_device", forbidden)
            for name in ("device_array", "to_device", "pinned_array"):
                patch.setattr(adapter.here, name, forbidden)
            patch.setattr(adapter.Lane, "wait", forbidden)
            patch.setattr(adapter.Lane, "launch", keep)
            yield

    tensor = SimpleNamespace(
        sort=lambda dim, descending: within.append("torch"), topk=lambda k, dim: within.append("torch")
    )
    torch = ModuleType("torch")
    torch.as_tensor = lambda array, device: tensor
    torch.cuda = SimpleNamespace(
        Stream=lambda: SimpleNamespace(cuda_stream=7),
        ExternalStream=lambda handle: handle,
        stream=lambda handle: _entered(within, handle),
        CUDAGraph=Graph,
        graph=capture,
    )
    return torch


def _cupy(within):
    """CuPy, on NumPy."""
    cupy = ModuleType("cupy")
    cupy.asarray = lambda array: array.copy_to_host()
    for name in ("argsort", "sort", "argpartition"):
        setattr(cupy, name, lambda *given, axis, name=name: (within.append(name), getattr(np, name)(*given, axis=axis)))
    cupy.cuda = SimpleNamespace(ExternalStream=lambda handle: _entered(within, handle))
    return cupy


@contextlib.contextmanager
def _entered(within, handle):
    within.append(handle)
    yield


@pytest.fixture
def libraries(monkeypatch):
    """What the stand-ins do, in order: a number is the stream that they are told to work on."""
    from lapsum_cli.kernels.cuda import adapter

    monkeypatch.setattr(adapter.here.stream, "__int__", lambda stream: 5, raising=False)
    monkeypatch.setattr(adapter, "external_stream", lambda handle: adapter.here.stream())
    within = []
    monkeypatch.setitem(sys.modules, "torch", _torch(monkeypatch, within))
    monkeypatch.setitem(sys.modules, "cupy", _cupy(within))
    return within


@pytest.mark.simulated
@pytest.mark.parametrize(("operation", "of_cupy"), [("rank", "argsort"), ("sort", "sort"), ("topk", "argpartition")])
def test_libraries_work_on_the_stream_of_the_events(libraries, operation, of_cupy):
    from lapsum_cli.study.bench import cards

    case = case_of(operation)
    work = cards.Work.of(case, case.inputs())
    on_card = [name for name, listed in PEERS.items() if listed.on_card]
    for name in on_card:
        for peer in parts_of(name):
            cards._of_peer(work, peer)()
    assert libraries == [5, "torch", 5, of_cupy]
    assert on_card == ["torch", "cupy"]


@pytest.mark.simulated
@pytest.mark.parametrize(("operation", "shape"), [("topk", "2x12"), ("log-topk", "1x70")])
def test_a_graph_replays_a_topk_and_makes_no_array(libraries, monkeypatch, operation, shape):
    from lapsum_cli.study.bench import cards

    monkeypatch.setattr(cards, "MOST_COPIES", 2)
    found = measured(case_of(operation, shape), ["torch"], runs=1)
    assert found.remarks == []
    assert list(found.sides) == [*OF_THE_CARD, "graph", "torch"]


@pytest.mark.simulated
def test_a_graph_that_cannot_be_captured_is_left_out_with_its_reason(libraries, monkeypatch):
    from lapsum_cli.study.bench import cards

    def copied_again(lane, array, name=None):
        return cards.adapter.here.to_device(array.copy()) if isinstance(array, np.ndarray) else array

    monkeypatch.setattr(cards, "MOST_COPIES", 2)
    monkeypatch.setattr(cards.Repeating, "put", copied_again)
    said = []
    found = measured(case_of("topk"), ["torch", "cupy"], said.append, runs=1)
    assert list(found.sides) == [*OF_THE_CARD, "torch", "cupy"]
    assert said == found.remarks
    assert "topk 2x12 float32 normal has no graph: operation not permitted when stream is capturing" in said


@pytest.mark.simulated
def test_a_graph_that_gives_something_else_is_left_out(libraries, monkeypatch):
    monkeypatch.setattr(Graph, "replay", lambda graph: None)
    found = measured(case_of("topk"), ["torch"], runs=1)
    assert "graph" not in found.sides
    assert "has no graph: what it gives is not what its launches gave" in found.remarks[0]
