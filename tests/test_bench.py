"""`lapsum bench` in memory: its table, what it refuses, and that no wrong output gets as far as a time."""

import json
import os
import sys

import numpy as np
import pytest
from commands import refusal, run

from lapsum_cli.core.errors import OptionError
from lapsum_cli.study.bench import cases, check
from lapsum_cli.study.bench.cases import OPERATIONS, Choice
from lapsum_cli.study.bench.check import WrongResult, check_output
from lapsum_cli.study.bench.peers import find_peers
from lapsum_cli.study.bench.run import Bench
from lapsum_cli.study.bench.scores import SCORES, draw


def choice(operations=("rank",), shapes=("6x50",), dtypes=("float32",), scores=("normal",), alpha=0.3, k="10"):
    return Choice(list(operations), list(shapes), list(dtypes), list(scores), alpha, k, threads=None)


def made(operation, shape="6x50", dtype="float32", scores="normal", **options):
    """A case, its inputs and the product's outputs for them."""
    [case] = choice([operation], [shape], [dtype], [scores], **options).shape_cases()
    inputs = case.inputs()
    return case, inputs, case.soft(*inputs)


def side(name, operation):
    [function] = [peer.sides[operation] for peer in find_peers([name], ["shapes"]) if operation in peer.sides]
    return function


def table_of(stdout):
    """The rows of the last Markdown table, its head first, as lists of cells."""
    lines = [line for line in stdout.split("\n\n")[-1].splitlines() if not line.startswith("|-")]
    return [[cell.strip() for cell in line.strip("| \n").split("|")] for line in lines]


def test_the_table_names_the_machine_and_has_a_row_for_each_operation_and_shape():
    done = run("bench", "rank", "topk", "--shape", "20x50", "--shape", "1x300", "--runs", "2", "--peers", "numpy")
    assert done.returncode == 0, done.stderr
    machine, conditions, _ = done.stdout.decode().split("\n\n")
    assert "cores" in machine
    assert "numpy" in machine
    assert "float32, normal scores, alpha 0.1, k 10%, threads used: 1; medians of 2 runs" in conditions
    head, *rows = table_of(done.stdout.decode())
    assert [row[:2] for row in rows] == [["rank", "20x50"], ["topk", "20x50"], ["rank", "1x300"], ["topk", "1x300"]]
    assert head[-1] == "× numpy (ms)"
    assert {len(row) for row in rows} == {len(head)}
    assert done.stderr == b""


def test_what_varies_has_a_column():
    chosen = ("--dtype", "float32,float64", "--scores", "ties", "--scores", "uniform,sorted")
    done = run("bench", "topk", "--shape", "3x40", "--runs", "1", "--peers", "numpy", *chosen)
    assert done.returncode == 0, done.stderr
    head, *rows = table_of(done.stdout.decode())
    assert head[2:4] == ["dtype", "scores"]
    kinds = [[dtype, kind] for dtype in ("float32", "float64") for kind in ("ties", "uniform", "sorted")]
    assert [row[2:4] for row in rows] == kinds
    assert b"exempt" in done.stdout


def test_every_side_runs_as_often_as_asked():
    peers = find_peers(["numpy", "duckdb"], ["shapes"])
    [measured] = Bench(choice(["topk"]), ["shapes"], peers, runs=3).run().measured["shapes"]
    assert list(measured.sides) == ["lapsum", "memcpy", "numpy", "duckdb"]
    assert {len(times.seconds) for times in measured.sides.values()} == {3}
    assert measured.moved == 2 * 6 * 50 * 4


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells the peak of a part of a run")
def test_the_memory_of_a_call_is_what_it_adds():
    bench = Bench(choice(["topk"], ["1x1000000"], k="10%"), ["shapes"], find_peers(["numpy"], ["shapes"]), runs=1)
    [measured] = bench.run().measured["shapes"]
    assert 3_900_000 < measured.soft.memory < 40_000_000  # at least the result
    assert 7_900_000 < measured.sides["numpy"].memory < 24_000_000  # int64 indices
    assert measured.sides["memcpy"].memory < 1_000_000


def test_growth_doubles_the_ranking_and_not_the_work():
    cases = choice(["topk"], ["5x5000", "1x2100"], k="10%").growth_cases()
    assert [case.shape for case in cases] == ["4x1024", "2x2048", "1x4096"]
    assert [case.k for case in cases] == [102.4, 204.8, 409.6]


@pytest.mark.parametrize(
    "arguments",
    [
        ("sort-of",),
        ("--shape", "20"),
        ("--shape", "0x5"),
        ("--dtype", "float16"),
        ("--scores", "bimodal"),
        ("--alpha", "-1"),
        ("--k", "ten"),
        ("topk", "--shape", "2x5", "--k", "5"),
        ("--peers", "excel"),
        ("--peers", "pyarrow"),
        ("--growth", "--shape", "9x1000"),
        ("--files", "--rows", "99"),
        ("--files", "--rows", "nan"),
        ("--files", "--temp-dir", "/nowhere"),
        ("--files", "sort"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(arguments):
    done = run("bench", *arguments)
    assert done.returncode == 2
    assert done.stdout == b""
    refusal(done.stderr)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "k"), [("6x50", "10%"), ("1x70000", "0.5"), ("3x2", "1.25")])
@pytest.mark.parametrize("alpha", [1e-10, 0.1, 1e4])
def test_right_outputs_pass(operation, dtype, shape, k, alpha):
    check_output(*made(operation, shape, dtype, alpha=alpha, k=k))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_right_outputs_pass_for_scores_of_every_kind(operation, scores, dtype):
    check_output(*made(operation, "2x5000", dtype, scores, alpha=0.1, k="10%"))


def test_scores_are_as_their_names_say():
    drawn = {kind: draw(kind, (2, 50_000), "float32") for kind in SCORES}
    assert {scores.dtype for scores in drawn.values()} == {np.dtype("float32")}
    assert all(np.isfinite(scores).all() for scores in drawn.values())
    assert drawn["uniform"].min() >= 0
    assert drawn["uniform"].max() < 1
    assert np.abs(drawn["heavy"]).max() > 1e3 > 10 > np.abs(drawn["normal"]).max()
    assert np.unique(drawn["ties"]).size < 200
    assert (np.diff(drawn["sorted"], axis=1) >= 0).all()
    np.testing.assert_array_equal(drawn["heavy"], draw("heavy", (2, 50_000), "float32"))


@pytest.mark.parametrize(
    ("peer", "ranks_of"),
    [
        ("numpy", lambda case, hard: hard),
        ("scipy", lambda case, hard: case.length + 1 - hard),
        ("torch", lambda case, hard: hard),
        ("polars", lambda case, hard: hard["score"].to_numpy().reshape(case.rankings, case.length)),
        ("duckdb", lambda case, hard: np.sort(np.concatenate(list(hard.values())))),  # in an order of its choice
    ],
)
def test_hard_ranks_are_what_the_soft_ones_tend_to(peer, ranks_of):
    pytest.importorskip(peer)
    case, inputs, [ranks] = made("rank", alpha=1e-9)
    hard = ranks_of(case, side(peer, "rank")(case, *inputs))
    np.testing.assert_array_equal(hard, np.sort(ranks, axis=None) if peer == "duckdb" else ranks)


def test_hard_memberships_are_what_the_soft_ones_tend_to():
    case, [scores], [memberships] = made("topk", alpha=1e-9)
    chosen = np.take_along_axis(memberships, side("numpy", "topk")(case, scores)[:, -10:], axis=-1)
    np.testing.assert_array_equal(chosen, 1)
    pytest.importorskip("duckdb")
    found = side("duckdb", "topk")(case, scores)
    np.testing.assert_array_equal(np.sort(found["score"]), np.sort(scores[memberships == 1]))
    pytest.importorskip("torch")
    np.testing.assert_array_equal(side("dftopk", "topk")(case, scores), memberships)


def test_other_soft_ranks_take_part_where_they_can_be_imported(tmp_path):
    """Stand-ins with the calls that the packages have; of the authors' one only a part is built."""
    pytest.importorskip("torch")
    for path, text in STAND_INS.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    given = ("bench", "rank", "rank-gradient", "topk", "--shape", "3x20", "--runs", "1", "--json")
    done = run(*given, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])})
    assert done.returncode == 0, done.stderr
    sides = {case["operation"]: list(case["sides"]) for case in json.loads(done.stdout)["cases"]}
    assert sides["rank-gradient"] == ["lapsum", "memcpy", "torchsort", "fast-soft-sort", "authors"]
    assert "authors" in sides["rank"]
    assert "authors" not in sides["topk"]


STAND_INS = {
    "torchsort.py": """
def soft_rank(values, regularization="l2", regularization_strength=1.0):
    assert values.ndim == 2
    return values * regularization_strength
""",
    "fast_soft_sort/__init__.py": "",
    "fast_soft_sort/numpy_ops.py": """
class SoftRank:
    def __init__(self, values, direction="ASCENDING", regularization_strength=1.0, regularization="l2"):
        assert values.ndim == 1 and direction == "DESCENDING"
    def compute(self): return 1
    def vjp(self, vector): return vector
""",
    "lapsum/__init__.py": "",
    "lapsum/rank.py": "def soft_rank(x, alpha=-1, dim=1): return x * alpha",
    "lapsum/topk.py": "from . import soft_topk_cpu",
}


@pytest.mark.parametrize(
    ("operation", "step"),
    [
        ("rank", 1e-3),
        ("rank-gradient", 1e-3),
        ("sort", 1e-2),
        ("topk", 1e-4),
        ("topk-gradient", 1e-4),
        ("log-topk", 1e-2),
    ],
)
def test_one_value_that_is_off_is_refused(operation, step):
    case, inputs, outputs = made(operation)
    outputs[-1][0, -1] += step
    with pytest.raises(WrongResult, match="no time is shown"):
        check_output(case, inputs, outputs)


def test_swapped_ranks_are_refused_although_their_sum_is_right():
    case, inputs, [ranks] = made("rank")
    ranks[0, [0, -1]] = ranks[0, [-1, 0]]
    with pytest.raises(WrongResult, match="ranking 0, score 0 "):
        check_output(case, inputs, [ranks])


GRADIENTS = [operation for operation in OPERATIONS if operation.endswith("-gradient")]


@pytest.mark.parametrize("operation", GRADIENTS)
def test_a_gradient_is_refused_with_a_wrong_result_beside_it(operation):
    case, inputs, [result, gradient] = made(operation)
    with pytest.raises(WrongResult, match="sum of ranking 0"):
        check_output(case, inputs, [result - 1, gradient])


@pytest.mark.parametrize("operation", GRADIENTS)
@pytest.mark.parametrize("factor", [-1.0, 1.001])
def test_a_gradient_of_another_sign_or_size_is_refused_although_its_sum_is_right(operation, factor):
    case, inputs, [result, gradient] = made(operation)
    assert np.abs(gradient).max() > 0.1  # a share of it is far above the tolerance
    with pytest.raises(WrongResult, match="relative error of the gradient of score"):
        check_output(case, inputs, [result, gradient * np.float32(factor)])


def test_memberships_of_a_shifted_threshold_are_refused():
    case, [scores], [memberships] = made("topk", dtype="float64")
    b = check.threshold(scores[0], case.k, case.alpha, origin=0.0)
    np.testing.assert_allclose(check.laplace_cdf((scores[0] - b) / case.alpha), memberships[0], atol=1e-9)
    memberships[0] = check.laplace_cdf((scores[0] - b - 1e-4) / case.alpha)
    with pytest.raises(WrongResult, match="sum of ranking 0"):
        check_output(case, [scores], [memberships])


def test_memberships_of_another_alpha_are_refused_although_their_sum_is_right():
    case, inputs, _ = made("topk")
    *_, softer = made("topk", alpha=0.4)
    with pytest.raises(WrongResult, match="ranking 0, score"):
        check_output(case, inputs, softer)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nan_is_refused(operation):
    case, inputs, outputs = made(operation)
    outputs[-1][3, 7] = np.nan
    with pytest.raises(WrongResult):
        check_output(case, inputs, outputs)


def test_a_wrong_output_is_never_timed(monkeypatch):
    monkeypatch.setitem(cases.OPERATIONS, "rank", lambda case, scores: [side("numpy", "rank")(case, scores)])
    with pytest.raises(WrongResult):
        Bench(choice(alpha=1.0), ["shapes"], []).run()


def test_bad_values_are_option_errors():
    with pytest.raises(OptionError, match="rankings times scores"):
        choice(shapes=["many"])
